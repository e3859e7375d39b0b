//! The commands that look at configurations and plugins without running anything.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

const PLUGIN: &str = "libiggy_connector_stdout_sink";

/// A folder with these files, in which commands run.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn run(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_iggy-connectors"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    (output.status.code(), text.trim_end().to_owned())
}

/// A library `name.so`.
fn compile(folder: &Path, name: &str, source: &str) {
    let (source_file, library) = (format!("{name}.c"), format!("{name}.so"));
    fs::write(folder.join(&source_file), source).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o", &library, &source_file])
        .current_dir(folder)
        .status()
        .unwrap();
    assert!(compiled.success());
}

/// A file with ten mistakes, of every kind.
const TEN: &str = r#"[iggy]
adress = "localhost:8090"
password = "${env:NO_SUCH}"
[http]
enabled = "yes"
[connectors]
config_dir = "connectors"
[sinks.typo]
path = "libiggy_connector_stdout_sink"
plugin_config = { print_paylod = true }
streams = [{ stream = "s", topics = ["t"], schema = "jsn" }]
[sinks.plugin]
path = "libiggy_connector_stdout_sink"
plugin_config = { print_payload = "hunter2" }
streams = [{ stream = "s", topics = ["t"] }]
[sinks.nowhere]
path = "/no/such/plugin.so"
streams = [{ stream = "s", topics = ["t"] }]
"#;

const TOLD: &str = r#"config.toml:3: `iggy.password`: the variable `NO_SUCH` is not set; set it, or write `${env:NAME:-default}`
config.toml:2: `iggy.adress`: unknown key; did you mean `address`?
config.toml:5: `http.enabled`: true or false is expected, not a string
config.toml:11: `sinks.typo.streams[0].schema`: unknown value `jsn`; did you mean `json`?
IGGY_CONNECTORS_SOURCE_DB_POLL_TIMEOUT: `poll_timeout`: a duration with a unit is expected, for example "5ms" or "1m 30s"
connectors/db.toml: `path`: missing; name the plugin's library
connectors/broken.json:1: EOF while parsing an object
config.toml:17: `sinks.nowhere.path`: plugin `/no/such/plugin.so` not found; build it, or add its folder to plugins.search_paths; looked at: /no/such/plugin.so /no/such/libplugin.so
config.toml:10: `sinks.typo.plugin_config.print_paylod`: unknown key; did you mean `print_payload`?
config.toml:14: `sinks.plugin.plugin_config.print_payload`: true or false is expected, not a string
warning: IGGY_CONNECTORS_HTTP_ADRESS has no effect: no key has this name; did you mean IGGY_CONNECTORS_HTTP_ADDRESS?
10 problems"#;

#[test]
fn a_configuration_with_ten_mistakes_is_told_all_of_them() {
    let folder = folder(&[
        ("config.toml", TEN),
        ("connectors/broken.json", "{"),
        (
            "connectors/db.toml",
            "type = 'source'\nkey = 'db'\n[[streams]]\nstream = 's'\ntopic = 't'",
        ),
    ]);
    let variables = [
        ("IGGY_CONNECTORS_HTTP_ADRESS", "127.0.0.1:1"),
        ("IGGY_CONNECTORS_SOURCE_DB_POLL_TIMEOUT", "5"),
    ];
    let (code, told) = run(folder.path(), &["check"], &variables);
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&told), sorted(TOLD), "{told}");
    assert_eq!(code, Some(2));
    let (code, told) = run(folder.path(), &["check", "--json"], &variables);
    assert_eq!(code, Some(2));
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["problems"].as_array().unwrap().len(), 10);
    let schema = told["problems"]
        .as_array()
        .unwrap()
        .iter()
        .find(|problem| problem["key"] == "sinks.typo.streams[0].schema");
    assert_eq!(
        *schema.unwrap(),
        json!({
            "file": "config.toml",
            "line": 11,
            "variable": null,
            "key": "sinks.typo.streams[0].schema",
            "code": "invalid",
            "reason": "unknown value `jsn`",
            "remedy": "did you mean `json`?",
        })
    );
}

#[test]
fn a_good_configuration_is_good_and_leaves_nothing_behind() {
    let sink = format!(
        "[sinks.k]\npath = '{PLUGIN}'\nstreams = [{{ stream = 's', topics = ['t'] }}]\nplugin_config.print_payload = '${{env:PRINT}}'"
    );
    let folder = folder(&[("config.toml", &sink), (".env", "PRINT=true")]);
    let (code, told) = run(folder.path(), &["check"], &[]);
    assert_eq!(
        (code, told.as_str()),
        (Some(0), "the configuration is good; connectors: 1")
    );
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
    // A text of another type is the plugin's schema's to refuse.
    let (code, told) = run(folder.path(), &["check"], &[("PRINT", "maybe")]);
    assert_eq!(code, Some(2));
    assert!(
        told.starts_with("config.toml:4: `sinks.k.plugin_config.print_payload`: true or false is expected, not a string"),
        "{told}"
    );
}

#[test]
fn what_libraries_print_when_they_are_loaded_is_no_part_of_the_answer() {
    let folder = folder(&[]);
    // One writes at once, the other leaves it to the C library, which writes at the end.
    compile(
        folder.path(),
        "chatty",
        "#include <stdio.h>\n__attribute__((constructor)) static void greet(void) { puts(\"[hello\"); fflush(stdout); puts(\"there\"); }",
    );
    let output = Command::new(env!("CARGO_BIN_EXE_iggy-connectors"))
        .args(["plugins", "--json", "chatty.so"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let listed: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let reason = listed[0]["reason"].as_str().unwrap();
    assert!(reason.contains("no connector plugin"), "{reason}");
    let beside = String::from_utf8(output.stderr).unwrap();
    assert_eq!(beside, "[hello\nthere\n");
}

#[test]
fn an_answer_that_nobody_reads_or_that_has_no_room_is_no_crash() {
    let folder = folder(&[("config.toml", "")]);
    for arguments in [&["check"][..], &["plugins", "."], &["config", "schema"]] {
        let answered = |output: Stdio| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_iggy-connectors"));
            command.args(arguments).current_dir(folder.path());
            let output = command.stdout(output).stderr(Stdio::piped()).output();
            let output = output.unwrap();
            (
                output.status.code(),
                String::from_utf8(output.stderr).unwrap(),
            )
        };
        // As before `head`, which has seen enough.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(answered(writer.into()), (Some(0), String::new()));
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let (code, told) = answered(full.into());
        assert_eq!(code, Some(1), "{told}");
        assert!(told.starts_with("standard output: "), "{told}");
    }
}

#[test]
fn a_mistake_that_nobody_reads_is_no_crash() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_iggy-connectors"));
    command.args(["--config", "none.toml"]).stderr(writer);
    assert_eq!(command.status().unwrap().code(), Some(2));
}

#[test]
fn a_library_that_ends_whoever_loads_it_is_told_with_everything_else() {
    let sink = |key: &str, path: &str| {
        format!(
            "[sinks.{key}]\npath = '{path}'\nstreams = [{{ stream = 's', topics = ['t'] }}]\nplugin_config.print = 1\n"
        )
    };
    let config = sink("deadly", "./deadly.so") + &sink("good", PLUGIN);
    let source =
        "#include <unistd.h>\n__attribute__((constructor)) static void end(void) { _exit(0); }";
    let folder = folder(&[("config.toml", &config)]);
    compile(folder.path(), "deadly", source);
    let (code, told) = run(folder.path(), &["check"], &[]);
    assert_eq!(code, Some(2), "{told}");
    for expected in [
        "config.toml:2: `sinks.deadly.path`: plugin `",
        "deadly.so` ended the process that looked at it (exit status: 0)",
        "config.toml:8: `sinks.good.plugin_config.print`: unknown key",
        "2 problems",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
}

#[test]
fn a_missing_file_is_told() {
    let (code, told) = run(folder(&[]).path(), &["check", "--config", "none.toml"], &[]);
    assert_eq!(code, Some(2));
    assert!(told.starts_with("none.toml: cannot be read"), "{told}");
}

#[test]
fn plugins_are_told_with_what_they_are_and_why_they_are_refused() {
    let folder = folder(&[("text.so", "no library"), ("notes.txt", "")]);
    let (code, told) = run(folder.path(), &["plugins", "."], &[]);
    assert_eq!(code, Some(1));
    assert!(told.contains("./text.so\n  refused: "), "{told}");
    assert!(!told.contains("notes"), "{told}");
    let (code, told) = run(folder.path(), &["plugins", "--json"], &[]);
    let plugins: Vec<Value> = serde_json::from_str(&told).unwrap();
    let stdout = plugins
        .iter()
        .find(|plugin| plugin["name"] == "iggy_connector_stdout_sink")
        .unwrap();
    assert_eq!(stdout["direction"], "sink");
    assert_eq!(stdout["version"], env!("CARGO_PKG_VERSION"));
    let schema = &stdout["config_schema"]["properties"]["print_payload"];
    assert_eq!(schema["type"], "boolean");
    let path = stdout["path"].as_str().unwrap();
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = run(folder.path(), &["plugins", path], &[]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("\n  sink iggy_connector_stdout_sink ")
            && told.contains("\n  plugin_config.print_payload boolean  Prints each"),
        "{told}"
    );
    let (code, told) = run(folder.path(), &["plugins", "none.so"], &[]);
    assert_eq!(code, Some(1));
    assert!(told.contains("refused: read plugin"), "{told}");
}

#[test]
fn schemas_are_printed_for_every_file() {
    let folder = folder(&[]);
    for (arguments, key) in [
        (&["config", "schema"][..], "iggy"),
        (&["config", "schema", "runtime"], "http"),
        (&["config", "schema", "sink"], "commit_interval"),
        (&["config", "schema", "source"], "poll_timeout"),
    ] {
        let (code, told) = run(folder.path(), arguments, &[]);
        assert_eq!(code, Some(0), "{told}");
        let schema: Value = serde_json::from_str(&told).unwrap();
        assert!(schema["properties"][key].is_object(), "{arguments:?}");
    }
}

#[test]
fn the_command_line_tells_what_it_takes() {
    let folder = folder(&[]);
    let (code, told) = run(folder.path(), &["--version"], &[]);
    assert_eq!(
        (code, told),
        (
            Some(0),
            format!("iggy-connectors {}", env!("CARGO_PKG_VERSION"))
        )
    );
    let (code, told) = run(folder.path(), &["--help"], &[]);
    assert_eq!(code, Some(0));
    for word in [
        "check",
        "plugins",
        "config",
        "Exit codes:",
        "IGGY_CONNECTORS_ENV_PATH",
    ] {
        assert!(told.contains(word), "{word}: {told}");
    }
    let (code, _) = run(folder.path(), &["no_such_command"], &[]);
    assert_eq!(code, Some(2));
}
