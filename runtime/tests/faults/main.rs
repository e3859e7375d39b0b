//! What must hold whatever happens: every fault that a daemon has to survive is provoked here, and an oracle counts what arrived.
//!
//! Each test is a short run; `scripts/faults` makes long ones. See `docs/reliability.md`.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

#[path = "../harness"]
mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod broker;
    pub mod broker_process;
    pub mod daemon;
    pub mod gate;
}

mod brokers;
mod flow;
mod groups;
mod kills;
mod oracle;
mod plugins;
mod poison;
mod run;
mod sinks;
mod states;
