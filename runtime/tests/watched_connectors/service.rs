//! Connectors of a configuration service.

use config_service::Direction::Sink;
use serde_json::Value;

use super::{
    harness::{
        daemon::Home,
        service::{API_KEY, ConfigService, Fault},
    },
    site::{
        CONFIG, PATH, activate, document, has_status, is_gone, nothing_is_lost_repeated_or_moved,
        shows, writes, written,
    },
};

fn home(service: &ConfigService) -> Home {
    Home::new(&format!(
        "{CONFIG}[connectors]\nconfig_type = \"http\"\nbase_url = \"{}\"\npoll_interval = \"50ms\"\n\
         request_headers = {{ api-key = \"{API_KEY}\" }}\nretry.enabled = false\n",
        service.url()
    ))
}

#[tokio::test]
async fn what_a_service_says_is_followed_and_what_it_says_wrong_is_not() {
    let mut service = ConfigService::start().await;
    let home = home(&service);
    let daemon = home.start().await;
    is_gone(&daemon, PATH).await;
    service.store(Sink, "lines", document("first")).await;
    writes(&home, &daemon, "first").await;
    service.store(Sink, "lines", document("second")).await;
    writes(&home, &daemon, "second").await;
    service.activate(Sink, "lines", 0).await;
    writes(&home, &daemon, "first").await;

    let mut bad = document("bad");
    bad["streams"][0]["schema"] = "row".into();
    let bad = service.store(Sink, "lines", bad).await;
    service.activate(Sink, "lines", bad).await;
    shows(&daemon, PATH, "`streams[0].schema`").await;
    writes(&home, &daemon, "first").await;
    let mut fatal = document("fatal");
    fatal["plugin_config"]["open"] = "fatal".into();
    let fatal = service.store(Sink, "lines", fatal).await;
    service.activate(Sink, "lines", fatal).await;
    shows(&daemon, PATH, "open: ").await;
    writes(&home, &daemon, "first").await;

    // A service that is away changes nothing.
    service.kill();
    daemon
        .stderr()
        .wait_for("cannot be looked at for changes")
        .await;
    writes(&home, &daemon, "first").await;
    service.restart().await;
    service.activate(Sink, "lines", 1).await;
    writes(&home, &daemon, "second").await;

    let mut disabled = document("second");
    disabled["enabled"] = false.into();
    let disabled = service.store(Sink, "lines", disabled).await;
    service.activate(Sink, "lines", disabled).await;
    has_status(&daemon, PATH, "stopped").await;
    service.activate(Sink, "lines", 0).await;
    writes(&home, &daemon, "first").await;
    nothing_is_lost_repeated_or_moved(&home, &daemon).await;
    service.activate(Sink, "lines", disabled).await;
    let deleted = service
        .service
        .with(|store| store.delete(Sink, "lines", None));
    assert!(deleted.await.is_ok());
    is_gone(&daemon, PATH).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_version_that_was_recorded_but_not_activated_is_not_taken_until_that_is_taken_back() {
    let service = ConfigService::start().await;
    service.store(Sink, "lines", document("first")).await;
    let home = home(&service);
    let daemon = home.start().await;
    writes(&home, &daemon, "first").await;
    service.store(Sink, "lines", document("second")).await;
    writes(&home, &daemon, "second").await;
    // The service does what it is told and does not say so: the daemon cannot know, and its answer is that the old version stays.
    service.fail_changes(Some(Fault::Unanswered));
    let (status, answer) = activate(&daemon, 0, "").await;
    assert_ne!(status, 200, "{answer}");
    assert!(
        answer["reason"]
            .as_str()
            .unwrap()
            .starts_with("version 1 stays"),
        "{answer}"
    );
    let before = written(&home).1.len();
    service.fail_changes(None);
    daemon
        .stderr()
        .wait_for("the version that runs is recorded again")
        .await;
    service.store(Sink, "other", other()).await;
    has_status(&daemon, "/sinks/other", "running").await;
    writes(&home, &daemon, "second").await;
    let later = &written(&home).1[before..];
    assert!(later.iter().all(|token| token == "second"), "{later:?}");
    nothing_is_lost_repeated_or_moved(&home, &daemon).await;
    daemon.interrupt().await;
}

/// Another sink, whose coming shows that the service was asked.
fn other() -> Value {
    let mut other = document("other");
    other["plugin_config"]["ledger"] = "other".into();
    other
}
