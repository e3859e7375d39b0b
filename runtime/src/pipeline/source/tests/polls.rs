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
