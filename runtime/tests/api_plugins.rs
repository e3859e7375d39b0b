//! `/plugins`: what is loaded, what could be, and files that are none, over the API of a real daemon.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod daemon;
}

use std::{fs, path::Path, process::Command};

use harness::daemon::Home;
use serde_json::{Value, json};

const CONFIG: &str = r#"
[iggy.embedded]
enabled = true
[plugins]
search_paths = ["libraries"]

[sinks.lines]
path = "libledger_sink"
[[sinks.lines.streams]]
stream = "s"
topics = ["t"]
schema = "raw"
[sinks.lines.plugin_config]
ledger = "ledger"
deed = "sink_deed"
"#;

/// A library that ends the process which loads it, and notes that it was loaded.
const DEADLY: &str = r#"
#include <stdio.h>
#include <unistd.h>
__attribute__((constructor)) static void end(void) {
  FILE *note = fopen(NOTE, "a");
  if (note) { fputs("loaded\n", note); fclose(note); }
  _exit(7);
}
"#;

fn compile(folder: &Path, note: &Path) {
    let source = folder.join("deadly.c");
    fs::write(&source, DEADLY).unwrap();
    let done = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(folder.join("deadly.so"))
        .arg(format!("-DNOTE=\"{}\"", note.display()))
        .arg(&source)
        .status()
        .unwrap();
    assert!(done.success());
}

fn by_file<'a>(plugins: &'a Value, file: &str) -> &'a Value {
    let mut plugins = plugins.as_array().unwrap().iter();
    plugins
        .find(|plugin| plugin["path"].as_str().unwrap().ends_with(file))
        .unwrap_or_else(|| panic!("{file} is not listed"))
}

#[tokio::test]
async fn what_is_loaded_and_what_could_be_is_listed_with_who_uses_it() {
    let home = Home::new(CONFIG);
    let daemon = home.start().await;
    daemon
        .wait_for("/sinks/lines", |sink| sink["status"] == "running")
        .await;
    let plugins = daemon.get("/plugins").await;
    let used = by_file(&plugins, "libledger_sink.so");
    assert_eq!(used["name"], "ledger_sink");
    assert_eq!(used["direction"], "sink");
    assert_eq!(used["loaded"], true);
    assert_eq!(
        used["connectors"],
        json!([{ "type": "sink", "key": "lines" }])
    );
    let content = fs::read(used["path"].as_str().unwrap()).unwrap();
    assert_eq!(used["hash"], blake3::hash(&content).to_hex().as_str());
    // It stands beside the daemon, and nobody uses it.
    let found = daemon.get("/plugins/iggy_connector_random_source").await;
    for plugin in found.as_array().unwrap() {
        assert_eq!(plugin["direction"], "source");
        assert_eq!(plugin["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(plugin["sdk_version"], env!("CARGO_PKG_VERSION"));
        assert!(plugin["abi"].is_string(), "{plugin}");
        assert!(
            plugin["config_schema"]["properties"].is_object(),
            "{plugin}"
        );
        assert_eq!(
            (&plugin["loaded"], &plugin["connectors"]),
            (&json!(false), &json!([]))
        );
    }
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_file_that_is_no_plugin_is_listed_with_its_reason_and_harms_nobody() {
    let home = Home::new(CONFIG);
    let libraries = home.path().join("libraries");
    let note = home.path().join("note");
    fs::create_dir(&libraries).unwrap();
    fs::write(libraries.join("text.so"), "no library").unwrap();
    compile(&libraries, &note);
    let daemon = home.start().await;
    let plugins = daemon.get("/plugins").await;
    for (file, reason) in [
        ("text.so", "it is not a shared library"),
        ("deadly.so", "ended the process that looked at it"),
    ] {
        let refused = by_file(&plugins, file);
        assert_eq!(
            (&refused["name"], &refused["version"]),
            (&Value::Null, &Value::Null)
        );
        let found = refused["reason"].as_str().unwrap();
        assert!(found.contains(reason) && found.contains(file), "{found}");
    }
    // It was loaded, though not by the daemon, which goes on.
    assert_eq!(fs::read_to_string(note).unwrap(), "loaded\n");
    assert_eq!(daemon.get("/health").await["status"], "healthy");
    daemon.interrupt().await;
}
