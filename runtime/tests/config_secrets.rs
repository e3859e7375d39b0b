//! No secret is ever shown.

#![expect(
    clippy::unwrap_used,
    reason = "a failed unwrap fails the test, which is its purpose"
)]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod site;
}

use std::fs;

use harness::site::{SINK, Site, the_connector};
use secrecy::ExposeSecret as _;
use serde_json::json;

#[test]
fn secrets_are_never_shown() {
    let text = r#"
[iggy]
address = "iggy://user:hunter2@localhost:8090"
password = "hunter2"
token = "hunter2"
[http]
api_key = "hunter2"
[connectors.request_headers]
api-key = "hunter2"
[sinks.stdout]
path = "libstdout"
plugin_config.password = "hunter2"
[[sinks.stdout.streams]]
stream = "s"
topics = ["t"]
"#;
    let loaded = Site::toml(text).loaded();
    let shown = format!("{loaded:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("***@localhost:8090"), "{shown}");
    assert_eq!(
        loaded.runtime.iggy.token.unwrap().expose_secret(),
        "hunter2"
    );
    // Wrong types and values in the same places.
    let text = text
        .replace("\"hunter2\"", "[\"hunter2\"]")
        .replace("hunter2@", "hunter2@x@");
    let problems = Site::toml(&text.replace("path =", "pth ="))
        .load()
        .unwrap_err();
    assert!(problems.0.len() >= 5, "{problems}");
    let shown = format!("{problems} {problems:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_token_may_stand_in_a_file() {
    let site = Site::toml("");
    let token = site.folder.path().join("token");
    let variable = format!("file:{}", token.display());
    let site = site.with_variable("IGGY_CONNECTORS_IGGY_TOKEN", &variable);
    assert!(site.problems()[0].starts_with("IGGY_CONNECTORS_IGGY_TOKEN: `iggy.token`: `"));
    fs::write(&token, "\n").unwrap();
    assert!(site.problems()[0].contains("is empty; write the token into it"));
    fs::write(&token, "secret\n").unwrap();
    assert_eq!(
        site.loaded().runtime.iggy.token.unwrap().expose_secret(),
        "secret"
    );
}
#[test]
fn what_a_reference_gave_is_shown_nowhere() {
    let text = r#"
[iggy]
username = "${env:CANARY}"
password = "${env:CANARY}"
[plugins]
search_paths = ["/${env:CANARY}"]
[sinks.stdout]
name = "${env:CANARY}"
path = "${env:CANARY}"
plugin_config = { url = "http://u:${env:CANARY}@h", list = [{ deep = "${env:CANARY}" }], plain = "shown" }
transforms.add_fields.fields = [{ key = "a", value.static = "${env:CANARY}" }]
[[sinks.stdout.streams]]
stream = "${env:CANARY}"
topics = ["t"]
"#;
    let loaded = Site::toml(text)
        .with_variable("CANARY", "hunter2-canary")
        .loaded();
    let shown = format!("{loaded:?}");
    assert!(!shown.contains("canary"), "{shown}");
    assert!(shown.contains("***"), "{shown}");
    let sink = the_connector(&loaded);
    assert_eq!(sink.name, "hunter2-canary");
    assert_eq!(
        sink.plugin_config.shown(),
        json!({ "url": "***", "list": [{ "deep": "***" }], "plain": "shown" })
    );
    let document = sink.written.shown();
    assert_eq!(
        (&document["name"], &document["streams"][0]["topics"][0]),
        (&json!("***"), &json!("t"))
    );
    assert_eq!(
        document["transforms"]["add_fields"]["fields"][0]["value"]["static"],
        "***"
    );
    assert!(!document.to_string().contains("canary"), "{document}");
    assert_eq!(loaded.secrets.hide("to hunter2-canary!"), "to ***!");
}

#[test]
fn mistakes_in_what_a_reference_gave_do_not_repeat_it() {
    let text = r#"
[iggy]
address = "${env:CANARY}"
[iggy.embedded]
sync = "${env:CANARY}"
[logging]
format = "${env:CANARY}"
[http]
enabled = "${env:CANARY}"
[sinks.stdout]
path = "p"
delivery = "${env:SHORT}"
[sinks.stdout.transforms.add_fields]
fields = [{ key = "a", value.computed = "${env:CANARY}" }]
[[sinks.stdout.streams]]
stream = "s"
topics = ["${env:CANARY}", "${env:CANARY}"]
schema = "${env:CANARY}"
"#;
    let problems = Site::toml(text)
        .with_variable("CANARY", "hunter2-canary")
        .with_variable("SHORT", "xy")
        .load()
        .unwrap_err();
    assert!(problems.0.len() >= 7, "{problems}");
    let shown = format!("{problems} {problems:?}");
    assert!(
        !shown.contains("canary") && !shown.contains("`xy`"),
        "{shown}"
    );
    assert!(shown.contains("unknown value `***`"), "{shown}");
}

#[test]
fn a_plugins_values_from_variables_are_secrets() {
    let loaded = Site::toml(SINK)
        .with_variable(
            "IGGY_CONNECTORS_SINK_STDOUT_PLUGIN_CONFIG_PASSWORD",
            "12345678",
        )
        .loaded();
    let sink = the_connector(&loaded);
    assert_eq!(
        *sink.plugin_config.expose(),
        json!({ "password": 12345678 })
    );
    assert_eq!(sink.plugin_config.shown(), json!({ "password": "***" }));
    assert_eq!(loaded.secrets.hide("with 12345678"), "with ***");
}
