//! Each turn of an activation by itself. What random commands make of it stands in `trial`.

use std::{
    future::{pending, ready},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout},
};

use super::fake::{Deed, Home, Opens, PATIENCE, Takes, World};
use crate::{
    config::spec,
    supervisor::{NotActivated, Phase, Request, Snapshot, Status, Target},
};

/// A connector whose next instance opens beside the old one, and one whose old instance must be closed first.
fn homes(keys: &str) -> [Home; 2] {
    [false, true].map(|is_exclusive| {
        let world = Arc::<World>::default();
        world.change(|script| script.is_exclusive = is_exclusive);
        Home::with(keys, world, None)
    })
}

fn next(home: &Home) -> spec::Connector {
    spec::Connector {
        version: 1,
        ..home.spec.clone()
    }
}

fn is(status: Status) -> impl Fn(&Snapshot) -> bool {
    move |snapshot| snapshot.status == status
}

/// Waits until so many instances have been opened.
async fn opened(home: &Home, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    while home.world.opened.load(Ordering::SeqCst) < count {
        assert!(Instant::now() < deadline, "{:?}", home.handle.snapshot());
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_choice_that_cannot_be_kept_leaves_the_old_version_running() {
    for home in homes("") {
        home.until(is(Status::Running)).await;
        let record = ready(Err("disk full".to_owned()));
        let error = home.handle.activate(next(&home), record).await.unwrap_err();
        let NotActivated::Undone { phase, reason, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!((*phase, reason.as_str()), (Phase::Record, "disk full"));
        home.until(is(Status::Running)).await;
        assert_eq!(home.handle.spec().version, 0);
        assert_eq!(home.world.version.load(Ordering::SeqCst), 0);
        home.stop().await;
        assert_eq!(home.world.open.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_choice_that_takes_for_ever_to_keep_is_given_up_in_time_and_the_old_version_runs() {
    for timeouts in [
        "close_timeout = \"1s\"\nopen_timeout = \"2s\"",
        "close_timeout = \"1h\"\nopen_timeout = \"1h\"",
    ] {
        for home in homes(timeouts) {
            home.until(is(Status::Running)).await;
            // The time does not pass by itself while something is under way: it took so long.
            let began = Instant::now();
            let activated = home.handle.activate(next(&home), pending());
            let error = timeout(PATIENCE, activated).await.unwrap().unwrap_err();
            let NotActivated::Undone { phase, reason, .. } = &error else {
                panic!("{error}");
            };
            assert_eq!(*phase, Phase::Record);
            assert!(reason.contains("could not be kept within"), "{reason}");
            let took = began.elapsed();
            assert!(took <= Duration::from_secs(6), "{took:?}");
            home.until(is(Status::Running)).await;
            assert_eq!(home.handle.spec().version, 0);
            assert_eq!(home.world.version.load(Ordering::SeqCst), 0);
            home.stop().await;
            assert_eq!(home.world.open.load(Ordering::SeqCst), 0);
        }
    }
}

/// Each of these in each of these places.
fn all_ways(times: [Duration; 4]) -> impl Iterator<Item = (Takes, Duration)> {
    (0..4_u32.pow(4)).map(move |way| {
        let time = |place: u32| times[(way / 4_u32.pow(place) % 4) as usize];
        let takes = Takes {
            drain: time(0),
            close: time(1),
            open: time(2),
        };
        (takes, time(3))
    })
}

#[tokio::test(start_paused = true)]
async fn whatever_takes_long_an_activation_is_answered_within_its_close_and_its_open_timeout() {
    let timeouts = "close_timeout = \"1s\"\nopen_timeout = \"2s\"";
    let times = [0, 700, 1500, 20_000].map(Duration::from_millis);
    for (takes, recording) in all_ways(times) {
        for home in homes(timeouts) {
            home.until(is(Status::Running)).await;
            home.world.change(|script| script.takes = takes);
            let recorded = Arc::new(AtomicBool::new(false));
            let record = {
                let recorded = recorded.clone();
                async move {
                    sleep(recording).await;
                    recorded.store(true, Ordering::SeqCst);
                    Ok(())
                }
            };
            let began = Instant::now();
            let answer = home.handle.activate(next(&home), record).await;
            let took = began.elapsed();
            let what = format!("{takes:?} and {recording:?} to record: {answer:?}");
            assert!(took <= Duration::from_secs(3), "{what} after {took:?}");
            let sum = takes.drain + takes.close + takes.open + recording;
            assert!(
                answer.is_ok() || sum > Duration::from_millis(1500),
                "{what}: there was time"
            );
            let version = u32::from(answer.is_ok());
            assert!(
                answer.is_err() || recorded.load(Ordering::SeqCst),
                "{what}: it is not recorded"
            );
            assert_eq!(home.handle.spec().version, version, "{what}");
            home.until(is(Status::Running)).await;
            assert_eq!(home.world.version.load(Ordering::SeqCst), version, "{what}");
            home.world.change(|script| script.takes = Takes::default());
            home.stop().await;
            let world = &home.world;
            assert_eq!(world.open.load(Ordering::SeqCst), 0, "{what}");
            assert!(!world.has_overlapped.load(Ordering::SeqCst), "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_opens_too_late_is_closed_beside_what_runs_and_the_next_activation_waits_for_that() {
    let [home, _] = homes("close_timeout = \"1s\"\nopen_timeout = \"2s\"");
    home.until(is(Status::Running)).await;
    let opening = |time| {
        home.world
            .change(|script| script.takes.open = Duration::from_millis(time));
    };
    opening(3_500);
    let error = home.handle.activate(next(&home), ready(Ok(()))).await;
    let error = error.unwrap_err();
    let NotActivated::Undone { phase, reason, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*phase, Phase::Open);
    assert!(reason.contains("3s"), "{reason}");
    let shown = home.handle.snapshot();
    assert!(
        shown.closing && shown.status == Status::Running,
        "{shown:?}"
    );
    assert_eq!(home.world.open.load(Ordering::SeqCst), 2);
    opening(0);
    let activated = home.handle.activate(next(&home), ready(Ok(()))).await;
    assert!(!activated.unwrap().closing);
    home.until(is(Status::Running)).await;
    assert_eq!(home.world.open.load(Ordering::SeqCst), 1);
    assert!(!home.world.has_overlapped.load(Ordering::SeqCst));
    home.stop().await;
}

#[tokio::test]
async fn a_plugin_that_does_not_close_well_after_it_was_opened_in_vain_is_told_and_counted() {
    for home in homes("") {
        home.until(is(Status::Running)).await;
        let record = {
            let world = home.world.clone();
            async move {
                world.change(|script| script.closes_badly = true);
                Err("disk full".to_owned())
            }
        };
        let before = home.handle.counts().errors;
        home.handle.activate(next(&home), record).await.unwrap_err();
        let told = home.until(|snapshot| snapshot.last_error.is_some()).await;
        let message = told.last_error.unwrap().message;
        assert!(message.starts_with("close of a version"), "{message}");
        assert_eq!(home.handle.counts().errors, before + 1);
        home.until(is(Status::Running)).await;
        home.stop().await;
    }
}

#[tokio::test]
async fn what_is_asked_while_another_version_comes_is_not_forgotten() {
    for (request, status, kept) in [
        (Request::Stop, Status::Stopped, Some("stopped")),
        (Request::Pause, Status::Paused, Some("paused")),
        (Request::Restart, Status::Running, None),
    ] {
        for home in homes("") {
            home.until(is(Status::Running)).await;
            let (keep, kept_by) = oneshot::channel();
            let (handle, spec) = (home.handle.clone(), next(&home));
            let activating = tokio::spawn(async move {
                let record = async { kept_by.await.map_err(|_| "nobody keeps it".to_owned()) };
                handle.activate(spec, record).await
            });
            opened(&home, 2).await;
            home.handle.request(request).await.unwrap();
            keep.send(()).unwrap();
            activating.await.unwrap().unwrap();
            home.until(is(status)).await;
            assert_eq!(home.handle.spec().version, 1, "{request:?}");
            assert_eq!(home.saved().as_deref(), kept, "{request:?}");
            home.stop().await;
        }
    }
}

#[tokio::test]
async fn one_version_is_activated_at_a_time() {
    let home = Home::new("");
    home.until(is(Status::Running)).await;
    home.world.change(|script| script.opens = Opens::Hang);
    let (handle, spec) = (home.handle.clone(), next(&home));
    let hanging = tokio::spawn(async move { handle.activate(spec, ready(Ok(()))).await });
    let second = async || home.handle.activate(next(&home), ready(Ok(()))).await;
    // The first may not have been taken yet; then it is the one that is refused.
    let busy = tokio::select! {
        answer = second() => answer,
        answer = hanging => answer.unwrap(),
    };
    assert!(matches!(busy, Err(NotActivated::Busy)), "{busy:?}");
    assert_eq!(home.handle.snapshot().status, Status::Running);
    home.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_holds_up_another_version_no_longer_than_its_close_timeout() {
    for home in homes("close_timeout = \"5s\"") {
        home.until(is(Status::Running)).await;
        home.world.change(|script| script.is_stuck = true);
        let began = Instant::now();
        let activated = home.handle.activate(next(&home), ready(Ok(()))).await;
        activated.unwrap();
        let took = began.elapsed();
        let bound = Duration::from_secs(5);
        assert!(took >= bound && took < bound * 2, "{took:?}");
        home.until(is(Status::Running)).await;
        assert_eq!(home.handle.spec().version, 1);
        home.world.change(|script| script.is_stuck = false);
        home.stop().await;
    }
}

#[tokio::test]
async fn a_reason_that_is_noted_is_shown_and_changes_nothing() {
    let home = Home::new("");
    home.until(is(Status::Running)).await;
    home.handle.note("unknown key `pth`".to_owned()).await;
    let noted = home.until(|snapshot| snapshot.last_error.is_some()).await;
    assert_eq!(noted.last_error.unwrap().message, "unknown key `pth`");
    assert_eq!(noted.status, Status::Running);
    home.stop().await;
}

#[tokio::test]
async fn what_is_followed_does_not_come_when_something_else_is_decided_meanwhile() {
    for is_forgotten in [false, true] {
        for home in homes("") {
            home.until(is(Status::Running)).await;
            // Of what was decided before, somebody has seen that it is over.
            home.handle.decide().ends_with(next(&home));
            let read = home.handle.decided();
            home.handle.forget_decided(&read);
            let decided = home.spec.clone();
            let follow = home.handle.activate_while(read, next(&home));
            let mut follow = Box::pin(follow);
            tokio::select! {
                biased;
                followed = &mut follow => panic!("{followed:?}"),
                () = ready(()) => {}
            }
            home.handle.decide().ends_with(decided);
            if is_forgotten {
                home.handle.forget_decided(&home.handle.decided());
            }
            let error = follow.await.unwrap_err();
            assert!(error.to_string().contains("chosen since"), "{error}");
            home.until(is(Status::Running)).await;
            assert_eq!(home.handle.spec().version, 0);
            let read = home.handle.decided();
            let followed = home.handle.activate_while(read, next(&home)).await;
            followed.unwrap();
            assert_eq!(home.handle.spec().version, 1);
            home.stop().await;
        }
    }
}

#[tokio::test]
async fn a_decision_that_is_not_the_last_leaves_the_last_as_it_is() {
    let home = Home::new("");
    let (first, last) = (next(&home), home.spec.clone());
    for (is_last, expected) in [(false, &last), (true, &first)] {
        let decision = home.handle.decide();
        home.handle.decide().ends_with(last.clone());
        decision.ends_with_if(first.clone(), || is_last);
        let decided = home.handle.decided();
        assert!(decided.is_about(expected) && !decided.is_underway());
    }
    home.stop().await;
}

#[tokio::test]
async fn a_version_that_comes_ends_what_is_said_about_one_that_could_not() {
    for home in homes("") {
        home.until(is(Status::Running)).await;
        home.handle
            .not_applied("unknown key `pth`".to_owned())
            .await;
        home.until(|snapshot| snapshot.not_applied.is_some()).await;
        let activated = home.handle.activate(next(&home), ready(Ok(()))).await;
        assert_eq!(activated.unwrap().not_applied, None);
        home.stop().await;
    }
}

#[tokio::test]
async fn a_disabled_one_that_its_operator_has_started_goes_on_with_another_that_is_disabled_too() {
    for home in homes("enabled = false") {
        home.handle.request(Request::Start).await.unwrap();
        home.until(is(Status::Running)).await;
        let activated = home.handle.activate(next(&home), ready(Ok(()))).await;
        assert_eq!(activated.unwrap().target, Target::Running);
        home.until(is(Status::Running)).await;
        assert_eq!(home.world.version.load(Ordering::SeqCst), 1);
        home.handle.request(Request::Stop).await.unwrap();
        let activated = home.handle.activate(next(&home), ready(Ok(()))).await;
        assert_eq!(activated.unwrap().target, Target::Stopped);
        home.stop().await;
    }
}

#[tokio::test]
async fn what_would_fail_again_in_the_same_way_is_told_apart() {
    for (opens, expected) in [(Opens::Badly(1), false), (Opens::Never, true)] {
        for home in homes("") {
            home.until(is(Status::Running)).await;
            home.world.change(|script| script.opens = opens);
            let activated = home.handle.activate(next(&home), ready(Ok(()))).await;
            let error = activated.unwrap_err();
            assert!(
                matches!(error, NotActivated::Undone { is_final, .. } if is_final == expected),
                "{error}"
            );
            home.world.change(|script| script.opens = Opens::Well);
            home.handle.request(Request::Start).await.unwrap();
            home.until(is(Status::Running)).await;
            home.stop().await;
        }
    }
}

#[tokio::test]
async fn one_that_has_ended_and_is_stopped_while_another_version_comes_is_closed() {
    for home in homes("") {
        home.until(is(Status::Running)).await;
        home.world.tell(Deed::End);
        home.until(is(Status::Stopped)).await;
        let (keep, kept_by) = oneshot::channel();
        let (handle, spec) = (home.handle.clone(), next(&home));
        let activating = tokio::spawn(async move {
            let record = async { kept_by.await.map_err(|_| "nobody keeps it".to_owned()) };
            handle.activate(spec, record).await
        });
        opened(&home, 2).await;
        home.handle.request(Request::Stop).await.unwrap();
        keep.send(()).unwrap();
        activating.await.unwrap().unwrap();
        home.until(is(Status::Stopped)).await;
        home.handle.request(Request::Start).await.unwrap();
        home.until(is(Status::Running)).await;
        assert_eq!(home.world.version.load(Ordering::SeqCst), 1);
        home.stop().await;
    }
}
