//! Settings of one broker. The daemon fills them from `[iggy.embedded]`, the binary from its arguments,
//! tests from `Config::default()` with a temporary directory.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use secrecy::SecretString;

use crate::Error;

const MIN_SEGMENT_SIZE: u64 = 64 * 1024;
const MAX_SEGMENT_SIZE: u64 = 1024 * 1024 * 1024;
const MIN_FRAME: usize = 64 * 1024;
const MAX_FRAME: usize = 1024 * 1024 * 1024;

/// Everything a broker needs to know before it starts.
///
/// ```
/// use iggy_connector_broker::Config;
///
/// let config = Config { dir: "local_data".into(), ..Config::default() };
/// assert!(config.listen.ip().is_loopback());
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on. Port 0 picks a free one. Default `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// Data directory, created when missing, used by one broker at a time. Default `local_data`.
    pub dir: PathBuf,
    /// Name of the only user. Default `iggy`.
    pub username: String,
    /// Password of the only user. Default `iggy`.
    pub password: SecretString,
    /// Personal access token that signs in as the same user; `None` refuses every token.
    pub token: Option<SecretString>,
    /// When written batches are forced to stable storage. Default [`SyncPolicy::Os`].
    pub sync: SyncPolicy,
    /// A segment file is sealed when it would grow beyond this many bytes. Default 256 MiB.
    pub segment_size: u64,
    /// How often expired and oversized topics are trimmed. Default one minute.
    pub retention_interval: Duration,
    /// Connections beyond this number are closed at once. Default 1024.
    pub max_connections: usize,
    /// An empty poll waits this long for a message before it is answered; zero answers at once. Default 10 ms.
    pub poll_hold: Duration,
    /// Largest request in bytes, header included. Default 64 MiB, which lets the largest message through.
    pub max_frame: usize,
    /// A group member that sends nothing for this long is disconnected, so that others get its partitions.
    /// Clients ping every 5 s. Default 30 s.
    pub idle_member: Duration,
    /// A partition that moves to a joining member waits this long for its old owner to store what it has
    /// polled. Default 30 s.
    pub handover_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            dir: PathBuf::from("local_data"),
            username: "iggy".to_owned(),
            password: SecretString::from("iggy"),
            token: None,
            sync: SyncPolicy::Os,
            segment_size: 256 * 1024 * 1024,
            retention_interval: Duration::from_secs(60),
            max_connections: 1024,
            poll_hold: Duration::from_millis(10),
            max_frame: 64 * 1024 * 1024,
            idle_member: Duration::from_secs(30),
            handover_timeout: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// Checks the bounds that the broker relies on.
    ///
    /// # Errors
    /// [`Error::Setting`] names the first setting that is out of bounds and what it may be.
    pub fn validate(&self) -> Result<(), Error> {
        let segment = MIN_SEGMENT_SIZE..=MAX_SEGMENT_SIZE;
        require(
            segment.contains(&self.segment_size),
            "segment_size",
            "64 KiB to 1 GiB",
        )?;
        let frame = MIN_FRAME..=MAX_FRAME;
        require(
            frame.contains(&self.max_frame),
            "max_frame",
            "64 KiB to 1 GiB",
        )?;
        require(
            !self.username.is_empty(),
            "username",
            "a name of at least one character",
        )?;
        require(self.max_connections > 0, "max_connections", "at least 1")?;
        require(
            !self.retention_interval.is_zero(),
            "retention_interval",
            "longer than zero",
        )?;
        require(
            self.sync != SyncPolicy::Interval(Duration::ZERO),
            "sync",
            "`os`, `every_batch` or a duration longer than zero",
        )
    }
}

fn require(holds: bool, setting: &'static str, allowed: &'static str) -> Result<(), Error> {
    if holds {
        return Ok(());
    }
    Err(Error::Setting { setting, allowed })
}

/// When written batches and stored offsets are forced to stable storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncPolicy {
    /// The operating system decides: survives a killed process, not a power loss.
    #[default]
    Os,
    /// Before each reply: survives a power loss.
    EveryBatch,
    /// At this interval: a power loss costs at most that much.
    Interval(Duration),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a sound configuration wrong.
    type Spoil = fn(&mut Config);

    #[test]
    fn settings_out_of_bounds_are_named() {
        let table: [(&str, Spoil); 7] = [
            ("segment_size", |config| config.segment_size = 1),
            ("segment_size", |config| {
                config.segment_size = 2 * MAX_SEGMENT_SIZE
            }),
            ("max_frame", |config| config.max_frame = 1),
            ("username", |config| config.username.clear()),
            ("max_connections", |config| config.max_connections = 0),
            ("retention_interval", |config| {
                config.retention_interval = Duration::ZERO
            }),
            ("sync", |config| {
                config.sync = SyncPolicy::Interval(Duration::ZERO)
            }),
        ];
        for (expected, spoil) in table {
            let mut config = Config::default();
            config.validate().unwrap();
            spoil(&mut config);
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let config = Config {
            password: SecretString::from("hidden"),
            token: Some(SecretString::from("hidden")),
            ..Config::default()
        };
        assert!(!format!("{config:?}").contains("hidden"));
    }
}
