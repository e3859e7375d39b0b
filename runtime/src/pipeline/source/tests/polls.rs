//! Polls: empty ones, failing ones, the last one.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_poll_that_fails_backs_off_and_goes_on() {
    let before = tokio::time::Instant::now();
    let (result, journal, counts) = run(Case {
        polls: vec![
            Err(Failure::transient("away")),
            Err(Failure::transient("away")),
            Ok(polled(1, &["1"])),
        ],
        ..Case::default()
    })
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(journal.len(), 3, "{journal:?}");
    assert_eq!(counts.errors, 2);
    assert!(
        before.elapsed() >= Duration::from_millis(500),
        "{:?}",
        before.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn polls_are_never_given_up_however_few_attempts_are_allowed() {
    let away = || Err(Failure::transient("away"));
    let (result, journal, counts) = run(Case {
        polls: vec![away(), away(), away(), Ok(polled(1, &["1"]))],
        max_attempts: 1,
        ..Case::default()
    })
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(journal.len(), 3, "{journal:?}");
    assert_eq!(counts.errors, 3);
}

#[tokio::test(start_paused = true)]
async fn a_fatal_poll_ends_the_run() {
    let (result, journal, _) = run(Case {
        polls: vec![Err(Failure::fatal("no such table"))],
        ..Case::default()
    })
    .await;
    assert_eq!(result, Err(Failure::fatal("no such table")));
    assert!(journal.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_empty_poll_is_acked_and_waits_before_the_next() {
    let before = tokio::time::Instant::now();
    let empty = Polled {
        state: None,
        ..polled(1, &[])
    };
    let (result, journal, _) = run(Case {
        polls: vec![Ok(empty)],
        ..Case::default()
    })
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(journal, ["settle 1 Ack { undelivered: [] }"]);
    assert!(before.elapsed() >= Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_ends_is_not_polled_again() {
    let last = Polled {
        ended: true,
        ..polled(1, &["1"])
    };
    let (result, journal, _) = run(Case {
        polls: vec![Ok(last), Ok(polled(2, &["2"]))],
        ..Case::default()
    })
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(
        journal,
        ["send 1", "save after 1", "settle 1 Ack { undelivered: [] }"]
    );
}

fn nothing(poll: u64) -> Polled {
    Polled {
        state: None,
        ..polled(poll, &[])
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_stop_a_source_is_drained_until_it_has_nothing_more() {
    let state_alone = polled(3, &[]);
    let (result, journal, counts) = run(Case {
        polls: vec![Ok(polled(1, &["1"]))],
        drains: Some(vec![
            Ok(polled(2, &["2"])),
            Ok(state_alone),
            Err(Failure::transient("not now")),
            Ok(polled(4, &["4"])),
            Ok(nothing(5)),
            Ok(polled(6, &["6"])),
        ]),
        ..Case::default()
    })
    .await;
    assert_eq!(result, Ok(()));
    let ack = "Ack { undelivered: [] }";
    let expected = [
        "send 1".to_owned(),
        "save after 1".into(),
        format!("settle 1 {ack}"),
        "drain".into(),
        "send 2".into(),
        "save after 2".into(),
        format!("settle 2 {ack}"),
        "drain".into(),
        "save after 3".into(),
        format!("settle 3 {ack}"),
        "drain".into(),
        "drain".into(),
        "send 4".into(),
        "save after 4".into(),
        format!("settle 4 {ack}"),
        "drain".into(),
        format!("settle 5 {ack}"),
    ];
    assert_eq!(journal, expected);
    assert_eq!(counts.sent, 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_drained_is_tried_again_when_sending_fails() {
    let (result, journal, _) = run(Case {
        drains: Some(vec![Ok(polled(1, &["1"])), Ok(nothing(2))]),
        send_failures: at_once([Failure::transient("busy"), Failure::transient("busy")]),
        ..Case::default()
    })
    .await;
    assert_eq!(result, Ok(()));
    let sends = journal.iter().filter(|what| *what == "send 1").count();
    assert_eq!(sends, 3, "{journal:?}");
    assert!(journal.contains(&"settle 1 Ack { undelivered: [] }".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_cannot_be_drained_is_not_polled_after_the_stop() {
    let (result, journal, _) = run(Case {
        polls: vec![Ok(polled(1, &["1"]))],
        drains: None,
        ..Case::default()
    })
    .await;
    assert_eq!(result, Ok(()));
    assert!(!journal.contains(&"drain".to_owned()), "{journal:?}");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_has_ended_or_failed_is_not_drained() {
    let last = Polled {
        ended: true,
        ..polled(1, &["1"])
    };
    for poll in [Ok(last), Err(Failure::fatal("no such table"))] {
        let (_, journal, _) = run(Case {
            polls: vec![poll],
            drains: Some(vec![Ok(polled(2, &["2"]))]),
            ..Case::default()
        })
        .await;
        assert!(!journal.contains(&"drain".to_owned()), "{journal:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_with_the_source() {
    let last = Polled {
        ended: true,
        ..polled(1, &["1"])
    };
    let (result, journal, _) = run(Case {
        drains: Some(vec![Ok(last), Ok(polled(2, &["2"]))]),
        ..Case::default()
    })
    .await;
    assert_eq!(result, Ok(()));
    let drains = journal.iter().filter(|what| *what == "drain").count();
    assert_eq!(drains, 1, "{journal:?}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_without_end_is_cut_off_and_what_it_brought_is_settled() {
    let before = tokio::time::Instant::now();
    let (result, journal, counts) = run(Case {
        // After these it offers nothing and does not end.
        drains: Some(vec![Ok(polled(1, &["1"]))]),
        ..Case::default()
    })
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(counts.sent, 1, "{journal:?}");
    assert_eq!(before.elapsed(), DRAIN);
    let before = tokio::time::Instant::now();
    let batches = (1..10_000).map(|poll| Ok(polled(poll, &["more"])));
    let (result, journal, counts) = run(Case {
        drains: Some(batches.collect()),
        ..Case::default()
    })
    .await;
    assert_eq!(result, Ok(()));
    assert!(before.elapsed() <= DRAIN * 2);
    let acks = journal.iter().filter(|what| what.contains("Ack")).count();
    assert_eq!(counts.sent, acks as u64);
    assert!((1..9_999).contains(&acks), "{acks}");
}
