//! Files that come, change, go and cannot be read.

use std::{fs, time::Duration};

use tokio::time::sleep;

use super::site::{
    PATH, Watched, ask, changes, has_status, is_gone, is_looked_at,
    nothing_is_lost_repeated_or_moved, shows, sink, writes,
};

#[tokio::test]
async fn files_that_come_change_and_go_are_followed_without_loss_or_repetition() {
    let watched = Watched::new();
    let home = &watched.home;
    let daemon = home.start().await;
    is_gone(&daemon, PATH).await;
    watched.rename("lines.toml", &sink("first"));
    has_status(&daemon, PATH, "running").await;
    writes(home, &daemon, "first").await;
    watched.write("lines.toml", &sink("second"));
    writes(home, &daemon, "second").await;
    watched.rename("lines.toml", &sink("third"));
    writes(home, &daemon, "third").await;

    // The highest version runs as long as it is there and none is activated.
    let next = sink("next").replace("version = 0", "version = 1");
    watched.rename("lines_next.toml", &next);
    writes(home, &daemon, "next").await;
    assert_eq!(
        daemon.get(&format!("{PATH}/configs/active")).await["version"],
        1
    );
    watched.remove("lines_next.toml");
    writes(home, &daemon, "third").await;

    // A pause is the operator's.
    ask(&daemon, "pause", "paused").await;
    watched.write("lines.toml", &sink("fourth"));
    is_looked_at(&watched, &daemon).await;
    has_status(&daemon, PATH, "paused").await;
    ask(&daemon, "resume", "running").await;
    writes(home, &daemon, "fourth").await;

    let disabled = sink("fourth").replace("enabled = true", "enabled = false");
    watched.write("lines.toml", &disabled);
    has_status(&daemon, PATH, "stopped").await;
    watched.write("lines.toml", &sink("fifth"));
    writes(home, &daemon, "fifth").await;

    // It goes, and goes on where it was when it comes back under another name.
    watched.remove("lines.toml");
    is_gone(&daemon, PATH).await;
    watched.rename("back.toml", &sink("sixth"));
    writes(home, &daemon, "sixth").await;
    assert_eq!(daemon.stats("lines").await["errors"], 0);
    nothing_is_lost_repeated_or_moved(home, &daemon).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_change_that_cannot_be_applied_leaves_what_runs_and_says_why() {
    let watched = Watched::new();
    watched.write("lines.toml", &sink("old"));
    let home = &watched.home;
    let daemon = home.start().await;
    writes(home, &daemon, "old").await;
    let bad = |from: &str, to: &str| {
        let bad = sink("bad");
        assert!(bad.contains(from));
        bad.replace(from, to)
    };
    for (text, reason) in [
        (
            bad("\"raw\"", "\"row\""),
            "lines.toml:7: `streams[0].schema`",
        ),
        (bad("streams =", "[[stream]]\ntopics ="), "`stream`"),
        (bad("ledger = ", "ledgr = "), "`plugin_config.ledgr`"),
        (
            bad("libledger_sink", "libnowhere"),
            "`libnowhere` not found",
        ),
        (bad("token", "open = \"fatal\"\ntoken"), "open: "),
        (bad("token", "open = \"wait\"\ntoken"), "open: "),
        (bad("token = \"", "token = "), "lines.toml:11"),
        ("type = \"sink\"\nkey = ".to_owned(), "lines.toml:2"),
        (String::new(), "lines.toml"),
    ] {
        watched.write("lines.toml", &text);
        shows(&daemon, PATH, reason).await;
        assert_eq!(daemon.get(PATH).await["status"], "running", "{text}");
        writes(home, &daemon, "old").await;
        // Nothing of it is left when it is mended.
        watched.rename("lines.toml", &sink("mended"));
        writes(home, &daemon, "mended").await;
        watched.rename("lines.toml", &sink("old"));
        writes(home, &daemon, "old").await;
    }

    // Of others that cannot be used the files are listed, or warned of, and they run when they are mended.
    let other = sink("other").replace("\"lines\"", "\"other\"");
    let other = other.replace("\"ledger\"", "\"other\"");
    watched.write("other.toml", &other.replace("topics", "topcs"));
    shows(&daemon, "/sinks/other", "topcs").await;
    watched.write("other.toml", "key = ");
    daemon
        .stderr()
        .wait_for("a file of connectors cannot be read")
        .await;
    watched.write("other.toml", &other);
    has_status(&daemon, "/sinks/other", "running").await;
    nothing_is_lost_repeated_or_moved(home, &daemon).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_file_that_is_written_slowly_is_waited_for() {
    let watched = Watched::new();
    watched.write("lines.toml", &sink("old"));
    let home = &watched.home;
    let daemon = home.start().await;
    writes(home, &daemon, "old").await;
    for token in ["new", "newer", "newest"] {
        let text = sink(token);
        let pieces = 1..=20;
        for piece in pieces.map(|piece| &text[..text.len() * piece / 20]) {
            watched.write("lines.toml", piece);
            sleep(Duration::from_millis(5)).await;
        }
        writes(home, &daemon, token).await;
    }
    has_status(&daemon, PATH, "running").await;
    nothing_is_lost_repeated_or_moved(home, &daemon).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_secret_that_is_replaced_in_its_file_is_taken() {
    let watched = Watched::new();
    let home = &watched.home;
    let secret = home.path().join("secret");
    // In one step: half a secret, or none, is one as well.
    let put = |text: &str| {
        let beside = home.path().join("beside");
        fs::write(&beside, text).unwrap();
        fs::rename(beside, &secret).unwrap();
    };
    put("first");
    watched.write(
        "lines.toml",
        &sink(&format!("${{file:{}}}", secret.display())),
    );
    let daemon = home.start().await;
    writes(home, &daemon, "first").await;
    is_looked_at(&watched, &daemon).await;
    assert_eq!(changes(&daemon), 0);
    put("second");
    writes(home, &daemon, "second").await;
    fs::remove_file(&secret).unwrap();
    shows(&daemon, PATH, "secret").await;
    writes(home, &daemon, "second").await;
    put("third");
    writes(home, &daemon, "third").await;
    nothing_is_lost_repeated_or_moved(home, &daemon).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_folder_that_is_away_takes_nothing_with_it() {
    let watched = Watched::new();
    let home = &watched.home;
    watched.write("lines.toml", &sink("old"));
    let daemon = home.start().await;
    writes(home, &daemon, "old").await;
    let away = home.path().join("away");
    fs::rename(&watched.folder, &away).unwrap();
    shows(&daemon, PATH, "connectors cannot be read from").await;
    writes(home, &daemon, "old").await;
    fs::write(away.join("lines.toml"), sink("new")).unwrap();
    fs::rename(&away, &watched.folder).unwrap();
    writes(home, &daemon, "new").await;
    watched.remove("lines.toml");
    is_gone(&daemon, PATH).await;
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_version_that_is_there_twice_goes_on_as_it_was_until_one_is_removed() {
    let watched = Watched::new();
    let home = &watched.home;
    watched.write("lines.toml", &sink("old"));
    watched.write("copy.toml", &sink("copy"));
    let daemon = home.start().await;
    // At the start nobody knows which one is meant; later there is one that runs.
    shows(&daemon, PATH, "has version 0 in").await;
    has_status(&daemon, PATH, "error").await;
    watched.remove("copy.toml");
    writes(home, &daemon, "old").await;
    watched.write("copy.toml", &sink("copy"));
    shows(&daemon, PATH, "version 0 has changed and is not activated").await;
    writes(home, &daemon, "old").await;
    watched.remove("lines.toml");
    writes(home, &daemon, "copy").await;
    nothing_is_lost_repeated_or_moved(home, &daemon).await;
    daemon.interrupt().await;
}
