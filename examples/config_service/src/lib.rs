//! A configuration service, to run as it is or to read before writing another: everything that daemons with
//! `config_type = "http"` ask for, at the default templates.
//!
//! [`router`] answers from a [`Store`], in memory or in a file. What a document must hold is the daemon's business: a service
//! keeps what it is given.

mod routes;
mod store;

pub use routes::{Service, router};
pub use store::{Direction, Error, Store};
