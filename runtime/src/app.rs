//! The composition root: builds the daemon from its configuration, runs it until it is told to stop, and drains it.

mod follow;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::OptionFuture;
use iggy_connector_broker::Broker;
use secrecy::ExposeSecret as _;
use tokio::{
    net::lookup_host,
    signal::unix,
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    api,
    config::{Loaded, Unusable, spec},
    plugin, provider, state,
    supervisor::{Host, Supervisor},
    telemetry::levels::Levels,
};

/// What is kept of the shutdown's time for closing libraries and the API after the connectors, and once more for the broker.
const CLOSING_SHARE: u32 = 10;

/// Signals that come so soon after the first are the same one: who passes on what it is sent, as `timeout` does, may send it to the daemon
/// and to its whole group.
const SAME: Duration = Duration::from_millis(200);

/// A daemon whose connectors have been started.
pub struct App {
    supervisor: Supervisor,
    host: Arc<Host>,
    broker: Option<iggy_connector_broker::Handle>,
    api: Option<JoinHandle<()>>,
    stop_api: CancellationToken,
    watching: Option<JoinHandle<()>>,
    shutdown_timeout: Duration,
}

/// Starts the daemon and runs it until SIGINT or SIGTERM. Returns whether everything was drained in time.
///
/// # Errors
///
/// Something that every connector needs cannot be had: the state folder, the embedded broker, the API's address.
pub async fn run(loaded: Loaded, levels: Levels) -> Result<bool, String> {
    let mut signals =
        Signals::new().map_err(|error| format!("signals cannot be received: {error}"))?;
    let app = tokio::select! {
        biased;
        started = App::start(loaded, levels) => started?,
        signal = signals.next() => {
            info!(signal, "stopped before everything was started");
            return Ok(true);
        }
    };
    let signal = signals.next().await;
    info!(signal, "stopping; a second signal exits at once");
    tokio::select! {
        biased;
        drained = app.stop() => Ok(drained),
        signal = signals.second() => {
            warn!(signal, "exiting at once; what was in flight is delivered again");
            Ok(false)
        }
    }
}

impl App {
    /// Builds everything and starts every enabled connector.
    ///
    /// # Errors
    ///
    /// As [`run`].
    pub async fn start(loaded: Loaded, levels: Levels) -> Result<Self, String> {
        let (runtime, secrets) = (loaded.runtime.clone(), loaded.secrets.clone());
        let state = state::Folder::open(&runtime.state.path).map_err(|error| error.to_string())?;
        let plugins =
            plugin::Registry::probing(&runtime.state.path, runtime.plugins.worker_threads)
                .map_err(|error| {
                    format!(
                        "private copies of plugins in {}: {error}",
                        runtime.state.path.display()
                    )
                })?;
        let listener = match runtime.http.enabled {
            true => Some(api::Listener::bind(runtime.http).await?),
            false => None,
        };
        let reader = loaded.reader.clone();
        let opened = provider::open(loaded)
            .await
            .map_err(|error| with_causes(&error))?;
        let mut iggy = runtime.iggy;
        let broker = start_broker(&mut iggy).await?;
        let host = Arc::new(Host {
            iggy,
            plugins,
            search_paths: runtime.plugins.search_paths,
            state,
            secrets: secrets.clone(),
        });
        let supervisor = supervise(host.clone(), opened.connectors, opened.unusable)?;
        let watching = opened
            .watch
            .map(|watch| tokio::spawn(follow::follow(watch, supervisor.clone())));
        let stop_api = CancellationToken::new();
        let api = listener.map(|listener| {
            let routes = api::Api::new(
                supervisor.clone(),
                opened.provider.clone(),
                reader,
                secrets,
                levels,
            );
            tokio::spawn(listener.serve(routes, stop_api.clone()))
        });
        Ok(Self {
            supervisor,
            host,
            broker,
            api,
            stop_api,
            watching,
            shutdown_timeout: runtime.shutdown_timeout,
        })
    }

    /// Drains the connectors, then closes everything else. Returns whether all of it was done in time.
    pub async fn stop(self) -> bool {
        let deadline = Instant::now() + self.shutdown_timeout;
        let closing = self.shutdown_timeout / CLOSING_SHARE;
        let shares = 1 + u32::from(self.broker.is_some());
        if let Some(watching) = self.watching {
            watching.abort();
        }
        let abandoned = self.supervisor.stop(deadline - closing * shares).await;
        for connector in &abandoned {
            error!(
                connector,
                "abandoned: it did not stop in time; what it had in flight is delivered again"
            );
        }
        self.stop_api.cancel();
        if let Some(api) = self.api {
            // The API bounds its own close; only a panic of ours could be lost here, and it has been logged.
            let _ = api.await;
        }
        let broker = self.broker.map(iggy_connector_broker::Handle::shutdown);
        let (libraries, broker) = tokio::join!(
            self.host.plugins.shutdown(closing),
            ended_by(deadline, OptionFuture::from(broker))
        );
        info!("stopped");
        abandoned.is_empty() && libraries && broker
    }
}

/// Whether the embedded broker, if there is one, has ended in time. What it has not synced is lost only with the machine.
async fn ended_by<T>(deadline: Instant, broker: impl Future<Output = T>) -> bool {
    let ended = timeout_at(deadline, broker).await.is_ok();
    if !ended {
        error!(
            "the embedded broker was not closed within `runtime.shutdown_timeout`: what it has taken is written, but may not be synced to the disk yet"
        );
    }
    ended
}

/// Starts every connector. One that is listed twice would be a mistake of the configuration's readers, and ends the start.
fn supervise(
    host: Arc<Host>,
    connectors: Vec<spec::Connector>,
    unusable: Vec<Unusable>,
) -> Result<Supervisor, String> {
    let supervisor = Supervisor::new(host).map_err(|error| error.to_string())?;
    for connector in connectors {
        supervisor
            .add(connector)
            .map_err(|error| error.to_string())?;
    }
    for connector in unusable {
        let added = supervisor.add_unusable(connector);
        added.map_err(|error| error.to_string())?;
    }
    Ok(supervisor)
}

/// Starts the embedded broker when it is enabled, and points `iggy.address` at where it really listens.
async fn start_broker(
    iggy: &mut spec::Iggy,
) -> Result<Option<iggy_connector_broker::Handle>, String> {
    let Some(embedded) = &iggy.embedded else {
        return Ok(None);
    };
    let listen = embedded
        .address
        .clone()
        .unwrap_or_else(|| iggy.address.clone());
    let config = iggy_connector_broker::Config {
        listen: resolve(&listen).await?,
        dir: embedded.path.clone(),
        username: iggy.username.clone(),
        password: iggy.password.expose_secret().to_owned().into(),
        token: iggy
            .token
            .as_ref()
            .map(|token| token.expose_secret().to_owned().into()),
        sync: match embedded.sync {
            spec::Sync::Os => iggy_connector_broker::SyncPolicy::Os,
            spec::Sync::EveryBatch => iggy_connector_broker::SyncPolicy::EveryBatch,
            spec::Sync::Interval(interval) => iggy_connector_broker::SyncPolicy::Interval(interval),
        },
        segment_size: embedded.segment_size,
        retention_interval: embedded.retention_interval,
        max_connections: embedded.max_connections,
        poll_hold: embedded.poll_hold,
        ..Default::default()
    };
    let broker = Broker::start(config)
        .await
        .map_err(|error| format!("embedded broker at {listen}: {}", with_causes(&error)))?;
    info!(address = %broker.address(), path = %embedded.path.display(), "embedded broker is listening");
    iggy.address = broker.address().to_string();
    Ok(Some(broker))
}

/// The socket address of `host:port`.
async fn resolve(listen: &str) -> Result<SocketAddr, String> {
    if listen.contains("://") {
        return Err(format!(
            "iggy.address = \"{listen}\" is a connection string: set iggy.embedded.address to the host:port that the embedded broker is to listen on"
        ));
    }
    let mut found = lookup_host(listen)
        .await
        .map_err(|error| format!("iggy.address = \"{listen}\": {error}"))?;
    found
        .next()
        .ok_or_else(|| format!("iggy.address = \"{listen}\" has no address"))
}

/// An error and what it came from, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// The signals that stop the daemon.
struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(unix::SignalKind::interrupt())?,
            terminate: unix::signal(unix::SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    /// The next one after the first, which has just come.
    async fn second(&mut self) -> &'static str {
        let first = Instant::now();
        loop {
            let signal = self.next().await;
            if first.elapsed() >= SAME {
                return signal;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_does_not_end_holds_up_the_end_until_the_deadline_and_is_told() {
        let deadline = Instant::now() + Duration::from_secs(3);
        assert!(!ended_by(deadline, std::future::pending::<()>()).await);
        assert_eq!(Instant::now(), deadline);
        assert!(ended_by(deadline, std::future::ready(())).await);
    }
}
