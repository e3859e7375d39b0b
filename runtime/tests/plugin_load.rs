//! What is loaded, what is refused and with which words, and what happens to a library's file meanwhile.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod plugin;
}

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use harness::plugin::{Plugins, batch, open_sink, patient};
use iggy_connectors::{
    config::spec::Direction,
    pipeline::{Consumed, Rank, SinkPlugin as _},
    plugin::{Flaw, LoadError, Refusal, Registry},
};
use serde_json::json;

async fn refused(plugins: &Plugins, path: &Path) -> LoadError {
    match plugins.load(path, Direction::Sink).await {
        Ok(library) => panic!("{library:?} was loaded"),
        Err(error) => error,
    }
}

/// Copies a library under another name, so that its file can be changed.
fn copied(plugins: &Plugins, library: &str, name: &str) -> std::path::PathBuf {
    let copy = plugins.path(name);
    fs::copy(plugins.fixture(library), &copy).unwrap();
    copy
}

#[tokio::test]
async fn what_is_no_plugin_is_refused_with_what_to_do() {
    let plugins = Plugins::new();
    for (define, expected) in [
        ("NO_DESCRIPTOR", "is no connector plugin"),
        ("OTHER_RUNTIME", "rebuild it with this SDK"),
        ("NULL_DESCRIPTOR", "its descriptor is null"),
        ("MAGIC=42", "magic number"),
        ("ABI=7", "speaks version 7"),
        ("SIZE=16", "has 16 bytes"),
        ("PANIC=1", "panic = \"unwind\""),
        ("DIRECTION=9", "direction 9"),
        (
            "TARGET=\"mips-unknown-linux-gnu\"",
            "built for mips-unknown-linux-gnu",
        ),
        ("DIRECTION=IGGY_SOURCE", "exports no `iggy_source_open_v1`"),
        ("NO_FLUSH", "exports no `iggy_sink_flush_v1`"),
    ] {
        let library = plugins.compile("refused/refused.c", &[define]);
        let error = refused(&plugins, &library).await;
        let text = error.to_string();
        assert!(text.contains(expected), "{define}: {text}");
        assert!(text.contains(library.to_str().unwrap()), "{define}: {text}");
        assert!(!error.is_retryable(), "{define}");
    }
}

#[tokio::test]
async fn the_same_library_without_a_flaw_is_accepted() {
    let plugins = Plugins::new();
    let library = plugins.compile("refused/refused.c", &[]);
    plugins.load(&library, Direction::Sink).await.unwrap();
}

#[tokio::test]
async fn a_refusal_stays_one_when_it_is_tried_again() {
    let plugins = Plugins::new();
    let library = plugins.compile("refused/refused.c", &["ABI=2"]);
    for _ in 0..5 {
        let error = refused(&plugins, &library).await;
        assert!(
            matches!(
                error,
                LoadError::Refused {
                    source: Refusal::AbiVersion { found: 2 },
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_plugin_of_the_other_direction_is_refused() {
    let plugins = Plugins::new();
    let error = refused(&plugins, &plugins.fixture("misbehaving_source")).await;
    assert!(
        error
            .to_string()
            .contains("is a source, but the connector is a sink"),
        "{error}"
    );
}

#[tokio::test]
async fn files_that_are_no_library_are_refused_before_the_loader_sees_them() {
    let plugins = Plugins::new();
    let text = plugins.path("libtext.so");
    fs::write(&text, "GROUP ( libc.so.6 )\n").unwrap();
    let error = refused(&plugins, &text).await;
    assert!(
        matches!(
            error,
            LoadError::Image {
                source: Flaw::NotElf,
                ..
            }
        ),
        "{error}"
    );

    for name in ["missing.so", "."] {
        let error = refused(&plugins, &plugins.path(name)).await;
        assert!(
            matches!(error, LoadError::Read { .. }) && error.is_retryable(),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_truncated_library_is_refused_wherever_it_ends() {
    let plugins = Plugins::new();
    let whole = fs::read(plugins.fixture("misbehaving_sink")).unwrap();
    let cut = plugins.path("libcut.so");
    for keep in [
        0,
        10,
        64,
        5000,
        whole.len() / 4,
        whole.len() / 2,
        whole.len() - 1,
    ] {
        fs::write(&cut, &whole[..keep]).unwrap();
        let error = refused(&plugins, &cut).await;
        assert!(
            matches!(
                error,
                LoadError::Image {
                    source: Flaw::Truncated { .. } | Flaw::NotElf,
                    ..
                }
            ),
            "{keep}: {error}"
        );
    }
}

#[tokio::test]
async fn the_same_content_is_one_library_and_another_content_another() {
    let plugins = Plugins::new();
    let one = copied(&plugins, "misbehaving_sink", "one.so");
    let other = copied(&plugins, "misbehaving_sink", "other.so");
    let first = plugins.load(&one, Direction::Sink).await.unwrap();
    let second = plugins.load(&other, Direction::Sink).await.unwrap();
    assert!(first.is_same(&second));
    let scripted = plugins.sink_library("scripted_sink").await;
    assert!(!first.is_same(&scripted));
    assert_eq!(first.name(), "misbehaving_sink");
    assert_eq!(scripted.name(), "scripted_sink");
    assert_eq!(scripted.version(), env!("CARGO_PKG_VERSION"));
    assert!(
        scripted
            .descriptor()
            .sdk_version
            .starts_with(char::is_numeric)
    );
}

#[tokio::test]
async fn overwriting_the_file_of_a_loaded_plugin_does_no_harm() {
    let plugins = Plugins::new();
    let file = copied(&plugins, "scripted_sink", "plugin.so");
    let library = plugins.load(&file, Direction::Sink).await.unwrap();
    let sink = open_sink(&library, &json!({}), patient()).await.unwrap();
    // In place, as `cp` does it: had it been mapped, the next call would kill the process.
    fs::write(&file, vec![0; 1 << 20]).unwrap();
    assert_eq!(
        sink.consume(batch(["slow"]), Rank::First).await,
        Ok(Consumed::default())
    );
    fs::remove_file(&file).unwrap();
    assert_eq!(
        sink.consume(batch(["ok"]), Rank::First).await,
        Ok(Consumed::default())
    );
    sink.close().await.unwrap();
}

#[tokio::test]
async fn a_replaced_file_is_what_the_next_open_gets() {
    let plugins = Plugins::new();
    let file = copied(&plugins, "scripted_sink", "plugin.so");
    let before = plugins.load(&file, Direction::Sink).await.unwrap();
    let running = open_sink(&before, &json!({}), patient()).await.unwrap();
    fs::copy(plugins.fixture("misbehaving_sink"), &file).unwrap();
    let after = plugins.load(&file, Direction::Sink).await.unwrap();
    assert_eq!(
        (before.name(), after.name()),
        ("scripted_sink", "misbehaving_sink")
    );
    let sink = open_sink(&after, &json!({}), patient()).await.unwrap();
    assert_eq!(
        running.consume(batch(["ok"]), Rank::First).await,
        Ok(Consumed::default())
    );
    assert_eq!(
        sink.consume(batch(["ok"]), Rank::First).await,
        Ok(Consumed::default())
    );
    fs::copy(plugins.fixture("scripted_sink"), &file).unwrap();
    assert!(
        plugins
            .load(&file, Direction::Sink)
            .await
            .unwrap()
            .is_same(&before)
    );
}

#[tokio::test]
async fn copies_are_private_and_an_earlier_runs_are_removed() {
    let plugins = Plugins::new();
    let folder = plugins.path("plugins");
    plugins.sink_library("misbehaving_sink").await;
    let copies = || {
        fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect::<Vec<_>>()
    };
    let [copy] = &copies()[..] else {
        panic!("{:?}", copies());
    };
    assert_eq!(
        fs::metadata(&folder).unwrap().permissions().mode() & 0o777,
        0o700
    );
    assert_eq!(
        fs::metadata(copy).unwrap().permissions().mode() & 0o777,
        0o500
    );
    assert!(!fs::symlink_metadata(copy).unwrap().is_symlink());
    let content = blake3::hash(&fs::read(copy).unwrap()).to_hex();
    assert!(
        copy.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with(&*content)
    );

    fs::write(copy.with_extension("part"), "left by a crash").unwrap();
    fs::write(folder.join("libown.so"), "somebody's own").unwrap();
    Registry::new(plugins.folder.path(), 1).unwrap();
    assert_eq!(copies(), [folder.join("libown.so")]);
}

#[tokio::test]
async fn a_copy_that_was_tampered_with_is_not_used() {
    let plugins = Plugins::new();
    let content = fs::read(plugins.fixture("misbehaving_sink")).unwrap();
    let name = format!("{}-1.so", blake3::hash(&content).to_hex());
    fs::write(plugins.path("plugins").join(&name), "something else").unwrap();
    plugins.sink_library("misbehaving_sink").await;
    assert_eq!(
        fs::read(plugins.path("plugins").join(&name)).unwrap(),
        content
    );
}

#[tokio::test]
async fn nothing_is_loaded_or_opened_after_the_shutdown() {
    let plugins = Plugins::new();
    let library = plugins.sink_library("scripted_sink").await;
    let sink = open_sink(&library, &json!({}), patient()).await.unwrap();
    sink.close().await.unwrap();
    assert!(plugins.registry.shutdown(harness::plugin::PATIENCE).await);
    let error = open_sink(&library, &json!({}), patient())
        .await
        .err()
        .unwrap();
    assert!(error.message.contains("has been shut down"), "{error}");
    let error = refused(&plugins, &plugins.fixture("scripted_sink")).await;
    assert!(matches!(error, LoadError::ShuttingDown { .. }), "{error}");
}
