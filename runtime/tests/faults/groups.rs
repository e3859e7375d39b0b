//! Several daemons that share the partitions of a topic and come and go.

use std::time::Duration;

use rustix::process::Signal;

use super::{
    flow::{Flow, SINK, SOURCE, Server, Setup, at_rest},
    harness::{broker::eventually, daemon::Daemon},
    oracle::Verdict,
    run::Run,
};

const PARTITIONS: u32 = 4;

#[tokio::test]
async fn daemons_that_come_and_go_in_one_group_lose_nothing() {
    let mut run = Run::new("group");
    let rounds = run.scaled(5, 50);
    come_and_go(&mut run, rounds, |run| run.draw(0..3) > 0).await;
}

#[tokio::test]
async fn daemons_that_join_and_leave_a_group_in_order_repeat_nothing() {
    let mut run = Run::new("group_stop");
    let rounds = run.scaled(4, 30);
    come_and_go(&mut run, rounds, |_| false).await;
}

/// Two daemons share four partitions; one of them ends and comes again, so many times.
async fn come_and_go(run: &mut Run, rounds: u64, is_killed: impl Fn(&mut Run) -> bool) {
    let server = Server::start().await;
    let setup = Setup {
        partitions: PARTITIONS,
        // Slow enough for batches of the sinks to wait for more.
        source_plugin: "keys = 16\ninterval_ms = 5".to_owned(),
        has_sink: false,
        ..Setup::default()
    };
    let feed = Flow::new(server.address(), server.address(), setup.clone()).await;
    let member = Setup {
        has_sink: true,
        has_source: false,
        // Something is gathered and something is with the plugin when a partition is lost.
        stream: "batch_timeout = \"20ms\"".to_owned(),
        sink_plugin: "delay_ms = 2\nanswer_ms = 2".to_owned(),
        ..setup
    };
    let members = [
        feed.member(server.address(), member.clone()).await,
        feed.member(server.address(), member).await,
    ];
    let feeder = feed.home.start().await;
    let mut daemons = members.each_ref().map(|member| Some(member.home.spawn()));
    let mut kills = 0;
    for _ in 0..rounds {
        let one = run.draw(0..2) as usize;
        let lines = taken(&members) + run.draw(1..300) as usize;
        eventually(true, async || taken(&members) >= lines).await;
        tokio::time::sleep(run.moment(Duration::from_millis(20))).await;
        let kills_one = is_killed(run);
        kills += u64::from(kills_one);
        leave(daemons[one].take().unwrap(), kills_one).await;
        // Sometimes the other one is alone for a while, sometimes it hardly notices.
        tokio::time::sleep(run.moment(Duration::from_millis(200))).await;
        let joining = members[one].home.spawn();
        if is_killed(run) {
            // In the moment in which it loses partitions to the one that joins.
            joining.stderr().wait_for("assigned by the consumer").await;
            tokio::time::sleep(run.moment(Duration::from_millis(10))).await;
            kills += 1;
            leave(daemons[1 - one].take().unwrap(), true).await;
            daemons[1 - one] = Some(members[1 - one].home.spawn());
        }
        daemons[one] = Some(joining);
        run.tried();
    }
    let end = feed.end_after(1_000);
    feed.acked_to(end).await;
    let places = feed.places().await;
    eventually(0, async || {
        Verdict::of(places.iter().copied(), both(&members))
            .missing
            .len()
    })
    .await;
    at_rest(&feeder, SOURCE).await;
    run.finish(", source", &feed.of_source(end).await, 0);
    // A partition that moves because its owner died comes again from where that one had stored. One that is handed over does not.
    let verdict = Verdict::of(places, both(&members));
    let verdict = verdict.in_partitions(members.iter().flat_map(Flow::taken_by_partition));
    run.finish_each(", sinks", &verdict, kills, feed.unstored());
    for mut daemon in daemons.into_iter().flatten() {
        daemon.listening().await;
        at_rest(&daemon, SINK).await;
        daemon.interrupt().await;
    }
    feeder.interrupt().await;
}

async fn leave(mut daemon: Daemon, is_killed: bool) {
    if is_killed {
        return daemon.kill().await;
    }
    // Before that it does not listen to signals either.
    daemon.listening().await;
    daemon.signal(Signal::TERM);
    let status = daemon.ended().await;
    assert_eq!(status.code(), Some(0), "{}", daemon.stderr().text());
}

fn both(members: &[Flow]) -> Vec<(u32, u64)> {
    members.iter().flat_map(Flow::taken).collect()
}

fn taken(members: &[Flow]) -> usize {
    both(members).len()
}
