//! When a plugin that holds batches back is flushed, and why.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A plugin that completes only what was flushed.
fn buffering(steps: Vec<Step>) -> Case {
    Case {
        buffers: true,
        max_unsettled: 4,
        ..Case::of(steps)
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_flushed_as_soon_as_nothing_waits() {
    let steps = vec![one("1"), one("2"), wait(), one("3"), wait(), Step::Stop];
    let run = run(buffering(steps)).await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(
        run.journal[..7],
        [
            "consume 1",
            "consume 2",
            "flush Timeout",
            "store 0",
            "store 1",
            "consume 3",
            "flush Timeout"
        ]
    );
    assert_eq!(run.counts.processed, 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_flushed_when_the_oldest_has_waited_long_enough() {
    let run = run(Case {
        batch_timeout: SECOND,
        ..buffering(vec![
            one("1"),
            Step::Wait(SECOND.mul_f64(0.7)),
            one("2"),
            wait(),
            Step::Stop,
        ])
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(
        run.journal[..3],
        ["consume 1", "consume 2", "flush Timeout"]
    );
    assert_eq!(run.flushed_after[0].as_secs(), 1, "since the first");
    assert!(run.flushed_after[0] < SECOND.mul_f64(1.1));
    assert_eq!(run.counts.processed, 2);
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_holds_as_much_as_it_may_is_flushed() {
    let run = run(Case {
        batch_timeout: SECOND * 60,
        max_unsettled: 2,
        ..buffering(vec![one("1"), one("2"), one("3"), wait(), Step::Stop])
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(
        run.journal[..7],
        [
            "consume 1",
            "consume 2",
            "flush None",
            "store 0",
            "store 1",
            "consume 3",
            "flush Timeout"
        ]
    );
    assert!(run.flushed_after[0] < SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_takes_one_batch_at_a_time_is_flushed_when_it_does_not_come_back() {
    let run = run(Case {
        max_unsettled: 1,
        ..buffering(vec![one("1"), one("2"), wait(), Step::Stop])
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(
        run.journal[..5],
        [
            "consume 1",
            "flush None",
            "store 0",
            "consume 2",
            "flush None"
        ]
    );
    assert!(run.flushed_after[1] < SECOND);
    assert_eq!(run.counts.processed, 2);
}

#[tokio::test(start_paused = true)]
async fn one_that_answers_soon_is_not() {
    let soon = || Answer::After(Duration::from_millis(50), fine());
    let run = run(Case {
        answers: vec![soon(), soon(), soon()],
        ..Case::of(vec![one("1"), one("2"), one("3"), wait(), Step::Stop])
    })
    .await;
    assert_eq!(run.flushed_after.len(), 1, "{:?}", run.journal);
}

#[tokio::test(start_paused = true)]
async fn a_stop_flushes_what_is_held_and_then_everything() {
    let held = |ending| Case {
        batch_timeout: SECOND * 60,
        ..buffering(vec![one("1"), Step::Wait(SECOND), ending, Step::Stop])
    };
    let stopped = run(held(Step::Wait(SECOND))).await;
    assert_eq!(stopped.result, Ok(()));
    assert_eq!(
        stopped.journal,
        [
            "consume 1",
            "flush Stop",
            "flush everything Stop",
            "store 0"
        ]
    );
    let paused = run(held(Step::Pause)).await;
    assert_eq!(
        paused.journal,
        [
            "consume 1",
            "flush Pause",
            "flush everything Pause",
            "store 0"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_broker_is_no_stop_for_the_plugin() {
    let run = run(Case {
        batch_timeout: SECOND * 60,
        ends_with: Some(Failure::transient("away")),
        ..buffering(vec![one("1"), Step::Wait(SECOND)])
    })
    .await;
    assert_eq!(run.result, Err(Failure::transient("away")));
    assert_eq!(
        run.journal,
        ["consume 1", "flush None", "flush everything None"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_partition_is_flushed_alone_and_at_once() {
    let run = run(Case {
        batch_timeout: SECOND * 60,
        max_in_flight: 2,
        ..buffering(vec![
            one("1"),
            Step::Batch(7, vec!["2"]),
            Step::Lost(7),
            Step::Lost(8),
            Step::Wait(SECOND),
            Step::Stop,
        ])
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(
        run.journal[..5],
        [
            "consume 1",
            "consume@7 2",
            "flush@7 PartitionLost",
            "store@7 0",
            "flush Stop"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_fails_is_tried_again_while_nothing_is_settled() {
    let run = run(Case {
        flushes: vec![
            Err(Failure::transient("disk full")),
            Err(Failure::transient("disk full")),
        ],
        ..buffering(vec![one("1"), one("2"), wait(), Step::Stop])
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(run.flushed_after.len(), 4, "{:?}", run.journal);
    assert!(run.flushed_after[2] >= Duration::from_millis(250));
    assert_eq!((run.counts.processed, run.counts.errors), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_flush_whose_attempts_run_out_goes_by_the_policy() {
    let failing = |on_exhausted| Case {
        flushes: vec![
            Err(Failure::transient("disk full")),
            Err(Failure::transient("disk full")),
        ],
        max_attempts: 1,
        errors: spec::Errors {
            on_exhausted,
            ..spec::Errors::default()
        },
        ..buffering(vec![one("1"), one("2"), wait(), Step::Stop])
    };
    let stopped = run(failing(OnFailure::Stop)).await;
    assert_eq!(stopped.result.unwrap_err().kind, FailureKind::Exhausted);
    assert_eq!(stopped.counts.consumed, 0);
    let dead_lettered = run(failing(OnFailure::Dlq)).await;
    assert_eq!(dead_lettered.result, Ok(()));
    assert!(
        dead_lettered.journal.contains(&"dead letter 1".to_owned()),
        "{:?}",
        dead_lettered.journal
    );
    let counts = dead_lettered.counts;
    assert_eq!((counts.processed, counts.failed), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_fatal_flush_ends_the_run() {
    let run = run(Case {
        flushes: vec![Err(Failure::fatal("no table"))],
        ..buffering(vec![one("1"), wait(), Step::Stop])
    })
    .await;
    assert_eq!(run.result, Err(Failure::fatal("no table")));
    assert_eq!(run.journal, ["consume 1", "flush Timeout", "cancel 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_flush_that_cannot_succeed() {
    let away = || Err(Failure::transient("away"));
    let run = run(Case {
        flushes: (0..20).map(|_| away()).collect(),
        ..buffering(vec![one("1"), Step::Wait(SECOND), Step::Stop])
    })
    .await;
    assert_eq!(
        run.result.map_err(|failure| failure.kind),
        Err(FailureKind::Cancelled)
    );
    assert!(run.journal.contains(&"flush Stop".to_owned()));
    assert!(!run.journal.iter().any(|line| line.starts_with("store")));
    assert_eq!(run.counts.consumed, 0);
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_does_not_complete_what_it_has_flushed_is_not_flushed_without_a_pause() {
    let run = run(Case {
        answers: vec![Answer::After(SECOND, fine())],
        ..buffering(vec![one("1"), wait(), Step::Stop])
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert!(
        (2..=12).contains(&run.flushed_after.len()),
        "{:?}",
        run.journal
    );
}
