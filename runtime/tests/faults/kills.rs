//! Processes that end at a bad moment: the daemon killed anywhere and at chosen places, the broker killed, the daemon told to stop.

use std::{
    mem::MaybeUninit,
    time::{Duration, Instant},
};

use rustix::{
    fs::inotify,
    io::Errno,
    process::{Pid, Signal, kill_process},
};

use super::{
    flow::{Flow, Server, Setup},
    harness::{
        broker_process::BrokerProcess,
        daemon::PATIENCE,
        gate::{Gate, Request, Side},
    },
    run::Run,
};

/// A line in a ledger, roughly: for progress counted in bytes.
const LINE: u64 = 16;
const PARTITIONS: u32 = 3;

/// So many batches of the source may be on their way when it is killed.
const IN_FLIGHT: u64 = 3;

fn setup() -> Setup {
    Setup {
        partitions: PARTITIONS,
        batch: 10,
        source_plugin: format!("keys = 7\nmax_in_flight = {IN_FLIGHT}"),
        ..Setup::default()
    }
}

/// How many messages one kill may make come again, in the topic and in the ledger.
fn most(flow: &Flow) -> (u64, u64) {
    (IN_FLIGHT * flow.batch(), flow.unstored())
}

/// Lets the flow come to its end undisturbed and compares both sides: so many messages may each death make come again in the topic, and
/// in the ledger.
pub async fn compare(run: &Run, flow: &Flow, deaths: u64, (in_topic, in_ledger): (u64, u64)) {
    let end = flow.end_soon().await;
    let daemon = flow.home.start().await;
    flow.settled(&daemon, end).await;
    run.finish_each(", source", &flow.of_source(end).await, deaths, in_topic);
    run.finish_each(", sink", &flow.of_sink().await, deaths, in_ledger);
    daemon.interrupt().await;
}

#[tokio::test]
async fn a_daemon_killed_at_any_moment_loses_nothing() {
    let mut run = Run::new("kill_daemon");
    let server = Server::start().await;
    let flow = Flow::new(server.address(), server.address(), setup()).await;
    let rounds = run.scaled(6, 100);
    for _ in 0..rounds {
        let daemon = flow.home.spawn();
        // Now and then in the middle of the start, or when more was delivered than may come again, else anywhere in the flow.
        match run.draw(0..4) {
            0 => {}
            1 => flow.progress(run.draw(600..800) * LINE).await,
            _ => flow.progress(run.draw(1..60) * LINE).await,
        }
        tokio::time::sleep(run.moment(Duration::from_millis(40))).await;
        daemon.kill().await;
        run.tried();
    }
    compare(&run, &flow, rounds, most(&flow)).await;
}

#[tokio::test]
async fn a_daemon_killed_between_a_request_and_its_answer_loses_nothing() {
    let mut run = Run::new("kill_in_request");
    let server = Server::start().await;
    let gate = Gate::start(server.address()).await;
    let flow = Flow::new(server.address(), &gate.address(), setup()).await;
    let rounds = run.scaled(1, 12);
    for _ in 0..rounds {
        for request in [Request::Send, Request::StoreOffset] {
            for side in [Side::Before, Side::After] {
                let caught = gate.catch(request, side, run.draw(0..12) as u32);
                let daemon = flow.home.spawn();
                tokio::time::timeout(Duration::from_secs(60), caught)
                    .await
                    .unwrap_or_else(|_| panic!("{request:?}: {}", daemon.stderr().text()))
                    .unwrap();
                tokio::time::sleep(run.moment(Duration::from_millis(5))).await;
                daemon.kill().await;
                run.tried();
            }
        }
    }
    compare(&run, &flow, 4 * rounds, most(&flow)).await;
}

#[tokio::test]
async fn a_daemon_killed_while_it_saves_a_state_loses_nothing() {
    let mut run = Run::new("kill_in_save");
    let server = Server::start().await;
    // Two states that fill pages, so that a write takes its time.
    let large = Setup {
        source_plugin: setup().source_plugin + "\nstate_size = 300000",
        ..setup()
    };
    let flow = Flow::new(server.address(), server.address(), large).await;
    let daemon = flow.home.spawn();
    flow.acked_to(1).await;
    daemon.kill().await;
    let rounds = run.scaled(4, 40);
    for _ in 0..rounds {
        let daemon = flow.home.spawn();
        let (pid, state, saves) = (daemon.pid(), flow.state_file(), run.draw(1..20));
        let killed = tokio::task::spawn_blocking(move || kill_at_write(pid, &state, saves));
        killed.await.unwrap();
        daemon.kill().await;
        run.tried();
    }
    compare(&run, &flow, rounds + 1, most(&flow)).await;
}

/// Kills the process when it writes the file for the nth time: the write has happened or is happening, the sync has not.
fn kill_at_write(pid: u32, file: &std::path::Path, writes: u64) {
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, file, inotify::WatchFlags::MODIFY).unwrap();
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    let deadline = Instant::now() + PATIENCE;
    let mut seen = 0;
    while seen < writes {
        match events.next() {
            Ok(_) => seen += 1,
            Err(Errno::AGAIN) => std::thread::yield_now(),
            Err(error) => panic!("{}: {error}", file.display()),
        }
        assert!(Instant::now() < deadline, "{seen} saves of {writes}");
    }
    let pid = Pid::from_raw(pid as i32).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_broker_killed_under_load_loses_nothing() {
    let mut run = Run::new("kill_broker");
    let mut broker = BrokerProcess::start().await;
    let flow = Flow::new(broker.address(), broker.address(), setup()).await;
    let daemon = flow.home.start().await;
    let rounds = run.scaled(3, 20);
    for _ in 0..rounds {
        flow.progress(run.draw(1..100) * LINE).await;
        tokio::time::sleep(run.moment(Duration::from_millis(40))).await;
        broker.kill().await;
        tokio::time::sleep(run.moment(Duration::from_millis(300))).await;
        broker.again().await;
        run.tried();
    }
    flow.progress(LINE).await;
    daemon.interrupt().await;
    compare(&run, &flow, rounds, most(&flow)).await;
}

#[tokio::test]
async fn a_daemon_stopped_under_load_repeats_nothing() {
    let mut run = Run::new("stop_daemon");
    let server = Server::start().await;
    // There is always a batch with the sink, written or not.
    let slow = Setup {
        sink_plugin: "delay_ms = 2\nanswer_ms = 2".to_owned(),
        ..setup()
    };
    let flow = Flow::new(server.address(), server.address(), slow).await;
    for _ in 0..run.scaled(4, 50) {
        let mut daemon = flow.home.start().await;
        flow.progress(run.draw(1..60) * LINE).await;
        tokio::time::sleep(run.moment(Duration::from_millis(40))).await;
        daemon.signal(Signal::TERM);
        let status = daemon.ended().await;
        assert_eq!(status.code(), Some(0), "{}", daemon.stderr().text());
        run.tried();
    }
    compare(&run, &flow, 0, (0, 0)).await;
}
