//! One connection to Iggy: made, made again when it is lost, closed. `consumer` and `producer` own one each and send their
//! requests over it; when to reconnect is their decision.
//!
//! The transport client is used as it is, without the heartbeats and reconnects that the high-level client adds: it takes one
//! request at a time, so that a heartbeat beside a slow request would only wait, and its own reconnects block a request past
//! every deadline. Each exchange runs in a task of its own: a request whose future is dropped is finished in the background
//! before the next one starts, so that dropping one never mixes up replies. `transport` bounds each of them.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use iggy::prelude::{Client as _, SystemClient};
use iggy_common::{IggyError, TcpClientConfig};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tracing::{debug, info};

use super::{
    error::{failure, is_refused_login},
    settings::Settings,
    transport::Transport,
};
use crate::{
    config::spec,
    pipeline::{Failure, FailureKind},
};

/// Before each attempt of a first connect.
const PAUSES: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(200),
    Duration::from_millis(400),
];
/// A host that drops packets, and a server of another protocol, never answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Closing waits for the request that is under way.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// A request that was given up stays in memory until it is answered or its connection breaks.
const MOST_GIVEN_UP: usize = 4;
const DIAGNOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection to Iggy that is signed in.
pub struct Client {
    /// The connection of the moment; each attempt at one begins anew.
    transport: RwLock<Arc<Transport>>,
    /// Those before it on which a request is still under way.
    given_up: Mutex<Vec<Arc<Transport>>>,
    config: Arc<TcpClientConfig>,
    request_timeout: Duration,
    address: Arc<str>,
    identity: String,
    /// Who connects, for logs.
    name: String,
}

impl Client {
    /// Connects and signs in, trying a few times within a second or two.
    ///
    /// # Errors
    ///
    /// [`FailureKind::Transient`] when the broker cannot be reached or refuses the credentials, which may change;
    /// [`FailureKind::Fatal`] when `iggy` itself is wrong.
    pub async fn connect(iggy: &spec::Iggy, name: &str) -> Result<Self, Failure> {
        let Settings { tcp, identity } = Settings::new(iggy)?;
        let address: Arc<str> = tcp.server_address.as_str().into();
        let config = Arc::new(tcp);
        let request_timeout = iggy.request_timeout;
        let transport = Transport::new(config.clone(), request_timeout)
            .map_err(|error| failure(format!("Iggy at {address}"), &error))?;
        let client = Self {
            transport: RwLock::new(Arc::new(transport)),
            given_up: Mutex::default(),
            config,
            request_timeout,
            address,
            identity,
            name: name.to_owned(),
        };
        client.first_connect().await?;
        info!(name, address = %client.address, "connected to Iggy");
        Ok(client)
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How the broker numbers this connection.
    pub(super) async fn number(&self) -> Result<u32, Failure> {
        let me = self.tcp().get_me().await;
        let me = me.map_err(|error| failure(self.doing("look up this client"), &error))?;
        Ok(me.client_id)
    }

    /// What requests are sent with.
    pub(super) fn tcp(&self) -> Arc<Transport> {
        let transport = self.transport.read();
        transport.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether requests are of no use before a reconnect.
    pub(super) fn is_lost(&self) -> bool {
        self.tcp().is_lost()
    }

    /// `poll orders/new of Iggy at localhost:8090`, to begin an error with.
    pub(super) fn doing(&self, what: impl fmt::Display) -> String {
        format!("{what} of Iggy at {}", self.address)
    }

    /// Drops what is left of the connection and makes a new one, in one attempt. Memberships do not survive it. Only one
    /// reconnect may run at a time.
    pub(super) async fn reconnect(&self) -> Result<(), Failure> {
        self.attempt(Instant::now() + CONNECT_TIMEOUT).await?;
        info!(name = self.name, address = %self.address, "reconnected to Iggy");
        Ok(())
    }

    /// Ends the connection; the broker takes its sender out of every group.
    pub(super) async fn close(self) {
        let transport = self.tcp();
        if transport.is_lost() {
            return;
        }
        if let Ok(Err(error)) = timeout(CLOSE_TIMEOUT, transport.shutdown()).await {
            debug!(name = self.name, %error, "closing the connection to Iggy");
        }
    }

    async fn first_connect(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        let mut last = None;
        for pause in PAUSES {
            sleep(pause).await;
            match self.attempt(deadline).await {
                Ok(()) => return Ok(()),
                Err(failure) if failure.kind != FailureKind::Transient => return Err(failure),
                Err(failure) => last = Some(failure),
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        Err(last.unwrap_or_else(|| Failure::transient(self.unanswered())))
    }

    async fn attempt(&self, deadline: Instant) -> Result<(), Failure> {
        self.give_up_last().await?;
        let transport = self.begin()?;
        let left = deadline.saturating_duration_since(Instant::now());
        let failed = match timeout(left, transport.connect()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => self.explain(error).await,
            Err(_elapsed) => Failure::transient(self.unanswered()),
        };
        transport.give_up();
        Err(failed)
    }

    /// Ends the last connection. Where requests on it and on those before are never answered, there are not to be any number of them.
    async fn give_up_last(&self) -> Result<(), Failure> {
        let last = self.tcp();
        last.give_up();
        let mut before = std::mem::take(&mut *self.given_up());
        if !before.iter().any(|one| Arc::ptr_eq(one, &last)) {
            before.push(last);
        }
        let mut left = Vec::new();
        for transport in before {
            if transport.owes_an_answer().await {
                left.push(transport);
            }
        }
        let count = left.len();
        *self.given_up() = left;
        if count < MOST_GIVEN_UP {
            return Ok(());
        }
        Err(Failure::transient(format!(
            "Iggy at {} has not answered {count} requests, each of which is kept until it does or its connection breaks; does the \
             network let large packets through?",
            self.address
        )))
    }

    fn given_up(&self) -> MutexGuard<'_, Vec<Arc<Transport>>> {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a connection that is still to be made in the place of the last one.
    fn begin(&self) -> Result<Arc<Transport>, Failure> {
        let fresh = Transport::new(self.config.clone(), self.request_timeout)
            .map_err(|error| failure(format!("Iggy at {}", self.address), &error))?;
        let fresh = Arc::new(fresh);
        let mut place = self
            .transport
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *place = fresh.clone();
        Ok(fresh)
    }

    async fn explain(&self, error: IggyError) -> Failure {
        let address = &self.address;
        if is_refused_login(&error) {
            return Failure::transient(format!(
                "Iggy at {address} refused {}: {error}; check `[iggy] username` and `password`, or `token`",
                self.identity
            ));
        }
        if matches!(error, IggyError::CannotEstablishConnection) {
            return Failure::transient(self.diagnose().await);
        }
        failure(format!("connect to Iggy at {address}"), &error)
    }

    /// The client hides why it could not connect; a second look tells.
    async fn diagnose(&self) -> String {
        let address = &self.address;
        match timeout(DIAGNOSE_TIMEOUT, TcpStream::connect(&**address)).await {
            Ok(Err(error)) => format!(
                "cannot reach Iggy at {address}: {error}; is it running, and is `[iggy] address` right?"
            ),
            Ok(Ok(_)) if self.config.tls_enabled => {
                format!(
                    "no TLS with Iggy at {address}: check that it expects TLS, and `[iggy.tls] ca_file` and `domain`"
                )
            }
            Ok(Ok(_)) => format!(
                "Iggy at {address} closed the connection; does it expect TLS, or another protocol version?"
            ),
            Err(_elapsed) => self.unanswered(),
        }
    }

    fn unanswered(&self) -> String {
        format!(
            "Iggy at {} does not answer; is it an Iggy 0.11 server's TCP port, and is `[iggy.tls]` as it expects?",
            self.address
        )
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("name", &self.name)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
