//! `PUT /{kind}/{key}/configs/active`: another version in the place of the one that runs, or everything as it was.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{Method, StatusCode, Uri},
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout_at};

use super::{
    Api,
    body::Table,
    change::begin,
    choices::{self, Sending, Undone},
    configs::{id, read},
    connectors::kind,
    document::{Shape, shown},
    error::ApiError,
    extract::Named,
    openapi::Routes,
    query::{flag, query, whole},
};
use crate::{
    config::spec::{Connector, Direction},
    provider::{Entry, Id},
    supervisor::{Budget, Handle, NotActivated, Phase},
};

pub(super) fn routes(direction: Direction) -> Routes {
    let (one, all) = (direction.name(), kind(direction));
    let activated = read(
        format!("activate_{one}_config"),
        all,
        "Puts a version in the place of the one that runs, or leaves everything as it was",
    )
    .query(
        "restart",
        "`false`: the choice is recorded, and the next restart of the connector or start of the daemon follows it. Where \
         connectors.poll_interval is set, it is followed, too, once the connector was stopped by command, or something else about it changes",
        json!({ "type": "boolean", "default": true }),
    )
    .takes::<Wanted>()
    .answers::<Shape>(StatusCode::OK, "the version, which is the active one")
    .refuses(
        StatusCode::CONFLICT,
        "its plugin has not opened or what ran has not ended in time, or another is being activated; what ran runs",
    )
    .refuses(
        StatusCode::UNPROCESSABLE_ENTITY,
        "everything that is wrong with the version; what ran runs",
    );
    Routes::default().route(
        Method::PUT,
        &format!("/{all}/{{key}}/configs/active"),
        move |api, key, uri, body| activate(direction, api, key, uri, body),
        activated,
    )
}

/// What is asked for.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Wanted {
    #[schemars(range(max = 4_294_967_295_u32))]
    version: u32,
}

/// Answers with the version when it is the active one; with `?restart=false` the connector goes on with the one that it has.
async fn activate(
    direction: Direction,
    State(api): State<Api>,
    Named(key): Named<String>,
    uri: Uri,
    Table(body): Table,
) -> Result<Json<Value>, ApiError> {
    let [restart] = query(&uri, ["restart"])?;
    let restarts = flag("restart", restart)?.unwrap_or(true);
    let version = wanted(&body)?;
    let (asked, id) = (Instant::now(), id(direction, &key, &api)?);
    api.whole(|api| async move {
        let entry = found(&api, &id, version, asked).await?;
        match restarts {
            true => swap(&api, &id, &entry, asked).await?,
            false => record(&api, &id, &entry.version.spec).await?,
        }
        let active = Entry {
            active: true,
            ..entry
        };
        Ok(Json(shown(&api, &active).await))
    })
    .await
}

fn wanted(body: &Map<String, Value>) -> Result<u32, ApiError> {
    let version = body.get("version").and_then(whole);
    let version = version.and_then(|version| u32::try_from(version).ok());
    match (version, body.len()) {
        (Some(version), 1) => Ok(version),
        _ => Err(ApiError::Invalid(
            "the body is `{\"version\": n}` with the number of a version, and nothing else"
                .to_owned(),
        )),
    }
}

/// The version that is asked for, in the time that what runs has to give way to it.
async fn found(api: &Api, id: &Id, version: u32, asked: Instant) -> Result<Entry, ApiError> {
    let finding = api.provider.version(id, version);
    let found = match api.connectors.find(id.direction(), id.key()) {
        None => finding.await,
        Some(handle) => {
            let deadlines = handle.spec().deadlines;
            let budget = Budget::new(asked, &deadlines, &deadlines);
            let found = timeout_at(budget.replies(), finding).await;
            found.map_err(|_| {
                let time = budget.in_words();
                ApiError::Unavailable(format!(
                    "version {version} could not be read in time: an activation has {time}"
                ))
            })?
        }
    };
    found.map_err(|error| api.failed(&error))
}

async fn record(api: &Api, id: &Id, spec: &Connector) -> Result<(), ApiError> {
    let recorded = choices::record(api, id, spec).await;
    recorded.map_err(|error| api.failed(&error))
}

/// Checks the version, and has the connector take it.
async fn swap(api: &Api, id: &Id, entry: &Entry, asked: Instant) -> Result<(), ApiError> {
    let spec = &entry.version.spec;
    if !entry.version.problems.is_empty() {
        return Err(ApiError::Problems(entry.version.problems.clone()));
    }
    let checking = api.connectors.check(spec);
    let Some(handle) = api.connectors.find(id.direction(), id.key()) else {
        // Its files have come since the daemon was started.
        checking.await.map_err(ApiError::Problems)?;
        record(api, id, spec).await?;
        return begin(api, id, entry);
    };
    let budget = Budget::new(asked, &handle.spec().deadlines, &spec.deadlines);
    match timeout_at(budget.ready(), checking).await {
        Ok(checked) => checked.map_err(ApiError::Problems)?,
        Err(_) => {
            return Err(not_activated(
                api,
                &handle,
                &Phase::Check.late(&budget),
                true,
            ));
        }
    }
    let runs = handle.spec().version;
    let decision = handle.decide();
    let choice = api.choices.of(id);
    let (before, sending) = (choice.last(), Arc::new(Sending::default()));
    let recorded = {
        let (api, id, version) = (api.clone(), id.clone(), spec.version);
        let (choice, sending) = (choice.clone(), sending.clone());
        async move {
            let Some(number) = sending.begin(&choice) else {
                return Err("it was given up before it was recorded".to_owned());
            };
            let recorded = choices::record_as(&api, &id, version, number).await;
            recorded.map_err(|error| error.to_string())
        }
    };
    let activated = handle.activate_within(budget, spec.clone(), recorded).await;
    let Err(error) = activated else { return Ok(()) };
    let (sent, id) = (sending.give_up(), id.clone());
    let number = sent.unwrap_or(before);
    let undone = Undone {
        id,
        failed: spec.version,
        runs,
        was_sent: sent.is_some(),
        number,
    };
    if undone.failed == undone.runs || matches!(error, NotActivated::Busy) {
        return Err(not_activated(api, &handle, &error, true));
    }
    let is_settled = settled(api, undone, budget).await;
    // It may be the choice until that is taken back. What somebody else has chosen since holds.
    decision.ends_with_if(spec.clone(), || choice.last() == number);
    Err(not_activated(api, &handle, &error, is_settled))
}

/// A version that was not activated may be recorded all the same: that is taken back. Says whether it is done in time; it is gone on with
/// in any case.
async fn settled(api: &Api, undone: Undone, budget: Budget) -> bool {
    let settling = choices::take_back(api, undone);
    timeout_at(budget.settled(), settling).await.is_ok()
}

fn not_activated(api: &Api, handle: &Handle, error: &NotActivated, is_settled: bool) -> ApiError {
    let version = handle.spec().version;
    let reason = api.secrets.hide(&error.to_string()).into_owned();
    let doubt = match is_settled {
        true => "",
        false => {
            "; it may be recorded as the active one all the same, until the one that stays can be recorded again, which is being tried"
        }
    };
    let reason = format!("version {version} stays: {reason}{doubt}");
    ApiError::of_activation(error, reason)
}
