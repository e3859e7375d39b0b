//! Applies what changes about connectors while the daemon runs: [`follow`], which `app` starts when `connectors.poll_interval` is set.
//!
//! A changed version takes its connector's place as one that is activated over the API does, or nothing changes and the connector shows why.

use std::{collections::BTreeSet, future::ready, time::Duration};

use futures_util::future::join_all;
use tracing::{error, info, warn};

use crate::{
    config::{Guarded, Problems, Unusable, spec::Connector},
    provider::{Change, Id, News, Wanted, Watch},
    supervisor::{Handle, NotActivated, Status, Supervisor},
};

/// The wait while somebody else activates or removes a connector, which its deadlines bound.
const PAUSE: Duration = Duration::from_millis(200);

/// Ends when it is dropped. What it has begun by then is carried out by the connectors themselves.
pub(super) async fn follow(mut watch: Watch, connectors: Supervisor) {
    loop {
        let changes = watch.changed().await;
        for Change { id, version, news } in &changes {
            info!(connector = %id, version, news = news.name(), "connectors have changed");
        }
        let (unreadable, changed) = sorted(changes);
        for (id, reason) in unreadable {
            refuse(&connectors, &id, reason).await;
        }
        let applied = changed.iter().map(|id| {
            let wanted = watch.wanted(id);
            apply(&connectors, id, wanted)
        });
        // None waits for another: one plugin may take long to open.
        join_all(applied).await;
    }
}

/// Connectors whose versions cannot be read any more, and those that are to become something else, each once.
fn sorted(changes: Vec<Change>) -> (Vec<(Id, String)>, BTreeSet<Id>) {
    let (mut unreadable, mut changed) = (vec![], BTreeSet::new());
    for Change { id, news, .. } in changes {
        match news {
            News::Unreadable(reason) => unreadable.push((id, reason)),
            _ => {
                changed.insert(id);
            }
        }
    }
    (unreadable, changed)
}

async fn apply(connectors: &Supervisor, id: &Id, wanted: Wanted) {
    match wanted {
        Wanted::Usable(spec) => take(connectors, id, &spec).await,
        Wanted::Unusable(unusable) => show(connectors, id, *unusable).await,
        Wanted::Nothing => remove(connectors, id).await,
    }
}

/// Has the connector become what `spec` says.
async fn take(connectors: &Supervisor, id: &Id, spec: &Connector) {
    loop {
        let Some(handle) = connectors.find(id.direction(), id.key()) else {
            match connectors.add(spec.clone()) {
                Ok(_) => return,
                // It is being removed, or came over the API just now.
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
            continue;
        };
        if is_already(&handle, spec) {
            return;
        }
        if let Err(problems) = connectors.check(spec).await {
            let reason = Problems(problems).in_lines();
            return refuse(connectors, id, unchanged(spec.version, &reason)).await;
        }
        // It is chosen already.
        match handle.activate(spec.clone(), ready(Ok(()))).await {
            Ok(_) => return,
            Err(NotActivated::Busy | NotActivated::Ending) => tokio::time::sleep(PAUSE).await,
            Err(error @ NotActivated::Undone { .. }) => {
                let reason = unchanged(spec.version, &error.to_string());
                return refuse(connectors, id, reason).await;
            }
        }
    }
}

/// Whether the connector is what `spec` says, for instance because it was activated over the API. One that has failed begins anew.
fn is_already(handle: &Handle, spec: &Connector) -> bool {
    let is = handle.spec();
    // Transforms have an order, which a comparison of tables would not see.
    let text = |written: &Guarded| written.expose().to_string();
    handle.snapshot().status != Status::Error
        && is.version == spec.version
        && is.origin.parent() == spec.origin.parent()
        && text(&is.written) == text(&spec.written)
}

/// What cannot be used is listed with its reason, or, where something runs, goes on beside it.
async fn show(connectors: &Supervisor, id: &Id, unusable: Unusable) {
    let reason = unchanged(unusable.spec.version, &unusable.reason);
    if connectors.find(id.direction(), id.key()).is_none()
        && connectors.add_unusable(unusable).is_ok()
    {
        return;
    }
    refuse(connectors, id, reason).await;
}

fn unchanged(version: u32, reason: &str) -> String {
    format!("version {version} has changed and is not activated: {reason}")
}

async fn refuse(connectors: &Supervisor, id: &Id, reason: String) {
    warn!(connector = %id, %reason, "the change is not applied");
    if let Some(handle) = connectors.find(id.direction(), id.key()) {
        handle.note(reason).await;
    }
}

async fn remove(connectors: &Supervisor, id: &Id) {
    match connectors.remove(id.direction(), id.key()).await {
        Ok(_) => info!(connector = %id, "connector removed"),
        Err(failure) => {
            error!(connector = %id, error = %failure, "connector removed, but a restart would know that it was paused or stopped");
        }
    }
}
