//! `iggy-connectors check`: everything that is wrong with a configuration, plugins' configurations included. Nothing is started.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    Answer, GOOD, UNUSABLE,
    scratch::{self, Scratch},
};
use crate::{
    config::{self, Environment, Loaded, Origin, Problem, Problems, spec::Connector},
    plugin,
    supervisor::Plugins,
};

/// What was found.
#[derive(Default)]
struct Findings {
    problems: Vec<Problem>,
    warnings: Vec<String>,
    connectors: Vec<Value>,
}

pub(super) fn run(config: Option<&Path>, as_json: bool) -> Result<Answer, String> {
    let findings = match config::inspect(config, &Environment::of_process()) {
        Err(Problems(problems)) => Findings {
            problems,
            ..Findings::default()
        },
        Ok((loaded, fatal)) => look_at(&loaded, fatal)?,
    };
    let code = if findings.problems.is_empty() {
        GOOD
    } else {
        UNUSABLE
    };
    let text = match as_json {
        true => findings.json(),
        false => findings.text(),
    };
    Ok(Answer { text, code })
}

fn look_at(loaded: &Loaded, fatal: Vec<Problem>) -> Result<Findings, String> {
    let mut findings = Findings {
        problems: fatal,
        ..Findings::default()
    };
    findings.problems.extend(loaded.history.problems().cloned());
    findings.problems.extend(without_a_version(loaded));
    // What the daemon only warns about, as the others run, is a problem here.
    let told: Vec<_> = findings.problems.iter().map(Problem::to_string).collect();
    let is_told = |warning: &&String| told.iter().any(|problem| warning.ends_with(problem));
    let warnings = loaded.warnings.iter().filter(|warning| !is_told(warning));
    findings.warnings.extend(warnings.cloned());
    if loaded.runtime.connectors.service.is_some() {
        let warning = "the connectors of the configuration service were not asked for";
        findings.warnings.push(warning.to_owned());
    }
    let scratch =
        Scratch::new().map_err(|error| format!("a folder for copies of plugins: {error}"))?;
    let (registry, runtime) = (scratch.probing()?, scratch::runtime()?);
    let plugins = Plugins {
        registry: &registry,
        search_paths: &loaded.runtime.plugins.search_paths,
        secrets: &loaded.secrets,
    };
    let unusable = loaded.unusable.iter().map(|unusable| &unusable.spec);
    for connector in loaded.connectors.iter().chain(unusable) {
        if connector.path.is_empty() {
            continue;
        }
        findings.warnings.extend(without_streams(connector));
        let found = runtime.block_on(plugins.check(connector));
        findings.add(connector, found);
    }
    Ok(findings)
}

/// A connector without streams is good if its plugin proposes some, which is known when it has opened.
fn without_streams(connector: &Connector) -> Option<String> {
    connector.streams.is_empty().then(|| {
        let reason =
            "no `[[streams]]` entry: nothing is read or written unless the plugin proposes streams";
        connector.written.problem("streams", reason).to_string()
    })
}

/// Connectors whose active version is not there, which is no version's problem.
fn without_a_version(loaded: &Loaded) -> impl Iterator<Item = Problem> {
    let is_there = |spec: &Connector| {
        let versions = loaded.history.of(spec.direction, &spec.key);
        versions
            .iter()
            .any(|version| version.spec.version == spec.version)
    };
    let missing = loaded
        .unusable
        .iter()
        .filter(move |unusable| !is_there(&unusable.spec));
    missing.map(|unusable| unusable.spec.written.problem("version", &unusable.reason))
}

impl Findings {
    fn add(&mut self, connector: &Connector, found: Result<plugin::Descriptor, Vec<Problem>>) {
        let plugin = found
            .as_ref()
            .ok()
            .map(|plugin| json!({ "name": plugin.name, "version": plugin.version }));
        self.connectors.push(json!({
            "type": connector.direction,
            "key": connector.key,
            "version": connector.version,
            "enabled": connector.enabled,
            "plugin": plugin,
        }));
        self.problems.extend(found.err().into_iter().flatten());
    }

    fn text(&self) -> String {
        let problems = self.problems.iter().map(Problem::to_string);
        let warnings = self
            .warnings
            .iter()
            .map(|warning| format!("warning: {warning}"));
        let sum = match self.problems.len() {
            0 => format!(
                "the configuration is good; connectors: {}",
                self.connectors.len()
            ),
            1 => "1 problem".to_owned(),
            count => format!("{count} problems"),
        };
        let lines: Vec<_> = problems.chain(warnings).chain([sum]).collect();
        lines.join("\n")
    }

    fn json(&self) -> String {
        let problems: Vec<_> = self.problems.iter().map(entry).collect();
        let findings = json!({
            "problems": problems,
            "warnings": self.warnings,
            "connectors": self.connectors,
        });
        format!("{findings:#}")
    }
}

fn entry(problem: &Problem) -> Value {
    let (file, line, variable) = match &problem.origin {
        Origin::File { path, line } => (Some(path.display().to_string()), *line, None),
        Origin::Variable(name) => (None, None, Some(name)),
    };
    json!({
        "file": file,
        "line": line,
        "variable": variable,
        "key": problem.key,
        "code": problem.code.name(),
        "reason": problem.reason,
        "remedy": problem.remedy,
    })
}
