//! Delivery at most once: the state first, then one attempt, and nothing comes again.

use super::*;
use crate::{
    config::spec::OnFailure,
    pipeline::fakes::{add_hello, on_invalid},
};

fn once(polls: Vec<Polled>) -> Case {
    Case {
        polls: polls.into_iter().map(Ok).collect(),
        errors: spec::Errors {
            on_exhausted: OnFailure::Skip,
            ..spec::Errors::default()
        },
        is_tried_once: true,
        ..Case::default()
    }
}

fn unreachable() -> Failure {
    Failure::new(FailureKind::Unreachable, "away")
}

#[tokio::test(start_paused = true)]
async fn the_state_is_saved_before_the_only_attempt() {
    let (result, journal, counts) = run(Case {
        send_failures: vec![(1, Failure::transient("busy")), (0, unreachable())],
        save_failures: vec![Failure::transient("disk full")],
        ..once(vec![
            polled(1, &["1", "2"]),
            polled(2, &["3"]),
            polled(3, &["4"]),
        ])
    })
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(
        journal,
        [
            "save after 1",
            "save after 1",
            "send 1 2",
            "settle 1 Ack { undelivered: [(1, Skipped)] }",
            "save after 2",
            "send 3",
            "settle 2 Ack { undelivered: [(0, Skipped)] }",
            "save after 3",
            "send 4",
            "settle 3 Ack { undelivered: [] }",
        ]
    );
    assert_eq!((counts.produced, counts.sent, counts.failed), (4, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn no_state_is_saved_after_a_later_one() {
    let (result, journal, _) = run(Case {
        // The results wait, and with them the batches behind: the second has nothing to send.
        settle_failures: vec![Failure::transient("busy"); 3],
        max_in_flight: 3,
        ..once(vec![polled(1, &["1"]), polled(2, &[]), polled(3, &["3"])])
    })
    .await;
    assert_eq!(result, Ok(()));
    let saves: Vec<_> = journal
        .iter()
        .filter(|line| line.starts_with("save"))
        .collect();
    assert_eq!(saves, ["save after 1", "save after 2", "save after 3"]);
}

#[tokio::test(start_paused = true)]
async fn what_failed_once_becomes_a_dead_letter_where_there_is_a_place() {
    let (result, journal, counts) = run(Case {
        send_failures: vec![(1, unreachable())],
        dead_letter_failures: vec![unreachable()],
        errors: spec::Errors {
            on_exhausted: OnFailure::Dlq,
            ..spec::Errors::default()
        },
        ..once(vec![polled(1, &["1", "2"])])
    })
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(
        journal,
        [
            "save after 1",
            "send 1 2",
            "dead letter 2",
            "dead letter 2",
            "settle 1 Ack { undelivered: [(1, DeadLettered)] }",
        ]
    );
    assert_eq!(
        (counts.sent, counts.failed, counts.dead_lettered),
        (1, 1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_no_sign_of_a_broken_connector() {
    let batches = (1..=4).map(|poll| polled(poll, &["x", "y", "z"]));
    let (result, journal, counts) = run(Case {
        send_failures: at_once(vec![unreachable(); 4]),
        errors: spec::Errors {
            on_exhausted: OnFailure::Skip,
            tolerance: spec::Tolerance {
                failures: 2,
                of_last: 100,
            },
            ..spec::Errors::default()
        },
        ..once(batches.collect())
    })
    .await;
    assert_eq!(result, Ok(()));
    assert!(
        journal.iter().all(|line| !line.contains("Nack")),
        "{journal:?}"
    );
    assert_eq!((counts.produced, counts.failed), (12, 12));
}

#[tokio::test(start_paused = true)]
async fn bad_messages_stop_the_source_before_the_state_is_saved() {
    let (result, journal, counts) = run(Case {
        transforms: add_hello(),
        errors: on_invalid(OnFailure::Stop),
        ..once(vec![polled(1, &["{}", "{"])])
    })
    .await;
    assert_eq!(result.unwrap_err().kind, FailureKind::Invalid);
    assert_eq!(journal, ["settle 1 Nack(Stopped)"]);
    assert_eq!((counts.produced, counts.failed), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_was_tried_is_not_offered_again_although_the_source_stops() {
    let (result, journal, counts) = run(Case {
        send_failures: vec![(1, unreachable())],
        dead_letter_failures: vec![Failure::fatal("no such user")],
        errors: spec::Errors {
            on_exhausted: OnFailure::Dlq,
            ..spec::Errors::default()
        },
        ..once(vec![polled(1, &["1", "2"]), polled(2, &["3"])])
    })
    .await;
    assert_eq!(result, Err(Failure::fatal("no such user")));
    let settled: Vec<_> = journal
        .iter()
        .filter(|line| line.starts_with("settle 1"))
        .collect();
    assert_eq!(settled, ["settle 1 Ack { undelivered: [(1, Skipped)] }"]);
    assert_eq!((counts.produced, counts.sent, counts.failed), (2, 1, 1));
}
