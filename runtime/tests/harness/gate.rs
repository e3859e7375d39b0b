//! A proxy before a broker that knows where a request ends: it stops a chosen request before the broker gets it, or the broker's
//! answer before the daemon gets it, and keeps it there until the daemon is gone. It can also make every answer late.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Notify, oneshot},
    task::JoinHandle,
};

/// A running gate. Dropping it closes it.
pub struct Gate {
    address: SocketAddr,
    rules: Arc<Rules>,
    task: JoinHandle<()>,
}

/// A kind of request, by its number in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Request {
    Send = 160,
    StoreOffset = 161,
}

/// On which side of the broker's work a request is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The broker never gets it.
    Before,
    /// The broker has done it, and nobody hears of it.
    After,
}

/// What becomes of a request that is refused.
#[derive(Clone, Copy)]
enum Refusal {
    Broken,
    Error(u32),
}

struct Rules {
    target: String,
    trap: Mutex<Option<Trap>>,
    /// In milliseconds.
    delay: AtomicU64,
    refused: Mutex<Option<(Request, Refusal)>>,
    cut: Notify,
}

struct Trap {
    request: Request,
    side: Side,
    /// How many more get through.
    passes: u32,
    caught: oneshot::Sender<()>,
}

/// Where every request has its length and its kind, in a header of this length.
const HEADER: usize = 256;
const LENGTH: usize = 48;
const OPERATION: usize = 176;
/// Where an answer says that it is one, to what, and how it went.
const COMMAND: usize = 60;
const ANSWER: u8 = 8;
const ANSWERED: usize = 208;
const STATUS: usize = 216;

impl Gate {
    pub async fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let rules = Arc::new(Rules {
            target: target.to_owned(),
            trap: Mutex::default(),
            delay: AtomicU64::new(0),
            refused: Mutex::default(),
            cut: Notify::new(),
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

    /// Stops the request of this kind that comes after so many others. What is returned resolves when it stands still.
    pub fn catch(&self, request: Request, side: Side, passes: u32) -> oneshot::Receiver<()> {
        let (caught, receiver) = oneshot::channel();
        *lock(&self.rules.trap) = Some(Trap {
            request,
            side,
            passes,
            caught,
        });
        receiver
    }

    /// Breaks the connections that are held.
    pub fn cut(&self) {
        self.rules.cut.notify_waiters();
    }

    /// From now on every request of this kind breaks its connection before the broker gets it; none does with `None`.
    pub fn refuse(&self, request: Option<Request>) {
        *lock(&self.rules.refused) = request.map(|request| (request, Refusal::Broken));
    }

    /// From now on every request of this kind is answered with this error of the protocol, and the broker does not get it.
    pub fn refuse_with(&self, request: Request, code: u32) {
        *lock(&self.rules.refused) = Some((request, Refusal::Error(code)));
    }

    /// Every answer comes so much later.
    pub fn delay(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).unwrap();
        self.rules.delay.store(millis, Ordering::SeqCst);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Rules {
    fn refusal(&self, operation: u8) -> Option<Refusal> {
        let (request, refusal) = (*lock(&self.refused))?;
        (request as u8 == operation).then_some(refusal)
    }

    /// The trap, when this request is the one that it waits for.
    fn springs(&self, operation: u8) -> Option<Trap> {
        let mut trap = lock(&self.trap);
        let waiting = trap.as_mut()?;
        if waiting.request as u8 != operation {
            return None;
        }
        if waiting.passes > 0 {
            waiting.passes -= 1;
            return None;
        }
        trap.take()
    }
}

async fn accept(listener: TcpListener, rules: Arc<Rules>) {
    while let Ok((client, _)) = listener.accept().await {
        let rules = rules.clone();
        tokio::spawn(async move {
            if let Ok(broker) = TcpStream::connect(&rules.target).await {
                let _ = (client.set_nodelay(true), broker.set_nodelay(true));
                // It ends with an error: one of the two has closed the connection.
                let _ = relay(client, broker, &rules).await;
            }
        });
    }
}

/// One request is answered before the next one comes; only the protocol's client may end it at any moment.
async fn relay(mut client: TcpStream, mut broker: TcpStream, rules: &Rules) -> std::io::Result<()> {
    loop {
        let request = frame(&mut client).await?;
        match rules.refusal(request[OPERATION]) {
            Some(Refusal::Broken) => return Ok(()),
            Some(Refusal::Error(code)) => {
                client.write_all(&error(request[OPERATION], code)).await?;
                continue;
            }
            None => {}
        }
        let trap = rules.springs(request[OPERATION]);
        let (before, after) = match trap {
            Some(trap) if trap.side == Side::Before => (Some(trap), None),
            other => (None, other),
        };
        if let Some(trap) = before {
            return hold(trap, client, rules).await;
        }
        broker.write_all(&request).await?;
        let answer = frame(&mut broker).await?;
        if let Some(trap) = after {
            return hold(trap, client, rules).await;
        }
        let delay = rules.delay.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(delay)).await;
        client.write_all(&answer).await?;
    }
}

/// Until the daemon closes the connection, by dying or because it has waited long enough, or until it is cut.
async fn hold(trap: Trap, mut client: TcpStream, rules: &Rules) -> std::io::Result<()> {
    let mut cut = std::pin::pin!(rules.cut.notified());
    cut.as_mut().enable();
    // Whoever set the trap may have given up.
    let _ = trap.caught.send(());
    tokio::select! {
        gone = client.read_u8() => gone.map(|_| ()),
        () = cut => Ok(()),
    }
}

async fn frame(from: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut frame = vec![0; HEADER];
    from.read_exact(&mut frame).await?;
    let length = u32::from_le_bytes(frame[LENGTH..LENGTH + 4].try_into().unwrap());
    frame.resize(HEADER.max(length as usize), 0);
    from.read_exact(&mut frame[HEADER..]).await?;
    Ok(frame)
}

/// An answer that is an error and nothing else.
fn error(operation: u8, code: u32) -> Vec<u8> {
    let mut frame = vec![0; HEADER];
    frame[LENGTH..LENGTH + 4].copy_from_slice(&(HEADER as u32).to_le_bytes());
    frame[COMMAND] = ANSWER;
    frame[ANSWERED] = operation;
    frame[STATUS..STATUS + 4].copy_from_slice(&code.to_le_bytes());
    frame
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
