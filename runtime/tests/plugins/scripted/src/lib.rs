//! What the scripted test plugins do ([`deed`]), how they are counted ([`presence`]), and scenarios that run on them natively and through a loaded library alike ([`sink`],
//! [`source`]): each writes down what it saw, and both must have seen the same.
//!
//! Used by `scripted_sink`, `scripted_source` and the tests of the fence.

pub mod deed;
pub mod presence;
pub mod sink;
pub mod source;

use iggy_connector_sdk::testing::{Outcome, Status};

pub use iggy_connector_sdk;

/// What the runtime learns from an outcome. The message of a call that went well, with or without failed records, is not part of it.
fn seen(outcome: &Outcome) -> String {
    let Outcome {
        status,
        message,
        retry_after,
        failed,
    } = outcome;
    if outcome.status.0 == 0 {
        return format!("ok, but {failed:?}, {retry_after:?}");
    }
    // A loaded library tells where a panic was, which a test's own panic hook is spared.
    let text = match *status {
        Status::PANICKED => message.rsplit(": ").next(),
        _ => Some(&**message),
    };
    format!("{}: {text:?}, {retry_after:?}", status.name())
}
