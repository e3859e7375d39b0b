//! Several batches of one partition with the plugin at once.

use super::*;

/// Three batches and a plugin that takes all of them before the first is settled.
fn three() -> Case {
    Case {
        max_unsettled: 3,
        ..Case::of(vec![one("1"), one("2"), one("3"), wait(), Step::Stop])
    }
}

fn after(millis: u64, outcome: Outcome) -> Answer {
    Answer::After(Duration::from_millis(millis), outcome)
}

/// What was handed over, settled and dead-lettered, without the flushes.
fn consumed(run: &Run) -> Vec<&str> {
    let lines = run.journal.iter().map(String::as_str);
    lines.filter(|line| !line.starts_with("flush")).collect()
}

#[tokio::test(start_paused = true)]
async fn as_many_batches_as_the_plugin_takes_are_handed_over_in_order() {
    let run = run(Case {
        answers: vec![after(50, fine()), after(10, fine()), after(10, fine())],
        max_unsettled: 2,
        ..three()
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(
        run.journal,
        [
            "consume 1",
            "consume 2",
            "flush None",
            "store 0",
            "store 1",
            "consume 3",
            "flush Timeout",
            "store 2",
            "flush everything Stop"
        ]
    );
    assert_eq!(run.counts.processed, 3);
}

#[tokio::test(start_paused = true)]
async fn outcomes_are_applied_in_order_whenever_they_come() {
    let run = run(Case {
        answers: vec![
            after(100, failing([(0, FailureKind::Invalid)])),
            Answer::Now(failing([(0, FailureKind::Invalid)])),
            after(50, fine()),
        ],
        errors: on_invalid(OnFailure::Dlq),
        ..three()
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(
        consumed(&run),
        [
            "consume 1",
            "consume 2",
            "consume 3",
            "dead letter 1",
            "dead letter 2",
            "store 0",
            "store 1",
            "store 2"
        ]
    );
    assert_eq!((run.counts.processed, run.counts.failed), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn after_a_transient_failure_what_followed_is_taken_back_and_follows_again() {
    let run = run(Case {
        answers: vec![after(10, busy()), Answer::Now(fine()), Answer::Never],
        ..three()
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(
        consumed(&run),
        [
            "consume 1",
            "consume 2",
            "consume 3",
            "cancel 3",
            "drain",
            "consume 1",
            "consume 2",
            "consume 3",
            "store 0",
            "store 1",
            "store 2"
        ],
        "the second was delivered, and is delivered again behind the first"
    );
    assert_eq!((run.counts.consumed, run.counts.processed), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn nothing_overtakes_a_batch_that_is_tried_again() {
    let run = run(Case {
        answers: vec![
            after(10, failing([(1, FailureKind::Transient)])),
            Answer::Now(fine()),
            after(10, busy()),
        ],
        max_unsettled: 2,
        ..Case::of(vec![
            Step::Batch(0, vec!["1", "2"]),
            one("3"),
            one("4"),
            wait(),
            Step::Stop,
        ])
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(
        consumed(&run),
        [
            "consume 1 2",
            "consume 3",
            "consume 2",
            "consume 2",
            "consume 3",
            "store 1",
            "store 2",
            "consume 4",
            "store 3"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_overtakes_a_batch_that_is_halved() {
    let refused = || Err(Failure::new(FailureKind::Invalid, "no"));
    let run = run(Case {
        answers: vec![
            after(10, refused()),
            Answer::Now(fine()),
            Answer::Now(fine()),
            Answer::Now(refused()),
        ],
        errors: on_invalid(OnFailure::Dlq),
        max_unsettled: 2,
        ..Case::of(vec![
            Step::Batch(0, vec!["1", "2"]),
            one("3"),
            wait(),
            Step::Stop,
        ])
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(
        consumed(&run),
        [
            "consume 1 2",
            "consume 3",
            "consume 1",
            "consume 2",
            "dead letter 2",
            "consume 3",
            "store 1",
            "store 2"
        ]
    );
    assert_eq!((run.counts.processed, run.counts.failed), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_batch_that_will_stop_the_sink_is_not_handed_over() {
    let run = run(Case {
        answers: vec![after(10, fine())],
        transforms: add_hello(),
        ..Case::of(vec![one("{}"), one("{"), one("{}")])
    })
    .await;
    assert_eq!(
        consumed(&run),
        ["consume {\"message\":\"hello\"}", "store 0"]
    );
    assert_eq!(run.result.unwrap_err().kind, FailureKind::Invalid);
    assert_eq!((run.counts.consumed, run.counts.processed), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_fatal_batch_ends_the_run_and_those_behind_it_come_again() {
    let run = run(Case {
        answers: vec![
            after(10, Err(Failure::fatal("no table"))),
            Answer::Now(fine()),
            Answer::Never,
        ],
        ..three()
    })
    .await;
    assert_eq!(run.result, Err(Failure::fatal("no table")));
    assert_eq!(
        consumed(&run),
        ["consume 1", "consume 2", "consume 3", "cancel 3"]
    );
    assert_eq!(run.counts.consumed, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_trying_again_leaves_what_followed_for_another_run() {
    let run = run(Case {
        answers: vec![
            Answer::Now(busy()),
            Answer::Now(busy()),
            Answer::Now(busy()),
            Answer::Now(busy()),
        ],
        ..Case::of(vec![
            one("1"),
            one("2"),
            Step::Wait(Duration::from_millis(300)),
            Step::Stop,
        ])
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert!(!run.journal.iter().any(|line| line.starts_with("store")));
    assert_eq!(run.counts.consumed, 0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_stands_behind_what_the_plugin_has_and_first_after_a_failure() {
    use Rank::{Behind, First};

    let run = run(Case {
        answers: vec![
            after(10, fine()),
            after(10, busy()),
            // What a plugin refuses behind a failure.
            Answer::Now(busy()),
        ],
        ..three()
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(
        consumed(&run),
        [
            "consume 1",
            "consume 2",
            "consume 3",
            "store 0",
            "consume 2",
            "consume 3",
            "store 1",
            "store 2"
        ]
    );
    assert_eq!(run.ranks, [First, Behind, Behind, First, First]);
    assert_eq!(run.counts.errors, 1, "only what failed by itself");
    assert_eq!(run.counts.retries, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_behind_a_failure_has_all_its_attempts() {
    // Two attempts each: were the refusals counted, the second batch would have none left for its own failure.
    let run = run(Case {
        answers: vec![
            after(10, busy()),
            Answer::Now(busy()),
            Answer::Now(busy()),
            Answer::Now(fine()),
            after(10, busy()),
            Answer::Now(busy()),
        ],
        max_attempts: 1,
        ..three()
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!((run.counts.processed, run.counts.errors), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn a_batch_behind_one_with_nothing_to_hand_over_stands_first() {
    let run = run(Case {
        answers: vec![after(10, fine())],
        transforms: add_hello(),
        errors: on_invalid(OnFailure::Skip),
        max_unsettled: 3,
        ..Case::of(vec![one("{"), one("{}"), one("{}"), wait(), Step::Stop])
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(run.ranks[0], Rank::First);
    assert_eq!((run.counts.processed, run.counts.failed), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn without_a_second_attempt_every_batch_stands_first() {
    let run = run(Case {
        answers: vec![after(10, busy()), after(10, fine()), after(10, fine())],
        delivery: Delivery::AtMostOnce,
        errors: spec::Errors {
            on_exhausted: OnFailure::Skip,
            ..on_invalid(OnFailure::Skip)
        },
        ..three()
    })
    .await;
    assert_eq!(run.ranks, [Rank::First; 3]);
    assert_eq!((run.counts.processed, run.counts.failed), (2, 1));
}
