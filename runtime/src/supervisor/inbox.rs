//! Where a connector's task is told what to do: [`Inbox`], with commands, the end, and another version that has been made ready.

use std::future::pending;

use tokio::{
    sync::mpsc,
    task::{JoinError, JoinHandle},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{dismissal::Dismissal, handle::Command, swap::Preparation};

/// Where the task is told what to do.
pub(super) struct Inbox<I> {
    commands: mpsc::Receiver<Command>,
    /// The daemon stops, or the connector is removed.
    stop: CancellationToken,
    is_stopped: bool,
    /// Makes another version ready.
    preparing: Option<JoinHandle<Preparation<I>>>,
    /// Closes an instance that was opened in vain.
    dismissing: Option<JoinHandle<Dismissal>>,
    /// When the time of an activation is over.
    lapse: Option<Instant>,
}

/// What came next.
pub(super) enum Order<I> {
    Command(Command),
    Prepared(Result<Preparation<I>, JoinError>),
    Dismissed(Result<Dismissal, JoinError>),
    Lapse,
    End,
}

impl<I> Inbox<I> {
    pub(super) fn new(commands: mpsc::Receiver<Command>, stop: CancellationToken) -> Self {
        Self {
            commands,
            stop,
            is_stopped: false,
            preparing: None,
            dismissing: None,
            lapse: None,
        }
    }

    /// Cancelled when the daemon stops or the connector is removed.
    pub(super) fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    pub(super) fn prepares(&mut self, preparing: JoinHandle<Preparation<I>>) {
        self.preparing = Some(preparing);
    }

    /// What is being prepared is somebody else's from now on.
    pub(super) fn unprepare(&mut self) -> Option<JoinHandle<Preparation<I>>> {
        self.preparing.take()
    }

    /// Waits for what is being prepared, if anything is.
    pub(super) async fn preparation(&mut self) -> Option<Result<Preparation<I>, JoinError>> {
        ended(&mut self.preparing).await
    }

    pub(super) fn dismisses(&mut self, dismissing: JoinHandle<Dismissal>) {
        self.dismissing = Some(dismissing);
    }

    pub(super) fn is_dismissing(&self) -> bool {
        self.dismissing.is_some()
    }

    /// Waits for the close of what was opened in vain, if anything was.
    pub(super) async fn dismissal(&mut self) -> Option<Result<Dismissal, JoinError>> {
        ended(&mut self.dismissing).await
    }

    /// When [`Order::Lapse`] comes, once.
    pub(super) fn lapses(&mut self, at: Option<Instant>) {
        self.lapse = at;
    }

    /// The end comes once. May be dropped and called again without losing a command.
    pub(super) async fn next(&mut self) -> Order<I> {
        tokio::select! {
            biased;
            () = self.stop.cancelled(), if !self.is_stopped => {
                self.is_stopped = true;
                Order::End
            }
            Some(ended) = ended(&mut self.preparing) => Order::Prepared(ended),
            Some(ended) = ended(&mut self.dismissing) => Order::Dismissed(ended),
            Some(()) = reached(&mut self.lapse) => Order::Lapse,
            Some(command) = self.commands.recv() => Order::Command(command),
            else => pending().await,
        }
    }
}

/// May be dropped and called again.
async fn ended<T>(work: &mut Option<JoinHandle<T>>) -> Option<Result<T, JoinError>> {
    let ended = work.as_mut()?.await;
    *work = None;
    Some(ended)
}

/// May be dropped and called again.
async fn reached(time: &mut Option<Instant>) -> Option<()> {
    sleep_until((*time)?).await;
    *time = None;
    Some(())
}
