//! `/sinks` and `/sources`: the same routes over connectors of one direction.

use axum::{Json, extract::State, http::StatusCode};
use serde_json::Value;

use super::{
    Api, activation, change, configs,
    dto::{Connector, Details, hidden, shown},
    error::ApiError,
    extract::Named,
    offsets,
    openapi::{Operation, Routes},
    restart,
};
use crate::{
    config::spec::Direction,
    supervisor::{Handle, Refused, Request},
};

/// The last segment of a command's route, what it asks for, and what it says it does.
const COMMANDS: [(&str, Request, &str); 5] = [
    (
        "restart",
        Request::Restart,
        "Closes the plugin, if it is open, and opens it again, with the active version if it has another",
    ),
    (
        "pause",
        Request::Pause,
        "Lets nothing move; the plugin stays open",
    ),
    ("resume", Request::Resume, "Goes on after a pause"),
    ("stop", Request::Stop, "Closes the plugin"),
    ("start", Request::Start, "Runs it, if it does not"),
];

pub(super) fn routes(direction: Direction) -> Routes {
    let (one, all) = (direction.name(), kind(direction));
    let listed = Operation::new(
        format!("list_{all}"),
        all,
        "Lists the connectors, disabled ones too",
    )
    .answers::<Vec<Connector>>(StatusCode::OK, "ordered by key");
    let detailed = of_one(
        format!("get_{one}"),
        all,
        "Shows a connector with its streams",
    )
    .answers::<Details>(StatusCode::OK, "as it is now");
    let read = Routes::default()
        .get(&format!("/{all}"), move |api| list(direction, api), listed)
        .get(
            &format!("/{all}/{{key}}"),
            move |api, key| details(direction, api, key),
            detailed,
        )
        .merge(configs::routes(direction))
        .merge(change::routes(direction))
        .merge(activation::routes(direction))
        .merge(offsets::routes(direction));
    COMMANDS
        .into_iter()
        .fold(read, |routes, (name, request, summary)| {
            routes.post(
                &format!("/{all}/{{key}}/{name}"),
                move |api, key| command(direction, request, api, key),
                commanded(format!("{name}_{one}"), all, summary, request),
            )
        })
}

/// The first segment of the routes of connectors of that direction.
pub(super) const fn kind(direction: Direction) -> &'static str {
    match direction {
        Direction::Sink => "sinks",
        Direction::Source => "sources",
    }
}

/// An operation on one connector.
pub(super) fn of_one(id: String, tag: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, tag, summary)
        .refuses(
            StatusCode::BAD_REQUEST,
            "the key in the path cannot be read",
        )
        .refuses(StatusCode::NOT_FOUND, "no connector has this key")
}

fn commanded(id: String, tag: &'static str, summary: &'static str, request: Request) -> Operation {
    let commanded = of_one(id, tag, summary)
        .answers::<Connector>(StatusCode::ACCEPTED, "it is being done")
        .refuses(
            StatusCode::INTERNAL_SERVER_ERROR,
            "it is being done, but will not survive a restart of the daemon",
        )
        .refuses(
            StatusCode::SERVICE_UNAVAILABLE,
            "the connector is being removed, or the daemon stops",
        );
    match request {
        Request::Pause | Request::Resume => {
            commanded.refuses(StatusCode::CONFLICT, "it is stopped")
        }
        Request::Restart | Request::Stop | Request::Start => commanded,
    }
}

async fn list(direction: Direction, State(api): State<Api>) -> Json<Vec<Value>> {
    let all = api.connectors.all();
    let of_direction = all.iter().filter(|handle| handle.direction == direction);
    Json(of_direction.map(shown::<Connector>).collect())
}

async fn details(
    direction: Direction,
    State(api): State<Api>,
    Named(key): Named<String>,
) -> Result<Json<Value>, ApiError> {
    let handle = find(direction, &api, &key)?;
    Ok(Json(shown::<Details>(&handle)))
}

/// Answers when the command is accepted and saved; it is carried out meanwhile.
async fn command(
    direction: Direction,
    request: Request,
    State(api): State<Api>,
    Named(key): Named<String>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let handle = find(direction, &api, &key)?;
    api.whole(move |api| async move {
        let asked = handle.request(request).await;
        // Also what cannot be saved is done.
        let is_done = matches!(asked, Ok(_) | Err(Refused::NotSaved(_)));
        if is_done && request == Request::Restart {
            tokio::spawn(restart::take_active(api, handle.clone()));
        }
        let answer = Connector::of(&handle, asked?);
        Ok((StatusCode::ACCEPTED, Json(hidden(&handle, &answer))))
    })
    .await
}

pub(super) fn find(direction: Direction, api: &Api, key: &str) -> Result<Handle, ApiError> {
    let found = api.connectors.find(direction, key);
    found.ok_or_else(|| ApiError::NotFound(format!("no {} has the key {key}", direction.name())))
}
