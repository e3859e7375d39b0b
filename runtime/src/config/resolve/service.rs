//! The configuration service as it is used: what can be wrong with its address, headers and templates is found before the first
//! request.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue, Uri};
use secrecy::{ExposeSecret as _, SecretString};

use super::checks;
use crate::config::{
    problem::Report,
    runtime::{Connectors, ProviderRetry, UrlTemplates},
    spec,
    values::Secret,
};

const KEY: &str = "{key}";
const VERSION: &str = "{version}";

/// Resolves the service's keys. Their values are looked at even if it is not used; only a service that is needs an address.
pub(super) fn service(
    connectors: Connectors,
    is_used: bool,
    report: &mut Report<'_>,
) -> spec::HttpProvider {
    if !connectors.base_url.is_empty() {
        base_url(&connectors.base_url, report);
    } else if is_used {
        let remedy = "give the URL of the configuration service";
        report.missing("connectors.base_url", remedy);
    }
    checks::not_zero("connectors.timeout", connectors.timeout, report);
    templates(&connectors.url_templates, report);
    let response = connectors.response;
    spec::HttpProvider {
        base_url: connectors.base_url,
        timeout: connectors.timeout.0,
        request_headers: headers(connectors.request_headers, report),
        retry: retry(&connectors.retry, report),
        url_templates: connectors.url_templates,
        data_path: path("connectors.response.data_path", response.data_path, report),
        error_path: path(
            "connectors.response.error_path",
            response.error_path,
            report,
        ),
    }
}

/// Addresses stand in logs and errors: what is secret does not stand in them.
fn base_url(written: &str, report: &mut Report<'_>) {
    let key = "connectors.base_url";
    let example = "write it as \"http://host:port/path\"";
    let Ok(url) = written.parse::<Uri>() else {
        return report.invalid(key, "it is no URL", example);
    };
    let Some(authority) = url.authority() else {
        return report.invalid(key, "it names no host", example);
    };
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        report.invalid(key, "neither `http` nor `https`", example);
    } else if authority.as_str().contains('@') {
        let reason = "a password in a URL is shown wherever the URL is";
        let remedy = "send it with `connectors.request_headers`";
        report.invalid(key, reason, remedy);
    } else if url.query().is_some() {
        let remedy = "put it into `connectors.url_templates`";
        report.invalid(key, "a URL without a query is expected", remedy);
    }
}

fn headers(
    written: BTreeMap<String, Secret>,
    report: &mut Report<'_>,
) -> Vec<(String, SecretString)> {
    let mut headers = vec![];
    for (name, value) in written {
        let value = value.into_inner();
        let key = format!("connectors.request_headers.{name}");
        if HeaderName::try_from(name.as_str()).is_err() {
            report.invalid(&key, "no header can have this name", "rename it");
        } else if HeaderValue::try_from(value.expose_secret()).is_err() {
            let reason = "no header can have this value";
            report.invalid(&key, reason, "write it in one line of plain letters");
        } else {
            headers.push((name, value));
        }
    }
    headers
}

fn retry(retry: &ProviderRetry, report: &mut Report<'_>) -> Option<spec::Backoff> {
    let backoff = spec::Backoff {
        initial: retry.initial_backoff.0,
        max: retry.max_backoff.0,
        multiplier: retry.backoff_multiplier,
        jitter: 0.0,
        max_attempts: retry.max_attempts,
    };
    checks::backoff("connectors.retry", &backoff, report);
    checks::at_least_one("connectors.retry.max_attempts", retry.max_attempts, report);
    retry.enabled.then_some(backoff)
}

fn templates(templates: &UrlTemplates, report: &mut Report<'_>) {
    let none: &[&str] = &[];
    let of_connector: &[&str] = &[KEY];
    let of_version: &[&str] = &[KEY, VERSION];
    for (name, template, needed) in [
        ("create_sink", &templates.create_sink, of_connector),
        ("create_source", &templates.create_source, of_connector),
        ("get_active_configs", &templates.get_active_configs, none),
        ("get_active_versions", &templates.get_active_versions, none),
        ("set_active_sink", &templates.set_active_sink, of_connector),
        (
            "set_active_source",
            &templates.set_active_source,
            of_connector,
        ),
        (
            "get_sink_configs",
            &templates.get_sink_configs,
            of_connector,
        ),
        (
            "get_source_configs",
            &templates.get_source_configs,
            of_connector,
        ),
        ("get_sink_config", &templates.get_sink_config, of_version),
        (
            "get_source_config",
            &templates.get_source_config,
            of_version,
        ),
        (
            "get_active_sink_config",
            &templates.get_active_sink_config,
            of_connector,
        ),
        (
            "get_active_source_config",
            &templates.get_active_source_config,
            of_connector,
        ),
        (
            "delete_sink_config",
            &templates.delete_sink_config,
            of_connector,
        ),
        (
            "delete_source_config",
            &templates.delete_source_config,
            of_connector,
        ),
    ] {
        let key = format!("connectors.url_templates.{name}");
        check_template(template, needed, &key, report);
    }
}

fn check_template(template: &str, needed: &[&str], key: &str, report: &mut Report<'_>) {
    if !template.starts_with('/') {
        let remedy = "begin it with `/`: it follows `connectors.base_url`";
        return report.invalid(key, "a path is expected", remedy);
    }
    if let Some(missing) = needed.iter().find(|part| !template.contains(**part)) {
        let reason = format!("it does not say where `{missing}` belongs");
        return report.invalid(key, reason, "leave it out for the default");
    }
    let filled = needed
        .iter()
        .fold(template.to_owned(), |text, part| text.replace(part, "0"));
    if filled.parse::<Uri>().is_err() || filled.contains(['{', '}']) {
        let known = match needed {
            [] => "it has no placeholders".to_owned(),
            _ => format!("its placeholders are `{}`", needed.join("` and `")),
        };
        report.invalid(key, "no path comes of it", &known);
    }
}

fn path(key: &str, written: String, report: &mut Report<'_>) -> Option<String> {
    if written.is_empty() {
        return None;
    }
    if written.split('.').any(str::is_empty) {
        let reason = "a step of the path is empty";
        report.invalid(key, reason, "write it as \"data.configs\"");
    }
    Some(written)
}
