//! Changes of a connector's versions: documents are checked, stored and deleted. What a document must be is known to `config`, what a
//! plugin wants of it to the supervisor.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, Uri},
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    Api,
    body::Table,
    configs::{id, number, read},
    connectors::kind,
    document::{Shape, restore, shown},
    error::ApiError,
    extract::Named,
    openapi::{Operation, Routes},
    query::query,
};
use crate::{
    config::{Code, Document, Origin, Place, Problem, Unusable, Version, is_key, spec::Direction},
    provider::{Entry, Error, Id},
};

pub(super) fn routes(direction: Direction) -> Routes {
    let (one, all) = (direction.name(), kind(direction));
    let path = format!("/{all}/{{key}}/configs");
    let created = read(
        format!("create_{one}_config"),
        all,
        "Stores a version; the first also starts the connector",
    )
    .takes::<Map<String, Value>>()
    .answers::<Shape>(StatusCode::OK, "the document as it is stored")
    .refuses(
        StatusCode::CONFLICT,
        "somebody else changes it, or its key is taken",
    )
    .refuses(
        StatusCode::UNPROCESSABLE_ENTITY,
        "everything that is wrong with the document",
    );
    let deleted = read(
        format!("delete_{one}_config"),
        all,
        "Deletes a version, or the connector",
    )
    .query(
        "version",
        "which; without it the connector with all its versions",
        json!({ "type": "integer", "minimum": 0 }),
    )
    .does("it is gone")
    .refuses(StatusCode::CONFLICT, "this version is the active one");
    Routes::default()
        .post(
            &path,
            move |api, key, body| create(direction, api, key, body),
            created,
        )
        .delete(
            &path,
            move |api, key, uri| delete(direction, api, key, uri),
            deleted,
        )
}

/// The check of a document, whatever it is of.
pub(super) fn validation() -> Routes {
    let checked = Operation::new(
        "validate",
        "daemon",
        "Checks a connector's document and does nothing else",
    )
    .takes::<Map<String, Value>>()
    .answers::<Valid>(StatusCode::OK, "it could be stored and run")
    .refuses(
        StatusCode::UNPROCESSABLE_ENTITY,
        "everything that is wrong with the document",
    )
    .refuses(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the versions cannot be read",
    )
    .refuses(
        StatusCode::BAD_GATEWAY,
        "the configuration service does not do it",
    )
    .refuses(
        StatusCode::SERVICE_UNAVAILABLE,
        "the configuration service does not answer",
    );
    Routes::default().post("/validate", validate, checked)
}

/// Nothing is wrong with a document.
#[derive(Serialize, JsonSchema)]
struct Valid {
    #[schemars(extend("const" = "valid"))]
    status: &'static str,
}

/// Answers with the stored document. The first version of a connector also starts it.
async fn create(
    direction: Direction,
    State(api): State<Api>,
    Named(key): Named<String>,
    Table(mut body): Table,
) -> Result<Json<Value>, ApiError> {
    let id = id(direction, &key, &api)?;
    // The history gives the number.
    body.shift_remove("version");
    api.whole(|api| async move {
        let version = checked(&api, &id, body).await?;
        let created = api.provider.create(&id, version.document).await;
        let entry = created.map_err(|error| api.failed(&error))?;
        begin(&api, &id, &entry)?;
        Ok(Json(shown(&api, &entry).await))
    })
    .await
}

/// Starts a connector that there was not, as the next start of the daemon would.
pub(super) fn begin(api: &Api, id: &Id, entry: &Entry) -> Result<(), ApiError> {
    if api.connectors.find(id.direction(), id.key()).is_some() {
        return Ok(());
    }
    let Version { spec, problems, .. } = &entry.version;
    let added = match problems.as_slice() {
        [] => api.connectors.add(spec.clone()),
        [first, ..] => api.connectors.add_unusable(Unusable {
            spec: spec.clone(),
            reason: first.to_string(),
        }),
    };
    let is_there = api.connectors.find(id.direction(), id.key());
    if is_there.is_some_and(|handle| handle.spec().version == spec.version) {
        // Whoever looks for changes of the versions may have been first.
        return Ok(());
    }
    added.map(|_handle| ()).map_err(|taken| {
        ApiError::Conflict(format!(
            "the version is stored, and is not started: {taken}"
        ))
    })
}

async fn delete(
    direction: Direction,
    State(api): State<Api>,
    Named(key): Named<String>,
    uri: Uri,
) -> Result<StatusCode, ApiError> {
    let [version] = query(&uri, ["version"])?;
    let version = version.map(number).transpose()?;
    let id = id(direction, &key, &api)?;
    api.whole(|api| async move {
        if let Some(version) = version {
            not_running(&api, &id, version)?;
        }
        let deleted = api.provider.delete(&id, version).await;
        deleted.map_err(|error| api.failed(&error))?;
        if version.is_none() {
            let removed = api.connectors.remove(id.direction(), id.key()).await;
            removed.map_err(|failure| ApiError::NotSaved(failure.to_string()))?;
        }
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// A version that was created and not activated is the active one of the next start; the one that runs until then must stay too.
fn not_running(api: &Api, id: &Id, version: u32) -> Result<(), ApiError> {
    let handle = api.connectors.find(id.direction(), id.key());
    match handle.filter(|handle| handle.spec().version == version) {
        Some(_) => Err(ApiError::Conflict(format!(
            "version {version} of {id} is the one that it has now: activate another first"
        ))),
        _ => Ok(()),
    }
}

const UNKNOWN: &str = "it is not said whose document this is";

/// Checks a connector and does nothing else.
async fn validate(State(api): State<Api>, Table(body): Table) -> Result<Json<Valid>, ApiError> {
    let direction = body.get("type").and_then(Value::as_str);
    let direction = match direction {
        Some("sink") => Ok(Direction::Sink),
        Some("source") => Ok(Direction::Source),
        _ => Err(problem("type", UNKNOWN, "write \"sink\" or \"source\"")),
    };
    let key = body.get("key").and_then(Value::as_str);
    let key = key.filter(|key| is_key(key)).ok_or_else(|| {
        problem(
            "key",
            UNKNOWN,
            "give it 1 to 128 of the letters a-z, 0-9, `_` and `-`",
        )
    });
    let (direction, key) = match (direction, key) {
        (Ok(direction), Ok(key)) => (direction, key),
        (direction, key) => {
            let problems = direction.err().into_iter().chain(key.err());
            return Err(ApiError::Problems(problems.collect()));
        }
    };
    checked(&api, &id(direction, key, &api)?, body).await?;
    Ok(Json(Valid { status: "valid" }))
}

/// Something that is wrong with a body, and nothing else.
pub(super) fn problem(key: &str, reason: &str, remedy: &str) -> Problem {
    Problem {
        origin: Origin::File {
            path: Place::Given.to_string().into(),
            line: None,
        },
        key: key.to_owned(),
        code: Code::Invalid,
        reason: reason.to_owned(),
        remedy: Some(remedy.to_owned()),
    }
}

/// The document as a version that could be stored and run, with the values that it leaves to the active version.
async fn checked(api: &Api, id: &Id, body: Map<String, Value>) -> Result<Version, ApiError> {
    let active = match api.provider.active(id).await {
        Ok(entry) => Some(entry.version),
        Err(Error::NotFound(_)) => None,
        Err(error) => return Err(api.failed(&error)),
    };
    let values = restore(body, active.as_ref()).map_err(ApiError::Problems)?;
    let (reader, of) = (api.reader.clone(), id.clone());
    let read = tokio::task::spawn_blocking(move || {
        let document = Document::of_json(values);
        reader.document(of.direction(), of.key(), document, Place::Given)
    });
    // References to files are followed there.
    let mut version = read
        .await
        .map_err(|error| ApiError::Storage(error.to_string()))?;
    let mut problems = std::mem::take(&mut version.problems);
    if !version.spec.path.is_empty() {
        let of_plugin = api.connectors.check(&version.spec).await;
        problems.extend(of_plugin.err().into_iter().flatten());
    }
    match problems.is_empty() {
        true => Ok(version),
        false => Err(ApiError::Problems(problems)),
    }
}
