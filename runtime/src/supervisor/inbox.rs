//! Where a connector's task is told what to do: [`Inbox`], with commands, the end, and another version that has been made ready.

use std::future::pending;

use tokio::{
    sync::mpsc,
    task::{JoinError, JoinHandle},
};
use tokio_util::sync::CancellationToken;

use super::{handle::Command, swap::Preparation};

/// Where the task is told what to do.
pub(super) struct Inbox<I> {
    commands: mpsc::Receiver<Command>,
    /// The daemon stops, or the connector is removed.
    stop: CancellationToken,
    is_stopped: bool,
    /// Makes another version ready.
    preparing: Option<JoinHandle<Preparation<I>>>,
}

/// What came next.
pub(super) enum Order<I> {
    Command(Command),
    Prepared(Result<Preparation<I>, JoinError>),
    End,
}

impl<I> Inbox<I> {
    pub(super) fn new(commands: mpsc::Receiver<Command>, stop: CancellationToken) -> Self {
        Self {
            commands,
            stop,
            is_stopped: false,
            preparing: None,
        }
    }

    /// Cancelled when the daemon stops or the connector is removed.
    pub(super) fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    pub(super) fn prepares(&mut self, preparing: JoinHandle<Preparation<I>>) {
        self.preparing = Some(preparing);
    }

    /// Waits for what is being prepared, if anything is.
    pub(super) async fn preparation(&mut self) -> Option<Result<Preparation<I>, JoinError>> {
        ended(&mut self.preparing).await
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
