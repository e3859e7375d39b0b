//! `/{kind}/{key}/offsets`: where a connector stands, and how it goes on elsewhere.

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
    change::problem,
    connectors::{find, kind, of_one},
    dto::micros,
    error::ApiError,
    extract::Named,
    openapi::{Operation, Routes},
    query::{flag, query, whole},
};
use crate::{
    config::{
        Secrets,
        spec::{Direction, StartFrom},
    },
    supervisor::{self, Manner, Move, NotReset, Reset, Saved, Selection, Standing},
};

/// What a body may say.
const KEYS: [&str; 4] = ["to", "stream", "topic", "partition"];

/// Where a sink stands.
#[derive(Serialize, JsonSchema)]
struct SinkOffsets {
    /// Of all partitions.
    lag: u64,
    /// Of every topic that is there, in the order of the configuration.
    partitions: Vec<PartitionOffsets>,
}

/// Where a sink stands in one partition.
#[derive(Serialize, JsonSchema)]
struct PartitionOffsets {
    #[serde(flatten)]
    place: Place,
    /// The offset that the group has stored: that of the last message that is settled. Null when nothing is stored.
    committed: Option<u64>,
    /// The offset of the last message. Null when there never was one.
    head: Option<u64>,
    /// Messages that are there and not settled.
    lag: u64,
}

/// A partition as a group reads it.
#[derive(Serialize, JsonSchema)]
struct Place {
    stream: String,
    topic: String,
    consumer_group: String,
    partition: u32,
}

/// What a source has saved. Nulls when it has saved nothing, or when that was reset.
#[derive(Serialize, JsonSchema)]
struct SourceOffsets {
    /// Rises by one with every save.
    version: Option<u64>,
    /// In bytes.
    size: Option<u64>,
    /// In µs since the epoch.
    saved_at: Option<u64>,
}

/// Where a sink is to go on.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Wanted {
    /// As in `start_from`. `first`: with the first message that is there. `last`: with the last one, which comes once more. `next`:
    /// behind it. `offset:42`: with that one, or with the first or behind the last message where it lies outside of what is there.
    /// `timestamp:2026-01-31T12:00:00Z`: with the first message that Iggy took in at that time or later, behind the last one when
    /// there is none.
    #[schemars(extend("examples" = ["first", "last", "next", "offset:42", "timestamp:2026-01-31T12:00:00Z"]))]
    to: String,
    /// Only topics of this stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    /// Only topics of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    /// Only this partition of each.
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<u32>,
}

/// What a reset does, or would do.
#[derive(Serialize, JsonSchema)]
struct ResetDone {
    /// Whether nothing was changed.
    dry_run: bool,
    /// Messages that are read again, of all partitions.
    replayed: u64,
    /// Messages that are not read, of all partitions.
    skipped: u64,
    partitions: Vec<PartitionMove>,
}

/// What a reset does to one partition.
#[derive(Serialize, JsonSchema)]
struct PartitionMove {
    #[serde(flatten)]
    place: Place,
    /// The offset of the next message to be read, before the reset.
    from: u64,
    /// The same afterwards.
    to: u64,
    replayed: u64,
    skipped: u64,
}

pub(super) fn routes(direction: Direction) -> Routes {
    let path = format!("/{}/{{key}}/offsets", kind(direction));
    match direction {
        Direction::Sink => of_sinks(&path),
        Direction::Source => of_sources(&path),
    }
}

fn of_sinks(path: &str) -> Routes {
    let all = kind(Direction::Sink);
    let shown = of_one(
        "get_sink_offsets".to_owned(),
        all,
        "Shows where a sink stands in each partition, as Iggy says it now",
    )
    .answers::<SinkOffsets>(StatusCode::OK, "as it is now")
    .refuses(StatusCode::SERVICE_UNAVAILABLE, "Iggy does not answer");
    let moved = at_rest(of_one(
        "reset_sink_offsets".to_owned(),
        all,
        "Has a sink that is paused or stopped go on elsewhere",
    ))
    .takes::<Wanted>()
    .refuses(
        StatusCode::UNPROCESSABLE_ENTITY,
        "there is no such place, topic or partition",
    );
    let forgotten = at_rest(of_one(
        "forget_sink_offsets".to_owned(),
        all,
        "Has a sink that is paused or stopped begin as its start_from says, as if it had never run",
    ));
    Routes::default()
        .get(path, sink, shown)
        .put(path, move_sink, moved)
        .delete(path, forget_sink, forgotten)
}

/// What both ways to reset a sink have.
fn at_rest(operation: Operation) -> Operation {
    operation
        .query(
            "dry_run",
            "`true`: says what would be done, and does nothing",
            json!({ "type": "boolean", "default": false }),
        )
        .answers::<ResetDone>(StatusCode::OK, "what was done to each partition")
        .refuses(
            StatusCode::CONFLICT,
            "it is neither paused nor stopped, or something else reads in its group",
        )
        .refuses(
            StatusCode::INTERNAL_SERVER_ERROR,
            "what it has saved cannot be read or written",
        )
        .refuses(
            StatusCode::SERVICE_UNAVAILABLE,
            "Iggy does not answer, or the daemon stops",
        )
}

fn of_sources(path: &str) -> Routes {
    let all = kind(Direction::Source);
    let shown = of_one(
        "get_source_offsets".to_owned(),
        all,
        "Shows what a source has saved",
    )
    .answers::<SourceOffsets>(StatusCode::OK, "as it is now")
    .refuses(StatusCode::INTERNAL_SERVER_ERROR, "it cannot be read");
    let forgotten = of_one(
        "forget_source_offsets".to_owned(),
        all,
        "Has a source that is paused or stopped start over with an empty state",
    )
    .does(
        "its state is deleted; a paused one's plugin is closed, and opened anew when it is resumed",
    )
    .refuses(StatusCode::CONFLICT, "it is neither paused nor stopped")
    .refuses(StatusCode::INTERNAL_SERVER_ERROR, "it cannot be deleted")
    .refuses(
        StatusCode::SERVICE_UNAVAILABLE,
        "the connector is being removed, or the daemon stops",
    );
    Routes::default()
        .get(path, source, shown)
        .delete(path, forget_source, forgotten)
}

async fn sink(
    State(api): State<Api>,
    Named(key): Named<String>,
) -> Result<Json<SinkOffsets>, ApiError> {
    let handle = find(Direction::Sink, &api, &key)?;
    let standings = api.connectors.standings(&handle).await;
    let standings = standings.map_err(|failure| {
        let reason = api.secrets.hide(&failure.to_string()).into_owned();
        ApiError::Unavailable(reason)
    })?;
    let partitions = standings.iter();
    Ok(Json(SinkOffsets {
        lag: standings.iter().map(|standing| standing.lag).sum(),
        partitions: partitions
            .map(|standing| PartitionOffsets::of(standing, &api.secrets))
            .collect(),
    }))
}

async fn source(
    State(api): State<Api>,
    Named(key): Named<String>,
) -> Result<Json<SourceOffsets>, ApiError> {
    let handle = find(Direction::Source, &api, &key)?;
    let saved = api.connectors.saved(&handle).await;
    let saved = saved.map_err(|failure| ApiError::Storage(failure.to_string()))?;
    Ok(Json(saved.into()))
}

async fn move_sink(
    State(api): State<Api>,
    Named(key): Named<String>,
    uri: Uri,
    Table(body): Table,
) -> Result<Json<ResetDone>, ApiError> {
    let manner = manner(&uri)?;
    let reset = wanted(&body)?;
    reset_sink(&api, &key, reset, manner).await
}

async fn forget_sink(
    State(api): State<Api>,
    Named(key): Named<String>,
    uri: Uri,
) -> Result<Json<ResetDone>, ApiError> {
    let manner = manner(&uri)?;
    reset_sink(&api, &key, Reset::Forget, manner).await
}

async fn forget_source(
    State(api): State<Api>,
    Named(key): Named<String>,
    uri: Uri,
) -> Result<StatusCode, ApiError> {
    // Whoever asks for a dry run, which there is none of, must not lose the state.
    let [] = query(&uri, [])?;
    let handle = find(Direction::Source, &api, &key)?;
    let done = handle.reset(Reset::Forget, Manner::Real).await;
    done.map_err(|error| not_reset(&api, &error))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn reset_sink(
    api: &Api,
    key: &str,
    reset: Reset,
    manner: Manner,
) -> Result<Json<ResetDone>, ApiError> {
    let handle = find(Direction::Sink, api, key)?;
    let done = handle.reset(reset, manner).await;
    let moves = done.map_err(|error| not_reset(api, &error))?;
    Ok(Json(ResetDone {
        dry_run: manner == Manner::DryRun,
        replayed: moves.iter().map(Move::replayed).sum(),
        skipped: moves.iter().map(Move::skipped).sum(),
        partitions: moves
            .iter()
            .map(|one| PartitionMove::of(one, &api.secrets))
            .collect(),
    }))
}

fn not_reset(api: &Api, error: &NotReset) -> ApiError {
    let reason = api.secrets.hide(&error.to_string()).into_owned();
    match error {
        NotReset::AtWork(_) | NotReset::Busy | NotReset::Unusable(_) | NotReset::InUse(_) => {
            ApiError::Conflict(reason)
        }
        NotReset::Ending => ApiError::Ending(reason),
        NotReset::Unknown(_) => ApiError::Problems(vec![problem(
            "topic",
            &reason,
            "name one of these, or none",
        )]),
        NotReset::Unreachable(_) => ApiError::Unavailable(reason),
        NotReset::State(_) => ApiError::Storage(reason),
    }
}

fn manner(uri: &Uri) -> Result<Manner, ApiError> {
    let [dry_run] = query(uri, ["dry_run"])?;
    Ok(match flag("dry_run", dry_run)? {
        Some(true) => Manner::DryRun,
        _ => Manner::Real,
    })
}

/// Where to, and of which partitions.
fn wanted(body: &Map<String, Value>) -> Result<Reset, ApiError> {
    let text = |key: &str| match body.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(not_wanted()),
    };
    let to = text("to")?.ok_or_else(not_wanted)?;
    let partition = match body.get("partition") {
        None | Some(Value::Null) => None,
        Some(number) => Some(
            whole(number)
                .and_then(|number| u32::try_from(number).ok())
                .ok_or_else(not_wanted)?,
        ),
    };
    let selection = Selection {
        stream: text("stream")?,
        topic: text("topic")?,
        partition,
    };
    if body.keys().any(|key| !KEYS.contains(&key.as_str())) {
        return Err(not_wanted());
    }
    let to = StartFrom::parse(&to)
        .map_err(|reason| ApiError::Problems(vec![problem("to", &reason, "say where to go on")]))?;
    Ok(Reset::To(to, selection))
}

fn not_wanted() -> ApiError {
    let reason = "the body is `{\"to\": \"first\"}`, or another place as in `start_from`, and for some partitions only in addition the texts \
                  `stream` and `topic` and the number `partition`";
    ApiError::Invalid(reason.to_owned())
}

impl Place {
    fn of(place: &supervisor::Place, secrets: &Secrets) -> Self {
        let shown = |name: &str| secrets.hide(name).into_owned();
        Self {
            stream: shown(&place.topic.stream),
            topic: shown(&place.topic.topic),
            consumer_group: shown(&place.group),
            partition: place.partition,
        }
    }
}

impl PartitionOffsets {
    fn of(standing: &Standing, secrets: &Secrets) -> Self {
        Self {
            place: Place::of(&standing.place, secrets),
            committed: standing.committed,
            head: standing.head,
            lag: standing.lag,
        }
    }
}

impl PartitionMove {
    fn of(one: &Move, secrets: &Secrets) -> Self {
        Self {
            place: Place::of(&one.place, secrets),
            from: one.from,
            to: one.to,
            replayed: one.replayed(),
            skipped: one.skipped(),
        }
    }
}

impl From<Option<Saved>> for SourceOffsets {
    fn from(saved: Option<Saved>) -> Self {
        Self {
            version: saved.map(|saved| saved.version),
            size: saved.map(|saved| saved.size),
            saved_at: saved.map(|saved| micros(saved.at)),
        }
    }
}
