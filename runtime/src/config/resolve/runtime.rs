//! The runtime file as it is used.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::SecretString;

use super::{checks, http, logging, service, telemetry};
use crate::config::{
    problem::Report,
    runtime::{self, ConfigType, RuntimeConfig},
    spec,
    values::{HumanDuration, Secret},
};

/// The folder of the daemon's own versions, below that of the state.
const OWN_VERSIONS: &str = "connectors";

/// Iggy's client waits no longer.
const MAX_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads a token from the file behind it.
const FROM_FILE: &str = "file:";

pub(in crate::config) fn runtime(config: RuntimeConfig, report: &mut Report<'_>) -> spec::Runtime {
    checks::not_zero(
        "runtime.shutdown_timeout",
        config.runtime.shutdown_timeout,
        report,
    );
    checks::at_least_one(
        "plugins.worker_threads",
        config.plugins.worker_threads,
        report,
    );
    spec::Runtime {
        iggy: iggy(config.iggy, report),
        connectors: connectors(config.connectors, &config.state.path, report),
        state: state(config.state, report),
        http: http::http(config.http, report),
        logging: logging::logging(config.logging, report),
        telemetry: telemetry::telemetry(config.telemetry, report),
        plugins: spec::Plugins {
            worker_threads: config.plugins.worker_threads,
            search_paths: config
                .plugins
                .search_paths
                .into_iter()
                .map(PathBuf::from)
                .collect(),
        },
        shutdown_timeout: config.runtime.shutdown_timeout.0,
    }
}

fn iggy(iggy: runtime::Iggy, report: &mut Report<'_>) -> spec::Iggy {
    let is_connection_string = iggy.address.contains("://");
    if is_connection_string {
        scheme(&iggy.address, report);
    } else {
        checks::host_port("iggy.address", &iggy.address, report);
    }
    if iggy.embedded.enabled && iggy.embedded.address.is_empty() && is_connection_string {
        let remedy = "give the `host:port` that the embedded broker listens on";
        report.missing("iggy.embedded.address", remedy);
    }
    request_timeout(iggy.request_timeout, report);
    let token = token(iggy.token, report);
    if iggy.username.is_empty() && token.is_none() && !is_connection_string {
        report.missing(
            "iggy.username",
            "give it with `iggy.password`, or give `iggy.token`",
        );
    }
    spec::Iggy {
        address: iggy.address,
        username: iggy.username,
        password: iggy.password.into_inner(),
        token,
        request_timeout: iggy.request_timeout.0,
        tls: iggy.tls.enabled.then(|| spec::IggyTls {
            ca_file: path(iggy.tls.ca_file),
            domain: text(iggy.tls.domain),
        }),
        embedded: embedded(iggy.embedded, iggy.request_timeout.0, report),
    }
}

fn request_timeout(timeout: HumanDuration, report: &mut Report<'_>) {
    let key = "iggy.request_timeout";
    checks::not_zero(key, timeout, report);
    if timeout.0 > MAX_REQUEST_TIMEOUT {
        let remedy = "Iggy's client gives a request up then: send or read less at once, with a smaller `batch_length`";
        report.invalid(key, "at most 30s is expected", remedy);
    }
}

/// Groups cannot be polled over HTTP, and the runtime speaks nothing but TCP.
fn scheme(address: &str, report: &mut Report<'_>) {
    let (scheme, _) = address.split_once("://").unwrap_or_default();
    let reason = match scheme {
        "iggy" | "iggy+tcp" => return,
        "iggy+http" | "iggy+https" => "consumer groups cannot be polled over HTTP",
        _ => "connectors speak TCP only",
    };
    let remedy = "write `iggy://user:password@host:port`, or `host:port`";
    report.invalid("iggy.address", reason, remedy);
}

fn token(token: Secret, report: &mut Report<'_>) -> Option<SecretString> {
    use secrecy::ExposeSecret as _;

    let token = token.into_option()?;
    let Some(path) = token.expose_secret().strip_prefix(FROM_FILE) else {
        return Some(token);
    };
    match std::fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => Some(SecretString::from(text.trim())),
        Ok(_) => {
            let reason = format!("`{path}` is empty");
            report.invalid("iggy.token", reason, "write the token into it");
            None
        }
        Err(error) => {
            let reason = format!("`{path}` cannot be read: {error}");
            report.invalid("iggy.token", reason, "name a file that holds the token");
            None
        }
    }
}

fn embedded(
    embedded: runtime::Embedded,
    request_timeout: Duration,
    report: &mut Report<'_>,
) -> Option<spec::Embedded> {
    if !embedded.address.is_empty() {
        checks::host_port("iggy.embedded.address", &embedded.address, report);
    }
    if embedded.path.is_empty() {
        report.missing("iggy.embedded.path", "name a folder");
    }
    if embedded.segment_size.0 == 0 {
        let key = "iggy.embedded.segment_size";
        report.invalid(
            key,
            "more than zero is expected",
            "leave it out for the default",
        );
    }
    let retention_interval = embedded.retention_interval;
    checks::not_zero(
        "iggy.embedded.retention_interval",
        retention_interval,
        report,
    );
    checks::at_least_one(
        "iggy.embedded.max_connections",
        embedded.max_connections,
        report,
    );
    if embedded.enabled && embedded.poll_hold.0 >= request_timeout {
        let reason = "shorter than `iggy.request_timeout` is expected";
        report.invalid("iggy.embedded.poll_hold", reason, "make it shorter");
    }
    let sync = sync(&embedded.sync, report);
    embedded.enabled.then(|| spec::Embedded {
        path: embedded.path.into(),
        address: text(embedded.address),
        sync,
        segment_size: embedded.segment_size.0,
        retention_interval: retention_interval.0,
        max_connections: embedded.max_connections as usize,
        poll_hold: embedded.poll_hold.0,
    })
}

fn sync(written: &str, report: &mut Report<'_>) -> spec::Sync {
    match written {
        "os" => spec::Sync::Os,
        "every_batch" => spec::Sync::EveryBatch,
        interval => match HumanDuration::parse(interval) {
            Ok(interval) if !interval.0.is_zero() => spec::Sync::Interval(interval.0),
            _ => {
                let reason = "neither `os`, `every_batch` nor an interval";
                report.invalid(
                    "iggy.embedded.sync",
                    reason,
                    "write an interval as \"100ms\"",
                );
                spec::Sync::Os
            }
        },
    }
}

fn state(state: runtime::State, report: &mut Report<'_>) -> spec::State {
    if state.path.is_empty() {
        report.missing("state.path", "name a folder");
    }
    spec::State {
        path: state.path.into(),
    }
}

fn connectors(
    connectors: runtime::Connectors,
    state: &str,
    report: &mut Report<'_>,
) -> spec::Connectors {
    let config_dir = path(connectors.config_dir.clone());
    let poll_interval = connectors.poll_interval.0;
    let is_used = connectors.config_type == ConfigType::Http;
    let service = service::service(connectors, is_used, report);
    spec::Connectors {
        own_versions: config_dir
            .clone()
            .unwrap_or_else(|| Path::new(state).join(OWN_VERSIONS)),
        config_dir,
        poll_interval: (!poll_interval.is_zero()).then_some(poll_interval),
        service: is_used.then(|| Box::new(service)),
    }
}

fn path(written: String) -> Option<PathBuf> {
    text(written).map(|path| Path::new(&path).to_owned())
}

fn text(written: String) -> Option<String> {
    (!written.is_empty()).then_some(written)
}
