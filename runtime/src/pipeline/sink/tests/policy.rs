//! What becomes of messages that cannot be delivered.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_invalid_record_stops_the_sink_with_its_position_kept() {
    let run = run(Case {
        answers: answers(vec![failing([(1, FailureKind::Invalid)])]),
        ..Case::default()
    })
    .await;
    let failure = run.result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Invalid);
    assert!(failure.message.contains("offset 1"), "{failure}");
    assert_eq!(run.journal, ["consume 1 2 3"]);
    assert_eq!(run.counts.processed, 2);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_record_is_counted_when_the_policy_is_to_skip_it() {
    let run = run(Case {
        answers: answers(vec![failing([(1, FailureKind::Invalid)])]),
        errors: on_invalid(OnFailure::Skip),
        ..Case::default()
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(
        run.journal,
        ["consume 1 2 3", "store 2", "flush everything Stop"]
    );
    assert_eq!((run.counts.processed, run.counts.failed), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_does_not_decode_goes_by_the_same_policy() {
    let poison = || Case {
        batches: vec![vec!["{\"a\":1}", "{"]],
        transforms: add_hello(),
        ..Case::default()
    };
    let skipped = run(Case {
        errors: on_invalid(OnFailure::Skip),
        ..poison()
    })
    .await;
    assert_eq!(skipped.result, Ok(()));
    assert_eq!(
        skipped.journal,
        [
            "consume {\"a\":1,\"message\":\"hello\"}",
            "store 1",
            "flush everything Stop"
        ]
    );
    assert_eq!((skipped.counts.processed, skipped.counts.failed), (1, 1));
    let stopped = run(poison()).await;
    assert_eq!(stopped.result.unwrap_err().kind, FailureKind::Invalid);
    assert!(stopped.journal.is_empty(), "{:?}", stopped.journal);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_confirmed_before_its_original_is_settled() {
    let run = run(Case {
        answers: answers(vec![failing([(1, FailureKind::Invalid)])]),
        errors: on_invalid(OnFailure::Dlq),
        dead_letter_failures: vec![Failure::transient("away")],
        ..Case::default()
    })
    .await;
    // The first attempt fails while the sink is being stopped: nothing is settled, and all of it comes again.
    assert_eq!(run.result, Ok(()));
    assert_eq!(
        run.journal,
        ["consume 1 2 3", "dead letter 2", "flush everything Stop"]
    );
    assert_eq!((run.counts.processed, run.counts.failed), (2, 0));
    let run = self::run(Case {
        answers: answers(vec![failing([(1, FailureKind::Invalid)])]),
        errors: on_invalid(OnFailure::Dlq),
        ..Case::default()
    })
    .await;
    assert_eq!(
        run.journal,
        [
            "consume 1 2 3",
            "dead letter 2",
            "store 2",
            "flush everything Stop"
        ]
    );
    assert_eq!((run.counts.failed, run.counts.dead_lettered), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_cannot_be_written_is_tried_again() {
    let run = run(Case {
        batches: vec![vec!["1", "2"], vec!["3"]],
        answers: answers(vec![failing([(0, FailureKind::Invalid)])]),
        errors: on_invalid(OnFailure::Dlq),
        dead_letter_failures: vec![Failure::transient("away"), Failure::transient("away")],
        calls: 2,
        ..Case::default()
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(
        run.journal,
        [
            "consume 1 2",
            "dead letter 1",
            "dead letter 1",
            "dead letter 1",
            "store 1",
            "consume 3",
            "store 2",
            "flush everything Stop"
        ]
    );
}

#[test]
fn a_refused_message_is_found_in_whatever_order_the_broker_gave() {
    let batch = Batch {
        topic: topic(),
        partition_id: 0,
        current_offset: 9,
        schema: Schema::Json,
        messages: vec![message(9, "a"), message(3, "b"), message(7, "c")],
    };
    for (offset, payload) in [(9, "a"), (3, "b"), (7, "c")] {
        let found = original(&batch, offset).unwrap();
        assert_eq!(found.payload, payload);
    }
    assert!(original(&batch, 4).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_keeps_the_payload_from_before_the_transforms() {
    let run = run(Case {
        batches: vec![vec!["{\"a\":1}", "{\"a\":2}"]],
        answers: answers(vec![failing([(1, FailureKind::Invalid)])]),
        transforms: add_hello(),
        errors: on_invalid(OnFailure::Dlq),
        ..Case::default()
    })
    .await;
    assert_eq!(run.journal[1], "dead letter {\"a\":2}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_refused_as_a_whole_is_halved_until_the_bad_record_is_alone() {
    let refused = || Err(Failure::new(FailureKind::Invalid, "no"));
    let run = run(Case {
        batches: vec![vec!["1", "2", "3", "4"]],
        answers: answers(vec![
            refused(),
            Ok(Consumed::default()),
            refused(),
            refused(),
        ]),
        errors: on_invalid(OnFailure::Dlq),
        calls: 5,
        ..Case::default()
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(
        run.journal,
        [
            "consume 1 2 3 4",
            "consume 1 2",
            "consume 3 4",
            "consume 3",
            "consume 4",
            "dead letter 3",
            "store 3",
            "flush everything Stop"
        ]
    );
    assert_eq!((run.counts.processed, run.counts.failed), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_which_every_record_is_refused_stops_the_sink_without_dead_letters() {
    let refused = || Err(Failure::new(FailureKind::Invalid, "no such table"));
    let run = run(Case {
        batches: vec![vec!["1", "2"]],
        answers: answers(vec![refused(), refused(), refused()]),
        errors: on_invalid(OnFailure::Dlq),
        calls: 9,
        ..Case::default()
    })
    .await;
    let failure = run.result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Invalid);
    assert!(
        failure.message.contains("no such table") && failure.message.contains("all 2"),
        "{failure}"
    );
    assert_eq!(run.journal, ["consume 1 2", "consume 1", "consume 2"]);
    assert_eq!(run.counts.failed, 0);
}

#[tokio::test(start_paused = true)]
async fn more_failures_than_are_tolerated_stop_the_sink_whatever_the_policy() {
    let run = run(Case {
        batches: vec![vec!["1", "2", "3"], vec!["4", "5", "6"]],
        answers: answers(vec![
            failing([(0, FailureKind::Invalid)]),
            failing([(1, FailureKind::Invalid)]),
        ]),
        errors: spec::Errors {
            tolerance: spec::Tolerance {
                failures: 1,
                of_last: 10,
            },
            ..on_invalid(OnFailure::Skip)
        },
        calls: 9,
        ..Case::default()
    })
    .await;
    let failure = run.result.unwrap_err();
    assert!(failure.message.contains("tolerance"), "{failure}");
    assert_eq!(run.journal, ["consume 1 2 3", "store 2", "consume 4 5 6"]);
}

#[tokio::test(start_paused = true)]
async fn messages_whose_attempts_run_out_go_where_the_policy_says() {
    let busy = || Err(Failure::transient("busy"));
    let run = run(Case {
        batches: vec![vec!["1", "2"], vec!["3"]],
        answers: answers(vec![busy(), busy()]),
        errors: spec::Errors {
            on_exhausted: OnFailure::Dlq,
            ..spec::Errors::default()
        },
        max_attempts: 1,
        calls: 3,
        ..Case::default()
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(
        run.journal,
        [
            "consume 1 2",
            "consume 1 2",
            "dead letter 1 2",
            "store 1",
            "consume 3",
            "store 2",
            "flush everything Stop"
        ]
    );
}
