//! Each turn of a connector's life by itself.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::fake::{Deed, Health, Home, Opens, World};
use crate::supervisor::{Manner, NotReset, Refused, Request, Reset, Snapshot, Status, Target};

fn is(status: Status) -> impl Fn(&Snapshot) -> bool {
    move |snapshot| snapshot.status == status
}

fn message(snapshot: &Snapshot) -> &str {
    snapshot
        .last_error
        .as_ref()
        .map_or("", |error| error.message.as_str())
}

fn opening(opens: Opens) -> Arc<World> {
    let world = Arc::<World>::default();
    world.change(|script| script.opens = opens);
    world
}

const LONG_WAITS: &str = "restart.initial_backoff = \"1h\"\nrestart.max_backoff = \"1h\"";

#[tokio::test]
async fn a_pause_keeps_the_plugin_open_and_a_stop_closes_it() {
    let home = Home::new("");
    home.until(is(Status::Running)).await;
    home.handle.request(Request::Pause).await.unwrap();
    home.until(is(Status::Paused)).await;
    assert_eq!(home.world.open.load(Ordering::SeqCst), 1);
    assert_eq!(home.world.running.load(Ordering::SeqCst), 0);
    assert_eq!(
        home.world.pauses.load(Ordering::SeqCst),
        1,
        "the run knows that it goes on later"
    );
    home.handle.request(Request::Resume).await.unwrap();
    home.until(is(Status::Running)).await;
    assert_eq!(home.world.opened.load(Ordering::SeqCst), 1);
    home.handle.request(Request::Stop).await.unwrap();
    home.until(is(Status::Stopped)).await;
    assert_eq!(home.world.open.load(Ordering::SeqCst), 0);
    assert_eq!(home.world.pauses.load(Ordering::SeqCst), 1);
    home.handle.request(Request::Start).await.unwrap();
    home.until(is(Status::Running)).await;
    assert_eq!(home.world.opened.load(Ordering::SeqCst), 2);
    home.stop().await;
}

#[tokio::test]
async fn only_a_stopped_connector_refuses_and_only_to_pause_and_to_resume() {
    let home = Home::new("enabled = false");
    home.until(is(Status::Stopped)).await;
    for request in [Request::Pause, Request::Resume] {
        let refused = home.handle.request(request).await.unwrap_err();
        assert!(matches!(refused, Refused::Stopped), "{refused}");
    }
    assert_eq!(home.saved(), None, "what was refused is not saved");
    home.handle.request(Request::Start).await.unwrap();
    home.until(is(Status::Running)).await;
    home.stop().await;
    let refused = home.handle.request(Request::Start).await.unwrap_err();
    assert!(matches!(refused, Refused::Ending), "{refused}");
}

#[tokio::test]
async fn each_command_may_be_repeated() {
    let home = Home::new("");
    for (request, status) in [
        (Request::Start, Status::Running),
        (Request::Resume, Status::Running),
        (Request::Pause, Status::Paused),
        (Request::Stop, Status::Stopped),
        (Request::Restart, Status::Running),
    ] {
        for _ in 0..3 {
            home.handle.request(request).await.unwrap();
        }
        home.until(is(status)).await;
        home.handle.request(request).await.unwrap();
        home.until(is(status)).await;
    }
    home.stop().await;
}

#[tokio::test]
async fn pausing_while_the_plugin_opens_does_not_wait_for_it() {
    let home = Home::with("", opening(Opens::Hang), None);
    home.until(is(Status::Starting)).await;
    home.handle.request(Request::Pause).await.unwrap();
    home.until(is(Status::Paused)).await;
    home.world.change(|script| script.opens = Opens::Well);
    home.handle.request(Request::Resume).await.unwrap();
    home.until(is(Status::Running)).await;
    home.stop().await;
}

#[tokio::test]
async fn pausing_and_starting_between_two_attempts_work_at_once() {
    let home = Home::with(LONG_WAITS, opening(Opens::Badly(2)), None);
    let waiting = home.until(is(Status::Error)).await;
    assert!(waiting.next_attempt.is_some(), "{waiting:?}");
    assert_eq!(message(&waiting), "not yet");
    home.handle.request(Request::Resume).await.unwrap();
    assert_eq!(
        home.handle.snapshot().status,
        Status::Error,
        "there is nothing to resume"
    );
    home.handle.request(Request::Pause).await.unwrap();
    let paused = home.until(is(Status::Paused)).await;
    assert_eq!(paused.next_attempt, None);
    home.handle.request(Request::Resume).await.unwrap();
    home.until(|snapshot| snapshot.status == Status::Error && snapshot.next_attempt.is_some())
        .await;
    home.handle.request(Request::Start).await.unwrap();
    home.until(is(Status::Running)).await;
    home.stop().await;
}

#[tokio::test]
async fn pausing_while_it_retries_works_at_once() {
    let home = Home::new("");
    home.until(is(Status::Running)).await;
    home.world.tell(Deed::Retry(true));
    let retrying = home.until(is(Status::Retrying)).await;
    assert_eq!(message(&retrying), "busy");
    home.handle.request(Request::Pause).await.unwrap();
    home.until(is(Status::Paused)).await;
    home.handle.request(Request::Resume).await.unwrap();
    home.until(is(Status::Running)).await;
    home.stop().await;
}

#[tokio::test]
async fn what_is_stopped_and_started_again_at_once_is_opened_anew() {
    let home = Home::new("");
    home.until(is(Status::Running)).await;
    home.handle.request(Request::Stop).await.unwrap();
    home.handle.request(Request::Start).await.unwrap();
    home.until(|snapshot| {
        snapshot.status == Status::Running && home.world.opened.load(Ordering::SeqCst) == 2
    })
    .await;
    home.stop().await;
}

#[tokio::test]
async fn a_panic_ends_one_run_and_no_more() {
    let keys = "restart.initial_backoff = \"1ms\"";
    let home = Home::with(keys, opening(Opens::Panic), None);
    let failed = home.until(|snapshot| snapshot.last_error.is_some()).await;
    assert!(message(&failed).contains("boom in open"), "{failed:?}");
    home.world.change(|script| script.opens = Opens::Well);
    home.until(is(Status::Running)).await;
    home.world.tell(Deed::Panic);
    home.until(|snapshot| message(snapshot).contains("boom in run"))
        .await;
    home.until(is(Status::Running)).await;
    assert_eq!(home.world.open.load(Ordering::SeqCst), 1);
    home.stop().await;
}

#[tokio::test]
async fn a_connector_that_cannot_be_used_answers_commands_with_its_reason() {
    let home = Home::with("", Arc::default(), Some("unknown key"));
    let shown = home.handle.snapshot();
    assert_eq!(
        (shown.status, message(&shown)),
        (Status::Error, "unknown key")
    );
    home.handle.request(Request::Restart).await.unwrap();
    home.until(is(Status::Error)).await;
    home.handle.request(Request::Stop).await.unwrap();
    home.until(is(Status::Stopped)).await;
    home.handle.request(Request::Start).await.unwrap();
    let failed = home.until(is(Status::Error)).await;
    assert_eq!(message(&failed), "unknown key");
    assert_eq!(home.world.opened.load(Ordering::SeqCst), 0);
    home.stop().await;
}

#[tokio::test]
async fn what_cannot_be_saved_is_done_and_said() {
    let home = Home::new("");
    home.until(is(Status::Running)).await;
    home.block_saves();
    let refused = home.handle.request(Request::Stop).await.unwrap_err();
    assert!(
        matches!(refused, Refused::NotSaved(_)) && refused.to_string().contains("lifecycle.json"),
        "{refused}"
    );
    home.until(is(Status::Stopped)).await;
    home.stop().await;
}

#[tokio::test(start_paused = true)]
async fn restarts_are_counted_until_a_run_has_lasted() {
    let keys =
        "restart.initial_backoff = \"1s\"\nrestart.max_backoff = \"10s\"\nrestart.max_restarts = 2";
    let home = Home::new(keys);
    for _ in 0..4 {
        home.until(is(Status::Running)).await;
        tokio::time::sleep(Duration::from_secs(11)).await;
        home.world.tell(Deed::Fail);
        home.until(is(Status::Error)).await;
    }
    home.until(is(Status::Running)).await;
    home.world.tell(Deed::Fail);
    home.until(is(Status::Error)).await;
    home.until(is(Status::Running)).await;
    home.world.tell(Deed::Fail);
    let ended = home.until(is(Status::Error)).await;
    assert_eq!(ended.next_attempt, None, "two restarts in a row are all");
    home.handle.request(Request::Start).await.unwrap();
    home.until(is(Status::Running)).await;
    home.world.tell(Deed::Fail);
    let waiting = home.until(is(Status::Error)).await;
    assert!(
        waiting.next_attempt.is_some(),
        "a command begins a new count"
    );
    home.stop().await;
}

#[tokio::test]
async fn without_restarts_the_first_failure_is_the_last() {
    let home = Home::new("restart.policy = \"never\"");
    home.until(is(Status::Running)).await;
    home.world.tell(Deed::Fail);
    let failed = home.until(is(Status::Error)).await;
    assert_eq!((message(&failed), failed.next_attempt), ("lost", None));
    home.stop().await;
}

#[tokio::test]
async fn a_source_that_has_ended_is_stopped_and_can_be_started() {
    let home = Home::new("");
    home.until(is(Status::Running)).await;
    home.world.tell(Deed::End);
    let ended = home.until(is(Status::Stopped)).await;
    assert_eq!((ended.target, home.saved()), (Target::Running, None));
    home.handle.request(Request::Start).await.unwrap();
    home.until(is(Status::Running)).await;
    home.stop().await;
}

const HEALTH: &str = "health.interval = \"10ms\"\nhealth.failures = 2\nrestart.initial_backoff = \"1ms\"\nclose_timeout = \"50ms\"\n";

#[tokio::test]
async fn an_unhealthy_connector_is_reported_and_goes_on() {
    let home = Home::new(HEALTH);
    home.until(is(Status::Running)).await;
    home.world.change(|script| script.health = Health::Bad);
    let unhealthy = home.until(|snapshot| !snapshot.healthy).await;
    assert_eq!(unhealthy.status, Status::Running);
    assert!(message(&unhealthy).contains("2 checks"), "{unhealthy:?}");
    assert!(message(&unhealthy).contains("no answer"), "{unhealthy:?}");
    home.world.change(|script| script.health = Health::Good);
    let healthy = home.until(|snapshot| snapshot.healthy).await;
    assert_eq!(healthy.status, Status::Running);
    assert_eq!(home.world.opened.load(Ordering::SeqCst), 1);
    home.stop().await;
}

#[tokio::test]
async fn an_unhealthy_connector_is_restarted_when_it_is_to_be() {
    let home = Home::new(&format!("{HEALTH}health.action = \"restart\""));
    home.until(is(Status::Running)).await;
    home.world.change(|script| script.health = Health::Bad);
    let failed = home.until(is(Status::Error)).await;
    assert!(message(&failed).starts_with("unhealthy"), "{failed:?}");
    assert!(failed.next_attempt.is_some(), "{failed:?}");
    home.world.change(|script| script.health = Health::Good);
    let again = home.until(is(Status::Running)).await;
    assert!(again.healthy);
    assert!(home.world.opened.load(Ordering::SeqCst) > 1);
    home.stop().await;
}

#[tokio::test]
async fn an_unhealthy_connector_is_stopped_for_good_even_when_it_is_stuck() {
    let home = Home::new(&format!("{HEALTH}health.action = \"stop\""));
    home.until(is(Status::Running)).await;
    home.world.change(|script| {
        script.health = Health::Bad;
        script.is_stuck = true;
    });
    let failed = home.until(is(Status::Error)).await;
    assert!(message(&failed).starts_with("unhealthy"), "{failed:?}");
    assert_eq!(failed.next_attempt, None);
    assert!(!failed.healthy);
    home.handle.request(Request::Stop).await.unwrap();
    home.until(is(Status::Stopped)).await;
    assert_eq!(home.world.open.load(Ordering::SeqCst), 0);
    home.stop().await;
}

#[tokio::test]
async fn a_check_that_obeys_no_cancel_costs_the_instance() {
    let home = Home::new(HEALTH);
    home.until(is(Status::Running)).await;
    home.world.change(|script| script.health = Health::Hung);
    let failed = home.until(is(Status::Error)).await;
    assert!(message(&failed).starts_with("hung"), "{failed:?}");
    home.world.change(|script| script.health = Health::Good);
    home.until(is(Status::Running)).await;
    home.stop().await;
}

fn forgotten(home: &Home) -> tokio::task::JoinHandle<Result<(), NotReset>> {
    let handle = home.handle.clone();
    tokio::spawn(async move { handle.reset(Reset::Forget, Manner::Real).await.map(drop) })
}

async fn is_resetting(home: &Home, resets: usize) {
    while home.world.resets.load(Ordering::SeqCst) < resets {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_reset_is_refused_unless_it_is_at_rest_and_commands_wait_for_one_that_is_under_way() {
    let home = Home::new("");
    home.world.change(|script| script.holds_resets = true);
    home.until(is(Status::Running)).await;
    let refused = forgotten(&home).await.unwrap().unwrap_err();
    assert!(
        matches!(refused, NotReset::AtWork(Status::Running)),
        "{refused}"
    );
    for (command, then, back) in [
        (Request::Pause, Status::Paused, Request::Resume),
        (Request::Stop, Status::Stopped, Request::Start),
    ] {
        home.handle.request(command).await.unwrap();
        home.until(is(then)).await;
        let before = home.world.resets.load(Ordering::SeqCst);
        let first = forgotten(&home);
        is_resetting(&home, before + 1).await;
        // Taken at once, and carried out when the reset is done: the fake would notice.
        home.handle.request(back).await.unwrap();
        let late = forgotten(&home).await.unwrap().unwrap_err();
        assert!(matches!(late, NotReset::AtWork(_)), "{late}");
        assert_eq!(home.handle.snapshot().status, then);
        home.world.resetting.notify_one();
        first.await.unwrap().unwrap();
        home.until(is(Status::Running)).await;
    }
    home.stop().await;
    let refused = forgotten(&home).await.unwrap().unwrap_err();
    assert!(matches!(refused, NotReset::Ending), "{refused}");
}

#[tokio::test]
async fn the_end_of_the_daemon_ends_a_reset() {
    let home = Home::new("");
    home.world.change(|script| script.holds_resets = true);
    home.until(is(Status::Running)).await;
    home.handle.request(Request::Stop).await.unwrap();
    home.until(is(Status::Stopped)).await;
    let reset = forgotten(&home);
    is_resetting(&home, 1).await;
    home.stop().await;
    let ended = reset.await.unwrap().unwrap_err();
    assert!(matches!(ended, NotReset::Ending), "{ended}");
}
