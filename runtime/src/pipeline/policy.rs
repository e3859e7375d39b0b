//! What happens to messages that cannot be delivered: dead-lettered, skipped, or a reason to stop. Both loops ask here.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{
    Attempts, Failure, FailureKind, Monitor, Produced, Producer, Shipment,
    dead_letter::{Place, Reason, Sender},
    tolerance::Tolerance,
};
use crate::config::spec::{self, OnFailure};

/// A connector's policy, and what it needs to carry it out.
pub struct Policy<'a, D> {
    spec: spec::Errors,
    retry: spec::Backoff,
    tolerance: Mutex<Tolerance>,
    dead_letters: Option<DeadLetters<'a, D>>,
    monitor: &'a Monitor,
}

/// Where dead letters go, and in whose name.
pub struct DeadLetters<'a, D> {
    pub producer: &'a D,
    pub sender: Sender,
}

/// A message that cannot be delivered, with its original headers and payload.
pub struct Undeliverable<'a> {
    pub original: Produced,
    pub place: Place<'a>,
    pub reason: Reason<'a>,
}

impl<'a, D: Producer> Policy<'a, D> {
    pub fn new(
        spec: spec::Errors,
        retry: spec::Backoff,
        dead_letters: Option<DeadLetters<'a, D>>,
        monitor: &'a Monitor,
    ) -> Self {
        Self {
            tolerance: Mutex::new(Tolerance::new(spec.tolerance)),
            spec,
            retry,
            dead_letters,
            monitor,
        }
    }

    /// How attempts at a step are spaced.
    pub fn retry(&self) -> spec::Backoff {
        self.retry
    }

    /// Whether one message that can never succeed is enough to stop.
    pub fn stops_on_invalid(&self) -> bool {
        self.spec.on_invalid == OnFailure::Stop
    }

    /// Whether attempts that ran out stop the connector.
    pub fn stops_on_exhausted(&self) -> bool {
        self.spec.on_exhausted == OnFailure::Stop
    }

    /// Whether a message that failed with this code becomes a dead letter.
    pub fn is_dead_lettered(&self, code: &str) -> bool {
        self.on(code) == OnFailure::Dlq
    }

    /// Settles what failed of a batch of `received` messages. When it returns, each is a confirmed dead letter or has been
    /// counted and logged as skipped.
    ///
    /// # Errors
    ///
    /// [`FailureKind::Invalid`]: the connector is to stop, and nothing of `failed` is settled. Others: the dead letters could
    /// not be written.
    pub async fn settle(
        &self,
        received: usize,
        failed: &[Undeliverable<'_>],
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        for _ in failed {
            self.monitor.counters.error();
        }
        self.admit(received, failed)?;
        let (letters, skipped): (Vec<_>, Vec<_>) = failed
            .iter()
            .partition(|message| self.is_dead_lettered(message.reason.code));
        if !letters.is_empty() {
            self.send(&letters, stop).await?;
        }
        skip(&skipped);
        self.count(received, failed);
        Ok(())
    }

    /// Settles what failed of a batch that does not come again, whatever becomes of the connector: each is a confirmed dead letter
    /// where there is a `[dlq]` for it, or has been counted and logged as skipped. To stop would not save it.
    ///
    /// # Errors
    ///
    /// [`FailureKind::Invalid`]: too much is invalid to go on. Others: the dead letters could not be written.
    pub async fn settle_once(
        &self,
        received: usize,
        failed: &[Undeliverable<'_>],
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        for _ in failed {
            self.monitor.counters.error();
        }
        let (letters, skipped): (Vec<_>, Vec<_>) = failed.iter().partition(|message| {
            self.dead_letters.is_some() && self.on(message.reason.code) != OnFailure::Skip
        });
        let mut written = Ok(());
        if !letters.is_empty() {
            written = self.send(&letters, stop).await;
        }
        if written.is_err() {
            skip(&letters);
        }
        skip(&skipped);
        let is_within = self.is_tolerated(received, failed);
        self.count(received, failed);
        written?;
        failed.first().map_or(Ok(()), |first| {
            self.judge(received, failed, is_within)
                .map_err(|why| first.failure(&why))
        })
    }

    /// Counts what is settled.
    fn count(&self, received: usize, failed: &[Undeliverable<'_>]) {
        self.tolerance().count(received, tolerated(failed));
        let counters = &self.monitor.counters;
        counters.failed(failed.len());
        for message in failed {
            counters.failed_at(message.reason.stage, message.reason.code);
        }
    }

    /// Whether the connector may go on after these failures.
    fn admit(&self, received: usize, failed: &[Undeliverable<'_>]) -> Result<(), Failure> {
        let is_within = self.is_tolerated(received, failed);
        let Some(first) = failed.first() else {
            return Ok(());
        };
        let stop = |why: &str| first.failure(&format!("{why}; the position is kept"));
        if failed
            .iter()
            .any(|message| self.on(message.reason.code) == OnFailure::Stop)
        {
            return Err(stop("the policy is to stop"));
        }
        self.judge(received, failed, is_within)
            .map_err(|why| stop(&why))
    }

    fn is_tolerated(&self, received: usize, failed: &[Undeliverable<'_>]) -> bool {
        self.tolerance().admits(received, tolerated(failed))
    }

    fn tolerance(&self) -> MutexGuard<'_, Tolerance> {
        let tolerance = self.tolerance.lock();
        tolerance.unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether failures tell of the data and not of the connector, or why they do not.
    fn judge(
        &self,
        received: usize,
        failed: &[Undeliverable<'_>],
        is_within: bool,
    ) -> Result<(), String> {
        let all_invalid = failed.iter().all(|message| message.reason.code == INVALID);
        if received >= 2 && failed.len() == received && all_invalid {
            return Err(format!(
                "all {received} messages of the batch are refused, which tells of the connector and not of its data"
            ));
        }
        if !is_within {
            let spec::Tolerance { failures, of_last } = self.spec.tolerance;
            return Err(format!(
                "more than {failures} of the last {of_last} messages have failed (errors.tolerance)"
            ));
        }
        Ok(())
    }

    fn on(&self, code: &str) -> OnFailure {
        match code {
            EXHAUSTED | UNCONFIRMED => self.spec.on_exhausted,
            _ => self.spec.on_invalid,
        }
    }

    /// Writes dead letters. Nothing is given up here but by policy: without its dead letter a message is not settled.
    async fn send(
        &self,
        failed: &[&Undeliverable<'_>],
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let Some(DeadLetters { producer, sender }) = &self.dead_letters else {
            return Err(Failure::fatal(
                "dead letters are asked for, but there is no [dlq]",
            ));
        };
        let letters = |message: &&Undeliverable<'_>| {
            let Produced {
                headers, payload, ..
            } = &message.original;
            let letters = sender.letters(headers, payload, message.place, &message.reason);
            letters.into_iter().map(|letter| (0, letter))
        };
        let mut letters = failed.iter().flat_map(letters).collect();
        let mut attempts = Attempts::new("dead letter", self.retry, self.monitor, stop);
        let mut shipment = loop {
            match attempts.make(producer.prepare(&mut letters)).await {
                Ok(shipment) => break shipment,
                Err(failure) => attempts.pause(failure).await?,
            }
        };
        while let Err(failure) = attempts.make(producer.send(&mut shipment)).await {
            attempts.pause(failure).await?;
        }
        if let Some((rejected, _)) = shipment.take_rejected().first() {
            let message = format!(
                "Iggy refuses a dead letter: {}; the position is kept",
                rejected.message
            );
            return Err(Failure::new(FailureKind::Invalid, message));
        }
        warn!(count = failed.len(), first = %failed[0].place, error = failed[0].reason.error, "messages dead-lettered");
        self.monitor.counters.dead_lettered(failed.len());
        Ok(())
    }
}

impl Undeliverable<'_> {
    /// Why the connector stops because of this message.
    fn failure(&self, why: &str) -> Failure {
        let Reason { stage, error, .. } = self.reason;
        let message = format!("{}: {stage}: {error}; {why}", self.place);
        Failure::new(FailureKind::Invalid, message)
    }
}

/// How many failures need toleration. Where delivery is at most once an outage is no sign of a broken connector.
fn tolerated(failed: &[Undeliverable<'_>]) -> usize {
    let failed = failed.iter();
    failed
        .filter(|message| message.reason.code != UNCONFIRMED)
        .count()
}

fn skip(skipped: &[&Undeliverable<'_>]) {
    for message in skipped {
        let Reason {
            stage, code, error, ..
        } = message.reason;
        error!(place = %message.place, stage, code, error, "message skipped");
    }
}

/// [`Reason::code`] of a message that can never succeed.
pub const INVALID: &str = "invalid";
/// [`Reason::code`] of a message that was tried as often as the policy allows.
pub const EXHAUSTED: &str = "exhausted";
/// [`Reason::code`] of a message that was tried once, because delivery is at most once.
pub const UNCONFIRMED: &str = "unconfirmed";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::spec::Direction,
        pipeline::fakes::{dead_letter_topic, on_invalid, policy, topic},
    };

    #[tokio::test]
    async fn what_comes_again_because_its_dead_letter_was_not_written_is_tolerated_once() {
        let gone = || Failure::fatal("gone");
        let topics = dead_letter_topic(vec![gone(), gone(), gone()], &std::sync::Arc::default());
        let monitor = Monitor::new(Direction::Sink, "a".into());
        let errors = spec::Errors {
            tolerance: spec::Tolerance {
                failures: 1,
                of_last: 100,
            },
            ..on_invalid(OnFailure::Dlq)
        };
        let policy = policy(errors, 0, &topics, &monitor);
        let (stop, topic) = (CancellationToken::new(), topic());
        let failed = [Undeliverable {
            original: Produced::default(),
            place: Place {
                topic: &topic,
                partition_and_offset: Some((0, 7)),
            },
            reason: Reason {
                stage: "decode",
                code: INVALID,
                error: "no JSON",
                attempts: 1,
            },
        }];
        for _ in 0..3 {
            let lost = policy.settle(10, &failed, &stop).await;
            assert_eq!(lost, Err(gone()));
        }
        assert_eq!(policy.settle(10, &failed, &stop).await, Ok(()));
        let beyond = policy.settle(10, &failed, &stop).await.unwrap_err();
        assert!(beyond.message.contains("errors.tolerance"), "{beyond}");
    }
}
