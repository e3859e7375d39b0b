//! What a loaded library has once: its Tokio runtime ([`get_runtime`]), started with its first instance.

use std::{
    io,
    mem::ManuallyDrop,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::runtime::{Builder, Handle, Runtime};

use super::calls::lock;

static LIBRARY: OnceLock<Library> = OnceLock::new();

/// Held while the runtime is started or shut down.
static CHANGING: Mutex<Phase> = Mutex::new(Phase::Idle);

/// The runtime's threads that have started and not ended.
static THREADS: AtomicUsize = AtomicUsize::new(0);

struct Library {
    /// Taken out, once, by [`shut_down`].
    runtime: ManuallyDrop<Runtime>,
    /// Keeps the scheduler's memory alive whatever becomes of `runtime`.
    handle: Handle,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Running,
    Ended,
}

/// Returns the runtime that this plugin's code runs on, with all its drivers.
///
/// It is the plugin's own: a library has its own copy of every static, Tokio's included. It ends with the process, after the
/// last instance has closed; a thread of the author's own must have let go of it by the end of `close`.
///
/// # Panics
///
/// When the process cannot start threads.
pub fn get_runtime() -> &'static Runtime {
    match start("iggy_connector", 1) {
        Ok(library) => &library.runtime,
        Err(error) => panic!("the plugin's runtime cannot be started: {error}"),
    }
}

/// Starts the runtime, if it is not running, with threads named after `plugin`.
pub(super) fn prepare(plugin: &str, worker_threads: u32) -> io::Result<()> {
    start(plugin, worker_threads).map(drop)
}

/// Runs a task. A runtime that has ended drops it at once.
pub(super) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    if let Some(library) = LIBRARY.get() {
        library.handle.spawn(task);
    }
}

fn start(plugin: &str, worker_threads: u32) -> io::Result<&'static Library> {
    if let Some(library) = LIBRARY.get() {
        return Ok(library);
    }
    let mut phase = lock(&CHANGING);
    if let Some(library) = LIBRARY.get() {
        return Ok(library);
    }
    let runtime = build(plugin, worker_threads)?;
    *phase = Phase::Running;
    let handle = runtime.handle().clone();
    Ok(LIBRARY.get_or_init(|| Library {
        runtime: ManuallyDrop::new(runtime),
        handle,
    }))
}

fn build(plugin: &str, worker_threads: u32) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .enable_all()
        .worker_threads(worker_threads.max(1) as usize)
        .thread_name(thread_name(plugin))
        .on_thread_start(|| {
            THREADS.fetch_add(1, Ordering::Relaxed);
        })
        .on_thread_stop(|| {
            THREADS.fetch_sub(1, Ordering::Relaxed);
        })
        .build()
}

/// Linux shows 15 bytes of a thread's name, which the prefix that all plugins share would fill.
fn thread_name(plugin: &str) -> &str {
    let name = plugin.strip_prefix("iggy_connector_").unwrap_or(plugin);
    if name.contains('\0') { "plugin" } else { name }
}

/// Stops the runtime: waits up to `timeout` for its threads. Returns whether all have ended.
///
/// # Safety
///
/// Nobody uses a reference from [`get_runtime`] any more.
pub(super) unsafe fn shut_down(timeout: Duration) -> bool {
    let mut phase = lock(&CHANGING);
    if *phase == Phase::Running {
        *phase = Phase::Ended;
        if let Some(library) = LIBRARY.get() {
            // SAFETY: read once, since the phase never goes back to `Running`. The original stays as it is, unused by the
            // caller's promise; what this crate goes on using is `handle`, a reference of its own.
            let runtime = unsafe { std::ptr::read(&raw const *library.runtime) };
            runtime.shutdown_timeout(timeout);
        }
    }
    THREADS.load(Ordering::Relaxed) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_named_by_what_tells_plugins_apart() {
        assert_eq!(thread_name("iggy_connector_random_source"), "random_source");
        assert_eq!(thread_name("my_sink"), "my_sink");
        assert_eq!(thread_name("a\0b"), "plugin");
    }
}
