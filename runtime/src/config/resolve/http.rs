//! `[http]` as it is used.

use std::path::Path;

use http::{HeaderName, HeaderValue, Uri};

use super::checks;
use crate::config::{
    problem::Report,
    runtime,
    spec::{self, Allowed},
};

/// Stands for everything of a kind.
const ANY: &str = "*";

pub(super) fn http(http: runtime::Http, report: &mut Report<'_>) -> spec::Http {
    checks::host_port("http.address", &http.address, report);
    spec::Http {
        enabled: http.enabled,
        address: http.address,
        api_key: http.api_key.into_option(),
        cors: cors(http.cors, report),
        tls: tls(&http.tls, report),
        metrics: metrics(http.metrics, report),
    }
}

/// Routes of the API that the metrics must not hide.
const TAKEN: [&str; 12] = [
    "/",
    "/docs",
    "/health",
    "/loggers",
    "/openapi.json",
    "/plugins",
    "/ready",
    "/sinks",
    "/sources",
    "/stats",
    "/ui",
    "/validate",
];

fn metrics(metrics: runtime::Metrics, report: &mut Report<'_>) -> Option<String> {
    if !metrics.enabled {
        return None;
    }
    let path = metrics.endpoint;
    let first = path
        .match_indices('/')
        .nth(1)
        .map_or(&*path, |(end, _)| &path[..end]);
    let is_plain = path.starts_with('/')
        && !path.ends_with('/')
        && path
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte));
    let key = "http.metrics.endpoint";
    if !is_plain {
        report.invalid(key, "it is no path", "write one as `/metrics`");
        return None;
    }
    if TAKEN.contains(&first) {
        report.invalid(
            key,
            format!("`{first}` is a route of the API"),
            "write another path, such as `/metrics`",
        );
        return None;
    }
    Some(path)
}

fn tls(tls: &runtime::HttpTls, report: &mut Report<'_>) -> Option<spec::HttpTls> {
    if !tls.enabled {
        return None;
    }
    for (key, file) in [
        ("http.tls.cert_file", &tls.cert_file),
        ("http.tls.key_file", &tls.key_file),
    ] {
        if file.is_empty() {
            report.missing(key, "name a file in PEM");
        }
    }
    Some(spec::HttpTls {
        cert_file: Path::new(&tls.cert_file).to_owned(),
        key_file: Path::new(&tls.key_file).to_owned(),
    })
}

fn cors(cors: runtime::Cors, report: &mut Report<'_>) -> Option<spec::Cors> {
    if !cors.enabled {
        return None;
    }
    let header = |text: &str| text.parse::<HeaderName>().ok();
    let resolved = spec::Cors {
        methods: allowed(
            "allowed_methods",
            &cors.allowed_methods,
            ("it is no method", "write one as `GET`"),
            |text| text.parse().ok(),
            report,
        ),
        origins: allowed(
            "allowed_origins",
            &cors.allowed_origins,
            ("it is no origin", "write one as `https://example.com`"),
            origin,
            report,
        ),
        headers: allowed(
            "allowed_headers",
            &cors.allowed_headers,
            NO_HEADER,
            header,
            report,
        ),
        exposed_headers: these(
            "exposed_headers",
            &cors.exposed_headers,
            NO_HEADER,
            header,
            report,
        ),
        allow_credentials: cors.allow_credentials,
        allow_private_network: cors.allow_private_network,
    };
    if resolved.allow_credentials {
        no_wildcard("allowed_methods", &resolved.methods, report);
        no_wildcard("allowed_origins", &resolved.origins, report);
        no_wildcard("allowed_headers", &resolved.headers, report);
    }
    Some(resolved)
}

const NO_HEADER: (&str, &str) = ("it is no header's name", "write one as `content-type`");

/// Browsers take no wildcard together with credentials.
fn no_wildcard<T>(key: &str, allowed: &Allowed<T>, report: &mut Report<'_>) {
    if matches!(allowed, Allowed::Any) {
        report.invalid(
            &format!("http.cors.{key}"),
            "`*` cannot stand beside `allow_credentials`",
            "list what is allowed",
        );
    }
}

fn allowed<T>(
    key: &str,
    written: &[String],
    problem: (&str, &str),
    parse: impl Fn(&str) -> Option<T>,
    report: &mut Report<'_>,
) -> Allowed<T> {
    if written.iter().any(|text| text == ANY) {
        return Allowed::Any;
    }
    Allowed::These(these(key, written, problem, parse, report))
}

/// The entries that are not empty; an empty one is how the defaults write a list of nothing.
fn these<T>(
    key: &str,
    written: &[String],
    (reason, remedy): (&str, &str),
    parse: impl Fn(&str) -> Option<T>,
    report: &mut Report<'_>,
) -> Vec<T> {
    let entries = written.iter().enumerate();
    entries
        .filter(|(_, text)| !text.is_empty())
        .filter_map(|(index, text)| {
            let parsed = parse(text);
            if parsed.is_none() {
                report.invalid(&format!("http.cors.{key}[{index}]"), reason, remedy);
            }
            parsed
        })
        .collect()
}

/// `scheme://host[:port]`, as browsers send it: without a path.
fn origin(text: &str) -> Option<HeaderValue> {
    let uri = text.parse::<Uri>().ok()?;
    let is_origin = uri.scheme().is_some() && uri.authority().is_some() && !text.ends_with('/');
    let has_path = uri
        .path_and_query()
        .is_some_and(|path| path.as_str() != "/");
    (is_origin && !has_path).then(|| HeaderValue::from_str(text).ok())?
}
