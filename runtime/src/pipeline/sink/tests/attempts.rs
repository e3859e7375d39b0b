//! What is handed over, tried again and stored, one batch after another.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_offset_is_stored_only_after_its_batch_is_consumed() {
    let run = run(Case {
        batches: vec![vec!["1", "2"], vec!["3"]],
        calls: 2,
        ..Case::default()
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(
        run.journal,
        [
            "consume 1 2",
            "store 1",
            "consume 3",
            "store 2",
            "flush everything Stop"
        ]
    );
    assert_eq!(run.counts.processed, 3);
}

#[tokio::test(start_paused = true)]
async fn the_flush_at_the_end_says_whether_the_sink_is_paused_or_stopped() {
    let pausing = CancellationToken::new();
    let stopped = run(Case::default()).await;
    assert_eq!(
        stopped.journal,
        ["consume 1 2 3", "store 2", "flush everything Stop"]
    );
    pausing.cancel();
    let paused = run(Case {
        pausing,
        ..Case::default()
    })
    .await;
    assert_eq!(
        paused.journal,
        ["consume 1 2 3", "store 2", "flush everything Pause"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_transient_failure_is_tried_again_and_only_with_what_failed() {
    let run = run(Case {
        answers: answers(vec![
            Err(Failure::transient("busy")),
            failing([(1, FailureKind::Transient)]),
        ]),
        calls: 3,
        ..Case::default()
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(
        run.journal,
        [
            "consume 1 2 3",
            "consume 1 2 3",
            "consume 2",
            "store 2",
            "flush everything Stop"
        ]
    );
    assert_eq!((run.counts.processed, run.counts.errors), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_the_sink_asked_for_is_kept() {
    let before = tokio::time::Instant::now();
    let asked = Failure {
        retry_after: Some(Duration::from_secs(90)),
        ..Failure::transient("429")
    };
    let run = run(Case {
        answers: answers(vec![Err(asked)]),
        calls: 2,
        ..Case::default()
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert!(before.elapsed() >= Duration::from_secs(90));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_the_sink_asked_for_with_a_list_is_kept() {
    let before = tokio::time::Instant::now();
    let asked = failing([(1, FailureKind::Transient)]).map(|consumed| Consumed {
        retry_after: Some(Duration::from_secs(90)),
        ..consumed
    });
    let run = run(Case {
        answers: answers(vec![asked]),
        calls: 2,
        ..Case::default()
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(
        run.journal,
        [
            "consume 1 2 3",
            "consume 2",
            "store 2",
            "flush everything Stop"
        ]
    );
    assert!(before.elapsed() >= Duration::from_secs(90));
}

#[tokio::test(start_paused = true)]
async fn a_fatal_record_ends_the_run_and_what_was_refused_beside_it_comes_again() {
    let run = run(Case {
        batches: vec![vec!["1", "2", "3", "4"]],
        answers: answers(vec![failing([
            (0, FailureKind::Fatal),
            (1, FailureKind::Transient),
            (2, FailureKind::Invalid),
        ])]),
        calls: 9,
        errors: on_invalid(OnFailure::Skip),
        ..Case::default()
    })
    .await;
    let failure = run.result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Fatal);
    assert!(failure.message.contains("offset 0"), "{failure}");
    assert_eq!(run.journal, ["consume 1 2 3 4"], "nothing is stored");
    assert_eq!((run.counts.processed, run.counts.failed), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_fatal_or_panicked_sink_ends_the_run_and_stores_nothing() {
    for kind in [
        FailureKind::Fatal,
        FailureKind::Panicked,
        FailureKind::Hung,
        FailureKind::Contract,
    ] {
        let run = run(Case {
            answers: answers(vec![Err(Failure::new(kind, "no"))]),
            ..Case::default()
        })
        .await;
        assert_eq!(run.result.unwrap_err().kind, kind);
        assert_eq!(run.journal, ["consume 1 2 3"]);
        assert_eq!(run.counts.consumed, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_run_out_when_they_are_counted() {
    let run = run(Case {
        answers: answers(vec![
            Err(Failure::transient("busy")),
            Err(Failure::transient("busy")),
        ]),
        calls: 9,
        max_attempts: 1,
        ..Case::default()
    })
    .await;
    assert_eq!(run.result.unwrap_err().kind, FailureKind::Exhausted);
    assert_eq!(run.journal, ["consume 1 2 3", "consume 1 2 3"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_waiting_for_another_attempt() {
    let run = run(Case {
        answers: answers(vec![Err(Failure::transient("busy"))]),
        ..Case::default()
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(run.journal, ["consume 1 2 3", "flush everything Stop"]);
    assert_eq!(run.counts.consumed, 0);
}

#[tokio::test(start_paused = true)]
async fn a_broker_out_of_reach_is_told_after_the_batch_in_flight() {
    let run = run(Case {
        calls: 9,
        ends_with: Some(Failure::transient("connection refused")),
        ..Case::default()
    })
    .await;
    assert_eq!(run.result, Err(Failure::transient("connection refused")));
    assert_eq!(run.journal, ["consume 1 2 3", "flush everything None"]);
}
