//! The API's sockets: binding, TLS, one task per connection, and a close that waits for open requests. `Listener` is what the
//! composition root holds.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Api, auth::Auth, router, tls, write_timeout::WriteTimeout};
use crate::config::spec;

/// How long open requests may take to finish when the daemon stops.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a client may take for its TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take to send a request's head, and how long a connection may be idle between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client may take nothing of an answer that is ready for it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Most connections at a time; further ones wait to be accepted.
const MOST_CONNECTIONS: usize = 4096;

/// The wait after the system refused to accept, for instance because files have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A bound address that does not answer yet.
pub struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    http: spec::Http,
}

impl Listener {
    /// Binds the configured address and reads the certificate.
    ///
    /// # Errors
    ///
    /// The address cannot be bound, it is not loopback and no key is set, or the certificate or its key cannot be used.
    pub async fn bind(http: spec::Http) -> Result<Self, String> {
        let tls = match &http.tls {
            Some(files) => Some(tls::acceptor(files)?),
            None => None,
        };
        let refuse = |error: io::Error| format!("http.address = \"{}\": {error}", http.address);
        let socket = TcpListener::bind(&http.address).await.map_err(refuse)?;
        let address = socket.local_addr().map_err(refuse)?;
        if http.api_key.is_none() && !address.ip().is_loopback() {
            return Err(format!(
                "http.address = \"{}\" can be reached from other machines: set http.api_key, or listen on 127.0.0.1",
                http.address
            ));
        }
        if http.api_key.is_none() && http.cors.is_some() {
            warn!(
                "http.cors has an effect on pages of this machine only: without http.api_key foreign origins are refused"
            );
        }
        Ok(Self { socket, tls, http })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers until `stop`, then gives open requests a moment.
    pub async fn serve(self, api: Api, stop: CancellationToken) {
        let auth = Arc::new(Auth::new(self.http.api_key.clone()));
        let router = router(api, auth, &self.http);
        // Not before it can answer: making the routes and their description takes a moment.
        self.announce();
        let open = GracefulShutdown::new();
        let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = accept(&self.socket, &slots) => accepted,
            };
            match accepted {
                Ok((stream, slot)) => {
                    let answer = answer(stream, self.tls.clone(), router.clone(), open.watcher());
                    tokio::spawn(async move {
                        answer.await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    warn!(%error, "management API cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.socket);
        if timeout(CLOSE_TIMEOUT, open.shutdown()).await.is_err() {
            warn!("management API closed with requests still open");
        }
    }

    fn announce(&self) {
        let Ok(address) = self.address() else { return };
        let scheme = match self.tls {
            Some(_) => "https",
            None => "http",
        };
        info!("management API on {scheme}://{address}");
        info!(
            "try: curl {scheme}://{address}/stats (also /sinks, /sources, /health); Ctrl-C drains and stops"
        );
    }
}

async fn accept(
    socket: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await;
    let slot = slot.map_err(io::Error::other)?;
    let (stream, _) = socket.accept().await?;
    // Answers are small; waiting for a fuller packet would only delay them.
    let _ = stream.set_nodelay(true);
    Ok((stream, slot))
}

/// One connection, from the handshake to its end.
async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    tls: Option<TlsAcceptor>,
    router: Router,
    open: Watcher,
) {
    let stream = WriteTimeout::new(stream, WRITE_TIMEOUT);
    let Some(tls) = tls else {
        return converse(stream, router, open).await;
    };
    match timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => converse(stream, router, open).await,
        Ok(Err(error)) => debug!(%error, "TLS handshake refused"),
        Err(_) => debug!("TLS handshake took too long"),
    }
}

/// Requests and answers on one connection.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    open: Watcher,
) {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    let connection =
        builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = open.watch(connection).await {
        debug!(%error, "connection to the management API ended");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
        time::{Instant, sleep},
    };

    use super::*;

    const LENGTH: usize = 1 << 16;

    fn router() -> Router {
        Router::new().route("/", get(async || "x".repeat(LENGTH)))
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_its_answer_does_not_keep_its_connection() {
        let (mut client, server) = duplex(1024);
        let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
        client.write_all(request).await.unwrap();
        let open = GracefulShutdown::new();
        let began = Instant::now();
        let answered = answer(server, None, router(), open.watcher());
        timeout(WRITE_TIMEOUT * 2, answered).await.unwrap();
        assert!(began.elapsed() >= WRITE_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_slowly_gets_the_whole_answer() {
        let (mut client, server) = duplex(1024);
        let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        client.write_all(request).await.unwrap();
        let open = GracefulShutdown::new();
        tokio::spawn(answer(server, None, router(), open.watcher()));
        let (mut piece, mut taken) = ([0; 1024], 0);
        loop {
            sleep(WRITE_TIMEOUT / 2).await;
            match client.read(&mut piece).await.unwrap() {
                0 => break,
                count => taken += count,
            }
        }
        assert!(taken > LENGTH, "{taken}");
    }
}
