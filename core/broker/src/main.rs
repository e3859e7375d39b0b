//! The broker in a process of its own, for tests, benchmarks and trying things out. Prints the address on
//! standard output when it is ready; ends in order on SIGINT or SIGTERM.

use std::{
    error::Error,
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    path::PathBuf,
    pin::pin,
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use iggy_connector_broker::{Broker, Config, SyncPolicy};
use secrecy::SecretString;

/// An embedded Iggy broker, on its own.
#[derive(Debug, Parser)]
#[command(name = "iggy-connectors-broker", version)]
struct Arguments {
    /// Address to listen on; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// Data directory.
    #[arg(long, default_value = "local_data")]
    dir: PathBuf,
    /// Name of the only user.
    #[arg(long, default_value = "iggy")]
    username: String,
    /// Environment variable that holds the user's password; `iggy` when it is not set.
    #[arg(long, default_value = "IGGY_PASSWORD")]
    password_env: String,
    /// Environment variable that holds a personal access token.
    #[arg(long, default_value = "IGGY_TOKEN")]
    token_env: String,
    /// When writes are forced to the disk: `os`, `every_batch` or a duration such as `100ms`.
    #[arg(long, default_value = "os", value_parser = sync_policy)]
    sync: SyncPolicy,
    /// Bytes of a segment file.
    #[arg(long, default_value_t = Config::default().segment_size)]
    segment_size: u64,
    /// How often expired and oversized topics are trimmed.
    #[arg(long, default_value = "1m", value_parser = humantime::parse_duration)]
    retention_interval: Duration,
    /// Connections beyond this number are refused.
    #[arg(long, default_value_t = Config::default().max_connections)]
    max_connections: usize,
    /// How long an empty poll waits for a message.
    #[arg(long, default_value = "10ms", value_parser = humantime::parse_duration)]
    poll_hold: Duration,
}

impl Arguments {
    fn config(self) -> Config {
        let secret = |name: &str| {
            std::env::var(name)
                .ok()
                .filter(|value| !value.is_empty())
                .map(SecretString::from)
        };
        Config {
            listen: self.listen,
            dir: self.dir,
            username: self.username,
            password: secret(&self.password_env).unwrap_or(Config::default().password),
            token: secret(&self.token_env),
            sync: self.sync,
            segment_size: self.segment_size,
            retention_interval: self.retention_interval,
            max_connections: self.max_connections,
            poll_hold: self.poll_hold,
            ..Config::default()
        }
    }
}

fn sync_policy(text: &str) -> Result<SyncPolicy, String> {
    match text {
        "os" => Ok(SyncPolicy::Os),
        "every_batch" => Ok(SyncPolicy::EveryBatch),
        duration => humantime::parse_duration(duration)
            .map(SyncPolicy::Interval)
            .map_err(|error| {
                format!("{error}: use `os`, `every_batch` or a duration such as `100ms`")
            }),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| "info".into()))
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();
    match run(arguments.config()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> Result<(), Box<dyn Error>> {
    // Before anybody can know that it runs.
    let mut stop = pin!(stop_signal()?);
    let handle = tokio::select! {
        started = Broker::start(config) => started?,
        stopped = &mut stop => return Ok(stopped?),
    };
    if let Err(error) = tell(handle.address()) {
        tracing::warn!("nobody can read the address on standard output: {error}");
    }
    stop.await?;
    handle.shutdown().await;
    Ok(())
}

fn tell(address: SocketAddr) -> io::Result<()> {
    let mut output = io::stdout();
    writeln!(output, "listening on {address}")?;
    output.flush()
}

/// An error with everything that led to it.
fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

/// Listens for the signals at once; what is returned waits for one.
#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = io::Result<()>>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}

#[cfg(not(unix))]
fn stop_signal() -> io::Result<impl Future<Output = io::Result<()>>> {
    Ok(tokio::signal::ctrl_c())
}
