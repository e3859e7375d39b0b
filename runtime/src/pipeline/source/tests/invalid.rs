//! Messages that can never be sent: by the policy, and without their neighbours.

use super::*;
use crate::{
    config::spec::OnFailure,
    pipeline::fakes::{add_hello, on_invalid},
};

#[tokio::test(start_paused = true)]
async fn transforms_are_applied_before_the_send() {
    let (_, journal, _) = run(Case {
        polls: vec![Ok(polled(1, &["{\"id\":1}"]))],
        transforms: add_hello(),
        ..Case::default()
    })
    .await;
    assert_eq!(journal[0], "send {\"id\":1,\"message\":\"hello\"}");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_prepared_goes_by_the_policy() {
    let poison = || Case {
        polls: vec![Ok(polled(1, &["{\"id\":1}", "{", "{\"id\":3}"]))],
        transforms: add_hello(),
        ..Case::default()
    };
    let (result, journal, counts) = run(poison()).await;
    assert_eq!(result.unwrap_err().kind, FailureKind::Invalid);
    assert_eq!(journal, ["settle 1 Nack(Stopped)"]);
    assert_eq!(counts.sent, 0);
    let (result, journal, counts) = run(Case {
        errors: on_invalid(OnFailure::Skip),
        ..poison()
    })
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(journal[2], "settle 1 Ack { undelivered: [(1, Skipped)] }");
    assert_eq!((counts.sent, counts.failed), (2, 1));
}

fn three() -> Case {
    Case {
        polls: vec![Ok(polled(1, &["1", "2", "3"])), Ok(polled(2, &["4"]))],
        ..Case::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_iggy_would_not_take_becomes_a_dead_letter_and_the_rest_is_sent() {
    let (result, journal, counts) = run(Case {
        refused: vec!["2"],
        errors: on_invalid(OnFailure::Dlq),
        ..three()
    })
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(
        journal[..4],
        [
            "send 1 3",
            "dead letter 2",
            "save after 1",
            "settle 1 Ack { undelivered: [(1, DeadLettered)] }",
        ]
    );
    assert_eq!((counts.sent, counts.failed), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_iggy_refuses_when_it_is_sent_goes_by_the_policy_too() {
    let (result, journal, counts) = run(Case {
        refused_when_sent: vec!["3"],
        errors: on_invalid(OnFailure::Skip),
        ..three()
    })
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(
        journal[..3],
        [
            "send 1 2 3",
            "save after 1",
            "settle 1 Ack { undelivered: [(2, Skipped)] }",
        ]
    );
    assert_eq!((counts.sent, counts.failed), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_iggy_would_not_take_stops_the_source_before_anything_is_sent() {
    let (result, journal, counts) = run(Case {
        refused: vec!["2"],
        ..three()
    })
    .await;
    let failure = result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Invalid);
    assert!(failure.message.contains("too large"), "{failure}");
    assert_eq!(journal, ["settle 1 Nack(Stopped)"]);
    assert_eq!((counts.produced, counts.failed), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_keeps_the_message_as_it_was_polled() {
    let (result, journal, _) = run(Case {
        polls: vec![Ok(polled(1, &["{\"id\":1}", "{\"id\":2}"]))],
        transforms: add_hello(),
        refused: vec!["{\"id\":2,\"message\":\"hello\"}"],
        errors: on_invalid(OnFailure::Dlq),
        ..Case::default()
    })
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(
        journal[..2],
        [
            "send {\"id\":1,\"message\":\"hello\"}",
            "dead letter {\"id\":2}"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn filtered_refused_and_given_up_messages_add_up() {
    let (result, journal, counts) = run(Case {
        polls: vec![Ok(polled(
            1,
            &["{\"id\":1}", "{", "{\"id\":3}", "{\"id\":4}"],
        ))],
        transforms: add_hello(),
        refused: vec!["{\"id\":3,\"message\":\"hello\"}"],
        send_failures: at_once(vec![Failure::transient("busy"); 2]),
        errors: spec::Errors {
            on_invalid: OnFailure::Dlq,
            on_exhausted: OnFailure::Skip,
            ..spec::Errors::default()
        },
        max_attempts: 1,
        ..Case::default()
    })
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(
        journal.last().unwrap(),
        "settle 1 Ack { undelivered: [(0, Skipped), (1, DeadLettered), (2, DeadLettered), (3, Skipped)] }"
    );
    assert_eq!(
        (counts.sent, counts.failed, counts.dead_lettered),
        (0, 4, 2)
    );
}
