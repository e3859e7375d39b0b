//! Where a connector stands, at Iggy or in its saved state: read for the API at any time, and changed by the connector's task alone,
//! while it is at rest. `stream` and `state` do it.

use std::time::Duration;

use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};
use tracing::{debug, info};

use super::{
    Supervisor,
    handle::{Command, Handle},
    open::Host,
    status::Status,
    task::Task,
    work::Opener,
};
use crate::{
    config::spec::{self, Direction, Streams},
    pipeline::{Failure, Gauge as _, Monitor},
    state::FileStore,
    stream::{self, NotMoved, Offsets, Starts},
};
pub use crate::{
    state::Saved,
    stream::{Move, Place, Reset, Selection, Standing},
};

/// For everything that one question takes. A broker that is slow is asked again by whoever wants to know.
const DEADLINE: Duration = Duration::from_secs(15);
/// How often a sink that is at rest is looked at. One that runs knows by itself.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How long it is tried to put partitions back when a reset has broken off: the broker first has to notice that its member is gone.
const PUT_BACK: Duration = Duration::from_secs(5);
const PUT_BACK_PAUSE: Duration = Duration::from_millis(200);

/// Whether something is done, or only said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    DryRun,
    Real,
}

/// Why a connector stands where it stood, or nearly so.
#[derive(Debug, thiserror::Error)]
pub enum NotReset {
    #[error("its status is {}: pause or stop it, and wait until it is paused or stopped", .0.name())]
    AtWork(Status),
    #[error("it is being reset already: wait until that is done")]
    Busy,
    #[error("it cannot be used as it is configured: {0}")]
    Unusable(String),
    #[error("the connector is being removed, or the daemon stops")]
    Ending,
    /// Somebody else reads in its group.
    #[error("{0}")]
    InUse(String),
    /// What was selected is not there.
    #[error("{0}")]
    Unknown(String),
    /// Iggy was not reached, or did not do it.
    #[error("{0}")]
    Unreachable(Failure),
    /// The saved state cannot be read or written.
    #[error("{0}")]
    State(Failure),
}

impl From<NotMoved> for NotReset {
    fn from(error: NotMoved) -> Self {
        match error {
            NotMoved::InUse(reason) => Self::InUse(reason),
            NotMoved::Unknown(reason) => Self::Unknown(reason),
            NotMoved::Failed(failure) | NotMoved::Partly { failure, .. } => {
                Self::Unreachable(failure)
            }
            NotMoved::State(failure) => Self::State(failure),
        }
    }
}

/// A reset that was asked for.
pub(super) struct Asked {
    reset: Reset,
    manner: Manner,
    answer: oneshot::Sender<Result<Vec<Move>, NotReset>>,
}

impl Handle {
    /// Has reading go on elsewhere, or a source start over with an empty state. Returns what that does, when it is done.
    ///
    /// # Errors
    ///
    /// See [`NotReset`].
    pub async fn reset(&self, reset: Reset, manner: Manner) -> Result<Vec<Move>, NotReset> {
        let (answer, answered) = oneshot::channel();
        let asked = Asked {
            reset,
            manner,
            answer,
        };
        let sent = self.commands.send(Command::Reset(asked)).await;
        sent.map_err(|_| NotReset::Ending)?;
        // A task answers or ends, and what it does for this has a deadline.
        answered.await.unwrap_or(Err(NotReset::Ending))
    }
}

impl Supervisor {
    /// Where a sink stands in each partition; nothing of a source.
    ///
    /// # Errors
    ///
    /// Iggy could not be asked.
    pub async fn standings(&self, handle: &Handle) -> Result<Vec<Standing>, Failure> {
        let looked = within(self.host(), self.host().standings(&handle.effective())).await;
        looked.unwrap_or_else(Err)
    }

    /// What a source has saved.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub async fn saved(&self, handle: &Handle) -> Result<Option<Saved>, Failure> {
        self.host().state.source(&handle.key).saved().await
    }
}

impl<O: Opener> Task<O> {
    /// Takes a reset on, when the connector is at rest.
    pub(super) fn ask_reset(&mut self, asked: Asked) {
        match self.stands_in_the_way() {
            None if self.asked.is_none() => self.asked = Some(asked),
            None => asked.end(Err(NotReset::Busy)),
            Some(reason) => asked.end(Err(reason)),
        }
    }

    /// Resets, while commands are taken and none is followed. A source's instance holds the state that it goes on from, and is closed
    /// before; when the connector goes on it is opened anew. Returns what is open afterwards.
    pub(super) async fn reset(
        &mut self,
        asked: Asked,
        mut open: Option<O::Instance>,
    ) -> Option<O::Instance> {
        if let Some(reason) = self.stands_in_the_way() {
            asked.end(Err(reason));
            return open;
        }
        let spec = self.effective();
        if spec.direction == Direction::Source
            && asked.manner == Manner::Real
            && let Some(instance) = open.take()
        {
            self.close(instance).await;
        }
        let Asked {
            reset,
            manner,
            answer,
        } = asked;
        let (opener, stop) = (self.opener.clone(), self.inbox.stopping());
        let work = self.attend(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => Err(NotReset::Ending),
                done = opener.reset(spec, reset, manner) => done,
            }
        });
        let done = work.await.map_err(NotReset::Unreachable).flatten();
        tell(manner, &done);
        // Who asked may have stopped waiting; what was done holds.
        let _ = answer.send(done);
        open
    }

    fn stands_in_the_way(&self) -> Option<NotReset> {
        let status = self.reporter.now();
        let is_sink = self.spec.borrow().direction == Direction::Sink;
        match &self.unusable {
            _ if self.plan.is_ending() => Some(NotReset::Ending),
            _ if !matches!(status, Status::Paused | Status::Stopped) || !self.plan.rests() => {
                Some(NotReset::AtWork(status))
            }
            // Which groups are its own is not known.
            Some(reason) if is_sink => Some(NotReset::Unusable(reason.clone())),
            _ if is_sink && self.effective().streams.is_empty() => {
                let reason = "it reads what its plugin proposes, which is known when it has been started once";
                Some(NotReset::Unusable(reason.to_owned()))
            }
            _ => None,
        }
    }
}

impl Asked {
    fn end(self, outcome: Result<Vec<Move>, NotReset>) {
        let _ = self.answer.send(outcome);
    }
}

fn tell(manner: Manner, done: &Result<Vec<Move>, NotReset>) {
    match done {
        _ if manner == Manner::DryRun => {}
        Ok(moves) => {
            let replayed: u64 = moves.iter().map(Move::replayed).sum();
            let skipped: u64 = moves.iter().map(Move::skipped).sum();
            info!(partitions = moves.len(), replayed, skipped, "reset");
        }
        Err(error) => info!(%error, "not reset"),
    }
}

impl Host {
    /// Moves a connector that is at rest.
    pub(super) async fn reset(
        &self,
        spec: &spec::Connector,
        reset: &Reset,
        manner: Manner,
    ) -> Result<Vec<Move>, NotReset> {
        match &spec.streams {
            Streams::Inputs(inputs) => self.reset_sink(spec, inputs, reset, manner).await,
            Streams::Outputs(_) => {
                let deleted = self.state.source(&spec.key).delete().await;
                deleted.map(|()| Vec::new()).map_err(NotReset::State)
            }
        }
    }

    async fn reset_sink(
        &self,
        spec: &spec::Connector,
        inputs: &[spec::Input],
        reset: &Reset,
        manner: Manner,
    ) -> Result<Vec<Move>, NotReset> {
        let store = self.state.sink(&spec.key);
        let loaded = store.load().await;
        if let (Reset::To(..), Err(failure)) = (reset, &loaded) {
            return Err(NotReset::State(failure.clone()));
        }
        let mut starts = Starts::new(loaded, store.clone());
        let mut moves = vec![];
        let moving = async {
            let offsets = self.offsets(spec, inputs).await?;
            let moving = async {
                moves = offsets.plan(&starts, reset).await?;
                match (manner, reset) {
                    (Manner::DryRun, _) => Ok(()),
                    (Manner::Real, Reset::To(..)) => offsets.carry_out(&mut starts, &moves).await,
                    (Manner::Real, Reset::Forget) => offsets.forget(&moves, store.delete()).await,
                }
            };
            let moved = moving.await;
            offsets.close().await;
            moved
        };
        let (failure, moved) = match within(self, moving).await {
            Ok(Ok(())) => return Ok(moves),
            Ok(Err(NotMoved::Partly { failure, done })) => (failure, &moves[..=done]),
            Ok(Err(error)) => return Err(error.into()),
            // How far it came is not known.
            Err(late) => match (manner, reset) {
                (Manner::Real, Reset::To(..)) if !moves.is_empty() => (late, &moves[..]),
                _ => return Err(NotReset::Unreachable(late)),
            },
        };
        let left = self.put_back(spec, inputs, &mut starts, moved).await;
        let message = format!("{failure}; {left}");
        Err(NotReset::Unreachable(Failure { message, ..failure }))
    }

    /// Has partitions that a reset has moved go on where they did, over another connection, and says what has come of it. It has a
    /// deadline of its own: mostly that of the reset has passed already.
    async fn put_back(
        &self,
        spec: &spec::Connector,
        inputs: &[spec::Input],
        starts: &mut Starts<FileStore>,
        moved: &[Move],
    ) -> String {
        let back: Vec<_> = moved.iter().map(Move::back).collect();
        let mut refused = None;
        let trying = async {
            loop {
                let again = async {
                    let offsets = self.offsets(spec, inputs).await?;
                    let moved = offsets.carry_out(starts, &back).await;
                    offsets.close().await;
                    moved
                };
                match again.await {
                    Ok(()) => return,
                    Err(error) => refused = Some(error),
                }
                sleep(PUT_BACK_PAUSE).await;
            }
        };
        match timeout(PUT_BACK, trying).await {
            Ok(()) => "every partition is where it was".to_owned(),
            Err(_elapsed) => not_put_back(moved, refused),
        }
    }

    async fn standings(&self, spec: &spec::Connector) -> Result<Vec<Standing>, Failure> {
        let Streams::Inputs(inputs) = &spec.streams else {
            return Ok(Vec::new());
        };
        let starts = self.starts(spec).await;
        let offsets = self.offsets(spec, inputs).await?;
        let standings = offsets.standings(&starts).await;
        offsets.close().await;
        standings
    }

    /// Tells the monitor again and again how far a sink that is at rest lags behind. Does not end.
    pub(super) async fn watch(&self, spec: &spec::Connector, monitor: &Monitor) {
        let inputs = match &spec.streams {
            Streams::Inputs(inputs) if !inputs.is_empty() => inputs,
            // What a plugin proposes is known only when it has opened.
            _ => return std::future::pending().await,
        };
        loop {
            sleep(LOOK_INTERVAL).await;
            if let Err(failure) = self.look_on(spec, inputs, monitor).await {
                debug!(error = %failure, "how far it lags behind is not known");
            }
        }
    }

    /// Over one connection, until it breaks.
    async fn look_on(
        &self,
        spec: &spec::Connector,
        inputs: &[spec::Input],
        monitor: &Monitor,
    ) -> Result<(), Failure> {
        let mut offsets = self.offsets(spec, inputs).await?;
        loop {
            let starts = self.starts(spec).await;
            let standings = offsets.standings(&starts).await?;
            monitor.behind(standings.iter().map(|standing| standing.lag).sum());
            sleep(LOOK_INTERVAL).await;
            // Topics and partitions come and go.
            offsets = offsets.again(inputs).await?;
        }
    }

    async fn starts(&self, spec: &spec::Connector) -> Starts<FileStore> {
        let store = self.state.sink(&spec.key);
        Starts::new(store.load().await, store)
    }

    async fn offsets(
        &self,
        spec: &spec::Connector,
        inputs: &[spec::Input],
    ) -> Result<Offsets, Failure> {
        let client = stream::connect(&self.iggy, &spec.consumer_name).await?;
        Offsets::of(client, inputs).await
    }
}

fn not_put_back(moved: &[Move], refused: Option<NotMoved>) -> String {
    let places: Vec<_> = moved.iter().map(|one| one.place.to_string()).collect();
    let places = places.join(", ");
    let reason = match refused {
        None => "Iggy did not answer".to_owned(),
        Some(NotMoved::InUse(reason)) => format!(
            "{reason}, unless that is this reset's own connection, which was lost and which Iggy has not given up yet"
        ),
        Some(error) => error.to_string(),
    };
    format!(
        "{places} may be moved, and could not be put back within {PUT_BACK:?}: {reason}; ask again"
    )
}

async fn within<T>(host: &Host, asked: impl Future<Output = T>) -> Result<T, Failure> {
    timeout(DEADLINE, asked).await.map_err(|_elapsed| {
        let address = &host.iggy.address;
        Failure::transient(format!(
            "Iggy at {address} did not answer everything within {DEADLINE:?}: ask again"
        ))
    })
}
