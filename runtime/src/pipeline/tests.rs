//! The two loops against fakes: what is settled, what is stored, what is counted, in which order.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use iggy_connector_message::{Schema, TopicMetadata};
use iggy_connector_transform::Chain;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Batch, Consumed, Consumer, Counts, Failed, Failure, FailureKind, Fetched, FlushRequest,
    Handout, Message, Monitor, Polled, Position, Produced, Producer, Settlement, SinkPlugin,
    SourcePlugin, Stages, StateStore,
    dead_letter::Sender,
    policy::{DeadLetters, Policy},
    sink::{Sink, original},
    source,
};
use crate::config::spec::{self, Direction, OnFailure};

/// What happened, in order, told by all fakes.
type Journal = Arc<Mutex<Vec<String>>>;

fn note(journal: &Journal, what: impl Into<String>) {
    journal.lock().unwrap().push(what.into());
}

fn topic() -> Arc<TopicMetadata> {
    Arc::new(TopicMetadata {
        stream: "s".to_owned(),
        topic: "t".to_owned(),
    })
}

fn add_hello() -> Chain {
    let config = json!({ "fields": [{ "key": "message", "value": { "static": "hello" } }] });
    Chain::from_config(&[("add_fields".to_owned(), config)]).unwrap()
}

/// A producer that journals what it is given, after failing as often as it is told.
struct Topics {
    name: &'static str,
    failures: Mutex<VecDeque<Failure>>,
    journal: Journal,
}

impl Producer for Topics {
    type Shipment = Vec<Produced>;

    async fn prepare(
        &self,
        messages: &mut Vec<(usize, Produced)>,
    ) -> Result<Self::Shipment, Failure> {
        Ok(std::mem::take(messages)
            .into_iter()
            .map(|(_, message)| message)
            .collect())
    }

    async fn send(&self, shipment: &mut Self::Shipment) -> Result<(), Failure> {
        let payloads = shipment
            .iter()
            .map(|message| String::from_utf8_lossy(&message.payload).into_owned());
        note(
            &self.journal,
            format!("{} {}", self.name, payloads.collect::<Vec<_>>().join(" ")),
        );
        self.failures
            .lock()
            .unwrap()
            .pop_front()
            .map_or(Ok(()), Err)
    }
}

/// The policy of a connector whose dead letters go to `topics`.
fn policy<'a>(
    errors: spec::Errors,
    max_attempts: u32,
    topics: &'a Topics,
    monitor: &'a Monitor,
) -> Policy<'a, Topics> {
    let retry = spec::Backoff {
        max_attempts,
        ..spec::Backoff::default()
    };
    let sender = Sender {
        connector: "quickwit".to_owned(),
        direction: Direction::Sink,
        config_version: 0,
        plugin_version: "0.1.0".to_owned(),
    };
    let dead_letters = DeadLetters {
        producer: topics,
        sender,
    };
    Policy::new(errors, retry, Some(dead_letters), monitor)
}

fn dead_letter_topic(failures: Vec<Failure>, journal: &Journal) -> Topics {
    Topics {
        name: "dead letter",
        failures: Mutex::new(failures.into()),
        journal: journal.clone(),
    }
}

fn on_invalid(policy: OnFailure) -> spec::Errors {
    spec::Errors {
        on_invalid: policy,
        ..spec::Errors::default()
    }
}

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

mod sources {
    use super::*;

    /// Offers batches from a script, then waits for the stop.
    struct Script {
        polls: Mutex<VecDeque<Result<Polled, Failure>>>,
        settle_failures: Mutex<VecDeque<Failure>>,
        journal: Journal,
        stop: CancellationToken,
    }

    impl SourcePlugin for Script {
        async fn poll(&self, stop: &CancellationToken) -> Result<Polled, Failure> {
            let next = self.polls.lock().unwrap().pop_front();
            match next {
                Some(polled) => polled,
                None => {
                    self.stop.cancel();
                    stop.cancelled().await;
                    Err(Failure::new(FailureKind::Cancelled, "stopped"))
                }
            }
        }

        async fn settle(&self, poll: u64, settlement: Settlement) -> Result<(), Failure> {
            note(&self.journal, format!("settle {poll} {settlement:?}"));
            self.settle_failures
                .lock()
                .unwrap()
                .pop_front()
                .map_or(Ok(()), Err)
        }
    }

    struct Saved {
        failures: Mutex<VecDeque<Failure>>,
        journal: Journal,
    }

    impl StateStore for Saved {
        async fn save(&self, state: Bytes) -> Result<(), Failure> {
            note(
                &self.journal,
                format!("save {}", String::from_utf8_lossy(&state)),
            );
            self.failures
                .lock()
                .unwrap()
                .pop_front()
                .map_or(Ok(()), Err)
        }
    }

    fn polled(poll: u64, payloads: &[&'static str]) -> Polled {
        let message = |payload: &&'static str| Produced {
            payload: Bytes::from_static(payload.as_bytes()),
            ..Produced::default()
        };
        Polled {
            poll,
            schema: Schema::Json,
            messages: payloads.iter().map(message).collect(),
            state: Some(Bytes::from(format!("after {poll}"))),
            ended: false,
        }
    }

    #[derive(Default)]
    struct Case {
        polls: Vec<Result<Polled, Failure>>,
        send_failures: Vec<Failure>,
        save_failures: Vec<Failure>,
        settle_failures: Vec<Failure>,
        transforms: Chain,
        errors: spec::Errors,
        max_attempts: u32,
        max_in_flight: u32,
    }

    async fn run(case: Case) -> (Result<(), Failure>, Vec<String>, Counts) {
        let journal = Journal::default();
        let stop = CancellationToken::new();
        let plugin = Script {
            polls: Mutex::new(case.polls.into()),
            settle_failures: Mutex::new(case.settle_failures.into()),
            journal: journal.clone(),
            stop: stop.clone(),
        };
        let producer = Topics {
            name: "send",
            failures: Mutex::new(case.send_failures.into()),
            journal: journal.clone(),
        };
        let store = Saved {
            failures: Mutex::new(case.save_failures.into()),
            journal: journal.clone(),
        };
        let monitor = Monitor::default();
        let outputs = [source::Output {
            topic: topic(),
            stages: Stages::of_source(Schema::Json, case.transforms).unwrap(),
        }];
        let dead_letters = dead_letter_topic(Vec::new(), &journal);
        let mut source = source::Source {
            plugin: &plugin,
            state: &store,
            outputs: &outputs,
            poll_interval: Duration::from_millis(100),
            max_in_flight: case.max_in_flight,
            policy: policy(case.errors, case.max_attempts, &dead_letters, &monitor),
            verbose: false,
            monitor: &monitor,
        };
        let result = source.run(&producer, &stop).await;
        let counts = monitor.counters.read();
        assert_eq!(
            counts.produced,
            counts.sent + counts.filtered + counts.failed,
            "{counts:?}"
        );
        let journal = journal.lock().unwrap().clone();
        (result, journal, counts)
    }

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
            send_failures: vec![Failure::fatal("payload too large")],
            max_in_flight: 4,
            ..Case::default()
        })
        .await;
        assert_eq!(result, Err(Failure::fatal("payload too large")));
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
    async fn send_save_and_settle_are_each_tried_again_in_place() {
        let (result, journal, _) = run(Case {
            polls: vec![Ok(polled(1, &["1"]))],
            send_failures: vec![Failure::transient("away")],
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

    #[tokio::test(start_paused = true)]
    async fn transforms_are_applied_before_the_send() {
        let (_, journal, _) = run(Case {
            polls: vec![Ok(polled(1, &["{\"id\":1}"]))],
            transforms: add_hello(),
            ..Case::default()
        })
        .await;
        assert_eq!(journal[0], "send {\"id\":1,\"message\":\"hello\"}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_cannot_be_prepared_goes_by_the_policy() {
        let poison = || Case {
            polls: vec![Ok(polled(1, &["{\"id\":1}", "{", "{\"id\":3}"]))],
            transforms: add_hello(),
            ..Case::default()
        };
        let (result, journal, counts) = run(poison()).await;
        assert_eq!(result.unwrap_err().kind, FailureKind::Invalid);
        assert_eq!(journal, ["settle 1 Nack(Stopped)"]);
        assert_eq!(counts.sent, 0);
        let (result, journal, counts) = run(Case {
            errors: on_invalid(OnFailure::Skip),
            ..poison()
        })
        .await;
        assert_eq!(result, Ok(()));
        assert_eq!(journal[2], "settle 1 Ack { undelivered: [(1, Skipped)] }");
        assert_eq!((counts.sent, counts.failed), (2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_whose_attempts_have_run_out_is_nacked_with_that_reason() {
        let (result, journal, _) = run(Case {
            polls: vec![Ok(polled(1, &["1"]))],
            send_failures: vec![Failure::transient("away"), Failure::transient("away")],
            max_attempts: 1,
            ..Case::default()
        })
        .await;
        assert_eq!(result.unwrap_err().kind, FailureKind::Exhausted);
        assert_eq!(journal, ["send 1", "send 1", "settle 1 Nack(Exhausted)"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_is_given_up_is_nacked() {
        let (result, journal, counts) = run(Case {
            polls: vec![Ok(polled(1, &["1"]))],
            send_failures: vec![Failure::fatal("payload too large")],
            ..Case::default()
        })
        .await;
        assert_eq!(result, Err(Failure::fatal("payload too large")));
        assert_eq!(journal, ["send 1", "settle 1 Nack(Stopped)"]);
        assert_eq!(counts.produced, 0);
    }
}
