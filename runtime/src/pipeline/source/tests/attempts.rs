//! What is tried again, how often, and what becomes of messages that Iggy does not take in time.

use super::*;
use crate::config::spec::OnFailure;

#[tokio::test(start_paused = true)]
async fn send_save_and_settle_are_each_tried_again_in_place() {
    let (result, journal, _) = run(Case {
        polls: vec![Ok(polled(1, &["1"]))],
        send_failures: at_once([Failure::transient("busy")]),
        save_failures: vec![Failure::transient("disk full")],
        settle_failures: vec![Failure::transient("busy")],
        ..Case::default()
    })
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(
        journal,
        [
            "send 1",
            "send 1",
            "save after 1",
            "save after 1",
            "settle 1 Ack { undelivered: [] }",
            "settle 1 Ack { undelivered: [] }",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_attempts_have_run_out_is_nacked_with_that_reason() {
    let (result, journal, _) = run(Case {
        polls: vec![Ok(polled(1, &["1"]))],
        send_failures: at_once([Failure::transient("busy"), Failure::transient("busy")]),
        max_attempts: 1,
        ..Case::default()
    })
    .await;
    assert_eq!(result.unwrap_err().kind, FailureKind::Exhausted);
    assert_eq!(journal, ["send 1", "send 1", "settle 1 Nack(Exhausted)"]);
}

fn on_exhausted(policy: OnFailure) -> spec::Errors {
    spec::Errors {
        on_exhausted: policy,
        ..spec::Errors::default()
    }
}

fn unreachable() -> Failure {
    Failure::new(FailureKind::Unreachable, "away")
}

#[tokio::test(start_paused = true)]
async fn a_broker_out_of_reach_is_never_given_up_and_costs_no_attempts() {
    let failures = (0..50)
        .map(|_| unreachable())
        .chain([Failure::transient("busy")]);
    let (result, journal, counts) = run(Case {
        polls: vec![Ok(polled(1, &["1"]))],
        send_failures: at_once(failures),
        errors: on_exhausted(OnFailure::Skip),
        max_attempts: 1,
        ..Case::default()
    })
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(
        journal.last().unwrap(),
        "settle 1 Ack { undelivered: [] }",
        "{journal:?}"
    );
    assert_eq!((counts.sent, counts.failed, counts.errors), (1, 0, 51));
}

#[tokio::test(start_paused = true)]
async fn saves_and_results_are_never_given_up_and_send_nothing_again() {
    let failures = || vec![Failure::transient("disk full"); 20];
    let (result, journal, counts) = run(Case {
        polls: vec![Ok(polled(1, &["1"])), Ok(polled(2, &["2"]))],
        save_failures: failures(),
        settle_failures: failures(),
        max_attempts: 1,
        ..Case::default()
    })
    .await;
    assert_eq!(result, Ok(()));
    let sent: Vec<_> = journal
        .iter()
        .filter(|line| line.starts_with("send"))
        .collect();
    assert_eq!(sent, ["send 1", "send 2"]);
    assert!(journal.iter().all(|line| !line.contains("Nack")));
    assert_eq!((counts.sent, counts.errors), (2, 40));
}

#[tokio::test(start_paused = true)]
async fn only_what_is_not_confirmed_is_given_up_and_dead_lettered() {
    let (result, journal, counts) = run(Case {
        polls: vec![Ok(polled(1, &["1", "2", "3"])), Ok(polled(2, &["4"]))],
        send_failures: vec![
            (1, Failure::transient("busy")),
            (0, unreachable()),
            (1, Failure::transient("busy")),
        ],
        errors: on_exhausted(OnFailure::Dlq),
        max_attempts: 1,
        ..Case::default()
    })
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(
        journal,
        [
            "send 1 2 3",
            "send 2 3",
            "send 2 3",
            "dead letter 3",
            "save after 1",
            "settle 1 Ack { undelivered: [(2, DeadLettered)] }",
            "send 4",
            "save after 2",
            "settle 2 Ack { undelivered: [] }",
        ]
    );
    assert_eq!(
        (counts.sent, counts.failed, counts.dead_lettered),
        (3, 1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_given_up_is_skipped_where_that_is_the_policy() {
    let (result, journal, counts) = run(Case {
        polls: vec![Ok(polled(1, &["1", "2"]))],
        send_failures: vec![(1, Failure::transient("busy")); 2],
        errors: on_exhausted(OnFailure::Skip),
        max_attempts: 1,
        ..Case::default()
    })
    .await;
    assert_eq!(result, Ok(()));
    // The second attempt confirms what was left, and fails all the same: nothing is given up.
    assert_eq!(journal.last().unwrap(), "settle 1 Ack { undelivered: [] }");
    assert_eq!((counts.sent, counts.failed), (2, 0));
    let (result, journal, counts) = run(Case {
        polls: vec![Ok(polled(1, &["1", "2"]))],
        send_failures: vec![
            (1, Failure::transient("busy")),
            (0, Failure::transient("busy")),
        ],
        errors: on_exhausted(OnFailure::Skip),
        max_attempts: 1,
        ..Case::default()
    })
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(
        journal.last().unwrap(),
        "settle 1 Ack { undelivered: [(1, Skipped)] }"
    );
    assert_eq!((counts.sent, counts.failed), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn dead_letters_wait_for_a_broker_out_of_reach() {
    let (result, journal, counts) = run(Case {
        polls: vec![Ok(polled(1, &["1"]))],
        send_failures: at_once(vec![Failure::transient("busy"); 2]),
        dead_letter_failures: vec![unreachable(); 20],
        errors: on_exhausted(OnFailure::Dlq),
        max_attempts: 1,
        ..Case::default()
    })
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(
        journal.last().unwrap(),
        "settle 1 Ack { undelivered: [(0, DeadLettered)] }"
    );
    assert_eq!(counts.dead_lettered, 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_dead_lettered_is_not_given_up() {
    let (result, journal, counts) = run(Case {
        polls: vec![Ok(polled(1, &["1"]))],
        send_failures: at_once(vec![Failure::transient("busy"); 2]),
        dead_letter_failures: vec![Failure::transient("no permission"); 2],
        errors: on_exhausted(OnFailure::Dlq),
        max_attempts: 1,
        ..Case::default()
    })
    .await;
    assert_eq!(result.unwrap_err().kind, FailureKind::Exhausted);
    assert_eq!(journal.last().unwrap(), "settle 1 Nack(Exhausted)");
    assert_eq!((counts.produced, counts.failed), (0, 0));
}

/// A broker that takes a request and never answers.
fn hung() -> Failure {
    Failure::new(FailureKind::Hung, "no answer")
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_does_not_answer_holds_up_no_stop() {
    let case = || Case {
        polls: vec![Ok(polled(1, &["1", "2"]))],
        max_in_flight: 2,
        ..Case::default()
    };
    let (result, journal, counts) = run(Case {
        send_failures: vec![(0, hung())],
        ..case()
    })
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(journal, ["send 1 2", "settle 1 Nack(Stopped)"]);
    assert_eq!((counts.produced, counts.sent), (0, 0));

    let (result, journal, counts) = run(Case {
        send_failures: at_once(vec![Failure::transient("busy"); 2]),
        dead_letter_failures: vec![hung()],
        errors: on_exhausted(OnFailure::Dlq),
        max_attempts: 1,
        ..case()
    })
    .await;
    assert_eq!(result, Ok(()));
    assert_eq!(journal.last().unwrap(), "settle 1 Nack(Stopped)");
    assert_eq!((counts.produced, counts.failed), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_does_not_answer_holds_up_no_stop() {
    let (result, journal, counts) = run(Case {
        polls: vec![Ok(polled(1, &["1"])), Ok(polled(2, &["2"]))],
        save_failures: vec![hung()],
        max_in_flight: 3,
        ..Case::default()
    })
    .await;
    assert_eq!(result, Ok(()));
    let saves = journal.iter().filter(|step| step.starts_with("save"));
    assert_eq!(saves.count(), 1, "{journal:?}");
    let ended = &journal[journal.len() - 2..];
    let nacks = ["settle 1 Nack(Stopped)", "settle 2 Nack(Stopped)"];
    assert_eq!(ended, nacks, "{journal:?}");
    assert_eq!((counts.produced, counts.sent), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_save_that_takes_long_is_told_and_is_not_begun_beside_the_first() {
    let journal = Journal::default();
    let store = Saved {
        failures: Mutex::new([hung()].into()),
        journal: journal.clone(),
    };
    let monitor = Monitor::new(Direction::Source, "tested".into());
    let (stop, retry) = (CancellationToken::new(), spec::Backoff::default());
    let mut shown = monitor.retrying();
    let mut saving = Box::pin(save(&store, "s".into(), retry, &monitor, &stop));
    let reason = tokio::select! {
        ended = &mut saving => panic!("{ended:?}"),
        shown = shown.wait_for(Option::is_some) => shown.unwrap().clone().unwrap().reason,
    };
    assert!(reason.contains("the state is not saved yet"), "{reason}");
    stop.cancel();
    assert_eq!(saving.await.unwrap_err().kind, FailureKind::Cancelled);
    assert_eq!(*journal.lock().unwrap(), ["save s"]);
    assert_eq!(*shown.borrow(), None);
}
