//! Keys and routes of a source's messages, while everything that could mix them up happens.

use std::collections::HashMap;

use super::{
    flow::{Flow, SOURCE, Setup, at_rest, number},
    harness::{
        broker::{Topic, client},
        gate::Request,
    },
    havoc::Havoc,
    oracle::Verdict,
    run::Run,
};

const ROUTES: [&str; 3] = ["red", "green", "blue"];
/// Without a common divisor with the routes: every key takes every route.
const KEYS: u64 = 7;
const PARTITIONS: u32 = 3;
const IN_FLIGHT: u64 = 4;

/// A partition of a route, and the numbers in it in the order in which they stand there.
struct Found {
    route: &'static str,
    partition: u32,
    numbers: Vec<u64>,
}

#[tokio::test]
async fn keys_keep_their_order_and_routes_their_messages_whatever_is_killed() {
    let mut run = Run::new("routes");
    let setup = Setup {
        partitions: PARTITIONS,
        source_plugin: format!("keys = {KEYS}\nmax_in_flight = {IN_FLIGHT}"),
        routes: ROUTES.into(),
        has_sink: false,
        ..Setup::default()
    };
    let mut havoc = Havoc::new(setup, Request::Send).await;
    let rounds = run.scaled(5, 60);
    let daemon = havoc.rage(&mut run, rounds, 12).await;
    let flow = &havoc.flow;
    let end = flow.end_after(300);
    flow.acked_to(end).await;
    at_rest(&daemon, SOURCE).await;
    let found = read(flow, havoc.broker.address()).await;
    for Found { route, numbers, .. } in &found {
        let other = numbers.iter().find(|number| at(**number) != *route);
        assert_eq!(other, None, "a message on the route {route}");
    }
    assert_keys(&found);
    let numbers = found.iter().flat_map(|found| found.numbers.clone());
    let verdict = Verdict::of(0..end, numbers);
    let verdict = verdict.in_partitions(found.into_iter().map(|found| found.numbers));
    run.finish_each("", &verdict, rounds, IN_FLIGHT * flow.batch());
    daemon.interrupt().await;
}

fn at(number: u64) -> &'static str {
    ROUTES[(number % ROUTES.len() as u64) as usize]
}

async fn read(flow: &Flow, server: &str) -> Vec<Found> {
    let mut found = Vec::new();
    for route in ROUTES {
        let topic = Topic {
            client: client(server).await,
            stream: flow.topic.stream.clone(),
            name: route.to_owned(),
        };
        for partition in 0..PARTITIONS {
            let numbers = topic.read(partition).await.iter().map(number).collect();
            found.push(Found {
                route,
                partition,
                numbers,
            });
        }
    }
    found
}

/// Each key stands in one partition of a route, and its messages in their order; what came twice counts where it came first.
fn assert_keys(found: &[Found]) {
    let mut partitions = HashMap::new();
    for Found {
        route,
        partition,
        numbers,
    } in found
    {
        let mut last = HashMap::new();
        let mut seen = std::collections::HashSet::new();
        for number in numbers.iter().filter(|number| seen.insert(**number)) {
            let key = number % KEYS;
            let its = *partitions.entry((route, key)).or_insert(partition);
            assert_eq!(its, partition, "partitions of the key {key} of {route}");
            let before = last.insert(key, number);
            assert!(before < Some(number), "{number} came after {before:?}");
        }
    }
}

#[test]
#[should_panic(expected = "7 came after Some(14)")]
fn the_oracle_notices_a_key_out_of_order() {
    let numbers = vec![0, 14, 0, 7];
    let (route, partition) = ("red", 0);
    assert_keys(&[Found {
        route,
        partition,
        numbers,
    }]);
}
