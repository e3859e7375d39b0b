//! What opening a sink and opening a source have in common: [`begin`], [`Request`].

use iggy_connector_abi::{
    self as abi, Completion, Slice, Status,
    instance::{Open, Traits},
    log,
};
use serde::de::DeserializeOwned;

use super::{
    completion::Value,
    guard::Guard,
    instances::{Instance, Instances},
    library, logging,
    outcome::Ended,
    panics,
    task::Work,
};
use crate::{ConnectorState, Error, config};

/// What an instance is opened with, copied.
pub(super) struct Request {
    pub(super) number: u32,
    worker_threads: u32,
    key: String,
    config: Vec<u8>,
    host: log::Host,
    pub(super) state: Option<ConnectorState>,
}

/// An instance that has opened. It can be found from the moment the host learns of it.
pub(super) struct Opened<C: Send + Sync + 'static> {
    pub(super) number: u32,
    pub(super) traits: Traits,
    /// What it proposes, as text.
    pub(super) streams: String,
    pub(super) instance: Instance<C>,
    pub(super) instances: &'static Instances<C>,
}

/// Starts an `open`: connects the log, starts the library's runtime, and runs what `work` makes of the request.
///
/// # Safety
///
/// As [`iggy_connector_abi::instance::OpenFn`].
pub(super) unsafe fn begin<C: Send + Sync + 'static>(
    open: *const Open,
    call: u64,
    completion: Completion<Traits>,
    plugin: &str,
    instances: &'static Instances<C>,
    work: impl FnOnce(Request, tracing::Span) -> Work<Opened<C>>,
) {
    // SAFETY: this call's only guard; the request below is a copy.
    let guard: Guard<Opened<C>> = unsafe { Guard::new(completion) };
    // SAFETY: lent until the completion by the caller's promise.
    let request = match unsafe { Request::read(open) } {
        Ok(request) => request,
        Err(message) => return guard.complete(Ended::badly(Status::CONTRACT, message)),
    };
    panics::note_places();
    logging::connect(request.host);
    if let Err(error) = library::prepare(plugin, request.worker_threads) {
        let message = format!("the plugin's threads cannot be started: {error}");
        return guard.complete(Ended::badly(Status::TRANSIENT, message));
    }
    let span = logging::instance(request.number, &request.key);
    instances.start(request.number, call, span.clone(), guard, || {
        work(request, span)
    });
}

impl Request {
    /// # Safety
    ///
    /// `open` and all it points at are alive, the host's functions for ever; or `open` is null.
    unsafe fn read(open: *const Open) -> Result<Self, String> {
        // SAFETY: alive by the caller's promise, or null.
        let open = unsafe { abi::read(open) }
            .ok_or("what to open with is null, misaligned or shorter than the contract says")?;
        if open.instance == 0 {
            return Err("an instance's number is above 0".into());
        }
        // SAFETY: alive by the caller's promise.
        let key = unsafe { open.key.bytes() }.ok_or("the key is no bytes")?;
        // SAFETY: as above.
        let config = unsafe { open.config.bytes() }.ok_or("the configuration is no bytes")?;
        // SAFETY: as above.
        let state = unsafe { open.state.bytes() }.ok_or("the state is no bytes")?;
        // SAFETY: the host's functions live for ever by the caller's promise, or the pointer is null.
        let host = unsafe { abi::read(open.host) }
            .ok_or("the host's functions are null, misaligned or fewer than the contract says")?;
        Ok(Self {
            number: open.instance,
            worker_threads: open.worker_threads,
            key: String::from_utf8_lossy(key).into_owned(),
            config: config.to_vec(),
            host,
            state: (open.state_present != 0).then(|| ConnectorState(state.to_vec())),
        })
    }

    /// Reads the configuration.
    pub(super) fn config<T: DeserializeOwned>(&self) -> Result<T, Error> {
        config::read(&self.config)
    }
}

impl<C: Send + Sync + 'static> Value for Opened<C> {
    type Wire = Traits;

    fn lend(self, give: impl FnOnce(*const Traits)) -> Result<(), String> {
        let Self {
            number,
            mut traits,
            streams,
            instance,
            instances,
        } = self;
        if instances.add(number, instance).is_err() {
            return Err(format!("there is an instance {number} already"));
        }
        traits.streams = Slice::of(streams.as_bytes());
        give(&raw const traits);
        Ok(())
    }
}
