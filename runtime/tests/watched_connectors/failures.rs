//! Changes that cannot be applied: what runs goes on, says why, and they are tried again.

use std::{env::consts::DLL_SUFFIX, fs};

use serde_json::Value;

use super::site::{
    PATH, Watched, ask, has_status, is_looked_at, nothing_is_lost_repeated_or_moved, shows, sink,
    writes, written,
};

#[tokio::test]
async fn a_version_that_does_not_open_is_tried_again_until_it_does() {
    for keys in ["", "exclusive = true\n"] {
        let watched = Watched::new();
        let home = &watched.home;
        let with = |token: &str| format!("{}{keys}", sink(token));
        watched.write("lines.toml", &with("old"));
        let daemon = home.start().await;
        writes(home, &daemon, "old").await;
        let deed = home.path().join("deed");
        fs::write(&deed, "fatal").unwrap();
        // In one step: what is cut off is told as well.
        watched.rename(
            "lines.toml",
            &format!("{}open_deed = \"deed\"\n", with("new")),
        );
        shows(&daemon, PATH, "open: no table; it is tried again after").await;
        for _ in 0..2 {
            // It is told anew after each attempt.
            let told = daemon.get(PATH).await["last_error"]["timestamp"].clone();
            let is_later = |it: &Value| it["last_error"]["timestamp"] != told;
            daemon.wait_for(PATH, is_later).await;
            shows(&daemon, PATH, "open: no table; it is tried again after").await;
            writes(home, &daemon, "old").await;
        }
        assert!(!written(home).1.contains(&"new".to_owned()));
        let not_applied = daemon.get(PATH).await["not_applied"].clone();
        assert!(
            not_applied.as_str().unwrap().contains("open: no table"),
            "{not_applied}"
        );
        let lines = daemon.stderr().all();
        let told = lines
            .iter()
            .filter(|it| it.contains("the change is not applied"));
        assert_eq!(told.count(), 1, "{}", daemon.stderr().text());
        fs::remove_file(&deed).unwrap();
        writes(home, &daemon, "new").await;
        has_status(&daemon, PATH, "running").await;
        daemon
            .wait_for(PATH, |it| it["not_applied"].is_null())
            .await;
        nothing_is_lost_repeated_or_moved(home, &daemon).await;
        daemon.interrupt().await;
    }
}

#[tokio::test]
async fn what_cannot_be_applied_is_shown_until_something_else_is_wanted() {
    let watched = Watched::new();
    let home = &watched.home;
    watched.write("lines.toml", &sink("old"));
    let daemon = home.start().await;
    writes(home, &daemon, "old").await;
    let shows = async |part: &str| {
        let shows = |it: &Value| {
            it["not_applied"]
                .as_str()
                .is_some_and(|it| it.contains(part))
        };
        daemon.wait_for(PATH, shows).await;
    };
    watched.write(
        "lines.toml",
        &format!("{}open = \"invalid\"\n", sink("new")),
    );
    shows("open: bad data; it is tried again when it changes").await;
    // Whatever else goes wrong, and also when it is restarted.
    ask(&daemon, "restart", "running").await;
    is_looked_at(&watched, &daemon).await;
    shows("open: bad data").await;
    watched.write("lines.toml", "type = ");
    shows("lines.toml:1").await;
    watched.write("lines.toml", &sink("old"));
    daemon
        .wait_for(PATH, |it| it["not_applied"].is_null())
        .await;
    writes(home, &daemon, "old").await;
    assert!(!written(home).1.contains(&"new".to_owned()));
    nothing_is_lost_repeated_or_moved(home, &daemon).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_library_that_is_missing_is_looked_for_again() {
    let watched = Watched::new();
    let home = &watched.home;
    watched.write("lines.toml", &sink("old"));
    let daemon = home.start().await;
    writes(home, &daemon, "old").await;
    let elsewhere = sink("new").replace("libledger_sink", "./libelsewhere");
    watched.write("lines.toml", &elsewhere);
    shows(&daemon, PATH, "`./libelsewhere` not found").await;
    writes(home, &daemon, "old").await;
    let built = std::env::current_exe().unwrap();
    let built = built.with_file_name(format!("libledger_sink{DLL_SUFFIX}"));
    let beside = home.path().join("beside");
    fs::copy(built, &beside).unwrap();
    fs::rename(
        beside,
        home.path().join(format!("libelsewhere{DLL_SUFFIX}")),
    )
    .unwrap();
    writes(home, &daemon, "new").await;
    nothing_is_lost_repeated_or_moved(home, &daemon).await;
    daemon.interrupt().await;
}
