//! What outlives the daemon: the states of connectors, one file each, and who is paused or stopped, in a folder that one daemon
//! owns at a time.
//!
//! ```text
//! local_state/
//!   lock                   held by the daemon that runs
//!   index                  the state files of sources there should be
//!   source_{key}.state     two slots, written in turn
//!   sink_{key}.state       the same: where the sink's groups began
//!   lifecycle.json         the connectors that an operator has paused or stopped
//! ```
//!
//! A state that was saved once is either read back or an error: never silently empty, which would start a source over.

mod file;
mod folder;
mod index;
mod lifecycle;
mod slots;

pub use file::{FileStore, Saved};
pub use folder::Folder;
pub use lifecycle::{Kept, Lifecycle};
