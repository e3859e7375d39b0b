//! `delivery = "at_most_once"`: one attempt, and nothing comes again.

use super::*;

/// Batches of which nothing is tried again.
fn once(steps: Vec<Step>) -> Case {
    Case {
        delivery: Delivery::AtMostOnce,
        ..Case::of(steps)
    }
}

fn two(first: &'static str, second: &'static str) -> Step {
    Step::Batch(0, vec![first, second])
}

fn on_exhausted(policy: OnFailure) -> spec::Errors {
    spec::Errors {
        on_exhausted: policy,
        ..spec::Errors::default()
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_the_moment_is_not_tried_again_and_counts_as_failed() {
    let run = run(Case {
        answers: answers(vec![busy(), failing([(0, FailureKind::Transient)])]),
        errors: on_exhausted(OnFailure::Skip),
        ..once(vec![two("1", "2"), two("3", "4"), wait(), Step::Stop])
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(run.journal[..3], ["consume 1 2", "store 1", "consume 3 4"]);
    assert_eq!((run.counts.processed, run.counts.failed), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_batch_refused_as_a_whole_is_not_halved() {
    let run = run(Case {
        answers: answers(vec![Err(Failure::new(FailureKind::Invalid, "no"))]),
        errors: on_invalid(OnFailure::Dlq),
        ..once(vec![one("1"), two("2", "3"), wait(), Step::Stop])
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(
        run.journal[..4],
        ["consume 1", "dead letter 1", "store 0", "consume 2 3"]
    );
    assert_eq!((run.counts.processed, run.counts.failed), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn what_failed_becomes_a_dead_letter_also_where_the_policy_is_to_stop() {
    // To stop keeps no position here: it is stored already.
    let run = run(Case {
        answers: answers(vec![busy()]),
        errors: on_exhausted(OnFailure::Stop),
        ..once(vec![two("1", "2"), one("3"), wait(), Step::Stop])
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(
        run.journal[..4],
        ["consume 1 2", "dead letter 1 2", "store 1", "consume 3"]
    );
    assert_eq!((run.counts.failed, run.counts.dead_lettered), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn dead_letters_that_cannot_be_written_leave_messages_that_are_counted() {
    let run = run(Case {
        answers: answers(vec![failing([(0, FailureKind::Invalid)])]),
        errors: on_invalid(OnFailure::Dlq),
        dead_letter_failures: vec![Failure::fatal("no such topic")],
        ..once(vec![two("1", "2"), wait(), Step::Stop])
    })
    .await;
    assert_eq!(run.result, Err(Failure::fatal("no such topic")));
    assert_eq!((run.counts.processed, run.counts.failed), (1, 1));
    assert_eq!(run.counts.dead_lettered, 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_consumer_has_handed_out_is_delivered_after_a_stop() {
    let run = run(Case {
        answers: vec![Answer::After(Duration::from_secs(5), fine())],
        ..once(vec![one("1"), one("2"), Step::Stop])
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(run.counts.processed, 2, "{:?}", run.journal);
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_cannot_go_on_accounts_for_everything_it_was_given() {
    let run = run(Case {
        answers: vec![
            Answer::After(Duration::from_millis(50), Err(Failure::fatal("no table"))),
            Answer::After(Duration::from_millis(90), fine()),
        ],
        errors: on_exhausted(OnFailure::Skip),
        max_in_flight: 2,
        ..once(vec![
            one("1"),
            Step::Batch(1, vec!["2"]),
            one("3"),
            Step::Batch(1, vec!["4"]),
        ])
    })
    .await;
    assert_eq!(run.result, Err(Failure::fatal("no table")));
    assert_eq!(run.journal[..2], ["consume 1", "consume@1 2"]);
    assert_eq!(
        run.counts.processed, 1,
        "the other partition's is waited for"
    );
    assert!(run.counts.failed >= 2, "{:?}", run.counts);
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_fails_fails_what_waits_for_it() {
    let run = run(Case {
        flushes: vec![Err(Failure::transient("disk full"))],
        errors: on_exhausted(OnFailure::Skip),
        buffers: true,
        max_unsettled: 2,
        ..once(vec![one("1"), one("2"), one("3"), wait(), Step::Stop])
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(
        run.journal[..10],
        [
            "consume 1",
            "consume 2",
            "flush None",
            "cancel 1",
            "cancel 2",
            "drain",
            "store 0",
            "store 1",
            "consume 3",
            "flush Timeout"
        ]
    );
    assert_eq!((run.counts.processed, run.counts.failed), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn only_what_can_never_succeed_is_held_against_the_connector() {
    let tolerance = spec::Tolerance {
        failures: 1,
        of_last: 100,
    };
    let errors = spec::Errors {
        tolerance,
        on_invalid: OnFailure::Skip,
        on_exhausted: OnFailure::Skip,
    };
    let run = run(Case {
        answers: answers(vec![
            busy(),
            failing([(0, FailureKind::Invalid)]),
            failing([(0, FailureKind::Invalid)]),
        ]),
        errors,
        ..once(vec![two("1", "2"), two("3", "4"), two("5", "6"), wait()])
    })
    .await;
    let failure = run.result.unwrap_err();
    assert!(failure.message.contains("tolerance"), "{failure}");
    assert_eq!((run.counts.processed, run.counts.failed), (2, 4));
}
