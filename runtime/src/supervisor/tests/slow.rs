//! Activations whose steps take any time, with other commands and the daemon's end among them: each is answered in time, and the connector
//! comes to rest as it was told, whatever came of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use proptest::{prelude::*, test_runner::TestRunner};
use tokio::{
    runtime::Builder,
    time::{Instant, sleep},
};

use super::fake::{Home, Takes, World};
use crate::{
    config::spec,
    supervisor::{NotActivated, Refused, Request, Status, Target},
};

const TIMEOUTS: &str = "close_timeout = \"1s\"\nopen_timeout = \"2s\"";
const SUM: Duration = Duration::from_secs(3);

/// An activation, and what is asked a while after it.
#[derive(Clone, Debug)]
struct Turn {
    takes: Takes,
    recording: Duration,
    pause: Duration,
    request: Option<Request>,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let time = || {
        let times = vec![0, 1, 400, 900, 1_500, 1_900, 2_500, 9_000];
        prop::sample::select(times).prop_map(Duration::from_millis)
    };
    let takes =
        (time(), time(), time()).prop_map(|(drain, close, open)| Takes { drain, close, open });
    let requests = vec![
        None,
        None,
        Some(Request::Restart),
        Some(Request::Pause),
        Some(Request::Resume),
        Some(Request::Stop),
        Some(Request::Start),
    ];
    let turn = (takes, time(), 0..4_000_u64, prop::sample::select(requests));
    let turn = turn.prop_map(|(takes, recording, pause, request)| Turn {
        takes,
        recording,
        pause: Duration::from_millis(pause),
        request,
    });
    prop::collection::vec(turn, 1..6)
}

async fn perform(home: &Home, number: u32, turn: Turn, recorded: &Arc<AtomicU32>) {
    home.world.change(|script| script.takes = turn.takes);
    let spec = spec::Connector {
        version: number,
        ..home.spec.clone()
    };
    let before = home.handle.spec().version;
    let record = {
        let recorded = recorded.clone();
        async move {
            sleep(turn.recording).await;
            // One that was given up may end after the next one.
            recorded.fetch_max(number, Ordering::SeqCst);
            Ok(())
        }
    };
    let began = Instant::now();
    let activating = async {
        let answer = home.handle.activate(spec, record).await;
        (answer, began.elapsed())
    };
    let asking = async {
        sleep(turn.pause).await;
        let Some(request) = turn.request else { return };
        match home.handle.request(request).await {
            Ok(_) | Err(Refused::Stopped) => {}
            Err(refused) => panic!("{request:?}: {refused}"),
        }
    };
    let ((answer, took), ()) = tokio::join!(activating, asking);
    assert!(took <= SUM, "{turn:?}: {answer:?} after {took:?}");
    let version = home.handle.spec().version;
    match answer {
        Ok(_) => {
            assert_eq!(version, number, "{turn:?}");
            assert_eq!(recorded.load(Ordering::SeqCst), number, "{turn:?}");
        }
        Err(NotActivated::Undone { .. } | NotActivated::Busy) => {
            assert_eq!(version, before, "{turn:?}");
        }
        Err(NotActivated::Ending) => panic!("{turn:?}: it does not end"),
    }
}

async fn trial(is_exclusive: bool, turns: Vec<Turn>, ends_early: bool) {
    let world = Arc::<World>::default();
    world.change(|script| script.is_exclusive = is_exclusive);
    let home = Home::with(TIMEOUTS, world, None);
    let recorded = Arc::new(AtomicU32::new(0));
    for (number, turn) in (1..).zip(turns) {
        perform(&home, number, turn, &recorded).await;
    }
    if !ends_early {
        home.world.change(|script| script.takes = Takes::default());
        let expected = match home.handle.snapshot().target {
            Target::Running => Status::Running,
            Target::Paused => Status::Paused,
            Target::Stopped => Status::Stopped,
        };
        // With nothing under way and nothing left to be closed.
        home.until(|snapshot| snapshot.status == expected && !snapshot.closing)
            .await;
        let open = home.world.open.load(Ordering::SeqCst);
        assert!(open <= 1, "{open} are open: {:?}", home.handle.snapshot());
        if expected == Status::Running {
            let version = home.world.version.load(Ordering::SeqCst);
            assert_eq!(version, home.handle.spec().version);
        }
    }
    home.stop().await;
    let world = &home.world;
    assert_eq!(world.open.load(Ordering::SeqCst), 0, "an instance is left");
    assert!(
        !world.has_overlapped.load(Ordering::SeqCst),
        "more instances were open at once than may be"
    );
}

#[test]
fn whatever_is_slow_and_asked_meanwhile_activations_are_answered_in_time_and_nothing_is_left() {
    let config = ProptestConfig {
        cases: 400,
        failure_persistence: None,
        max_shrink_iters: 50,
        ..ProptestConfig::default()
    };
    let trials = (any::<bool>(), turns(), any::<bool>());
    let ran = TestRunner::new(config).run(&trials, |(is_exclusive, turns, ends_early)| {
        let mut runtime = Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(trial(is_exclusive, turns, ends_early));
        Ok(())
    });
    if let Err(error) = ran {
        panic!("{error}");
    }
}
