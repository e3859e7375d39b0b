//! `PUT /{kind}/{key}/configs/active`: another version in the place of the one that runs, or everything as it was.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Json,
    extract::State,
    http::{Method, StatusCode, Uri},
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::{
    Api,
    body::Table,
    change::begin,
    choices::{self, Undone},
    configs::{id, read},
    connectors::kind,
    document::{Shape, shown},
    error::ApiError,
    extract::Named,
    openapi::Routes,
    query::{flag, query, whole},
};
use crate::{
    config::spec::Direction,
    provider::{Entry, Id},
    supervisor::{Handle, NotActivated},
};

/// How long an answer waits until a choice that failed is taken back. It is taken back later too.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) fn routes(direction: Direction) -> Routes {
    let (one, all) = (direction.name(), kind(direction));
    let activated = read(
        format!("activate_{one}_config"),
        all,
        "Puts a version in the place of the one that runs, or leaves everything as it was",
    )
    .query(
        "restart",
        "`false`: the choice is recorded, and the next start of the daemon follows it, or the next look for changes where \
         connectors.poll_interval is set",
        json!({ "type": "boolean", "default": true }),
    )
    .takes::<Wanted>()
    .answers::<Shape>(StatusCode::OK, "the version, which is the active one")
    .refuses(
        StatusCode::CONFLICT,
        "its plugin has not opened, or another is being activated; what ran runs",
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

/// Answers with the version when it is the active one; with `?restart=false` it is from the next start of the daemon.
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
    let id = id(direction, &key, &api)?;
    api.whole(|api| async move {
        let entry = api.provider.version(&id, version).await;
        let entry = entry.map_err(|error| api.failed(&error))?;
        match restarts {
            true => swap(&api, &id, &entry).await?,
            false => record(&api, &id, version).await?,
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

async fn record(api: &Api, id: &Id, version: u32) -> Result<(), ApiError> {
    let recorded = choices::record(api, id, version).await;
    recorded.map_err(|error| api.failed(&error))
}

/// Checks the version, and has the connector take it.
async fn swap(api: &Api, id: &Id, entry: &Entry) -> Result<(), ApiError> {
    let spec = &entry.version.spec;
    let mut problems = entry.version.problems.clone();
    if problems.is_empty() {
        problems.extend(api.connectors.check(spec).await.err().into_iter().flatten());
    }
    if !problems.is_empty() {
        return Err(ApiError::Problems(problems));
    }
    let Some(handle) = api.connectors.find(id.direction(), id.key()) else {
        // Its files have come since the daemon was started.
        record(api, id, spec.version).await?;
        return begin(api, id, entry);
    };
    let runs = handle.spec().version;
    let choice = api.choices.of(id);
    let (before, sent) = (choice.last(), Arc::new(OnceLock::new()));
    let recorded = {
        let (api, id, version, sent) = (api.clone(), id.clone(), spec.version, sent.clone());
        async move {
            let number = *sent.get_or_init(|| choice.next());
            let recorded = choices::record_as(&api, &id, version, number).await;
            recorded.map_err(|error| error.to_string())
        }
    };
    let activated = handle.activate(spec.clone(), recorded).await;
    let Err(error) = activated else { return Ok(()) };
    let undone = Undone {
        id: id.clone(),
        failed: spec.version,
        runs,
        was_sent: sent.get().is_some(),
        number: sent.get().copied().unwrap_or(before),
    };
    let is_settled = settled(api, undone, &error).await;
    Err(not_activated(api, &handle, &error, is_settled))
}

/// A version that was not activated may be recorded all the same: that is taken back. Says whether it is done; what is not is gone on
/// with.
async fn settled(api: &Api, undone: Undone, error: &NotActivated) -> bool {
    if undone.failed == undone.runs || matches!(error, NotActivated::Busy) {
        return true;
    }
    let settling = tokio::spawn(choices::take_back(api.clone(), undone));
    timeout(SETTLE_TIMEOUT, settling).await.is_ok()
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
