//! Starts and stops a broker: binds, accepts connections up to the limit, keeps the periodic work going, and
//! ends all of it in order. The only place that starts tasks.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinError, JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval},
};

use crate::{
    Config, Error, SyncPolicy,
    broker::Shared,
    connection::Connection,
    process,
    sync::{blocking, stopped},
};

/// How long connections may take to finish what they are doing when the broker stops.
const GRACE: Duration = Duration::from_secs(2);
/// The wait after a failed accept, usually for a free file descriptor.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The embedded broker. [`Broker::start`] is the way in.
#[derive(Debug)]
pub struct Broker;

impl Broker {
    /// Opens the data directory, recovers what a crash left behind, and listens. When this returns, clients
    /// can connect to [`Handle::address`].
    ///
    /// # Errors
    /// [`Error`] says what to change: an invalid setting, a directory that another broker uses or that cannot
    /// be read, an address that is taken.
    pub async fn start(config: Config) -> Result<Handle, Error> {
        process::raise_open_files();
        let address = config.listen;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| Error::Listen { address, source })?;
        let address = listener
            .local_addr()
            .map_err(|source| Error::Listen { address, source })?;
        let shared = open(config).await?;
        let (stop, stopping) = watch::channel(false);
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "embedded broker: other machines can connect; passwords and messages are not encrypted");
        }
        tracing::info!(%address, directory = %shared.config.dir.display(), "embedded broker started");
        Ok(Handle {
            address,
            server: tokio::spawn(serve(shared, listener, stopping)),
            stop,
        })
    }
}

/// A running broker. [`Handle::shutdown`] ends it; dropping the handle does so too, without waiting.
#[derive(Debug)]
pub struct Handle {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
}

impl Handle {
    /// The address it listens on, with the port that was picked.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, answers the requests that are being handled, closes every connection, and forces
    /// everything written to stable storage.
    pub async fn shutdown(self) {
        let Self { stop, server, .. } = self;
        let _ = stop.send(true);
        if let Err(error) = server.await {
            tracing::error!(%error, "embedded broker ended badly");
        }
    }
}

/// Recovery may take a while, which is nobody else's business.
async fn open(config: Config) -> Result<Arc<Shared>, Error> {
    let path = config.dir.clone();
    let opened = tokio::task::spawn_blocking(|| Shared::open(config)).await;
    let shared = opened.map_err(|error| Error::storage(path)(error.into()))??;
    Ok(Arc::new(shared))
}

/// Runs until `stopping` says so, then ends everything in order.
async fn serve(shared: Arc<Shared>, listener: TcpListener, stopping: watch::Receiver<bool>) {
    let periodic = tokio::spawn(keep_house(shared.clone(), stopping.clone()));
    let connections = accept(&shared, &listener, stopping).await;
    drop(listener);
    finish(connections).await;
    if let Err(error) = periodic.await {
        tracing::error!(%error, "periodic work of the embedded broker ended badly");
    }
    blocking(|| {
        shared.sync();
        shared.seal();
    });
    tracing::info!("embedded broker stopped");
}

async fn accept(
    shared: &Arc<Shared>,
    listener: &TcpListener,
    mut stopping: watch::Receiver<bool>,
) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    let mut last_id = 0;
    let stop = stopping.clone();
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut stopping) => return connections,
            Some(ended) = connections.join_next() => note(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => admit(shared, &mut connections, &mut last_id, stream, peer, stop.clone()),
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}

fn admit(
    shared: &Arc<Shared>,
    connections: &mut JoinSet<()>,
    last_id: &mut u32,
    stream: TcpStream,
    peer: SocketAddr,
    stop: watch::Receiver<bool>,
) {
    let limit = shared.config.max_connections;
    if connections.len() >= limit {
        tracing::warn!(%peer, limit, "connection refused: `max_connections` reached");
        return;
    }
    *last_id = last_id.wrapping_add(1).max(1);
    // Replies are written whole, so waiting for more to send would only delay them.
    let connection = stream
        .set_nodelay(true)
        .and_then(|()| Connection::new(shared.clone(), *last_id, &stream, stop));
    match connection {
        Ok(connection) => drop(connections.spawn(connection.run(stream))),
        Err(error) => tracing::debug!(%peer, %error, "connection lost before it began"),
    }
}

/// A connection that panicked has left its groups like any other; what it did not do is answer.
fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "connection ended badly");
    }
}

async fn finish(mut connections: JoinSet<()>) {
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "connections cut off: they did not end in time"
        );
        connections.shutdown().await;
    }
}

/// Retention, and the syncs of [`SyncPolicy::Interval`].
async fn keep_house(shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    let mut retention = interval(shared.config.retention_interval);
    retention.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sync = interval(match shared.config.sync {
        SyncPolicy::Interval(period) => period,
        // Never mind the ticks: there is nothing to sync then.
        SyncPolicy::Os | SyncPolicy::EveryBatch => shared.config.retention_interval,
    });
    sync.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let syncs = matches!(shared.config.sync, SyncPolicy::Interval(_));
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut stopping) => return,
            _ = retention.tick() => blocking(|| shared.enforce_retention()),
            _ = sync.tick(), if syncs => blocking(|| shared.sync()),
        }
    }
}
