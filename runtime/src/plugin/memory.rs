//! The C library's allocator, which the daemon shares with its plugins. `main` sets it up before anything else is done.

/// Freed memory that a heap keeps at its end, in bytes, and the size from which a piece of memory is given back to the system at once.
/// Several batches on their way stay below it, and a request of the usual greatest size, which has 8 MiB of messages.
#[cfg(target_env = "gnu")]
const KEPT: libc::c_int = 9 * 1024 * 1024;

/// Has memory that was freed serve the next batch. By itself the C library gives the largest pieces back with every batch, and the
/// system clears them again for the next one.
pub fn keep_freed() {
    #[cfg(target_env = "gnu")]
    for parameter in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: it changes a number of the allocator's and may be called at any time; a value that it does not take it leaves alone.
        unsafe { libc::mallopt(parameter, KEPT) };
    }
}
