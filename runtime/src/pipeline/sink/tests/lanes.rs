//! Batches of different partitions with the plugin at once.

use super::*;

fn batch(partition: u32, payload: &'static str) -> Step {
    Step::Batch(partition, vec![payload])
}

#[tokio::test(start_paused = true)]
async fn without_leave_one_partition_waits_for_the_other() {
    let run = run(Case {
        max_unsettled: 4,
        buffers: true,
        batch_timeout: Duration::from_secs(60),
        ..Case::of(vec![
            batch(0, "1"),
            batch(0, "2"),
            batch(1, "3"),
            batch(0, "4"),
            wait(),
            Step::Stop,
        ])
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(
        run.journal[..9],
        [
            "consume 1",
            "consume 2",
            "flush None",
            "store 0",
            "store 1",
            "consume@1 3",
            "flush@1 None",
            "store@1 0",
            "consume 4"
        ]
    );
    assert_eq!(run.counts.processed, 4);
}

#[tokio::test(start_paused = true)]
async fn batches_of_different_partitions_overlap_and_keep_their_order() {
    let slow = || Answer::After(Duration::from_millis(90), fine());
    let run = run(Case {
        answers: (0..6).map(|_| slow()).collect(),
        max_in_flight: 2,
        ..Case::of(vec![
            batch(0, "a"),
            batch(1, "b"),
            batch(0, "c"),
            batch(1, "d"),
            batch(2, "e"),
            batch(0, "f"),
            wait(),
            Step::Stop,
        ])
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(
        run.journal,
        [
            "consume a",
            "consume@1 b",
            "store 0",
            "store@1 0",
            "consume c",
            "consume@1 d",
            "store 1",
            "store@1 1",
            "consume@2 e",
            "consume f",
            "store@2 0",
            "store 2",
            "flush everything Stop"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_tried_again_does_not_hold_up_the_others() {
    let busy_for_long = || {
        Err(Failure {
            retry_after: Some(Duration::from_secs(60)),
            ..Failure::transient("busy")
        })
    };
    let run = run(Case {
        answers: answers(vec![busy_for_long()]),
        max_in_flight: 2,
        ..Case::of(vec![
            batch(0, "1"),
            batch(1, "2"),
            batch(1, "3"),
            batch(2, "4"),
            wait(),
            Step::Stop,
        ])
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(
        run.journal[..8],
        [
            "consume 1",
            "consume@1 2",
            "store@1 0",
            "consume@1 3",
            "store@1 1",
            "consume@2 4",
            "store@2 0",
            "consume 1"
        ]
    );
    assert_eq!(run.counts.processed, 4);
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_for_good_ends_the_others_without_settling_them() {
    let run = run(Case {
        answers: vec![
            Answer::Never,
            Answer::After(Duration::from_millis(50), Err(Failure::fatal("no table"))),
        ],
        max_in_flight: 3,
        ..Case::of(vec![batch(0, "1"), batch(1, "2"), wait()])
    })
    .await;
    assert_eq!(run.result, Err(Failure::fatal("no table")));
    assert_eq!(run.journal, ["consume 1", "consume@1 2", "cancel 1"]);
    assert_eq!(run.counts.consumed, 0);
}

#[tokio::test(start_paused = true)]
async fn failures_of_all_partitions_are_counted_together() {
    let one_of_two = || failing([(0, FailureKind::Invalid)]);
    let run = run(Case {
        answers: answers(vec![one_of_two(), one_of_two(), one_of_two()]),
        errors: spec::Errors {
            tolerance: spec::Tolerance {
                failures: 2,
                of_last: 100,
            },
            ..on_invalid(OnFailure::Skip)
        },
        max_in_flight: 3,
        ..Case::of(
            (0..3)
                .map(|partition| Step::Batch(partition, vec!["1", "2"]))
                .chain([wait(), Step::Stop])
                .collect(),
        )
    })
    .await;
    let failure = run.result.unwrap_err();
    assert!(failure.message.contains("tolerance"), "{failure}");
    assert_eq!(run.counts.failed, 2);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_taken_than_can_be_placed() {
    let slow = || Answer::After(Duration::from_secs(700), fine());
    let steps = (0..4).map(|partition| batch(partition, "x"));
    let more = [
        batch(0, "y"),
        Step::Note("a fifth is waiting"),
        batch(1, "y"),
        Step::Note("a sixth is waiting"),
        wait(),
        Step::Stop,
    ];
    let run = run(Case {
        answers: (0..4).map(|_| slow()).collect(),
        max_in_flight: 4,
        ..Case::of(steps.chain(more).collect())
    })
    .await;
    assert_eq!(run.result, Ok(()));
    let at = |what: &str| run.journal.iter().position(|line| line == what);
    assert!(at("a fifth is waiting") < at("store 0"));
    assert!(at("store 0") < at("a sixth is waiting"));
}

/// The first partition is slow; what the others bring meanwhile.
fn beside_a_slow_one(steps: Vec<Step>) -> Case {
    Case {
        answers: vec![Answer::After(Duration::from_secs(300), fine())],
        max_in_flight: 2,
        ..Case::of(steps)
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_partition_holds_up_no_other() {
    let run = run(beside_a_slow_one(vec![
        batch(0, "a"),
        batch(0, "b"),
        batch(1, "c"),
        batch(1, "d"),
        batch(2, "e"),
        batch(1, "f"),
        wait(),
        Step::Stop,
    ]))
    .await;
    assert_eq!(run.result, Ok(()));
    let mut journal = run.journal;
    journal.retain(|line| !line.starts_with("flush"));
    assert_eq!(
        journal,
        [
            "consume a",
            "consume@1 c",
            "store@1 0",
            "consume@1 d",
            "store@1 1",
            "consume@2 e",
            "store@2 0",
            "consume@1 f",
            "store@1 2",
            "store 0",
            "consume b",
            "store 1"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn of_a_slow_partition_no_more_waits_than_one_batch_for_each_full_lane() {
    let run = run(beside_a_slow_one(vec![
        batch(0, "a"),
        batch(0, "b"),
        batch(0, "c"),
        batch(0, "d"),
        Step::Note("one is with the plugin, two are kept, one waits"),
        batch(0, "e"),
        Step::Note("a fifth waits"),
        wait(),
        Step::Stop,
    ]))
    .await;
    assert_eq!(run.result, Ok(()));
    let at = |what: &str| run.journal.iter().position(|line| line == what).unwrap();
    let kept = at("one is with the plugin, two are kept, one waits");
    assert!(kept < at("store 0") && at("store 0") < at("a fifth waits"));
    assert_eq!(run.counts.processed, 5);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_lost_is_flushed_when_what_waits_of_it_is_with_the_plugin() {
    let run = run(Case {
        answers: vec![Answer::After(Duration::from_secs(50), fine())],
        max_unsettled: 1,
        batch_timeout: Duration::from_secs(3600),
        buffers: true,
        ..beside_a_slow_one(vec![
            batch(0, "a"),
            batch(0, "b"),
            Step::Lost(0),
            batch(1, "c"),
            wait(),
            Step::Stop,
        ])
    })
    .await;
    assert_eq!(run.result, Ok(()));
    let at = |what: &str| run.journal.iter().position(|line| line == what).unwrap();
    assert!(at("consume@1 c") < at("store 0"), "{:?}", run.journal);
    assert!(at("consume b") < at("flush PartitionLost"));
    assert!(at("flush PartitionLost") < at("store 1"));
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_full_lane_comes_again_when_the_sink_is_stopped() {
    let run = run(Case {
        answers: vec![Answer::After(Duration::from_secs(2), fine())],
        ..beside_a_slow_one(vec![
            batch(0, "a"),
            batch(0, "b"),
            batch(1, "c"),
            Step::Wait(Duration::from_secs(1)),
            Step::Stop,
        ])
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert!(!run.journal.contains(&"consume b".to_owned()));
    assert_eq!((run.counts.consumed, run.counts.processed), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_full_lane_is_delivered_at_the_stop_when_it_does_not_come_again() {
    let run = run(Case {
        answers: vec![Answer::After(Duration::from_secs(2), fine())],
        delivery: Delivery::AtMostOnce,
        ..beside_a_slow_one(vec![
            batch(0, "a"),
            batch(0, "b"),
            batch(1, "c"),
            Step::Wait(Duration::from_secs(1)),
            Step::Stop,
        ])
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert!(run.journal.contains(&"consume b".to_owned()));
    assert_eq!((run.counts.consumed, run.counts.processed), (3, 3));
}
