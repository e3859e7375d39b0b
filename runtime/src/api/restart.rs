//! A restart of a connector takes its active version, where that is not the one that it has: one that was stored since and not chosen
//! against, or was chosen with `?restart=false`. `connectors` calls it.

use tracing::{debug, warn};

use super::{Api, choices};
use crate::{
    config::Problems,
    provider::{Entry, Id},
    supervisor::{Handle, NotActivated},
};

/// Has a connector that is being restarted take its active version. When that cannot be, it restarts with the one that it has, and says
/// why.
pub(super) async fn take_active(api: Api, handle: Handle) {
    let active = async {
        let id = Id::new(handle.direction, &handle.key)?;
        let entry = api.provider.active(&id).await?;
        Ok::<_, crate::provider::Error>((id, entry))
    };
    let (id, entry) = match active.await {
        Ok(active) => active,
        Err(error) => {
            let reason = api.secrets.hide(&error.to_string()).into_owned();
            let connector = &*handle.key;
            return warn!(connector, %reason, "it is not known which version is active: it restarts with the one that it has");
        }
    };
    let version = entry.version.spec.version;
    if version == handle.spec().version {
        return debug!(connector = %id, version, "restarted with the active version");
    }
    if let Err(reason) = take(&api, &id, &handle, entry).await {
        let reason = format!("version {version} is the active one and is not activated: {reason}");
        let reason = api.secrets.hide(&reason).into_owned();
        warn!(connector = %id, %reason, "restarted with the version that it has");
        handle.note(reason).await;
    }
}

async fn take(api: &Api, id: &Id, handle: &Handle, entry: Entry) -> Result<(), String> {
    let (spec, mut problems) = (entry.version.spec, entry.version.problems);
    if problems.is_empty() {
        let checked = api.connectors.check(&spec).await;
        problems.extend(checked.err().into_iter().flatten());
    }
    if !problems.is_empty() {
        return Err(Problems(problems).in_lines());
    }
    let confirmed = {
        let (api, handle) = (api.clone(), handle.clone());
        let (id, version) = (id.clone(), spec.version);
        async move { choices::confirm(&api, &handle, &id, version).await }
    };
    match handle.activate(spec, confirmed).await {
        // What somebody else chooses meanwhile holds.
        Ok(_) | Err(NotActivated::Busy | NotActivated::Ending) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
