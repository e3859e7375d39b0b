//! What one route takes and answers, as OpenAPI says it: [`Operation`].

use axum::http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::KEY;
use crate::api::error::Body;

const JSON: &str = "application/json";

/// What one route takes and answers.
pub(in crate::api) struct Operation {
    id: String,
    summary: &'static str,
    tag: &'static str,
    parameters: Vec<Parameter>,
    body: Option<fn(&mut SchemaGenerator) -> Schema>,
    answers: Vec<Answer>,
    pub(super) needs_key: bool,
}

struct Parameter {
    name: &'static str,
    about: &'static str,
    schema: Value,
}

struct Answer {
    status: StatusCode,
    about: &'static str,
    content: Content,
}

enum Content {
    Json(fn(&mut SchemaGenerator) -> Schema),
    /// Text of one of these media types.
    Text(&'static [&'static str]),
    Nothing,
}

impl Operation {
    /// `id` is a name for programs, unique in the document; `summary` a sentence for people; `tag` what the page lists it under.
    pub(in crate::api) fn new(
        id: impl Into<String>,
        tag: &'static str,
        summary: &'static str,
    ) -> Self {
        let foreign = Answer::error(
            StatusCode::FORBIDDEN,
            "without http.api_key: the request comes from or names another machine",
        );
        Self {
            id: id.into(),
            summary,
            tag,
            parameters: Vec::new(),
            body: None,
            answers: vec![foreign],
            needs_key: false,
        }
    }

    /// Takes a JSON table of that shape.
    pub(in crate::api) fn takes<T: JsonSchema>(mut self) -> Self {
        self.body = Some(SchemaGenerator::subschema_for::<T>);
        self.refuses(StatusCode::BAD_REQUEST, "the request cannot be understood")
            .refuses(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not arrive in time",
            )
            .refuses(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")
            .refuses(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body is not said to be JSON",
            )
    }

    /// Takes a parameter in the query, which may be left out. One that is not known, or there twice, is refused.
    pub(in crate::api) fn query(
        mut self,
        name: &'static str,
        about: &'static str,
        schema: Value,
    ) -> Self {
        self.parameters.push(Parameter {
            name,
            about,
            schema,
        });
        self.refuses(StatusCode::BAD_REQUEST, "the request cannot be understood")
    }

    /// Answers with JSON of that shape.
    pub(in crate::api) fn answers<T: JsonSchema>(
        self,
        status: StatusCode,
        about: &'static str,
    ) -> Self {
        self.with(
            status,
            about,
            Content::Json(SchemaGenerator::subschema_for::<T>),
        )
    }

    /// Answers with text of one of these media types.
    pub(in crate::api) fn tells(
        self,
        media_types: &'static [&'static str],
        about: &'static str,
    ) -> Self {
        self.with(StatusCode::OK, about, Content::Text(media_types))
    }

    /// Answers without a body.
    pub(in crate::api) fn does(self, about: &'static str) -> Self {
        self.with(StatusCode::NO_CONTENT, about, Content::Nothing)
    }

    /// Answers with an error.
    pub(in crate::api) fn refuses(mut self, status: StatusCode, about: &'static str) -> Self {
        self.answers.push(Answer::error(status, about));
        self
    }

    fn with(mut self, status: StatusCode, about: &'static str, content: Content) -> Self {
        self.answers.push(Answer {
            status,
            about,
            content,
        });
        self
    }

    pub(super) fn described(&self, path: &str, schemas: &mut Schemas) -> Value {
        let mut operation = json!({
            "operationId": self.id,
            "summary": self.summary,
            "tags": [self.tag],
        });
        let parameters: Vec<_> = in_path(path)
            .chain(self.parameters.iter().map(Parameter::described))
            .collect();
        if !parameters.is_empty() {
            operation["parameters"] = Value::Array(parameters);
        }
        if let Some(body) = self.body {
            let schema = schemas.of_body(body);
            operation["requestBody"] =
                json!({ "required": true, "content": { JSON: { "schema": schema } } });
        }
        let mut answers = Map::new();
        for answer in &self.answers {
            let described = answer.described(schemas);
            match answers.get_mut(answer.status.as_str()) {
                Some(known) => also(known, described),
                None => {
                    answers.insert(answer.status.as_str().to_owned(), described);
                }
            }
        }
        if self.needs_key {
            // The empty requirement: no key is needed where none is set.
            operation["security"] = json!([{ KEY: [] }, {}]);
            let refused = Answer::error(
                StatusCode::UNAUTHORIZED,
                "http.api_key is set, and the header api-key is missing or wrong",
            );
            answers.insert("401".to_owned(), refused.described(schemas));
        }
        answers.sort_keys();
        operation["responses"] = Value::Object(answers);
        operation
    }
}

impl Parameter {
    fn described(&self) -> Value {
        json!({ "name": self.name, "in": "query", "description": self.about, "schema": self.schema })
    }
}

impl Answer {
    fn error(status: StatusCode, about: &'static str) -> Self {
        Self {
            status,
            about,
            content: Content::Json(SchemaGenerator::subschema_for::<Body>),
        }
    }

    fn described(&self, schemas: &mut Schemas) -> Value {
        let content = match self.content {
            Content::Json(schema) => json!({ JSON: { "schema": schemas.of_answer(schema) } }),
            Content::Text(media_types) => {
                // Other types may be read as what they say, which can be any value.
                let shape = |media_type: &str| match media_type.starts_with("text/") {
                    true => json!({ "schema": { "type": "string" } }),
                    false => json!({ "schema": {} }),
                };
                let types = media_types.iter().map(|it| (*it, shape(it)));
                Value::from_iter(types)
            }
            Content::Nothing => return json!({ "description": self.about }),
        };
        json!({ "description": self.about, "content": content })
    }
}

/// Adds the contents of another answer of the same status.
fn also(known: &mut Value, other: Value) {
    if let (Some(known), Some(other)) = (
        known["content"].as_object_mut(),
        other["content"].as_object(),
    ) {
        known.extend(other.clone());
    }
}

/// The parameters that a path's template names.
fn in_path(path: &str) -> impl Iterator<Item = Value> {
    let names = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| {
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } })
    })
}

/// Collects the shapes that several operations share.
pub(super) struct Schemas {
    answers: SchemaGenerator,
    bodies: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        Self {
            answers: settings.clone().for_serialize().into_generator(),
            // A shape that is both written and read differs between the two in what is required.
            bodies: settings
                .with(|settings| settings.inline_subschemas = true)
                .into_generator(),
        }
    }

    fn of_answer(&mut self, schema: fn(&mut SchemaGenerator) -> Schema) -> Schema {
        schema(&mut self.answers)
    }

    fn of_body(&mut self, schema: fn(&mut SchemaGenerator) -> Schema) -> Schema {
        schema(&mut self.bodies)
    }

    pub(super) fn into_definitions(mut self) -> Map<String, Value> {
        self.answers.take_definitions(true)
    }
}
