//! Locking and blocking, each decided in one place.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::watch,
};

/// Locks even when a panic poisoned the mutex: one failed request must not take every later one down.
/// What the mutexes guard is changed in single steps after the fallible part, so it is whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs file I/O without keeping other tasks of this worker waiting. A runtime with a single thread has
/// nobody to hand them to, so there it runs in place.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Microseconds since the epoch; zero for a clock that stands before it.
pub(crate) fn now_micros() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| {
            u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
        })
}

/// Returns when the broker stops, or when nobody is left who could stop it.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stopping| *stopping).await;
}
