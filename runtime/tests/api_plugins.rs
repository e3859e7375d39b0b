//! `/plugins`: what is loaded, what could be, and files that are none, over the API of a real daemon.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod daemon;
}

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use harness::daemon::{Daemon, Home};
use reqwest::Method;
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

/// A library that does harm when it is loaded, and notes that it was.
const HARMFUL: &str = r#"
#include <stdio.h>
#include <unistd.h>
__attribute__((constructor)) static void harm(void) {
  FILE *note = fopen(NOTE, "a");
  if (note) { fputs("loaded\n", note); fclose(note); }
  HARM;
}
"#;

/// Ends the process which loads it.
const DEADLY: &str = "_exit(7)";
/// Never returns.
const ENDLESS: &str = "for (;;) pause()";

fn compile(folder: &Path, name: &str, harm: &str, note: &Path) {
    let source = folder.join(name).with_extension("c");
    fs::write(&source, HARMFUL).unwrap();
    let done = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(folder.join(name).with_extension("so"))
        .arg(format!("-DHARM={harm}"))
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
    compile(&libraries, "deadly", DEADLY, &note);
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

#[tokio::test]
async fn a_library_that_crashes_or_never_returns_when_it_is_loaded_fails_its_connector_and_harms_nobody()
 {
    let mut home = Home::new(CONFIG);
    let note = home.path().join("note");
    compile(home.path(), "deadly", DEADLY, &note);
    compile(home.path(), "endless", ENDLESS, &note);
    let sink = |key: &str| {
        let path = home.path().join(key).with_extension("so");
        json!({
            "type": "sink", "key": key, "path": path,
            "streams": [{ "stream": "s", "topics": ["t"], "schema": "raw" }],
        })
    };
    for key in ["deadly", "endless"] {
        let file = home.path().join("connectors").join(format!("{key}.json"));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, sink(key).to_string()).unwrap();
    }
    let endless = sink("endless");
    home.set("IGGY_CONNECTORS_CONNECTORS_CONFIG_DIR", "connectors");
    let daemon = home.start().await;
    let deadly = daemon
        .wait_for("/sinks/deadly", |sink| sink["status"] == "error")
        .await;
    let reason = deadly["last_error"]["message"].as_str().unwrap();
    assert!(reason.contains("ended the process"), "{reason}");
    // Meanwhile the other is being looked at, and once more on request.
    let asked = reqwest::Client::new()
        .post(daemon.url("/validate"))
        .json(&endless)
        .send();
    let asked = tokio::spawn(asked);
    let (status, _) = daemon.post("/sinks/lines/restart").await;
    assert_eq!(status, 202);
    daemon
        .wait_for("/sinks/lines", |sink| {
            sink["status"] == "running" && sink["target"] == "running"
        })
        .await;
    let refused = asked.await.unwrap().unwrap();
    assert_eq!(refused.status(), 422);
    let refused: Value = refused.json().await.unwrap();
    let reason = refused["errors"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("did not finish loading"), "{reason}");
    let endless = daemon
        .wait_for("/sinks/endless", |sink| sink["status"] == "error")
        .await;
    let reason = endless["last_error"]["message"].as_str().unwrap();
    assert!(reason.contains("did not finish loading"), "{reason}");
    daemon.interrupt().await;
}

/// The names of the plugins' private copies that the daemon has loaded.
fn mapped(daemon: &Daemon) -> BTreeSet<String> {
    let maps = fs::read_to_string(format!("/proc/{}/maps", daemon.pid())).unwrap();
    let files = maps.lines().filter_map(|line| line.split_once('/'));
    let copies = files.filter(|(_, file)| file.contains("local_state/plugins/"));
    copies.map(|(_, file)| file.to_owned()).collect()
}

async fn send(daemon: &Daemon, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let request = reqwest::Client::new().request(method, daemon.url(path));
    let reply = request.json(body).send().await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

#[tokio::test]
async fn what_is_only_validated_or_stored_is_not_loaded_into_the_daemon() {
    let home = Home::new(CONFIG);
    let note = home.path().join("note");
    compile(home.path(), "deadly", DEADLY, &note);
    let daemon = home.start().await;
    daemon
        .wait_for("/sinks/lines", |sink| sink["status"] == "running")
        .await;
    let before = mapped(&daemon);
    assert_eq!(before.len(), 1, "{before:?}");
    let mut document = json!({
        "type": "sink", "key": "more", "enabled": false,
        "path": "libiggy_connector_stdout_sink",
        "streams": [{ "stream": "s", "topics": ["t"] }],
        "plugin_config": { "print_payload": true },
    });
    let (status, answer) = send(&daemon, Method::POST, "/validate", &document).await;
    assert_eq!(status, 200, "{answer}");
    let (status, answer) = send(&daemon, Method::POST, "/sinks/more/configs", &document).await;
    assert_eq!(status, 200, "{answer}");
    // Its plugin has been asked which of its values may be shown.
    assert_eq!(answer["plugin_config"]["print_payload"], true, "{answer}");
    let stored = daemon.get("/sinks/more/configs/active").await;
    assert_eq!(stored["plugin_config"]["print_payload"], true, "{stored}");
    document["plugin_config"]["print_payload"] = "maybe".into();
    let (status, answer) = send(&daemon, Method::POST, "/validate", &document).await;
    assert_eq!(
        (status, &answer["errors"][0]["path"]),
        (422, &"plugin_config.print_payload".into()),
        "{answer}"
    );
    document["path"] = "libiggy_connector_random_source".into();
    let (status, answer) = send(&daemon, Method::POST, "/validate", &document).await;
    let reason = answer["errors"][0]["reason"].as_str().unwrap();
    assert!(
        status == 422 && reason.contains("is a source, but the connector is a sink"),
        "{answer}"
    );
    // One that is refused, and may be put in order in the same place.
    let library = home.path().join("deadly.so");
    document["path"] = library.to_str().unwrap().into();
    let (status, answer) = send(&daemon, Method::POST, "/validate", &document).await;
    let reason = answer["errors"][0]["reason"].as_str().unwrap();
    assert!(
        status == 422 && reason.contains("ended the process") && reason.contains("deadly.so"),
        "{answer}"
    );
    assert_eq!(mapped(&daemon), before);
    assert_eq!(daemon.get("/health").await["status"], "healthy");
    let (status, answer) = daemon.post("/sinks/more/start").await;
    assert_eq!(status, 202, "{answer}");
    daemon
        .wait_for("/sinks/more", |sink| sink["status"] == "running")
        .await;
    assert_eq!(mapped(&daemon).len(), 2, "what runs is loaded");
    daemon.interrupt().await;
}
