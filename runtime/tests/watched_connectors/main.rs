//! Connectors that change while the daemon runs and looks for changes: in files that people edit, and at a configuration service.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod choices;
mod failures;
mod files;
#[path = "../harness"]
mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod daemon;
    pub mod ledger;
    pub mod port;
    pub mod service;
}
mod service;
mod site;
