//! Checks that several tables share.

use crate::config::{problem::Report, spec::Backoff, values::HumanDuration};

/// The most bytes of a stream's, topic's or group's name.
const MAX_NAME: usize = 255;

/// Reports an address that is not `host:port`.
pub(super) fn host_port(key: &str, address: &str, report: &mut Report<'_>) {
    let is_valid = address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !is_valid {
        report.invalid(key, "an address is expected", "write it as `host:port`");
    }
}

/// Reports a name that Iggy does not take.
pub(super) fn name(key: &str, name: &str, report: &mut Report<'_>) {
    if name.is_empty() {
        report.missing(key, "give a name of 1 to 255 bytes");
    } else if name.len() > MAX_NAME {
        report.invalid(key, "a name of at most 255 bytes is expected", "shorten it");
    }
}

/// Reports a route that no message could name, or that could be taken for a stream and topic.
pub(super) fn route(key: &str, route: &str, report: &mut Report<'_>) {
    let fits = (1..=MAX_NAME).contains(&route.len()) && !route.contains('/');
    if !fits {
        let reason = "a route has 1 to 255 bytes and no `/`, as a stream and topic have";
        report.invalid(key, reason, "rename it");
    }
}

/// Reports a wait that would end before it began.
pub(super) fn not_zero(key: &str, duration: HumanDuration, report: &mut Report<'_>) {
    if duration.0.is_zero() {
        let remedy = "leave it out for the default";
        report.invalid(key, "more than zero is expected", remedy);
    }
}

/// Reports a count of nothing.
pub(super) fn at_least_one(key: &str, count: u32, report: &mut Report<'_>) {
    if count == 0 {
        report.invalid(
            key,
            "at least 1 is expected",
            "leave it out for the default",
        );
    }
}

/// Reports a count that would only cost memory.
pub(super) fn at_most(key: &str, count: u32, most: u32, report: &mut Report<'_>) {
    if count > most {
        let reason = format!("at most {most} is expected");
        report.invalid(key, reason, "make it smaller");
    }
}

/// Reports waits that do not grow, or shares that are none; `table` holds the keys.
pub(super) fn backoff(table: &str, backoff: &Backoff, report: &mut Report<'_>) {
    if backoff.max.is_zero() {
        let key = format!("{table}.max_backoff");
        report.invalid(
            &key,
            "more than zero is expected",
            "leave it out for the default",
        );
    } else if backoff.initial > backoff.max {
        let key = format!("{table}.initial_backoff");
        report.invalid(&key, "longer than `max_backoff`", "make it the shorter one");
    }
    if !(1.0..=1000.0).contains(&backoff.multiplier) {
        let key = format!("{table}.backoff_multiplier");
        report.invalid(
            &key,
            "a number from 1 to 1000 is expected",
            "2 doubles each wait",
        );
    }
    if !(0.0..=1.0).contains(&backoff.jitter) {
        let key = format!("{table}.jitter");
        report.invalid(
            &key,
            "a share from 0 to 1 is expected",
            "0.5 varies each wait by half",
        );
    }
}
