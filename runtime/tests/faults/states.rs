//! State files that are gone, damaged, out of reach or cannot grow.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::{
    flow::{Flow, SINK, SOURCE, Server, Setup, counted},
    oracle::Verdict,
    run::Run,
};

/// Something that happened to a state file while no daemon was running.
struct Damage {
    name: &'static str,
    cause: fn(&Path),
    /// Part of what the source says then.
    says: &'static str,
}

const DAMAGES: [Damage; 5] = [
    Damage {
        name: "missing",
        cause: |path| fs::remove_file(path).unwrap(),
        says: "is missing",
    },
    Damage {
        name: "empty",
        cause: |path| fs::write(path, "").unwrap(),
        says: "is damaged",
    },
    Damage {
        name: "cut",
        cause: |path| {
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            file.set_len(4096 + 10).unwrap();
        },
        says: "is damaged",
    },
    Damage {
        name: "garbage",
        cause: |path| fs::write(path, "garbage ".repeat(2_000)).unwrap(),
        says: "is damaged",
    },
    Damage {
        name: "read-only",
        cause: |path| fs::set_permissions(path, fs::Permissions::from_mode(0o400)).unwrap(),
        says: "cannot be read",
    },
];

/// Where the file stands meanwhile that is put back at the end.
fn spare(path: &Path) -> PathBuf {
    path.with_extension("spare")
}

#[tokio::test]
async fn a_state_that_cannot_be_used_stops_its_source_and_is_left_as_it_is() {
    let mut run = Run::new("state_damaged");
    let server = Server::start().await;
    let mut total = Verdict::of::<u64>([], []);
    for Damage { name, cause, says } in DAMAGES {
        let mut flow = Flow::new(server.address(), server.address(), Setup::default()).await;
        as_anybody(&mut flow);
        let daemon = flow.home.start().await;
        flow.acked_to(1 + run.draw(0..500)).await;
        daemon.interrupt().await;

        let path = flow.state_file();
        fs::copy(&path, spare(&path)).unwrap();
        cause(&path);
        let (before, numbers) = (fs::read(&path).ok(), flow.numbers().await.len());
        let daemon = flow.home.start().await;
        let is_stopped = |stats: &serde_json::Value| stats["status"] == "error";
        daemon.wait_for_stats(SOURCE, is_stopped).await;
        let source = daemon.get(&format!("/sources/{SOURCE}")).await;
        let said = source["last_error"]["message"].as_str().unwrap();
        assert!(
            said.contains(says) && said.contains(path.file_name().unwrap().to_str().unwrap()),
            "{name}: {said}"
        );
        daemon
            .wait_for_stats(SINK, |stats| stats["status"] == "running")
            .await;
        flow.drained(&daemon).await;
        daemon.interrupt().await;
        assert_eq!(fs::read(&path).ok(), before, "{name}: the file was changed");
        assert_eq!(
            flow.numbers().await.len(),
            numbers,
            "{name}: it began again"
        );

        let _ = fs::remove_file(&path);
        fs::rename(spare(&path), &path).unwrap();
        let end = flow.end_soon().await;
        let daemon = flow.home.start().await;
        flow.settled(&daemon, end).await;
        daemon.interrupt().await;
        run.tried();
        total = total
            .and(flow.of_source(end).await)
            .and(flow.of_sink().await);
    }
    run.finish("", &total, 0);
}

/// Root may write everything: it gives that up.
fn as_anybody(flow: &mut Flow) {
    if rustix::process::geteuid().is_root() {
        let launcher = ["setpriv", "--bounding-set", "-dac_override", "--"];
        flow.home.launch_with(&launcher);
    }
}

#[tokio::test]
async fn a_torn_save_costs_no_more_than_the_last_batch() {
    let mut run = Run::new("state_torn");
    let server = Server::start().await;
    let flow = Flow::new(server.address(), server.address(), Setup::default()).await;
    let rounds = run.scaled(3, 30);
    for _ in 0..rounds {
        let daemon = flow.home.start().await;
        let far = flow.acked() + 2 * flow.batch() + run.draw(0..300);
        flow.acked_to(far).await;
        daemon.interrupt().await;
        tear(&flow.state_file(), run.draw(0..24) as usize);
        run.tried();
    }
    let end = flow.end_soon().await;
    let daemon = flow.home.start().await;
    flow.settled(&daemon, end).await;
    run.finish_each(", source", &flow.of_source(end).await, rounds, flow.batch());
    run.finish(", sink", &flow.of_sink().await, 0);
    daemon.interrupt().await;
}

/// Spoils one byte of the newer of the two slots that follow the first page, each of the length that stands in the file's head.
fn tear(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let slots = [4096, 4096 + number(12) as usize];
    let newer = slots.into_iter().max_by_key(|slot| number(*slot)).unwrap();
    bytes[newer + at] ^= 0xff;
    fs::write(path, bytes).unwrap();
}

/// Bytes of a file beyond which there is no room. A state is larger; what the plugin itself writes is not, at any moment of a run.
const FULL_AT: u64 = 64 * 1024;

#[tokio::test]
async fn a_full_disk_holds_the_source_back_until_there_is_room() {
    let mut run = Run::new("disk_full");
    let server = Server::start().await;
    let setup = Setup {
        has_sink: false,
        source_plugin: format!("state_size = {}", 4 * FULL_AT),
        ..Setup::default()
    };
    let mut flow = Flow::new(server.address(), server.address(), setup).await;
    // A file that reaches the limit is an error, as a full disk is, and no signal.
    flow.home
        .launch_with(&["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"]);
    let daemon = flow.home.start().await;
    let pid = Pid::from_raw(daemon.pid() as i32).unwrap();
    let free = getrlimit(Resource::Fsize);
    for _ in 0..run.scaled(2, 20) {
        flow.acked_to(flow.acked() + 1 + run.draw(0..200)).await;
        let full = Rlimit {
            current: Some(FULL_AT),
            ..free
        };
        prlimit(Some(pid), Resource::Fsize, full).unwrap();
        let errors = daemon.stats(SOURCE).await["errors"].as_u64().unwrap();
        let stats = daemon
            .wait_for_stats(SOURCE, |stats| {
                stats["status"] == "retrying" && stats["errors"].as_u64() > Some(errors + 2)
            })
            .await;
        let ahead =
            stats["messages_produced"].as_u64().unwrap() - stats["messages_sent"].as_u64().unwrap();
        assert!(ahead <= flow.batch(), "polled ahead of the state: {stats}");
        let source = daemon.get(&format!("/sources/{SOURCE}")).await;
        let said = source["last_error"]["message"].as_str().unwrap();
        assert!(said.contains("save state"), "{said}");
        let open = Rlimit {
            current: free.current,
            ..free
        };
        prlimit(Some(pid), Resource::Fsize, open).unwrap();
        daemon
            .wait_for_stats(SOURCE, |stats| stats["status"] == "running")
            .await;
        run.tried();
    }
    let end = flow.end_after(100);
    flow.acked_to(end).await;
    counted(&daemon, SOURCE, end).await;
    run.finish("", &flow.of_source(end).await, 0);
    daemon.interrupt().await;
}
