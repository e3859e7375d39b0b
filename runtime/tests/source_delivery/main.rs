//! What a source's messages meet in a real daemon: routes and keys under retries and kills, bad messages, topics that are missing, and
//! delivery at most once.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod at_most_once;
mod bad_messages;
#[path = "../harness"]
mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod broker;
    pub mod broker_process;
    pub mod daemon;
    pub mod gate;
    pub mod port;
}
mod missing_topics;
mod routes;
mod site;
