//! The end of the library's threads: [`shutdown`].

use std::{sync::mpsc, thread, time::Duration};

use super::{library, panics::catch};

/// Stops the library's threads. See [`iggy_connector_abi::instance::Shutdown`].
///
/// # Safety
///
/// Every instance is closed or abandoned, and no call follows.
pub unsafe fn shutdown(timeout_ms: u64) -> u32 {
    let timeout = Duration::from_millis(timeout_ms);
    let stopped = catch(|| {
        let (send, receive) = mpsc::channel();
        // On a thread of its own: the caller's may be inside a runtime, where waiting is refused.
        let spawned = thread::Builder::new().spawn(move || {
            // SAFETY: the host makes no call any more, and authors let go of the runtime in `close` (`get_runtime`).
            let stopped = unsafe { library::shut_down(timeout) };
            let _ = send.send(stopped);
        });
        // The wait below is longer than the one inside, so that a result made in time is not missed.
        let patience = timeout.saturating_add(Duration::from_millis(100));
        spawned.is_ok() && receive.recv_timeout(patience).unwrap_or(false)
    });
    u32::from(stopped == Ok(true))
}
