//! Saved states of sources as the supervisor uses them: saved, loaded by the next daemon, deleted, and never silently lost.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

use std::{fs, path::Path};

use bytes::Bytes;
use iggy_connectors::{
    pipeline::{FailureKind, StateStore},
    state::Folder,
};
use tempfile::TempDir;

fn open(dir: &TempDir) -> Folder {
    Folder::open(&dir.path().join("states")).unwrap()
}

fn file(dir: &TempDir, name: &str) -> std::path::PathBuf {
    dir.path().join("states").join(name)
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_state_is_loaded_by_the_next_daemon() {
    let dir = TempDir::new().unwrap();
    let folder = open(&dir);
    let store = folder.source("random");
    assert_eq!(store.load().await.unwrap(), None);
    for number in 0..5u8 {
        store.save(Bytes::from(vec![number; 3])).await.unwrap();
    }
    drop((store, folder));

    let store = open(&dir).source("random");
    assert_eq!(store.load().await.unwrap().unwrap(), [4, 4, 4].as_slice());
    store.save(Bytes::from_static(b"more")).await.unwrap();
    assert_eq!(store.load().await.unwrap().unwrap(), b"more".as_slice());
}

#[tokio::test]
async fn a_store_that_is_still_used_is_the_one_that_is_asked_for_again() {
    let dir = TempDir::new().unwrap();
    let folder = open(&dir);
    let (before, state) = (folder.source("random"), Bytes::from_static);
    before.save(state(b"1")).await.unwrap();
    // As a source that is opened again while the last save of its run before has not ended.
    let again = folder.source("random");
    assert_eq!(again.load().await.unwrap().unwrap(), b"1".as_slice());
    again.save(state(b"2")).await.unwrap();
    again.save(state(b"3")).await.unwrap();
    before.save(state(b"4")).await.unwrap();
    assert_eq!(again.load().await.unwrap().unwrap(), b"4".as_slice());
}

#[tokio::test]
async fn sources_do_not_share_states() {
    let dir = TempDir::new().unwrap();
    let folder = open(&dir);
    folder
        .source("a")
        .save(Bytes::from_static(b"1"))
        .await
        .unwrap();
    folder
        .source("b")
        .save(Bytes::from_static(b"2"))
        .await
        .unwrap();
    assert_eq!(
        folder.source("a").load().await.unwrap().unwrap(),
        b"1".as_slice()
    );
    assert_eq!(folder.source("c").load().await.unwrap(), None);
}

#[tokio::test]
async fn folder_and_files_are_only_for_their_owner() {
    let dir = TempDir::new().unwrap();
    let folder = open(&dir);
    folder
        .source("a")
        .save(Bytes::from_static(b"1"))
        .await
        .unwrap();
    assert_eq!(mode(&dir.path().join("states")), 0o700);
    for name in ["source_a.state", "index", "lock"] {
        assert_eq!(mode(&file(&dir, name)), 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_second_daemon_is_refused_until_the_first_is_gone() {
    let dir = TempDir::new().unwrap();
    let folder = open(&dir);
    let failure = Folder::open(&dir.path().join("states")).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Fatal);
    assert!(
        failure.message.contains("in use by another daemon"),
        "{failure}"
    );
    assert!(
        failure.message.contains(&std::process::id().to_string()),
        "{failure}"
    );
    drop(folder);
    open(&dir);
}

#[tokio::test]
async fn a_state_that_vanished_is_an_error_and_can_be_started_over() {
    let dir = TempDir::new().unwrap();
    let folder = open(&dir);
    folder
        .source("a")
        .save(Bytes::from_static(b"1"))
        .await
        .unwrap();
    fs::remove_file(file(&dir, "source_a.state")).unwrap();

    let store = folder.source("a");
    for failure in [
        store.load().await.unwrap_err(),
        store.save(Bytes::from_static(b"2")).await.unwrap_err(),
    ] {
        assert_eq!(failure.kind, FailureKind::Fatal);
        assert!(
            failure.message.contains("source_a.state is missing"),
            "{failure}"
        );
    }
    store.delete().await.unwrap();
    assert_eq!(store.load().await.unwrap(), None);
    store.save(Bytes::from_static(b"3")).await.unwrap();
    assert_eq!(store.load().await.unwrap().unwrap(), b"3".as_slice());
}

#[tokio::test]
async fn a_damaged_state_is_neither_empty_nor_overwritten() {
    let dir = TempDir::new().unwrap();
    let folder = open(&dir);
    folder
        .source("a")
        .save(Bytes::from_static(b"1"))
        .await
        .unwrap();
    let path = file(&dir, "source_a.state");
    for junk in [b"".as_slice(), b"junk", &[0; 20_000]] {
        fs::write(&path, junk).unwrap();
        let store = folder.source("a");
        let failure = store.load().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Fatal);
        assert!(failure.message.contains("is damaged"), "{failure}");
        store.save(Bytes::from_static(b"2")).await.unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), junk);
    }
    folder.source("a").delete().await.unwrap();
    assert!(!path.exists());
    assert_eq!(folder.source("a").load().await.unwrap(), None);
}

#[tokio::test]
async fn a_damaged_list_stops_sources_and_not_the_daemon() {
    let dir = TempDir::new().unwrap();
    let folder = open(&dir);
    folder
        .source("a")
        .save(Bytes::from_static(b"1"))
        .await
        .unwrap();
    drop(folder);
    let index = file(&dir, "index");
    fs::write(&index, "iggy-connectors state index 1\nsource_").unwrap();

    let folder = open(&dir);
    let failure = folder.source("b").load().await.unwrap_err();
    assert!(failure.message.contains("index is damaged"), "{failure}");
    drop(folder);

    fs::remove_file(&index).unwrap();
    let folder = open(&dir);
    assert_eq!(
        folder.source("a").load().await.unwrap().unwrap(),
        b"1".as_slice()
    );
    assert_eq!(folder.source("b").load().await.unwrap(), None);
    fs::remove_file(file(&dir, "source_a.state")).unwrap();
    folder.source("a").load().await.unwrap_err();
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let dir = TempDir::new().unwrap();
    let blocked = dir.path().join("file");
    fs::write(&blocked, "").unwrap();
    let failure = Folder::open(&blocked.join("states")).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Fatal);
    assert!(failure.message.contains("file/states"), "{failure}");
}
