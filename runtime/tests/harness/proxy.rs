//! A TCP proxy before a broker that breaks connections when told to, stops reading and answering, or speaks TLS.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

/// A running proxy. Dropping it breaks what goes through it.
pub struct Proxy {
    address: SocketAddr,
    rules: Arc<Rules>,
    task: JoinHandle<()>,
}

struct Rules {
    target: String,
    tls: Option<TlsAcceptor>,
    /// Bytes of requests that still get through before the connection breaks; negative is no limit.
    requests: AtomicI64,
    /// The next answer is lost, together with its connection.
    is_swallowing: AtomicBool,
    cut: Notify,
    /// Nothing is read and nothing answered.
    frozen: watch::Sender<bool>,
    /// How many bytes of requests are taken of each connection.
    taken: watch::Sender<u64>,
    /// Bytes of requests so far.
    passed: AtomicU64,
}

/// A certificate authority of its own, in a file.
pub struct Authority {
    pub ca_file: PathBuf,
    _dir: TempDir,
}

impl Proxy {
    pub async fn start(target: &str) -> Self {
        Self::listen(target, None).await
    }

    /// Speaks TLS as `localhost`.
    pub async fn start_tls(target: &str) -> (Self, Authority) {
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let dir = TempDir::new().unwrap();
        let ca_file = dir.path().join("ca.pem");
        std::fs::write(&ca_file, certified.cert.pem()).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(
            certified.signing_key.serialize_der(),
        ));
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        let proxy = Self::listen(target, Some(TlsAcceptor::from(Arc::new(config)))).await;
        (proxy, Authority { ca_file, _dir: dir })
    }

    async fn listen(target: &str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let rules = Arc::new(Rules {
            target: target.to_owned(),
            tls,
            requests: AtomicI64::new(-1),
            is_swallowing: AtomicBool::new(false),
            cut: Notify::new(),
            frozen: watch::channel(false).0,
            taken: watch::channel(u64::MAX).0,
            passed: AtomicU64::new(0),
        });
        Self {
            address: listener.local_addr().unwrap(),
            task: tokio::spawn(accept(listener, rules.clone())),
            rules,
        }
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Breaks all connections.
    pub fn cut(&self) {
        self.rules.cut.notify_waiters();
    }

    /// Breaks the connection in the middle of a request, after so many more bytes of requests.
    pub fn cut_after(&self, bytes: i64) {
        self.rules.requests.store(bytes, Ordering::SeqCst);
    }

    /// Lets the next request through and breaks the connection instead of answering.
    pub fn swallow_answer(&self) {
        self.rules.is_swallowing.store(true, Ordering::SeqCst);
    }

    /// Takes connections and does nothing with them, those that there are included.
    pub fn freeze(&self) {
        self.rules.frozen.send_replace(true);
    }

    /// Takes no more than so many bytes of requests from each connection, about: more are left unread until a larger number is given.
    pub fn take_only(&self, bytes: u64) {
        self.rules.taken.send_replace(bytes);
    }

    /// Goes on where it was frozen.
    pub fn thaw(&self) {
        self.rules.frozen.send_replace(false);
    }

    /// How many bytes of requests went through.
    pub fn passed(&self) -> u64 {
        self.rules.passed.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

impl Rules {
    /// As long as the proxy is frozen, neither begun nor finished.
    async fn read(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        buffer: &mut [u8],
    ) -> std::io::Result<usize> {
        let mut frozen = self.frozen.subscribe();
        let _ = frozen.wait_for(|frozen| !frozen).await;
        let read = from.read(buffer).await;
        let _ = frozen.wait_for(|frozen| !frozen).await;
        read
    }
}

async fn accept(listener: TcpListener, rules: Arc<Rules>) {
    while let Ok((client, _)) = listener.accept().await {
        let rules = rules.clone();
        tokio::spawn(async move {
            let cut = rules.cut.notified();
            let Ok(broker) = TcpStream::connect(&rules.target).await else {
                return;
            };
            let _ = (client.set_nodelay(true), broker.set_nodelay(true));
            let relayed = async {
                match &rules.tls {
                    Some(tls) => match tls.accept(client).await {
                        Ok(client) => relay(client, broker, &rules).await,
                        Err(_refused) => {}
                    },
                    None => relay(client, broker, &rules).await,
                }
            };
            tokio::select! {
                () = relayed => {}
                () = cut => {}
            }
        });
    }
}

async fn relay(client: impl AsyncRead + AsyncWrite, broker: TcpStream, rules: &Rules) {
    let (from_client, to_client) = tokio::io::split(client);
    let (from_broker, to_broker) = broker.into_split();
    tokio::select! {
        () = requests(from_client, to_broker, rules) => {}
        () = answers(from_broker, to_client, rules) => {}
    }
}

async fn requests(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    rules: &Rules,
) {
    let mut buffer = vec![0; 64 * 1024];
    let (mut limit, mut taken) = (rules.taken.subscribe(), 0);
    while let Ok(read @ 1..) = rules.read(&mut from, &mut buffer).await {
        taken += read as u64;
        let _ = limit.wait_for(|limit| taken <= *limit).await;
        let left = rules.requests.load(Ordering::SeqCst);
        let allowed = usize::try_from(left).unwrap_or(usize::MAX).min(read);
        if to.write_all(&buffer[..allowed]).await.is_err() {
            return;
        }
        rules.passed.fetch_add(allowed as u64, Ordering::SeqCst);
        if left >= 0 {
            rules.requests.fetch_sub(allowed as i64, Ordering::SeqCst);
        }
        if allowed < read {
            rules.requests.store(-1, Ordering::SeqCst);
            return;
        }
    }
}

async fn answers(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, rules: &Rules) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = rules.read(&mut from, &mut buffer).await {
        if rules.is_swallowing.swap(false, Ordering::SeqCst)
            || to.write_all(&buffer[..read]).await.is_err()
        {
            return;
        }
    }
}
