//! `[telemetry]` as it is used.

use http::Uri;

use crate::config::{
    problem::Report,
    runtime::{self, Transport},
    spec,
};

pub(super) fn telemetry(
    telemetry: runtime::Telemetry,
    report: &mut Report<'_>,
) -> Option<spec::Telemetry> {
    if !telemetry.enabled {
        return None;
    }
    if telemetry.service_name.is_empty() {
        report.missing(
            "telemetry.service_name",
            "name this daemon as the collector is to show it",
        );
    }
    Some(spec::Telemetry {
        service_name: telemetry.service_name,
        logs: exporter("logs", telemetry.logs, report),
        traces: exporter("traces", telemetry.traces, report),
    })
}

/// Addresses stand in logs and errors: what is secret does not stand in them.
fn check(signal: &str, uri: Option<&Uri>, report: &mut Report<'_>) {
    let key = format!("telemetry.{signal}.endpoint");
    let uri = uri.filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")));
    match uri.and_then(Uri::authority) {
        None => report.invalid(&key, "it is no URL", "write it as `http://localhost:4317`"),
        Some(authority) if authority.as_str().contains('@') => report.invalid(
            &key,
            "a password in a URL is shown wherever the URL is",
            "leave it out, and let a collector on this machine add it",
        ),
        Some(_) => {}
    }
}

fn exporter(signal: &str, written: runtime::Exporter, report: &mut Report<'_>) -> spec::Exporter {
    let uri = written.endpoint.parse::<Uri>().ok();
    check(signal, uri.as_ref(), report);
    let transport = match written.transport {
        Transport::Grpc => spec::Transport::Grpc,
        Transport::Http => spec::Transport::Http,
    };
    // Collectors take each signal over HTTP under a path of its own; who gives one means it.
    let has_path = uri.is_some_and(|uri| uri.path() != "/" && !uri.path().is_empty());
    let endpoint = match transport {
        spec::Transport::Http if !has_path => {
            format!("{}/v1/{signal}", written.endpoint.trim_end_matches('/'))
        }
        _ => written.endpoint,
    };
    spec::Exporter {
        transport,
        endpoint,
    }
}
