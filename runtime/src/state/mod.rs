//! Keeps the states of sources in files: one per source, in a folder that one daemon owns at a time.
//!
//! ```text
//! local_state/
//!   lock                   held by the daemon that runs
//!   index                  the state files there should be
//!   source_{key}.state     two slots, written in turn
//! ```
//!
//! A state that was saved once is either read back or an error: never silently empty, which would start a source over.

mod file;
mod folder;
mod index;
mod slots;

pub use file::FileStore;
pub use folder::Folder;
