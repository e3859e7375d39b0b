//! Several daemons that share the partitions of a topic and come and go.

use std::time::Duration;

use rustix::process::Signal;

use super::{
    flow::{Flow, Server, Setup},
    harness::{broker::eventually, daemon::Daemon},
    oracle::Verdict,
    run::Run,
};

const PARTITIONS: u32 = 4;

#[tokio::test]
async fn daemons_that_come_and_go_in_one_group_lose_nothing() {
    let mut run = Run::new("group");
    let server = Server::start().await;
    let setup = Setup {
        partitions: PARTITIONS,
        source_plugin: "keys = 16".to_owned(),
        has_sink: false,
        ..Setup::default()
    };
    let feed = Flow::new(server.address(), server.address(), setup.clone()).await;
    let member = Setup {
        has_sink: true,
        has_source: false,
        ..setup
    };
    let members = [
        feed.member(server.address(), member.clone()).await,
        feed.member(server.address(), member).await,
    ];
    let feeder = feed.home.start().await;
    let mut daemons = members.each_ref().map(|member| Some(member.home.spawn()));
    let rounds = run.scaled(5, 50);
    for _ in 0..rounds {
        let one = run.draw(0..2) as usize;
        let lines = taken(&members) + run.draw(1..300) as usize;
        eventually(true, async || taken(&members) >= lines).await;
        tokio::time::sleep(run.moment(Duration::from_millis(20))).await;
        let is_killed = run.draw(0..3) > 0;
        leave(daemons[one].take().unwrap(), is_killed).await;
        // Sometimes the other one is alone for a while, sometimes it hardly notices.
        tokio::time::sleep(run.moment(Duration::from_millis(200))).await;
        daemons[one] = Some(members[one].home.spawn());
        run.tried();
    }
    let end = feed.acked() + 1_000;
    feed.end_at(end);
    feed.acked_to(end).await;
    let places = feed.places().await;
    eventually(0, async || {
        Verdict::of(places.iter().copied(), both(&members))
            .missing
            .len()
    })
    .await;
    run.finish(", source", &feed.of_source(end).await, 0);
    // A partition that moves because its owner died comes again from where that one had stored.
    let most = rounds * feed.unstored();
    run.finish(", sinks", &Verdict::of(places, both(&members)), most);
    for daemon in daemons.into_iter().flatten().chain([feeder]) {
        daemon.interrupt().await;
    }
}

async fn leave(mut daemon: Daemon, is_killed: bool) {
    if is_killed {
        return daemon.kill().await;
    }
    daemon.signal(Signal::TERM);
    daemon.ended().await;
}

fn both(members: &[Flow]) -> Vec<(u32, u64)> {
    members.iter().flat_map(Flow::taken).collect()
}

fn taken(members: &[Flow]) -> usize {
    both(members).len()
}
