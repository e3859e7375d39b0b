//! Several outputs: which message goes where, through which stages, and what an unknown route costs.

use super::*;
use crate::{
    config::spec::OnFailure,
    pipeline::fakes::{add_hello, on_invalid, topic_of},
};

fn output(stream: &str, topic: &str, route: Option<&str>, transforms: Chain) -> Output {
    Output {
        topic: topic_of(stream, topic),
        route: route.map(str::to_owned),
        stages: Stages::of_source(Schema::Json, transforms).unwrap(),
    }
}

fn routed(payload: &'static str, route: &'static str) -> Produced {
    Produced {
        payload: Bytes::from_static(payload.as_bytes()),
        route: Some(Bytes::from_static(route.as_bytes())),
        ..Produced::default()
    }
}

/// Outputs `s/t`, `s/u` with the route `audit`, and `other/t` with a transform.
fn case(messages: Vec<Produced>) -> Case {
    let batch = Polled {
        messages,
        ..polled(1, &[])
    };
    Case {
        polls: vec![Ok(batch)],
        more_outputs: vec![
            output("s", "u", Some("audit"), Chain::default()),
            output("other", "t", None, add_hello()),
        ],
        ..Case::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_goes_to_the_output_of_its_route_or_to_the_first() {
    let (result, journal, counts) = run(case(vec![
        routed("1", ""),
        routed("2", "audit"),
        routed("3", "/s/u"),
        routed("4", "s/t"),
        routed("{}", "/other/t"),
    ]))
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(
        journal[0], "send 1 4 2@1 3@1 {\"message\":\"hello\"}@2",
        "each output has its own stages and keeps its order"
    );
    assert_eq!((counts.produced, counts.sent), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_route_is_a_bad_message_and_no_bad_batch() {
    let messages = || {
        vec![
            routed("1", "audit"),
            routed("2", "nowhere"),
            routed("3", ""),
        ]
    };
    let (result, journal, counts) = run(Case {
        errors: on_invalid(OnFailure::Dlq),
        ..case(messages())
    })
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(
        journal,
        [
            "send 3 1@1",
            "dead letter 2",
            "save after 1",
            "settle 1 Ack { undelivered: [(1, DeadLettered)] }",
        ]
    );
    assert_eq!((counts.sent, counts.failed), (2, 1));

    let (result, journal, _) = run(case(messages())).await;
    let failure = result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Invalid);
    assert!(
        failure.message.contains("the route `nowhere` is unknown"),
        "{failure}"
    );
    assert_eq!(journal, ["settle 1 Nack(Stopped)"], "nothing is sent");
}

#[tokio::test(start_paused = true)]
async fn what_one_output_refuses_is_found_by_its_place_in_the_batch() {
    let (result, journal, counts) = run(Case {
        errors: on_invalid(OnFailure::Dlq),
        ..case(vec![
            routed("{}", "other/t"),
            routed("{", "other/t"),
            routed("{", "audit"),
            routed("4", ""),
        ])
    })
    .await;
    assert_eq!(result, Ok(()));
    // Only the output with a transform looks into its messages.
    assert_eq!(
        journal,
        [
            "send 4 {@1 {\"message\":\"hello\"}@2",
            "dead letter {",
            "save after 1",
            "settle 1 Ack { undelivered: [(1, DeadLettered)] }",
        ]
    );
    assert_eq!((counts.sent, counts.failed), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_given_up_is_found_by_its_place_in_the_batch() {
    let (result, journal, _) = run(Case {
        send_failures: vec![
            (2, Failure::transient("busy")),
            (0, Failure::transient("busy")),
        ],
        errors: spec::Errors {
            on_exhausted: OnFailure::Skip,
            ..spec::Errors::default()
        },
        max_attempts: 1,
        ..case(vec![
            routed("1", "audit"),
            routed("2", ""),
            routed("3", "audit"),
            routed("4", ""),
        ])
    })
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(
        journal.last().unwrap(),
        "settle 1 Ack { undelivered: [(0, Skipped), (2, Skipped)] }"
    );
}
