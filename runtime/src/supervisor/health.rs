//! Health checks, beside a run and without a hand in it: [`watch()`].

use tokio::{sync::watch, time::sleep};
use tracing::debug;

use super::work::{End, Instance, Progress};
use crate::{
    config::spec::{Health, HealthAction},
    pipeline::{Failure, FailureKind},
};

/// Checks the instance again and again and reports what comes of it. Ends when something is to be done about it.
pub(super) async fn watch<I: Instance>(
    instance: &I,
    spec: &Health,
    progress: &watch::Sender<Progress>,
) -> End {
    let mut failures = 0;
    loop {
        sleep(spec.interval).await;
        let Err(failure) = instance.health(spec.timeout).await else {
            failures = 0;
            report(progress, None);
            continue;
        };
        failures += 1;
        debug!(error = %failure, failures, "health check failed");
        if failure.kind == FailureKind::Hung {
            // It obeyed no cancel: the instance has been given up, and no call reaches it any more.
            return End::Failed(failure);
        }
        if failures < spec.failures {
            continue;
        }
        let reason =
            format!("unhealthy: {failures} checks in a row have failed, the last with: {failure}");
        report(progress, Some(reason.clone()));
        match spec.action {
            HealthAction::Report => {}
            HealthAction::Restart => return End::Failed(Failure::fatal(reason)),
            HealthAction::Stop => return End::Final(Failure::fatal(reason)),
        }
    }
}

/// Only what changes is told.
fn report(progress: &watch::Sender<Progress>, unhealthy: Option<String>) {
    progress.send_if_modified(|progress| {
        let has_changed = progress.unhealthy.is_some() != unhealthy.is_some();
        if has_changed {
            progress.unhealthy = unhealthy;
        }
        has_changed
    });
}
