//! One client's connection: reads a frame, has it answered, writes the reply, in lockstep. It bounds what a
//! client may cost: frame size, time to finish a frame, memory kept between frames, silence of a member.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use iggy_binary_protocol::responses::users::LoginRegisterResponse;
use iggy_binary_protocol::{HEADER_SIZE, IGGY_PROTOCOL_VERSION};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
};

use crate::{
    broker::Shared,
    dispatch,
    error::Failure,
    handlers::{Call, system, users},
    session::{self, Session},
    sync::{lock, stopped},
    wire::{self, Action, Reply, Request},
};

/// A login is a few hundred bytes; a client that has not signed in may send no more than this.
const MAX_ANONYMOUS_FRAME: usize = 64 * 1024;
/// How long a client may take for the rest of a frame, or to take a reply.
const STALLED: Duration = Duration::from_secs(30);
/// How long a client may be connected without signing in or pinging.
const ANONYMOUS: Duration = Duration::from_secs(60);
/// How often a quiet connection is looked at, at most and at least.
const TICK: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(5));
const FIRST_READ: usize = 8 * 1024;

pub(crate) struct Connection {
    shared: Arc<Shared>,
    id: u32,
    local: SocketAddr,
    stop: watch::Receiver<bool>,
    session: Option<Session>,
    received: Vec<u8>,
    reply: Reply,
    last_frame: Instant,
    tick: Duration,
}

/// Why the conversation ends.
enum End {
    /// The client hung up, sent something that is not the protocol, or took too long.
    Client(&'static str),
    Stopping,
    Io(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Drop for Connection {
    /// Also after a panic: what a connection held must not stay held.
    fn drop(&mut self) {
        self.shared.disconnected(self.id);
    }
}

impl Connection {
    pub(crate) fn new(
        shared: Arc<Shared>,
        id: u32,
        stream: &TcpStream,
        stop: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        let local = stream.local_addr()?;
        lock(&shared.clients).connected(id, stream.peer_addr()?);
        Ok(Self {
            tick: (shared.config.idle_member / 4).clamp(TICK.0, TICK.1),
            shared,
            id,
            local,
            stop,
            session: None,
            received: Vec::new(),
            reply: Reply::default(),
            last_frame: Instant::now(),
        })
    }

    /// Converses until the client leaves or the broker stops.
    pub(crate) async fn run(mut self, mut stream: TcpStream) {
        let id = self.id;
        match self.converse(&mut stream).await {
            End::Client(reason) => tracing::debug!(connection = id, reason, "connection closed"),
            End::Stopping => tracing::debug!(connection = id, "connection closed: shutting down"),
            End::Io(error) => tracing::debug!(connection = id, %error, "connection lost"),
        }
        // The client sees the end of the stream; what it sent meanwhile is not worth waiting for.
        let _ = stream.shutdown().await;
    }

    async fn converse(&mut self, stream: &mut TcpStream) -> End {
        loop {
            let length = match self.receive(stream).await {
                Ok(length) => length,
                Err(end) => return end,
            };
            if !self.answer(length).await {
                return End::Client("the request is not one of this protocol");
            }
            if let Err(end) = self.send(stream).await {
                return end;
            }
            self.received.drain(..length);
            wire::trim_received(&mut self.received);
            self.reply.trim();
        }
    }

    /// Receives until a whole frame stands at the start of `received`, and returns its length.
    async fn receive(&mut self, stream: &mut TcpStream) -> Result<usize, End> {
        let mut begun = Instant::now();
        loop {
            let wanted = self.wanted()?;
            if let Some(length) = wanted.filter(|length| self.received.len() >= *length) {
                self.last_frame = Instant::now();
                return Ok(length);
            }
            let missing = wanted.map_or(FIRST_READ, |length| length - self.received.len());
            self.received.reserve(missing);
            let idle = self.received.is_empty();
            if idle {
                begun = Instant::now();
            }
            let mut ticked = false;
            tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return Err(End::Stopping),
                read = stream.read_buf(&mut self.received) => {
                    if read? == 0 {
                        return Err(End::Client("hung up"));
                    }
                }
                () = tokio::time::sleep(self.tick) => ticked = true,
            }
            if ticked {
                self.look(idle, begun)?;
            }
        }
    }

    /// The length of the frame being received, as soon as it is known.
    fn wanted(&self) -> Result<Option<usize>, End> {
        let length = wire::frame_length(&self.received)
            .map_err(|_| End::Client("not a frame of this protocol"))?;
        let limit = match self.session {
            Some(_) => self.shared.config.max_frame,
            None => self.shared.config.max_frame.min(MAX_ANONYMOUS_FRAME),
        };
        match length {
            Some(length) if length > limit => {
                tracing::warn!(
                    connection = self.id,
                    length,
                    limit,
                    "frame refused: too large"
                );
                Err(End::Client("frame too large"))
            }
            length => Ok(length),
        }
    }

    fn look(&mut self, idle: bool, begun: Instant) -> Result<(), End> {
        if !idle {
            return match begun.elapsed() < STALLED {
                true => Ok(()),
                false => Err(End::Client("took too long to finish a frame")),
            };
        }
        wire::shrink_received(&mut self.received);
        self.reply.shrink();
        let silence = self.last_frame.elapsed();
        if self.session.is_none() && silence > ANONYMOUS {
            return Err(End::Client("did not sign in"));
        }
        if silence > self.shared.config.idle_member && lock(&self.shared.catalog).is_member(self.id)
        {
            return Err(End::Client("silent for too long as a member of a group"));
        }
        Ok(())
    }

    /// Prepares the reply to the frame at the start of `received`; false if there can be none.
    async fn answer(&mut self, length: usize) -> bool {
        let Ok(request) = Request::parse(&self.received[..length]) else {
            return false;
        };
        self.reply.begin(&request);
        let outcome = match dispatch::authorize(&request, self.session) {
            Ok(()) => self.act(&request, length).await,
            Err(failure) => Err(failure),
        };
        let commit = self.shared.next_commit();
        match outcome {
            Ok(()) => self.reply.succeed(&request, commit),
            Err(Failure::Status(error)) => self.reply.fail(&request, commit, error.as_code()),
            Err(Failure::Evict(reason)) => self.reply.evict(request.header.client, reason),
        }
        true
    }

    async fn act(&mut self, request: &Request, length: usize) -> Result<(), Failure> {
        match request.action {
            Action::Register => self.register(request, length),
            Action::Logout => {
                self.logout();
                Ok(())
            }
            Action::Command { code, .. } => {
                let call = Call {
                    shared: &self.shared,
                    connection: self.id,
                    local: self.local,
                    body: &mut self.received[HEADER_SIZE..length],
                    reply: &mut self.reply,
                    stop: &mut self.stop,
                };
                dispatch::dispatch(code, call).await
            }
        }
    }

    fn register(&mut self, request: &Request, length: usize) -> Result<(), Failure> {
        self.logout();
        session::authenticate(&self.shared.config, &self.received[HEADER_SIZE..length])?;
        let number = lock(&self.shared.clients).signed_in(self.id);
        self.session = Some(Session {
            client: request.header.client,
            number,
        });
        self.reply.encode(&LoginRegisterResponse {
            user_id: users::ID,
            session: number,
            server_protocol_version: IGGY_PROTOCOL_VERSION,
            server_version: system::version_name()?,
        });
        Ok(())
    }

    fn logout(&mut self) {
        if self.session.take().is_some() {
            self.shared.sign_out(self.id);
        }
    }

    async fn send(&self, stream: &mut TcpStream) -> Result<(), End> {
        tokio::select! {
            biased;
            written = stream.write_all(self.reply.frame()) => Ok(written?),
            () = tokio::time::sleep(STALLED) => Err(End::Client("took too long to take a reply")),
        }
    }
}
