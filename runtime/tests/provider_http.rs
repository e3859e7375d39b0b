//! Connectors of a configuration service: what is asked of it, what is believed, and what daemons do when it is down or wrong.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod daemon;
    pub mod port;
    pub mod service;
}

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use config_service::Direction::Sink;
use harness::{
    daemon::{Daemon, Home, PATIENCE},
    service::{API_KEY, ConfigService, Fault},
};
use iggy_connectors::{
    config::{Document, Environment, load_with, spec::Direction},
    provider::{self, Entry, Error, Id, Opened, Provider, Wanted},
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Short waits, so that tests of what is tried again are short too.
fn config(service: &ConfigService, more: &str) -> String {
    format!(
        "[connectors]
config_type = 'http'
base_url = '{}'
timeout = '20s'
retry = {{ max_attempts = 4, initial_backoff = '1ms', max_backoff = '20ms' }}
request_headers = {{ api-key = '{API_KEY}' }}
{more}",
        service.url()
    )
}

/// A folder with a runtime file.
struct Site {
    folder: TempDir,
}

impl Site {
    fn new(service: &ConfigService, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        fs::create_dir(&state).unwrap();
        let state = format!("\n[state]\npath = '{}'\n", state.display());
        fs::write(
            folder.path().join("config.toml"),
            config(service, &format!("{more}{state}")),
        )
        .unwrap();
        Self { folder }
    }

    async fn open(&self) -> Result<Opened, Error> {
        let file = self.folder.path().join("config.toml");
        provider::open(load_with(Some(&file), &Environment::default()).unwrap()).await
    }

    async fn provider(&self) -> Arc<dyn Provider> {
        self.open().await.unwrap().provider
    }

    async fn refused(&self) -> Error {
        match self.open().await {
            Err(error) => error,
            Ok(opened) => panic!("{:?}", opened.connectors),
        }
    }
}

fn id(direction: Direction, key: &str) -> Id {
    Id::new(direction, key).unwrap()
}

fn sink(path: &str) -> Value {
    json!({ "path": path, "streams": [{ "stream": "s", "topics": ["t"] }] })
}

fn document(value: Value) -> Document {
    let Value::Object(values) = value else {
        panic!("{value}");
    };
    Document::of_json(values)
}

fn numbers(entries: &[Entry]) -> Vec<(u32, bool)> {
    entries
        .iter()
        .map(|entry| (entry.version.spec.version, entry.active))
        .collect()
}

#[tokio::test]
async fn a_service_keeps_versions_of_sinks_and_sources() {
    let service = ConfigService::start().await;
    let site = Site::new(&service, "");
    let provider = site.provider().await;
    for direction in [Direction::Sink, Direction::Source] {
        let id = id(direction, "k");
        let with = |enabled: bool| {
            let streams = match direction {
                Direction::Sink => json!([{ "stream": "s", "topics": ["t"] }]),
                Direction::Source => json!([{ "stream": "s", "topic": "t" }]),
            };
            document(
                json!({ "path": "p", "enabled": enabled, "streams": streams, "plugin_config": { "limit": null } }),
            )
        };
        assert!(matches!(
            provider.versions(&id).await,
            Err(Error::NotFound(_))
        ));
        assert!(matches!(
            provider.active(&id).await,
            Err(Error::NotFound(_))
        ));
        for version in 0..3 {
            let stored = provider.create(&id, with(version == 0)).await.unwrap();
            assert_eq!(
                (stored.version.spec.version, stored.active),
                (version, true)
            );
            assert!(
                stored.version.problems.is_empty(),
                "{:?}",
                stored.version.problems
            );
            assert_eq!(
                *stored.version.spec.plugin_config.expose(),
                json!({ "limit": null })
            );
        }
        provider.activate(&id, 0).await.unwrap();
        assert!(matches!(
            provider.activate(&id, 7).await,
            Err(Error::NotFound(_))
        ));
        let versions = provider.versions(&id).await.unwrap();
        assert_eq!(numbers(&versions), [(0, true), (1, false), (2, false)]);
        let one = provider.version(&id, 1).await.unwrap();
        assert_eq!((one.version.spec.version, one.active), (1, false));
        assert!(provider.version(&id, 0).await.unwrap().active);
        assert!(matches!(
            provider.version(&id, 7).await,
            Err(Error::NotFound(_))
        ));
        assert!(matches!(
            provider.delete(&id, Some(0)).await,
            Err(Error::Conflict(_))
        ));
        assert!(matches!(
            provider.delete(&id, None).await,
            Err(Error::Conflict(_))
        ));
        provider.delete(&id, Some(2)).await.unwrap();
        assert!(matches!(
            provider.delete(&id, Some(2)).await,
            Err(Error::NotFound(_))
        ));
        assert_eq!(provider.active(&id).await.unwrap().version.spec.version, 0);
    }
    let all = provider.list().await.unwrap();
    assert_eq!(
        numbers(&all),
        [(0, true), (1, false), (0, true), (1, false)]
    );
    let source = id(Direction::Source, "k");
    provider.activate(&source, 1).await.unwrap();
    provider.delete(&source, None).await.unwrap();
    assert_eq!(provider.list().await.unwrap().len(), 2);
    let opened = site.open().await.unwrap();
    assert_eq!(opened.connectors.len(), 1);
    assert_eq!(
        (opened.connectors[0].version, opened.connectors[0].enabled),
        (0, true)
    );
}

#[tokio::test]
async fn creates_at_the_same_time_each_get_their_own_number() {
    let service = ConfigService::start().await;
    let site = Site::new(&service, "");
    let provider = site.provider().await;
    let tasks: Vec<_> = (0..20)
        .map(|task| {
            let provider = provider.clone();
            tokio::spawn(async move {
                let path = format!("p{task}");
                let k = id(Direction::Sink, "k");
                let stored = provider.create(&k, document(sink(&path))).await.unwrap();
                let stored = stored.version.spec;
                assert_eq!(stored.path, path);
                stored.version
            })
        })
        .collect();
    let mut given = BTreeSet::new();
    for task in tasks {
        given.insert(task.await.unwrap());
    }
    assert_eq!(given, (0..20).collect());
}

#[tokio::test]
async fn what_fails_for_the_moment_is_tried_again() {
    let service = ConfigService::start().await;
    service.store(Sink, "k", sink("p")).await;
    let site = Site::new(&service, "");
    service.fail_next([Fault::Status(500), Fault::Later("3600"), Fault::Status(503)]);
    let opened = site.open().await.unwrap();
    assert_eq!(opened.connectors.len(), 1);
    assert_eq!(service.seen().len(), 4);
    // No more often than was said, and then with the last reason.
    service.fail(Some(Fault::Status(502)));
    let error = opened
        .provider
        .versions(&id(Direction::Sink, "k"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("502 Bad Gateway: on request") && text.contains("/sinks/k/configs"),
        "{text}"
    );
    assert_eq!(service.seen().len(), 4);
    // Nothing would change.
    for status in [400, 401, 422] {
        service.fail(Some(Fault::Status(status)));
        let error = opened
            .provider
            .active(&id(Direction::Sink, "k"))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{error:?}");
        assert_eq!(service.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_version_that_may_have_been_stored_is_not_sent_again() {
    let service = ConfigService::start().await;
    let provider = Site::new(&service, "").provider().await;
    let k = id(Direction::Sink, "k");
    service.seen();
    service.fail(Some(Fault::Status(500)));
    let error = provider.create(&k, document(sink("p"))).await.unwrap_err();
    assert!(
        error.to_string().contains("may have been stored"),
        "{error}"
    );
    assert_eq!(service.seen().len(), 1);
    // Here the service says that it was not.
    service.fail(None);
    service.fail_next([Fault::Later("0"), Fault::Status(503)]);
    let stored = provider.create(&k, document(sink("p"))).await.unwrap();
    assert_eq!(stored.version.spec.version, 0);
    let posts = service
        .seen()
        .into_iter()
        .filter(|seen| seen.method == "POST");
    assert_eq!(posts.count(), 3);
}

#[tokio::test]
async fn answers_are_hostile_until_they_are_read() {
    let service = ConfigService::start().await;
    let site = Site::new(&service, "");
    let deep = format!("{{\"sinks\": {}", "[".repeat(100_000));
    let twice = r#"{"sinks": {}, "sinks": {"k": {}}}"#;
    for (fault, expected) in [
        (Fault::Body(b"<html>welcome</html>".into()), "is no JSON"),
        (Fault::Body(b"\xff\xfe{}".into()), "is no text"),
        (Fault::Body(b"".into()), "neither `sinks` nor `sources`"),
        (Fault::Body(b"{}".into()), "neither `sinks` nor `sources`"),
        (
            Fault::Body(b"[{\"sinks\": {}}]".into()),
            "neither `sinks` nor `sources`",
        ),
        (
            Fault::Body(b"{\"sinks\": [], \"sources\": {}}".into()),
            "a table is expected at `sinks`",
        ),
        (Fault::Body(deep.into()), "is no JSON"),
        (Fault::Body(twice.into()), "duplicate key `sinks`"),
        (Fault::Endless, "longer than 16 MiB"),
        (Fault::Status(304), "304 Not Modified"),
        (Fault::Status(404), "check connectors.base_url"),
        (Fault::Elsewhere(service.url()), "not followed elsewhere"),
    ] {
        service.fail(Some(fault));
        let text = site.refused().await.to_string();
        assert!(text.contains(expected), "{text} instead of {expected}");
        assert!(
            text.contains("/configs/active") && text.contains("nothing was kept"),
            "{text}"
        );
        assert!(!text.contains(API_KEY), "{text}");
    }
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_not_waited_for_without_end() {
    let service = ConfigService::start().await;
    let site = Site::new(&service, "");
    let file = site.folder.path().join("config.toml");
    let text = fs::read_to_string(&file).unwrap().replace("'20s'", "'2s'");
    fs::write(file, text).unwrap();
    service.fail(Some(Fault::Silence));
    let text = site.refused().await.to_string();
    assert!(text.contains("does not answer in time"), "{text}");
    let deadline = Instant::now() + PATIENCE;
    let mut count = service.seen().len();
    while count < 4 {
        assert!(Instant::now() < deadline, "{count} requests");
        tokio::time::sleep(Duration::from_millis(10)).await;
        count += service.seen().len();
    }
    assert_eq!(count, 4);
}

#[tokio::test]
async fn one_bad_document_fails_its_connector_only() {
    let mut service = ConfigService::start().await;
    let answer = json!({
        "sinks": {
            "good": { "version": 3, "active": true, "verbose": null, "transforms": null, "path": "p", "streams": [{ "stream": "s", "topics": ["t"] }] },
            "typo": { "version": 1, "pth": "p", "streams": [] },
            "other": { "key": "another", "path": "p", "streams": [{ "stream": "s", "topics": ["t"] }] },
            "list": [],
            "../../etc": sink("p"),
        },
        "sources": null,
    });
    let site = Site::new(&service, "");
    service.fail(Some(Fault::Body(answer.to_string().into())));
    let opened = site.open().await.unwrap();
    assert_eq!(opened.connectors.len(), 1);
    assert_eq!(
        (
            opened.connectors[0].key.as_str(),
            opened.connectors[0].version
        ),
        ("good", 3)
    );
    let reasons: Vec<_> = opened
        .unusable
        .iter()
        .map(|unusable| {
            (
                unusable.spec.key.as_str(),
                unusable.reason.replace(&service.url(), ""),
            )
        })
        .collect();
    let [(list, of_list), (other, of_other), (typo, of_typo)] = reasons.as_slice() else {
        panic!("{reasons:?}");
    };
    assert_eq!([*list, *other, *typo], ["list", "other", "typo"]);
    assert_eq!(
        of_list,
        "/configs/active: `sinks.list`: a table is expected"
    );
    assert!(
        of_other.contains("its table is named `other`"),
        "{of_other}"
    );
    assert!(
        of_typo.contains("/configs/active: `pth`: unknown key; did you mean `path`?"),
        "{of_typo}"
    );
    // What was kept for a start without the service is the same.
    service.kill();
    let again = site.open().await.unwrap();
    assert_eq!((again.connectors.len(), again.unusable.len()), (1, 3));
}

#[tokio::test]
async fn data_and_errors_may_stand_deeper_in_answers() {
    let service = ConfigService::start().await;
    service.store(Sink, "k", sink("p")).await;
    service.wrap();
    let site = Site::new(
        &service,
        "response = { data_path = 'data.configs', error_path = 'error' }",
    );
    let opened = site.open().await.unwrap();
    assert_eq!(opened.connectors.len(), 1);
    let k = id(Direction::Sink, "k");
    opened
        .provider
        .create(&k, document(sink("q")))
        .await
        .unwrap();
    opened.provider.activate(&k, 0).await.unwrap();
    assert_eq!(
        numbers(&opened.provider.versions(&k).await.unwrap()),
        [(0, true), (1, false)]
    );
    opened.provider.delete(&k, Some(1)).await.unwrap();
    service.fail(Some(Fault::Body(
        br#"{"data": {"configs": {"sinks": {}}}, "error": "on fire"}"#.into(),
    )));
    let error = opened.provider.list().await.unwrap_err();
    assert!(
        matches!(&error, Error::Refused(text) if text.ends_with("on fire")),
        "{error:?}"
    );
}

/// What each connector is to be: its key, its version and its plugin.
fn wanted(look: BTreeMap<Id, Wanted>) -> Vec<String> {
    let specs = look.values().filter_map(Wanted::spec);
    specs
        .map(|spec| format!("{} {} {}", spec.key, spec.version, spec.path))
        .collect()
}

#[tokio::test]
async fn an_answer_that_is_known_is_not_sent_again_and_what_is_new_is_noticed() {
    let service = ConfigService::start().await;
    service.store(Sink, "k", sink("p0")).await;
    let site = Site::new(&service, "poll_interval = '10ms'");
    let opened = site.open().await.unwrap();
    let mut watch = opened.watch.unwrap();
    let mut look = async || Some(wanted(watch.look().await?));
    assert_eq!(look().await.unwrap(), ["k 0 p0"]);
    service.store(Sink, "k", sink("p1")).await;
    assert_eq!(look().await.unwrap(), ["k 1 p1"]);
    service.activate(Sink, "k", 0).await;
    assert_eq!(look().await.unwrap(), ["k 0 p0"]);
    // Failures in between say nothing of what is to be.
    service.store(Sink, "z", sink("p")).await;
    service.fail_next([
        Fault::Status(400),
        Fault::Body(b"{}".into()),
        Fault::Status(401),
    ]);
    for _ in 0..3 {
        assert_eq!(look().await, None);
    }
    assert_eq!(look().await.unwrap(), ["k 0 p0", "z 0 p"]);
    service
        .service
        .with(|store| store.delete(Sink, "z", None))
        .await
        .unwrap();
    assert_eq!(look().await.unwrap(), ["k 0 p0"]);
    // With nothing new the same tag comes back, and an answer without a body.
    service.seen();
    opened.provider.view().await.unwrap();
    opened.provider.view().await.unwrap();
    let tags: Vec<_> = service
        .seen()
        .into_iter()
        .map(|seen| seen.headers.get("if-none-match").cloned())
        .collect();
    assert!(tags[0].is_some() && tags[0] == tags[1], "{tags:?}");
}

#[tokio::test]
async fn headers_are_sent_with_every_request_and_never_shown() {
    let service = ConfigService::start().await;
    let site = Site::new(&service, "");
    let provider = site.provider().await;
    provider
        .create(&id(Direction::Sink, "k"), document(sink("p")))
        .await
        .unwrap();
    provider.list().await.unwrap();
    assert!(
        service
            .seen()
            .iter()
            .all(|seen| seen.headers["api-key"] == API_KEY)
    );
    let file = site.folder.path().join("config.toml");
    let text = fs::read_to_string(&file)
        .unwrap()
        .replace(API_KEY, "wrong-key");
    fs::write(&file, text).unwrap();
    fs::remove_file(site.folder.path().join("state/service_configs.json")).unwrap();
    let text = site.refused().await.to_string();
    assert!(
        text.contains("401") && text.contains("check connectors.request_headers"),
        "{text}"
    );
    assert!(!text.contains("wrong-key"), "{text}");
    let loaded = load_with(Some(&file), &Environment::default()).unwrap();
    assert!(!format!("{loaded:?}").contains("wrong-key"));
}

#[tokio::test]
async fn connectors_of_files_and_of_the_service_run_together() {
    let service = ConfigService::start().await;
    for key in ["clash", "both", "service"] {
        service.store(Sink, key, sink("of service")).await;
    }
    service.store(Sink, "both", sink("of service, later")).await;
    let stream = "streams = [{ stream = 's', topics = ['t'] }]";
    let inline: String = [("clash", 0), ("both", 7), ("inline", 0)]
        .map(|(key, version)| {
            format!("\n[sinks.{key}]\npath = 'inline'\nversion = {version}\n{stream}\n")
        })
        .concat();
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("file.yaml"),
        "{type: sink, key: file, path: file, streams: [{stream: s, topics: [t]}]}",
    )
    .unwrap();
    let site = Site::new(
        &service,
        &format!("config_dir = '{}'\n{inline}", folder.path().display()),
    );
    let opened = site.open().await.unwrap();
    let found: Vec<_> = opened
        .connectors
        .iter()
        .map(|connector| {
            (
                connector.key.as_str(),
                connector.path.as_str(),
                connector.version,
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("both", "of service, later", 1),
            ("file", "file", 0),
            ("inline", "inline", 0),
            ("service", "of service", 0)
        ]
    );
    assert_eq!(opened.unusable.len(), 1);
    let reason = &opened.unusable[0].reason;
    assert!(reason.contains("sink `clash` has version 0 in"), "{reason}");
    // What only stands in files is changed there.
    let inline = id(Direction::Sink, "inline");
    let provider = opened.provider;
    for error in [
        provider
            .create(&inline, document(sink("p")))
            .await
            .unwrap_err(),
        provider.activate(&inline, 0).await.unwrap_err(),
        provider.delete(&inline, Some(0)).await.unwrap_err(),
    ] {
        assert!(
            matches!(&error, Error::Conflict(text) if text.contains("change it there")),
            "{error:?}"
        );
    }
    assert_eq!(
        numbers(&provider.versions(&inline).await.unwrap()),
        [(0, true)]
    );
    let both = id(Direction::Sink, "both");
    assert_eq!(
        numbers(&provider.versions(&both).await.unwrap()),
        [(0, false), (1, true), (7, false)]
    );
    assert_eq!(
        provider.version(&both, 7).await.unwrap().version.spec.path,
        "inline"
    );
}

/// The first run, without its sink, and a sink of the service behind it.
fn home(service: &ConfigService) -> Home {
    let shipped = include_str!("../../config.toml");
    let (before, _) = shipped.split_once("[sinks.stdout]").unwrap();
    let (start, rest) = before.split_once("[connectors]\n").unwrap();
    let (_, rest) = rest.split_once("[http] ").unwrap();
    let connectors = config(service, "poll_interval = '50ms'\n\n");
    Home::new(&format!("{start}{connectors}[http] {rest}"))
}

fn stdout(name: &str) -> Value {
    json!({
        "name": name,
        "path": "libiggy_connector_stdout_sink",
        "streams": [{ "stream": "example_stream", "topics": ["example_topic"], "schema": "json" }],
        "plugin_config": { "print_payload": false },
    })
}

async fn processed_more(daemon: &Daemon) -> u64 {
    let now = daemon.stats("out").await["messages_processed"]
        .as_u64()
        .unwrap();
    let stats = daemon
        .wait_for_stats("out", |stats| {
            stats["messages_processed"].as_u64() > Some(now)
        })
        .await;
    stats["messages_processed"].as_u64().unwrap()
}

async fn name(daemon: &Daemon) -> Value {
    daemon.get("/sinks/out").await["name"].clone()
}

#[tokio::test]
async fn a_daemon_runs_what_the_service_says_and_goes_on_when_it_is_killed() {
    let mut service = ConfigService::start().await;
    service.store(Sink, "out", stdout("first")).await;
    let home = home(&service);
    let daemon = home.start().await;
    processed_more(&daemon).await;
    assert_eq!(name(&daemon).await, "first");
    // Killed while it answers.
    service.fail(Some(Fault::Silence));
    service.seen();
    service.asked().await;
    service.kill();
    daemon
        .stderr()
        .wait_for("cannot be looked at for changes")
        .await;
    processed_more(&daemon).await;
    assert_eq!(daemon.stats("out").await["status"], "running");
    // It comes back with something new, which is told and run.
    service.fail(None);
    service.store(Sink, "out", stdout("second")).await;
    service.restart().await;
    let line = daemon
        .stderr()
        .wait_for("the connector is to be another")
        .await;
    assert!(
        line.contains("sink `out`") && line.contains("version=1"),
        "{line}"
    );
    daemon
        .wait_for("/sinks/out", |out| out["name"] == "second")
        .await;
    processed_more(&daemon).await;
    let log = daemon.stderr().text();
    assert!(!log.contains(API_KEY), "{log}");
    daemon.interrupt().await;
    let daemon = home.start().await;
    processed_more(&daemon).await;
    assert_eq!(name(&daemon).await, "second");
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_daemon_starts_from_what_was_kept_when_the_service_is_down() {
    let mut service = ConfigService::start().await;
    service.store(Sink, "out", stdout("first")).await;
    let home = home(&service);
    service.kill();
    let mut daemon = home.spawn();
    assert_eq!(daemon.ended().await.code(), Some(1));
    daemon.output_closed().await;
    let log = daemon.stderr().text();
    for part in [
        "/configs/active",
        "refused",
        "nothing was kept of an earlier start",
    ] {
        assert!(log.contains(part), "{log}");
    }
    service.restart().await;
    let daemon = home.start().await;
    processed_more(&daemon).await;
    daemon.kill().await;
    service.kill();
    let daemon = home.start().await;
    processed_more(&daemon).await;
    assert_eq!(name(&daemon).await, "first");
    let line = daemon
        .stderr()
        .wait_for("connectors run as it said last")
        .await;
    assert!(
        line.contains("WARN") && line.contains("saved_at="),
        "{line}"
    );
    // Once it is back, what has changed meanwhile is told and run.
    service.store(Sink, "out", stdout("second")).await;
    service.restart().await;
    daemon
        .stderr()
        .wait_for("the connector is to be another")
        .await;
    daemon
        .wait_for("/sinks/out", |out| out["name"] == "second")
        .await;
    daemon.interrupt().await;
    let kept = home.path().join("local_state/service_configs.json");
    assert!(fs::read_to_string(&kept).unwrap().contains("second"));
    // What was kept of another service is not taken for this one's.
    service.kill();
    damage(&kept);
    let mut daemon = home.spawn();
    assert_eq!(daemon.ended().await.code(), Some(1));
    daemon.output_closed().await;
    assert!(
        daemon
            .stderr()
            .text()
            .contains("service_configs.json is damaged")
    );
}

fn damage(path: &Path) {
    let text = fs::read_to_string(path).unwrap();
    fs::write(path, &text[..text.len() / 2]).unwrap();
}

#[tokio::test]
async fn the_version_that_was_activated_runs_after_every_start() {
    let service = ConfigService::start().await;
    service.store(Sink, "out", stdout("first")).await;
    service.store(Sink, "out", stdout("second")).await;
    service.activate(Sink, "out", 0).await;
    let home = home(&service);
    for _ in 0..2 {
        let daemon = home.start().await;
        processed_more(&daemon).await;
        assert_eq!(name(&daemon).await, "first");
        daemon.kill().await;
    }
}

#[tokio::test]
async fn a_daemon_that_waits_for_the_service_can_be_stopped() {
    let service = ConfigService::start().await;
    service.fail(Some(Fault::Silence));
    let home = home(&service);
    let daemon = home.spawn();
    service.asked().await;
    daemon.interrupt().await;
}
