//! One call on its way: [`Ticket`], the future of its completion with a deadline, a stop, and a cancel.

use std::{sync::Arc, time::Duration};

use iggy_connector_abi::Status;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    instance::Instance,
    pending::{Answer, Broken},
};
use crate::pipeline::{Failed, Failure, FailureKind};

/// How long a call has to end after it was cancelled, before its instance is given up.
pub(super) const CANCEL_GRACE: Duration = Duration::from_secs(5);
/// How long a waiting call may go on after a stop, before it is cancelled.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// How long a call may take before it is cancelled.
#[derive(Clone, Copy)]
pub(super) enum Limit<'a> {
    Within(Duration),
    /// Until a stop and a moment, or until the deadline if there is one.
    Stop(&'a CancellationToken, Option<Duration>),
}

/// Why a call was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Late(Duration),
    Stopped,
    /// Nobody waited for it any more.
    Dropped,
}

/// What a call brought.
pub(super) struct Ended<V> {
    /// The records that failed.
    pub(super) failed: Vec<Failed>,
    /// The wait before these are tried again, if the plugin asked for one.
    pub(super) retry_after: Option<Duration>,
    pub(super) value: V,
}

/// A call that was made and whose completion is awaited.
pub(super) struct Ticket<V> {
    pub(super) instance: Arc<Instance>,
    /// The call's name, for messages.
    pub(super) name: &'static str,
    pub(super) number: u64,
    pub(super) answer: oneshot::Receiver<Answer<V>>,
    asked: Option<Asked>,
    /// It ended with the status ok, but could not be read.
    was_ok: bool,
}

impl Limit<'_> {
    /// Waits until the call is to be cancelled.
    async fn reached(self) -> Asked {
        match self {
            Self::Within(deadline) => {
                sleep(deadline).await;
                Asked::Late(deadline)
            }
            Self::Stop(stop, None) => stopped(stop).await,
            Self::Stop(stop, Some(deadline)) => timeout(deadline, stopped(stop))
                .await
                .unwrap_or(Asked::Late(deadline)),
        }
    }
}

async fn stopped(stop: &CancellationToken) -> Asked {
    stop.cancelled().await;
    sleep(STOP_GRACE).await;
    Asked::Stopped
}

impl<V> Ticket<V> {
    pub(super) fn new(
        instance: Arc<Instance>,
        name: &'static str,
        number: u64,
        answer: oneshot::Receiver<Answer<V>>,
    ) -> Self {
        Self {
            instance,
            name,
            number,
            answer,
            asked: None,
            was_ok: false,
        }
    }

    /// Waits for the completion. Past the limit the call is cancelled, and when that does not end it either, its instance is
    /// abandoned. Dropping the future cancels the call; waiting again then gets its end.
    pub(super) async fn wait(&mut self, limit: Limit<'_>) -> Result<Ended<V>, Failure> {
        let mut waiting = Waiting(Some(self));
        let ticket = waiting.ticket();
        let in_time = tokio::select! {
            biased;
            answer = &mut ticket.answer => Ok(answer),
            asked = limit.reached() => Err(asked),
        };
        let answer = match in_time {
            Ok(answer) => answer,
            Err(asked) => {
                ticket.cancel(asked);
                let Ok(answer) = timeout(CANCEL_GRACE, &mut ticket.answer).await else {
                    return Err(waiting.done().give_up());
                };
                answer
            }
        };
        waiting.done().ended(answer)
    }

    /// Whether the plugin ended the call with the status ok although [`Ticket::wait`] failed: what it was to make exists.
    pub(super) fn was_ok(&self) -> bool {
        self.was_ok
    }

    /// Waits for the completion of a call that was given up ([`FailureKind::Hung`]), however late it comes, and tells whether its status
    /// was ok.
    pub(super) async fn late_ok(&mut self) -> bool {
        match (&mut self.answer).await {
            Ok(Ok((outcome, _))) => outcome.status == Status::OK,
            Ok(Err(broken)) => broken.was_ok,
            Err(_) => false,
        }
    }

    /// Whether the call was cancelled only because the future that waited for it was dropped.
    pub(super) fn was_dropped(&self) -> bool {
        self.asked == Some(Asked::Dropped)
    }

    fn cancel(&mut self, asked: Asked) {
        self.asked.get_or_insert(asked);
        self.instance.cancel(self.number);
    }

    fn give_up(&self) -> Failure {
        let waited = match self.asked {
            Some(Asked::Late(deadline)) => {
                format!("within {}", humantime::format_duration(deadline))
            }
            _ => "after it was asked to stop".to_owned(),
        };
        let message = format!(
            "{} did not end {waited}, nor within {} of being cancelled; the instance is abandoned",
            self.name,
            humantime::format_duration(CANCEL_GRACE)
        );
        self.instance.abandon();
        Failure::new(FailureKind::Hung, message)
    }

    fn ended(
        &mut self,
        answer: Result<Answer<V>, oneshot::error::RecvError>,
    ) -> Result<Ended<V>, Failure> {
        let answer = answer.unwrap_or_else(|_| {
            let how = "its completion could not be read".to_owned();
            Err(Broken { how, was_ok: false })
        });
        let (outcome, value) = match answer {
            Ok(answer) => answer,
            Err(Broken { how, was_ok }) => {
                self.was_ok = was_ok;
                let message = format!("{}: {how}", self.name);
                return Err(Failure::new(FailureKind::Contract, message));
            }
        };
        match (outcome.status, value) {
            (Status::OK, Some(value)) => Ok(Ended {
                failed: outcome.failed,
                retry_after: outcome.retry_after,
                value,
            }),
            (Status::CANCELLED, _) => Err(self.cancelled()),
            _ => Err(outcome.into_failure(self.name)),
        }
    }

    /// What a call that ended as cancelled means. The deadline's end is worth another try, whatever has happened.
    fn cancelled(&self) -> Failure {
        match self.asked {
            Some(Asked::Late(deadline)) => Failure::transient(format!(
                "{} did not end within {} and was cancelled",
                self.name,
                humantime::format_duration(deadline)
            )),
            Some(Asked::Stopped | Asked::Dropped) => {
                Failure::new(FailureKind::Cancelled, format!("{} was stopped", self.name))
            }
            None => Failure::new(
                FailureKind::Contract,
                format!(
                    "{} ended as cancelled, but nobody had asked for it",
                    self.name
                ),
            ),
        }
    }
}

/// Cancels its call when it is dropped before [`Waiting::done`].
struct Waiting<'a, V>(Option<&'a mut Ticket<V>>);

impl<'a, V> Waiting<'a, V> {
    fn ticket(&mut self) -> &mut Ticket<V> {
        self.0
            .as_mut()
            .expect("it is taken only by `done`, which ends the waiting")
    }

    fn done(mut self) -> &'a mut Ticket<V> {
        self.0.take().expect("`done` takes the whole")
    }
}

impl<V> Drop for Waiting<'_, V> {
    fn drop(&mut self) {
        if let Some(ticket) = &mut self.0 {
            ticket.cancel(Asked::Dropped);
        }
    }
}
