//! Has a connector become what it is to be: [`apply`]. A changed version takes its connector's place as one that is activated over the
//! API does, or nothing changes and the connector shows why.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::steps::{Attempt, Tries};
use crate::{
    config::{Problems, Unusable, spec::Connector},
    provider::{Id, Wanted},
    supervisor::{Decided, NotActivated, Supervisor},
};

/// What has come of an attempt.
pub(super) enum Applied {
    /// The next look shows how far.
    Done,
    /// It could not be applied, and is tried again then.
    Later { tries: Tries, at: Instant },
    /// It cannot be applied.
    Never,
}

/// Why something is not applied.
struct NotApplied {
    reason: String,
    /// Trying again would change nothing.
    is_final: bool,
}

/// Of a connector that is there, this is what was `decided` about it when the attempt began.
pub(super) async fn apply(
    connectors: Supervisor,
    id: Id,
    attempt: Attempt,
    decided: Decided,
) -> Applied {
    let Attempt { wanted, mut tries } = attempt;
    let began = Instant::now();
    if let (Some(spec), true) = (wanted.spec(), tries.is_first()) {
        info!(connector = %id, version = spec.version, "the connector is to be another");
    }
    let applied = match wanted {
        Wanted::Usable(spec) => take(&connectors, &id, &spec, decided).await,
        Wanted::Unusable(unusable) => show(&connectors, &id, *unusable),
        Wanted::Unknown(reason) => Err(NotApplied {
            reason,
            is_final: true,
        }),
        Wanted::Nothing => {
            remove(&connectors, &id).await;
            Ok(())
        }
    };
    let Err(NotApplied { reason, is_final }) = applied else {
        return Applied::Done;
    };
    let pause = match is_final {
        true => None,
        false => tries.pause(began.elapsed()),
    };
    match tries.is_news(&reason) {
        true => warn!(connector = %id, %reason, again_in = ?pause, "the change is not applied"),
        false => {
            debug!(connector = %id, %reason, again_in = ?pause, "the change is still not applied")
        }
    }
    refuse(&connectors, &id, reason, pause).await;
    match pause {
        Some(pause) => Applied::Later {
            tries,
            at: Instant::now() + pause,
        },
        None => Applied::Never,
    }
}

/// Has the connector become what `spec` says. One that somebody else changes or removes at the moment is left to the next look.
async fn take(
    connectors: &Supervisor,
    id: &Id,
    spec: &Connector,
    decided: Decided,
) -> Result<(), NotApplied> {
    let version = spec.version;
    let Some(handle) = connectors.find(id.direction(), id.key()) else {
        // It may be there by now.
        let _ = connectors.add(spec.clone());
        return Ok(());
    };
    if let Err(problems) = connectors.check(spec).await {
        return Err(NotApplied {
            reason: unchanged(version, &Problems(problems).in_lines()),
            is_final: false,
        });
    }
    let activated = handle.activate_while(decided.clone(), spec.clone()).await;
    match activated {
        Ok(_) | Err(NotActivated::Busy | NotActivated::Ending) => Ok(()),
        // It may not be wanted any more.
        Err(_) if !handle.decided().is_still(&decided) => Ok(()),
        Err(ref error @ NotActivated::Undone { is_final, .. }) => Err(NotApplied {
            reason: unchanged(version, &error.to_string()),
            is_final,
        }),
    }
}

/// What cannot be used is listed with its reason, or, where something runs, goes on beside it.
fn show(connectors: &Supervisor, id: &Id, unusable: Unusable) -> Result<(), NotApplied> {
    let reason = unchanged(unusable.spec.version, &unusable.reason);
    if connectors.find(id.direction(), id.key()).is_none()
        && connectors.add_unusable(unusable).is_ok()
    {
        return Ok(());
    }
    Err(NotApplied {
        reason,
        is_final: true,
    })
}

fn unchanged(version: u32, reason: &str) -> String {
    format!("version {version} has changed and is not activated: {reason}")
}

/// The connector shows why it is not what it is to be, and when that is tried again.
async fn refuse(connectors: &Supervisor, id: &Id, reason: String, again_in: Option<Duration>) {
    let Some(handle) = connectors.find(id.direction(), id.key()) else {
        return;
    };
    let again = match again_in {
        Some(pause) => format!("tried again after {:.1}s", pause.as_secs_f64()),
        None => "tried again when it changes".to_owned(),
    };
    handle.not_applied(format!("{reason}; it is {again}")).await;
}

async fn remove(connectors: &Supervisor, id: &Id) {
    match connectors.remove(id.direction(), id.key()).await {
        Ok(_) => info!(connector = %id, "connector removed"),
        Err(failure) => {
            error!(connector = %id, error = %failure, "connector removed, but a restart would know that it was paused or stopped");
        }
    }
}
