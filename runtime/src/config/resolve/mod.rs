//! From configuration as written to what is built: strings get their meaning, defaults their place, and what cannot be used is
//! reported. Each function returns something usable even so, that whoever reads on finds every problem.

mod checks;
mod connector;
mod http;
mod logging;
mod runtime;
mod service;
mod streams;
mod telemetry;
mod transforms;
mod unsupported;

pub use connector::is_key;
pub(super) use connector::{Given, connector, only_tables};
pub(super) use runtime::runtime;
pub(super) use streams::{Entry, transformable};
