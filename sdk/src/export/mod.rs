//! The guest side of the fence: what the macros' `extern "C"` functions call. Not for authors; the macros' expansions are the
//! only users outside this crate.
//!
//! One call, from top to bottom: a shim in `sink` or `source` makes a `Guard` of the host's completion, reads what the
//! host lent, and starts a `Task` on the library's own runtime. The task runs the author's future inside the
//! instance's span, catches panics, obeys a cancel, drops the future, and only then lets the guard complete the call.
#![expect(
    unsafe_code,
    reason = "this is where raw pointers from the host become borrowed batches, and back"
)]

mod calls;
mod completion;
pub mod descriptor;
mod guard;
mod instances;
mod library;
mod logging;
mod open;
mod order;
mod outcome;
mod panics;
mod produced;
mod records;
pub mod schema;
mod settlement;
pub mod shutdown;
pub mod sink;
pub mod source;
mod standing;
mod task;

pub use iggy_connector_abi as abi;
pub use library::get_runtime;
pub(crate) use outcome::Ended;
pub(crate) use panics::guarded;
#[cfg(feature = "testing")]
pub(crate) use records::Lending;
pub(crate) use records::{Record, Records};
pub(crate) use standing::{Standing, refusal};
