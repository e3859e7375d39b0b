//! What comes after what, with one batch in flight and with several.

use super::*;

#[tokio::test(start_paused = true)]
async fn state_is_saved_after_the_send_and_acked_after_the_save() {
    let (result, journal, counts) = run(Case {
        polls: vec![Ok(polled(1, &["1", "2"])), Ok(polled(2, &["3"]))],
        ..Case::default()
    })
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(
        journal,
        [
            "send 1 2",
            "save after 1",
            "settle 1 Ack { undelivered: [] }",
            "send 3",
            "save after 2",
            "settle 2 Ack { undelivered: [] }",
        ]
    );
    assert_eq!((counts.produced, counts.sent), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn one_save_covers_what_was_confirmed_while_another_was_under_way() {
    let (result, journal, counts) = run(Case {
        polls: (1..=4).map(|poll| Ok(polled(poll, &["x"]))).collect(),
        save_failures: vec![Failure::transient("disk full")],
        max_in_flight: 4,
        ..Case::default()
    })
    .await;
    assert_eq!(result, Ok(()));
    let of = |what: &str| -> Vec<&str> {
        let lines = journal.iter().map(String::as_str);
        lines.filter(|line| line.starts_with(what)).collect()
    };
    let acks: Vec<_> = (1..=4)
        .map(|poll| format!("settle {poll} Ack {{ undelivered: [] }}"))
        .collect();
    assert_eq!(of("settle"), acks, "results keep poll order");
    assert_eq!(of("save").last(), Some(&"save after 4"));
    assert!(of("save").len() < 5, "{journal:?}");
    let first_ack = journal.iter().position(|line| line.starts_with("settle 1"));
    let first_save = journal.iter().position(|line| line.starts_with("save"));
    assert!(first_save < first_ack, "{journal:?}");
    assert_eq!(counts.sent, 4);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_given_up_takes_the_later_ones_along() {
    let (result, journal, counts) = run(Case {
        polls: (1..=3).map(|poll| Ok(polled(poll, &["x"]))).collect(),
        send_failures: at_once([Failure::fatal("no such user")]),
        max_in_flight: 4,
        ..Case::default()
    })
    .await;
    assert_eq!(result, Err(Failure::fatal("no such user")));
    assert!(
        journal
            .iter()
            .all(|line| !line.contains("Ack") && !line.contains("save")),
        "{journal:?}"
    );
    assert_eq!(
        journal
            .iter()
            .filter(|line| line.starts_with("send"))
            .count(),
        1,
        "{journal:?}"
    );
    assert_eq!((counts.produced, counts.sent), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_state_that_cannot_be_saved_nacks_what_was_confirmed() {
    let (result, journal, counts) = run(Case {
        polls: (1..=3).map(|poll| Ok(polled(poll, &["x"]))).collect(),
        save_failures: vec![Failure::fatal("no such folder")],
        max_in_flight: 2,
        ..Case::default()
    })
    .await;
    assert_eq!(result, Err(Failure::fatal("no such folder")));
    assert!(
        journal.contains(&"settle 1 Nack(Stopped)".to_owned()),
        "{journal:?}"
    );
    assert!(
        journal.iter().all(|line| !line.contains("Ack")),
        "{journal:?}"
    );
    assert_eq!((counts.produced, counts.sent), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_given_up_is_nacked() {
    let (result, journal, counts) = run(Case {
        polls: vec![Ok(polled(1, &["1"]))],
        send_failures: at_once([Failure::fatal("no such user")]),
        ..Case::default()
    })
    .await;
    assert_eq!(result, Err(Failure::fatal("no such user")));
    assert_eq!(journal, ["send 1", "settle 1 Nack(Stopped)"]);
    assert_eq!(counts.produced, 0);
}

/// The results that were told, in order.
fn told(journal: &[String]) -> Vec<&str> {
    let results = journal
        .iter()
        .filter_map(|line| line.strip_prefix("settle "));
    results
        .map(|result| result.trim_end_matches(" { undelivered: [] }"))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_not_taken_before_the_stop_nacks_nothing_whose_state_is_saved() {
    let (result, journal, counts) = run(Case {
        polls: (1..=3).map(|poll| Ok(polled(poll, &["x"]))).collect(),
        settle_failures: vec![Failure::transient("busy")],
        max_in_flight: 4,
        ..Case::default()
    })
    .await;
    assert_eq!(told(&journal), ["1 Ack", "2 Ack", "3 Ack"]);
    assert_eq!((counts.produced, counts.sent), (3, 3));
    // The first is never told: the instance must not be used any more, and so this is no good end.
    let failure = result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Fatal);
    assert!(failure.message.contains("busy"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn a_result_that_the_source_fails_at_for_good_nacks_nothing_whose_state_is_saved() {
    let (result, journal, counts) = run(Case {
        polls: (1..=3).map(|poll| Ok(polled(poll, &["x"]))).collect(),
        settle_failures: vec![Failure::fatal("no such queue")],
        max_in_flight: 4,
        ..Case::default()
    })
    .await;
    assert_eq!(result, Err(Failure::fatal("no such queue")));
    assert_eq!(told(&journal), ["1 Ack", "2 Ack", "3 Ack"]);
    assert_eq!((counts.produced, counts.sent), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_nack_that_is_not_taken_before_the_stop_is_no_good_end() {
    let (result, journal, _) = run(Case {
        polls: vec![Ok(polled(1, &["1"]))],
        // The stop comes while it is tried again.
        send_failures: at_once([Failure::transient("away"), Failure::transient("away")]),
        settle_failures: vec![Failure::transient("busy")],
        max_in_flight: 2,
        ..Case::default()
    })
    .await;
    assert_eq!(told(&journal), ["1 Nack(Stopped)"]);
    assert_eq!(result.unwrap_err().kind, FailureKind::Fatal);
}
