//! What must hold whatever happens: every fault that a daemon has to survive is provoked here, and an oracle counts what arrived.
//!
//! Each test is a short run; `scripts/faults` makes long ones. See `docs/reliability.md`. What only Linux can do to a process is used
//! freely.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

#[path = "../harness"]
mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod broker;
    pub mod broker_process;
    pub mod daemon;
    pub mod gate;
    pub mod ledger;
    pub mod port;
}

mod activations;
mod brokers;
mod buffers;
mod flow;
mod groups;
mod havoc;
mod kills;
mod once;
mod oracle;
mod partitions;
mod plugins;
mod poison;
mod routes;
mod run;
mod sinks;
mod states;
mod streaming;
