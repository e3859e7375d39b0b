//! The host side of the fence: finds plugins, loads them, opens instances of them, and lets the pipeline call these as if they were ours.
//!
//! Called by the supervisor (find, load, open, close) and by the pipeline through its ports (consume, poll, settle, flush). What a
//! plugin hands over is checked here and nowhere else; what an instance's failure means is left to the supervisor.
#![expect(
    unsafe_code,
    reason = "a plugin is foreign code behind C functions: calling it and reading what it lends cannot be checked by the compiler"
)]

mod consumed;
mod copies;
mod descriptor;
mod error;
mod flush;
mod image;
mod instance;
mod library;
mod listed;
mod locate;
mod log;
mod memory;
mod open;
mod outcome;
mod pending;
mod probe;
mod produced;
mod registry;
mod sink;
mod source;
mod survey;
mod symbols;
mod text;
mod ticket;

pub use self::{
    descriptor::{Descriptor, Refusal},
    error::LoadError,
    image::Flaw,
    library::Library,
    listed::{Listed, discoverable, libraries},
    locate::{NotFound, locate},
    memory::keep_freed,
    open::{Open, Traits},
    registry::Registry,
    sink::Sink,
    source::{Source, Wishes},
    survey::Surveyed,
};
