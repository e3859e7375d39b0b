//! The supervisor of running daemons: random commands to connectors whose plugins fail, held against a model; and as a library.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod acts;
mod end;
mod ground;
#[path = "../harness"]
mod harness {
    #![expect(dead_code, reason = "each test binary uses a part of the harness")]
    pub mod broker;
    pub mod daemon;
    pub mod port;
}
mod library;
mod model;
mod rest;
mod subject;
mod trial;

use std::{cell::RefCell, thread, time::SystemTime};

use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use tokio::runtime::Builder;

use self::{
    acts::{Act, acts},
    ground::Ground,
    trial::Trial,
};

/// What a machine with two cores does in somewhat more than a minute. `PROPTEST_CASES` is another number.
const SEQUENCES: u32 = 240;

/// Daemons that sequences run on at the same time.
const DAEMONS: u32 = 2;

/// Names another seed than the one that is drawn: that of a run that has failed.
const SEED: &str = "SUPERVISOR_SEED";

#[test]
fn whatever_is_asked_of_a_daemon_it_is_as_the_model_says_and_nothing_is_left_of_it() {
    let seed = seed();
    thread::scope(|scope| {
        for number in 0..DAEMONS {
            scope.spawn(move || sequences(seed + u64::from(number), cases().div_ceil(DAEMONS)));
        }
    });
}

/// Performs so many sequences on one daemon.
fn sequences(seed: u64, cases: u32) {
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    let ground = RefCell::new(runtime.block_on(Ground::new()));
    let perform = |acts: Vec<Act>| {
        let mut ground = ground.borrow_mut();
        runtime.block_on(async {
            let mut trial = Trial::begin(&mut ground).await;
            for act in acts {
                trial.perform(act).await;
            }
            trial.end().await;
        });
    };
    // Loads the plugins, so that there is something to compare with.
    perform(Vec::new());
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        // After a failure the daemon is not what the next sequence needs.
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let ran = TestRunner::new_with_rng(config, random).run(&acts(), |acts| {
        perform(acts);
        Ok(())
    });
    if let Err(error) = ran {
        let log = ground.borrow().log();
        panic!("again with {SEED}={seed}: {error}\n{log}");
    }
}

fn seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let drawn = now.unwrap().as_micros() as u64;
    std::env::var(SEED).map_or(drawn, |seed| seed.parse().unwrap())
}

fn cases() -> u32 {
    let cases = std::env::var("PROPTEST_CASES");
    cases.map_or(SEQUENCES, |cases| cases.parse().unwrap())
}
