//! Versions in files: what is stored, activated and removed through the provider, and what daemons make of it.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod daemon;
}

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use harness::daemon::{Daemon, Home, PATIENCE};
use iggy_connectors::{
    config::{Document, Environment, Place, load_with, spec::Direction},
    provider::{self, Error, Id, Opened, Provider, Wanted},
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A sink in the runtime file, beside which versions are stored.
const INLINE: &str = "
[state]
path = 'state'
[sinks.inline]
path = 'libinline'
streams = [{ stream = 's', topics = ['t'] }]
";

/// A folder with a runtime file, and the provider that it names.
struct Site {
    folder: TempDir,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state").display().to_string();
        let config = INLINE.replace("'state'", &format!("'{state}'"));
        fs::write(folder.path().join("config.toml"), config).unwrap();
        Self { folder }
    }

    /// Where versions are stored when no other folder is named.
    fn versions(&self) -> PathBuf {
        self.folder.path().join("state/connectors")
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.versions())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != ".lock")
            .collect();
        names.sort();
        names
    }

    fn put(&self, name: &str, text: &str) {
        fs::create_dir_all(self.versions()).unwrap();
        fs::write(self.versions().join(name), text).unwrap();
    }

    async fn open(&self) -> Opened {
        open(self.folder.path(), &[]).await
    }

    async fn provider(&self) -> Arc<dyn Provider> {
        self.open().await.provider
    }
}

async fn open(folder: &Path, variables: &[(&str, &str)]) -> Opened {
    let environment = Environment::new(variables.iter().copied());
    let loaded = load_with(Some(&folder.join("config.toml")), &environment).unwrap();
    provider::open(loaded).await.unwrap()
}

fn sink(key: &str) -> Id {
    Id::new(Direction::Sink, key).unwrap()
}

fn document(path: &str) -> Document {
    of(json!({
        "path": path,
        "streams": [{ "stream": "s", "topics": ["t"] }],
        "plugin_config": { "password": "hunter2" },
    }))
}

fn of(value: Value) -> Document {
    let Value::Object(values) = value else {
        panic!("{value}");
    };
    Document::of_json(values)
}

fn numbers(entries: &[provider::Entry]) -> Vec<(u32, bool)> {
    entries
        .iter()
        .map(|entry| (entry.version.spec.version, entry.active))
        .collect()
}

#[tokio::test]
async fn versions_count_from_zero_and_the_highest_is_active_until_one_is_activated() {
    let site = Site::new();
    let provider = site.provider().await;
    let id = sink("k");
    assert!(matches!(
        provider.versions(&id).await,
        Err(Error::NotFound(_))
    ));
    for version in 0..3 {
        let stored = provider
            .create(&id, document(&format!("p{version}")))
            .await
            .unwrap();
        assert_eq!(stored.version.spec.version, version);
        assert!(
            stored.active && stored.version.problems.is_empty(),
            "{stored:?}"
        );
    }
    provider.activate(&id, 1).await.unwrap();
    provider.create(&id, document("p3")).await.unwrap();
    let entries = provider.versions(&id).await.unwrap();
    assert_eq!(
        numbers(&entries),
        [(0, false), (1, true), (2, false), (3, false)]
    );
    assert_eq!(provider.active(&id).await.unwrap().version.spec.path, "p1");
    assert_eq!(
        provider.version(&id, 2).await.unwrap().version.spec.path,
        "p2"
    );
    // Whoever opens it next finds the same.
    let opened = site.open().await;
    let found = opened
        .connectors
        .iter()
        .find(|connector| connector.key == "k");
    assert_eq!(found.unwrap().version, 1);
    assert_eq!(
        numbers(&opened.provider.versions(&id).await.unwrap()),
        numbers(&entries)
    );
    for (version, error) in [(7, "sink `k` has no version 7"), (4, "no version 4")] {
        let told = provider
            .activate(&id, version)
            .await
            .unwrap_err()
            .to_string();
        assert!(told.contains(error), "{told}");
    }
}

#[tokio::test]
async fn a_version_is_stored_for_its_owner_under_a_plain_name() {
    let site = Site::new();
    let provider = site.provider().await;
    provider.create(&sink("k"), document("p")).await.unwrap();
    let with_null = of(json!({
        "path": "p", "version": 9, "key": "other", "active": true, "verbose": null,
        "streams": [{ "stream": "s", "topics": ["t"] }],
        "plugin_config": { "limit": null },
    }));
    let stored = provider.create(&sink("k"), with_null).await.unwrap();
    assert!(
        stored.version.problems.is_empty(),
        "{:?}",
        stored.version.problems
    );
    provider.activate(&sink("k"), 0).await.unwrap();
    assert_eq!(
        site.names(),
        [".active_versions.toml", "k_sink_v0.toml", "k_sink_v1.json"]
    );
    for name in site.names() {
        let mode = fs::metadata(site.versions().join(&name))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "{name}");
    }
    let text = fs::read_to_string(site.versions().join("k_sink_v1.json")).unwrap();
    let read: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        read,
        json!({
            "type": "sink", "key": "k", "version": 1, "path": "p",
            "streams": [{ "stream": "s", "topics": ["t"] }],
            "plugin_config": { "limit": null },
        })
    );
    assert!(!format!("{stored:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_connector_of_the_runtime_file_has_its_later_versions_in_files() {
    let site = Site::new();
    let provider = site.provider().await;
    let id = sink("inline");
    let stored = provider.create(&id, document("later")).await.unwrap();
    assert_eq!(stored.version.spec.version, 1);
    let entries = provider.versions(&id).await.unwrap();
    assert_eq!(numbers(&entries), [(0, false), (1, true)]);
    assert!(matches!(entries[0].version.place, Place::Inline(_)));
    provider.activate(&id, 0).await.unwrap();
    assert_eq!(site.open().await.connectors[0].path, "libinline");
    // It cannot be removed where nobody may write.
    provider.activate(&id, 1).await.unwrap();
    let error = provider.delete(&id, Some(0)).await.unwrap_err();
    assert!(
        matches!(&error, Error::Conflict(told) if told.contains("config.toml: remove it there")),
        "{error}"
    );
}

#[tokio::test]
async fn the_active_version_is_not_removed_and_all_of_them_only_once_it_is_disabled() {
    let site = Site::new();
    let provider = site.provider().await;
    let id = sink("k");
    for path in ["p0", "p1", "p2"] {
        provider.create(&id, document(path)).await.unwrap();
    }
    provider.activate(&id, 1).await.unwrap();
    let error = provider.delete(&id, Some(1)).await.unwrap_err();
    assert!(
        matches!(&error, Error::Conflict(told) if told.contains("activate another")),
        "{error}"
    );
    provider.delete(&id, Some(2)).await.unwrap();
    let error = provider.delete(&id, Some(2)).await.unwrap_err();
    assert!(matches!(error, Error::NotFound(_)), "{error}");
    let error = provider.delete(&id, None).await.unwrap_err();
    assert!(
        matches!(&error, Error::Conflict(told) if told.contains("enabled = false")),
        "{error}"
    );
    let mut disabled = document("p").into_values();
    disabled.insert("enabled".into(), json!(false));
    let stored = provider.create(&id, Document::new(disabled)).await.unwrap();
    provider
        .activate(&id, stored.version.spec.version)
        .await
        .unwrap();
    provider.delete(&id, None).await.unwrap();
    assert!(matches!(
        provider.versions(&id).await,
        Err(Error::NotFound(_))
    ));
    assert_eq!(site.names(), [".active_versions.toml"]);
    // A new connector of that name has nothing of the old one.
    let stored = provider.create(&id, document("p")).await.unwrap();
    assert_eq!((stored.version.spec.version, stored.active), (0, true));
}

#[tokio::test]
async fn a_choice_left_by_a_connector_that_is_gone_does_not_bind_the_next_one() {
    let site = Site::new();
    site.put(
        ".active_versions.toml",
        "[sinks.k]\nversion = 5\n[sinks.inline]\nversion = 0",
    );
    let provider = site.provider().await;
    let stored = provider.create(&sink("k"), document("p")).await.unwrap();
    assert!(stored.active);
    let active = fs::read_to_string(site.versions().join(".active_versions.toml")).unwrap();
    assert!(
        active.contains("sinks.inline") && !active.contains("sinks.k]"),
        "{active}"
    );
}

#[tokio::test]
async fn a_number_that_a_damaged_file_may_have_is_not_given_again() {
    let site = Site::new();
    site.put("k_sink_v7.toml", "type = ");
    site.put("k_source_v9.toml", "type = ");
    site.put("k_sink_vx.toml", "type = ");
    let provider = site.provider().await;
    let stored = provider.create(&sink("k"), document("p")).await.unwrap();
    assert_eq!(stored.version.spec.version, 8);
    let text = fs::read_to_string(site.versions().join("k_sink_v7.toml")).unwrap();
    assert_eq!(text, "type = ");
}

#[tokio::test]
async fn a_damaged_record_of_active_versions_is_an_error_and_stays_as_it_is() {
    let site = Site::new();
    let provider = site.provider().await;
    provider.create(&sink("k"), document("p")).await.unwrap();
    site.put(".active_versions.toml", "[sinks.k]\nversion = ");
    for error in [
        provider.activate(&sink("k"), 0).await.unwrap_err(),
        provider
            .create(&sink("k"), document("p"))
            .await
            .unwrap_err(),
    ] {
        assert!(matches!(error, Error::Damaged(_)), "{error:?}");
        assert!(error.to_string().contains("restore it"), "{error}");
    }
    let text = fs::read_to_string(site.versions().join(".active_versions.toml")).unwrap();
    assert_eq!(text, "[sinks.k]\nversion = ");
}

#[tokio::test]
async fn creates_at_the_same_time_each_get_their_own_number() {
    const EACH: usize = 10;
    let site = Site::new();
    // Two providers over one folder, as two daemons have them.
    let providers = [site.provider().await, site.provider().await];
    let mut tasks = Vec::new();
    for provider in &providers {
        for task in 0..EACH {
            let provider = provider.clone();
            tasks.push(tokio::spawn(async move {
                let path = format!("p{task}");
                let stored = provider.create(&sink("k"), document(&path)).await.unwrap();
                assert_eq!(
                    stored.version.spec.path, path,
                    "another one's version came back"
                );
                stored.version.spec.version
            }));
        }
    }
    let mut given = BTreeSet::new();
    for task in tasks {
        assert!(
            given.insert(task.await.unwrap()),
            "a number was given twice"
        );
    }
    let expected: BTreeSet<_> = (0..2 * EACH as u32).collect();
    assert_eq!(given, expected);
    assert_eq!(
        providers[0].versions(&sink("k")).await.unwrap().len(),
        2 * EACH
    );
}

/// Names the folder of a process that stores versions until it is killed.
const WRITER: &str = "PROVIDER_LOCAL_WRITER";

#[tokio::test]
async fn a_writer_in_a_process_of_its_own() {
    let Ok(folder) = std::env::var(WRITER) else {
        return;
    };
    let provider = open(Path::new(&folder), &[]).await.provider;
    loop {
        let stored = provider.create(&sink("k"), document("p")).await.unwrap();
        let version = stored.version.spec.version;
        provider.activate(&sink("k"), version).await.unwrap();
        fs::write(Path::new(&folder).join("confirmed"), version.to_string()).unwrap();
    }
}

#[tokio::test]
async fn a_writer_that_is_killed_leaves_whole_versions_and_a_readable_choice() {
    let site = Site::new();
    let confirmed = site.folder.path().join("confirmed");
    let mut least = 0;
    for round in 0..15_u32 {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_writer_in_a_process_of_its_own"])
            .env(WRITER, site.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let enough = least + 1 + round % 4;
        let deadline = std::time::Instant::now() + PATIENCE;
        while read_number(&confirmed).is_none_or(|number| number < enough) {
            assert!(
                std::time::Instant::now() < deadline,
                "the writer stores nothing"
            );
            // Whatever it does at this moment is what is interrupted.
            std::thread::yield_now();
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        let opened = site.open().await;
        assert!(opened.unusable.is_empty(), "{:?}", opened.unusable);
        let entries = opened.provider.versions(&sink("k")).await.unwrap();
        let found: Vec<_> = numbers(&entries)
            .into_iter()
            .map(|(number, _)| number)
            .collect();
        assert!(found.iter().copied().eq(0..found.len() as u32), "{found:?}");
        // It may have been interrupted in the middle of this one, too.
        least = read_number(&confirmed).unwrap_or(enough);
        let active = opened.provider.active(&sink("k")).await.unwrap();
        assert!(
            active.version.spec.version >= least,
            "a confirmed choice is lost"
        );
        assert!(
            entries
                .iter()
                .all(|entry| entry.version.problems.is_empty())
        );
    }
    // What the last one left half done goes with the next change.
    let provider = site.provider().await;
    provider.create(&sink("k"), document("p")).await.unwrap();
    let left = site.names();
    assert!(
        left.iter().all(|name| !name.contains("unfinished")),
        "{left:?}"
    );
}

/// `None` also while it is being written.
fn read_number(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.parse().ok()
}

#[tokio::test]
async fn a_half_written_version_is_no_version() {
    let site = Site::new();
    let provider = site.provider().await;
    provider.create(&sink("k"), document("p0")).await.unwrap();
    site.put(
        ".unfinished-k_sink_v1.toml.tmp",
        "type = \"sink\"\nkey = \"k\"\nver",
    );
    assert_eq!(
        numbers(&provider.versions(&sink("k")).await.unwrap()),
        [(0, true)]
    );
    let stored = provider.create(&sink("k"), document("p1")).await.unwrap();
    assert_eq!(stored.version.spec.path, "p1");
    assert_eq!(site.names(), ["k_sink_v0.toml", "k_sink_v1.toml"]);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named_with_the_cause() {
    let site = Site::new();
    fs::create_dir_all(site.folder.path().join("state")).unwrap();
    fs::write(site.versions(), "no folder").unwrap();
    let error = site
        .provider()
        .await
        .create(&sink("k"), document("p"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::File { path, .. } if *path == site.versions()),
        "{error:?}"
    );
    assert!(error.to_string().starts_with("make the folder "), "{error}");
}

#[test]
fn what_cannot_be_a_key_names_no_connector() {
    for key in ["", "../k", "a/b", "A", "k\n", &"k".repeat(129)] {
        assert!(
            matches!(Id::new(Direction::Sink, key), Err(Error::NotFound(_))),
            "{key}"
        );
    }
}

#[tokio::test]
async fn what_people_change_in_the_folder_is_noticed() {
    let site = Site::new();
    let versions = site.versions();
    let variables = [
        ("IGGY_CONNECTORS_CONNECTORS_POLL_INTERVAL", "20ms"),
        (
            "IGGY_CONNECTORS_CONNECTORS_CONFIG_DIR",
            versions.to_str().unwrap(),
        ),
    ];
    let file = |path: &str| {
        format!(
            "type = 'sink'\nkey = 'k'\nversion = 4\npath = '{path}'\nstreams = [{{ stream = 's', topics = ['t'] }}]"
        )
    };
    site.put("any.toml", &file("p"));
    let opened = open(site.folder.path(), &variables).await;
    let mut watch = opened.watch.unwrap();
    let mut look = async || {
        let look = watch.look().await.unwrap();
        let of_folder = look.iter().filter(|(id, _)| id.key() != "inline");
        of_folder.map(wanted).collect::<Vec<_>>()
    };

    assert_eq!(look().await, ["k 4 p"]);
    site.put("any.toml", &file("other"));
    assert_eq!(look().await, ["k 4 other"]);
    opened
        .provider
        .create(&sink("k"), document("p5"))
        .await
        .unwrap();
    assert_eq!(look().await, ["k 5 p5"]);
    // What is lower than the active one cannot be meant, wherever it is.
    site.put("any.toml", "type = 'sink'\nkey = ");
    assert_eq!(look().await, ["k 5 p5"]);
    site.put("any.toml", &file("other"));
    opened.provider.activate(&sink("k"), 4).await.unwrap();
    assert_eq!(look().await, ["k 4 other"]);
    // An editor that saves in two steps is not taken for somebody who removes a version, active or not.
    let unreadable = |looked: &str| looked.starts_with("k ?") && looked.contains("any.toml:2");
    site.put("any.toml", "type = 'sink'\nkey = ");
    for _ in 0..2 {
        let looked = look().await;
        assert!(unreadable(&looked[0]), "{looked:?}");
    }
    site.put("z.toml", &file("p").replace("'k'", "'z'"));
    let looked = look().await;
    assert!(unreadable(&looked[0]) && looked[1] == "z 4 p", "{looked:?}");
    // It may be this one under another name, too.
    fs::rename(versions.join("any.toml"), versions.join("some.toml")).unwrap();
    let looked = look().await;
    assert!(looked[0].contains("any.toml any more"), "{looked:?}");
    assert_eq!(looked[1], "z 4 p");
    site.put("some.toml", &file("third"));
    assert_eq!(look().await, ["k 4 third", "z 4 p"]);
    opened.provider.delete(&sink("k"), Some(5)).await.unwrap();
    assert_eq!(look().await, ["k 4 third", "z 4 p"]);

    // A folder that is away is none without files.
    let away = versions.with_extension("away");
    fs::rename(&versions, &away).unwrap();
    let looked = look().await;
    let is_away = |looked: &String| looked.contains("? connectors cannot be read from");
    assert!(
        looked.len() == 2 && looked.iter().all(is_away),
        "{looked:?}"
    );
    fs::rename(&away, &versions).unwrap();
    fs::remove_file(versions.join("some.toml")).unwrap();
    assert_eq!(look().await, ["z 4 p"]);
    fs::remove_file(versions.join("z.toml")).unwrap();
    assert!(look().await.is_empty());
}

/// What a connector is to be: its key, its version and its plugin, or why nobody knows.
fn wanted((id, wanted): (&Id, &Wanted)) -> String {
    match wanted {
        Wanted::Unknown(reason) => format!("{} ? {reason}", id.key()),
        wanted => {
            let spec = wanted.spec().unwrap();
            format!("{} {} {}", spec.key, spec.version, spec.path)
        }
    }
}

/// The first run, without its sink.
fn first_run() -> String {
    let shipped = include_str!("../../config.toml");
    let (before, _) = shipped.split_once("[sinks.stdout]").unwrap();
    before.to_owned()
}

fn stdout(version: u32) -> String {
    format!(
        "type = 'sink'\nkey = 'out'\nversion = {version}\nname = 'version {version}'\npath = 'libiggy_connector_stdout_sink'\n\
         streams = [{{ stream = 'example_stream', topics = ['example_topic'] }}]"
    )
}

async fn name_of_running(daemon: &Daemon) -> String {
    daemon
        .wait_for_stats("out", |stats| {
            stats["messages_processed"].as_u64() > Some(0)
        })
        .await;
    daemon.get("/sinks/out").await["name"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn the_version_that_was_activated_runs_after_every_start() {
    let home = Home::new(&first_run());
    let folder = home.path().join("local_state/connectors");
    fs::create_dir_all(&folder).unwrap();
    for version in [3, 4] {
        fs::write(
            folder.join(format!("out_sink_v{version}.toml")),
            stdout(version),
        )
        .unwrap();
    }
    let daemon = home.start().await;
    assert_eq!(name_of_running(&daemon).await, "version 4");
    daemon.interrupt().await;
    fs::write(
        folder.join(".active_versions.toml"),
        "[sinks.out]\nversion = 3\n",
    )
    .unwrap();
    for _ in 0..2 {
        let daemon = home.start().await;
        assert_eq!(name_of_running(&daemon).await, "version 3");
        daemon.kill().await;
    }
    fs::write(folder.join(".active_versions.toml"), "[sinks.out]\nvers").unwrap();
    let mut daemon = home.spawn();
    assert_eq!(daemon.ended().await.code(), Some(2));
    daemon.output_closed().await;
    let text = daemon.stderr().text();
    assert!(
        text.contains(".active_versions.toml:2") && text.contains("restore it"),
        "{text}"
    );
}
