//! The loop of a sink against fakes: what is settled, what is stored, what is counted, in which order.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use iggy_connector_message::Schema;
use iggy_connector_transform::Chain;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Batch, Consumed, Consumer, Counts, Failed, Failure, FailureKind, Fetched, FlushRequest,
    Handout, Message, Monitor, Position, SinkPlugin, Stages,
    fakes::{Journal, add_hello, dead_letter_topic, note, on_invalid, policy, topic},
    sink::{Sink, original},
};
use crate::config::spec::{self, OnFailure};

mod sinks {
    use super::*;

    /// Gives out batches whose payloads are the JSON numbers from `first` on, and journals what is stored.
    struct Batches {
        batches: Vec<Vec<&'static str>>,
        journal: Journal,
        /// Ends with this instead of waiting for the stop.
        ends_with: Option<Failure>,
    }

    impl Consumer for Batches {
        async fn run(
            self,
            batches: mpsc::Sender<Handout>,
            mut settled: mpsc::Receiver<Position>,
            stop: CancellationToken,
        ) -> Result<(), Failure> {
            let mut offset = 0;
            for payloads in self.batches {
                let messages = payloads.iter().map(|payload| {
                    offset += 1;
                    message(offset - 1, payload)
                });
                let fetched = Fetched {
                    input: 0,
                    topic: topic(),
                    partition_id: 0,
                    current_offset: 99,
                    messages: messages.collect(),
                    expired: 0,
                    epoch: 1,
                };
                if batches.send(Handout::Batch(fetched)).await.is_err() {
                    break;
                }
            }
            if let Some(failure) = self.ends_with {
                return Err(failure);
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = batches.closed() => {}
            }
            drop(batches);
            while let Some(position) = settled.recv().await {
                note(&self.journal, format!("store {}", position.offset));
            }
            Ok(())
        }
    }

    fn message(offset: u64, payload: &'static str) -> Message {
        Message {
            id: u128::from(offset),
            offset,
            checksum: 0,
            timestamp: 1,
            origin_timestamp: 1,
            headers: Bytes::new(),
            payload: Bytes::from_static(payload.as_bytes()),
        }
    }

    /// Answers from a script, then always with success; stops the run after as many calls as it is told.
    struct Script {
        answers: Mutex<VecDeque<Result<Consumed, Failure>>>,
        journal: Journal,
        stop: CancellationToken,
        stop_after: Mutex<usize>,
    }

    impl SinkPlugin for Script {
        async fn consume(&self, batch: Arc<Batch>) -> Result<Consumed, Failure> {
            let payloads = batch
                .messages
                .iter()
                .map(|message| String::from_utf8_lossy(&message.payload).into_owned());
            note(
                &self.journal,
                format!("consume {}", payloads.collect::<Vec<_>>().join(" ")),
            );
            let mut left = self.stop_after.lock().unwrap();
            *left -= 1;
            if *left == 0 {
                self.stop.cancel();
            }
            self.answers
                .lock()
                .unwrap()
                .pop_front()
                .unwrap_or_else(|| Ok(Consumed::default()))
        }

        async fn flush(&self, request: FlushRequest) -> Result<(), Failure> {
            assert_eq!(request.partition, None);
            note(&self.journal, format!("flush {:?}", request.reason));
            Ok(())
        }
    }

    struct Run {
        result: Result<(), Failure>,
        journal: Vec<String>,
        counts: Counts,
    }

    struct Case {
        batches: Vec<Vec<&'static str>>,
        answers: Vec<Result<Consumed, Failure>>,
        calls: usize,
        transforms: Chain,
        errors: spec::Errors,
        ends_with: Option<Failure>,
        max_attempts: u32,
        dead_letter_failures: Vec<Failure>,
        pausing: CancellationToken,
    }

    impl Default for Case {
        fn default() -> Self {
            Self {
                batches: vec![vec!["1", "2", "3"]],
                answers: Vec::new(),
                calls: 1,
                transforms: Chain::default(),
                errors: spec::Errors::default(),
                dead_letter_failures: Vec::new(),
                ends_with: None,
                max_attempts: 0,
                pausing: CancellationToken::new(),
            }
        }
    }

    async fn run(case: Case) -> Run {
        let journal = Journal::default();
        let stop = CancellationToken::new();
        let plugin = Script {
            answers: Mutex::new(case.answers.into()),
            journal: journal.clone(),
            stop: stop.clone(),
            stop_after: Mutex::new(case.calls),
        };
        let consumer = Batches {
            batches: case.batches,
            journal: journal.clone(),
            ends_with: case.ends_with,
        };
        let monitor = Monitor::default();
        let stages = [Stages::of_sink(Schema::Json, case.transforms).unwrap()];
        let dead_letters = dead_letter_topic(case.dead_letter_failures, &journal);
        let mut sink = Sink {
            plugin: &plugin,
            stages: &stages,
            policy: policy(case.errors, case.max_attempts, &dead_letters, &monitor),
            pausing: case.pausing,
            verbose: false,
            monitor: &monitor,
        };
        let result = sink.run(consumer, &stop).await;
        let counts = monitor.counters.read();
        assert_eq!(
            counts.consumed,
            counts.processed + counts.filtered + counts.failed,
            "{counts:?}"
        );
        let journal = journal.lock().unwrap().clone();
        Run {
            result,
            journal,
            counts,
        }
    }

    fn failing(
        failed: impl IntoIterator<Item = (usize, FailureKind)>,
    ) -> Result<Consumed, Failure> {
        let failed = failed.into_iter().map(|(index, kind)| Failed {
            index,
            kind,
            message: "no".to_owned(),
        });
        Ok(Consumed {
            failed: failed.collect(),
            retry_after: None,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn an_offset_is_stored_only_after_its_batch_is_consumed() {
        let run = run(Case {
            batches: vec![vec!["1", "2"], vec!["3"]],
            calls: 2,
            ..Case::default()
        })
        .await;
        assert_eq!(run.result, Ok(()));
        assert_eq!(
            run.journal,
            [
                "consume 1 2",
                "consume 3",
                "flush Stop",
                "store 1",
                "store 2"
            ]
        );
        assert_eq!(run.counts.processed, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_flush_at_the_end_says_whether_the_sink_is_paused_or_stopped() {
        let pausing = CancellationToken::new();
        let stopped = run(Case::default()).await;
        assert_eq!(stopped.journal, ["consume 1 2 3", "flush Stop", "store 2"]);
        pausing.cancel();
        let paused = run(Case {
            pausing,
            ..Case::default()
        })
        .await;
        assert_eq!(paused.journal, ["consume 1 2 3", "flush Pause", "store 2"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_transient_failure_is_tried_again_and_only_with_what_failed() {
        let run = run(Case {
            answers: vec![
                Err(Failure::transient("busy")),
                failing([(1, FailureKind::Transient)]),
            ],
            calls: 3,
            ..Case::default()
        })
        .await;
        assert_eq!(run.result, Ok(()));
        assert_eq!(
            run.journal,
            [
                "consume 1 2 3",
                "consume 1 2 3",
                "consume 2",
                "flush Stop",
                "store 2"
            ]
        );
        assert_eq!((run.counts.processed, run.counts.errors), (3, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_the_sink_asked_for_is_kept() {
        let before = tokio::time::Instant::now();
        let asked = Failure {
            retry_after: Some(Duration::from_secs(90)),
            ..Failure::transient("429")
        };
        let run = run(Case {
            answers: vec![Err(asked)],
            calls: 2,
            ..Case::default()
        })
        .await;
        assert_eq!(run.result, Ok(()));
        assert!(before.elapsed() >= Duration::from_secs(90));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_the_sink_asked_for_with_a_list_is_kept() {
        let before = tokio::time::Instant::now();
        let asked = failing([(1, FailureKind::Transient)]).map(|consumed| Consumed {
            retry_after: Some(Duration::from_secs(90)),
            ..consumed
        });
        let run = run(Case {
            answers: vec![asked],
            calls: 2,
            ..Case::default()
        })
        .await;
        assert_eq!(run.result, Ok(()));
        assert_eq!(
            run.journal,
            ["consume 1 2 3", "consume 2", "flush Stop", "store 2"]
        );
        assert!(before.elapsed() >= Duration::from_secs(90));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fatal_record_ends_the_run_and_what_was_refused_beside_it_comes_again() {
        let run = run(Case {
            batches: vec![vec!["1", "2", "3", "4"]],
            answers: vec![failing([
                (0, FailureKind::Fatal),
                (1, FailureKind::Transient),
                (2, FailureKind::Invalid),
            ])],
            calls: 9,
            errors: on_invalid(OnFailure::Skip),
            ..Case::default()
        })
        .await;
        let failure = run.result.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Fatal);
        assert!(failure.message.contains("offset 0"), "{failure}");
        assert_eq!(run.journal, ["consume 1 2 3 4"], "nothing is stored");
        assert_eq!((run.counts.processed, run.counts.failed), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_invalid_record_stops_the_sink_with_its_position_kept() {
        let run = run(Case {
            answers: vec![failing([(1, FailureKind::Invalid)])],
            ..Case::default()
        })
        .await;
        let failure = run.result.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Invalid);
        assert!(failure.message.contains("offset 1"), "{failure}");
        assert_eq!(run.journal, ["consume 1 2 3"]);
        assert_eq!(run.counts.processed, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_invalid_record_is_counted_when_the_policy_is_to_skip_it() {
        let run = run(Case {
            answers: vec![failing([(1, FailureKind::Invalid)])],
            errors: on_invalid(OnFailure::Skip),
            ..Case::default()
        })
        .await;
        assert_eq!(run.result, Ok(()));
        assert_eq!(run.journal, ["consume 1 2 3", "flush Stop", "store 2"]);
        assert_eq!((run.counts.processed, run.counts.failed), (2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_that_does_not_decode_goes_by_the_same_policy() {
        let poison = || Case {
            batches: vec![vec!["{\"a\":1}", "{"]],
            transforms: add_hello(),
            ..Case::default()
        };
        let skipped = run(Case {
            errors: on_invalid(OnFailure::Skip),
            ..poison()
        })
        .await;
        assert_eq!(skipped.result, Ok(()));
        assert_eq!(
            skipped.journal,
            [
                "consume {\"a\":1,\"message\":\"hello\"}",
                "flush Stop",
                "store 1"
            ]
        );
        assert_eq!((skipped.counts.processed, skipped.counts.failed), (1, 1));
        let stopped = run(poison()).await;
        assert_eq!(stopped.result.unwrap_err().kind, FailureKind::Invalid);
        assert!(stopped.journal.is_empty(), "{:?}", stopped.journal);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_letter_is_confirmed_before_its_original_is_settled() {
        let run = run(Case {
            answers: vec![failing([(1, FailureKind::Invalid)])],
            errors: on_invalid(OnFailure::Dlq),
            dead_letter_failures: vec![Failure::transient("away")],
            ..Case::default()
        })
        .await;
        // The first attempt fails while the sink is being stopped: nothing is settled, and all of it comes again.
        assert_eq!(run.result, Ok(()));
        assert_eq!(
            run.journal,
            ["consume 1 2 3", "dead letter 2", "flush Stop"]
        );
        assert_eq!((run.counts.processed, run.counts.failed), (2, 0));
        let run = self::run(Case {
            answers: vec![failing([(1, FailureKind::Invalid)])],
            errors: on_invalid(OnFailure::Dlq),
            ..Case::default()
        })
        .await;
        assert_eq!(
            run.journal,
            ["consume 1 2 3", "dead letter 2", "flush Stop", "store 2"]
        );
        assert_eq!((run.counts.failed, run.counts.dead_lettered), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_letter_that_cannot_be_written_is_tried_again() {
        let run = run(Case {
            batches: vec![vec!["1", "2"], vec!["3"]],
            answers: vec![failing([(0, FailureKind::Invalid)])],
            errors: on_invalid(OnFailure::Dlq),
            dead_letter_failures: vec![Failure::transient("away"), Failure::transient("away")],
            calls: 2,
            ..Case::default()
        })
        .await;
        assert_eq!(run.result, Ok(()));
        assert_eq!(
            run.journal,
            [
                "consume 1 2",
                "dead letter 1",
                "dead letter 1",
                "dead letter 1",
                "consume 3",
                "flush Stop",
                "store 1",
                "store 2"
            ]
        );
    }

    #[test]
    fn a_refused_message_is_found_in_whatever_order_the_broker_gave() {
        let batch = Batch {
            topic: topic(),
            partition_id: 0,
            current_offset: 9,
            schema: Schema::Json,
            messages: vec![message(9, "a"), message(3, "b"), message(7, "c")],
        };
        for (offset, payload) in [(9, "a"), (3, "b"), (7, "c")] {
            let found = original(&batch, offset).unwrap();
            assert_eq!(found.payload, payload);
        }
        assert!(original(&batch, 4).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_letter_keeps_the_payload_from_before_the_transforms() {
        let run = run(Case {
            batches: vec![vec!["{\"a\":1}", "{\"a\":2}"]],
            answers: vec![failing([(1, FailureKind::Invalid)])],
            transforms: add_hello(),
            errors: on_invalid(OnFailure::Dlq),
            ..Case::default()
        })
        .await;
        assert_eq!(run.journal[1], "dead letter {\"a\":2}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_refused_as_a_whole_is_halved_until_the_bad_record_is_alone() {
        let refused = || Err(Failure::new(FailureKind::Invalid, "no"));
        let run = run(Case {
            batches: vec![vec!["1", "2", "3", "4"]],
            answers: vec![refused(), Ok(Consumed::default()), refused(), refused()],
            errors: on_invalid(OnFailure::Dlq),
            calls: 5,
            ..Case::default()
        })
        .await;
        assert_eq!(run.result, Ok(()));
        assert_eq!(
            run.journal,
            [
                "consume 1 2 3 4",
                "consume 1 2",
                "consume 3 4",
                "consume 3",
                "consume 4",
                "dead letter 3",
                "flush Stop",
                "store 3"
            ]
        );
        assert_eq!((run.counts.processed, run.counts.failed), (3, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_of_which_every_record_is_refused_stops_the_sink_without_dead_letters() {
        let refused = || Err(Failure::new(FailureKind::Invalid, "no such table"));
        let run = run(Case {
            batches: vec![vec!["1", "2"]],
            answers: vec![refused(), refused(), refused()],
            errors: on_invalid(OnFailure::Dlq),
            calls: 9,
            ..Case::default()
        })
        .await;
        let failure = run.result.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Invalid);
        assert!(
            failure.message.contains("no such table") && failure.message.contains("all 2"),
            "{failure}"
        );
        assert_eq!(run.journal, ["consume 1 2", "consume 1", "consume 2"]);
        assert_eq!(run.counts.failed, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn more_failures_than_are_tolerated_stop_the_sink_whatever_the_policy() {
        let run = run(Case {
            batches: vec![vec!["1", "2", "3"], vec!["4", "5", "6"]],
            answers: vec![
                failing([(0, FailureKind::Invalid)]),
                failing([(1, FailureKind::Invalid)]),
            ],
            errors: spec::Errors {
                tolerance: spec::Tolerance {
                    failures: 1,
                    of_last: 10,
                },
                ..on_invalid(OnFailure::Skip)
            },
            calls: 9,
            ..Case::default()
        })
        .await;
        let failure = run.result.unwrap_err();
        assert!(failure.message.contains("tolerance"), "{failure}");
        assert_eq!(run.journal, ["consume 1 2 3", "consume 4 5 6", "store 2"]);
    }

    #[tokio::test(start_paused = true)]
    async fn messages_whose_attempts_run_out_go_where_the_policy_says() {
        let busy = || Err(Failure::transient("busy"));
        let run = run(Case {
            batches: vec![vec!["1", "2"], vec!["3"]],
            answers: vec![busy(), busy()],
            errors: spec::Errors {
                on_exhausted: OnFailure::Dlq,
                ..spec::Errors::default()
            },
            max_attempts: 1,
            calls: 3,
            ..Case::default()
        })
        .await;
        assert_eq!(run.result, Ok(()));
        assert_eq!(
            run.journal,
            [
                "consume 1 2",
                "consume 1 2",
                "dead letter 1 2",
                "consume 3",
                "flush Stop",
                "store 1",
                "store 2"
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_fatal_or_panicked_sink_ends_the_run_and_stores_nothing() {
        for kind in [
            FailureKind::Fatal,
            FailureKind::Panicked,
            FailureKind::Hung,
            FailureKind::Contract,
        ] {
            let run = run(Case {
                answers: vec![Err(Failure::new(kind, "no"))],
                ..Case::default()
            })
            .await;
            assert_eq!(run.result.unwrap_err().kind, kind);
            assert_eq!(run.journal, ["consume 1 2 3"]);
            assert_eq!(run.counts.consumed, 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_run_out_when_they_are_counted() {
        let run = run(Case {
            answers: vec![
                Err(Failure::transient("busy")),
                Err(Failure::transient("busy")),
            ],
            calls: 9,
            max_attempts: 1,
            ..Case::default()
        })
        .await;
        assert_eq!(run.result.unwrap_err().kind, FailureKind::Exhausted);
        assert_eq!(run.journal, ["consume 1 2 3", "consume 1 2 3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_waiting_for_another_attempt() {
        let run = run(Case {
            answers: vec![Err(Failure::transient("busy"))],
            ..Case::default()
        })
        .await;
        assert_eq!(run.result, Ok(()));
        assert_eq!(run.journal, ["consume 1 2 3", "flush Stop"]);
        assert_eq!(run.counts.consumed, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_out_of_reach_is_told_after_the_batch_in_flight() {
        let run = run(Case {
            calls: 9,
            ends_with: Some(Failure::transient("connection refused")),
            ..Case::default()
        })
        .await;
        assert_eq!(run.result, Err(Failure::transient("connection refused")));
        assert_eq!(run.journal, ["consume 1 2 3", "flush Stop"]);
    }
}
