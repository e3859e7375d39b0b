//! The processes of a measurement: the broker, the daemon, and what they use.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
};

/// A broker in a process of its own, with a fresh data folder.
pub struct Broker {
    pub address: String,
    _child: Child,
    _dir: TempDir,
}

/// A daemon in a process of its own.
pub struct Daemon {
    pub api: String,
    child: Child,
    _dir: TempDir,
}

impl Broker {
    pub async fn start() -> Result<Self, String> {
        let dir = TempDir::new().map_err(|error| error.to_string())?;
        let binary = beside_daemon("iggy-connectors-broker");
        let mut child = Command::new(&binary)
            .args(["--listen", "127.0.0.1:0", "--dir"])
            .arg(dir.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{}: {error}", binary.display()))?;
        let stdout = child.stdout.take().ok_or("no output")?;
        let address = after(stdout, "listening on ").await?;
        Ok(Self {
            address,
            _child: child,
            _dir: dir,
        })
    }
}

impl Daemon {
    /// `connector` is a connector in TOML, inline.
    pub async fn start(broker: &str, connector: &str) -> Result<Self, String> {
        let dir = TempDir::new().map_err(|error| error.to_string())?;
        let config = dir.path().join("config.toml");
        let text = format!(
            "[iggy]\naddress = \"{broker}\"\n[http]\naddress = \"127.0.0.1:0\"\n{connector}"
        );
        fs::write(&config, text).map_err(|error| error.to_string())?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_iggy-connectors"))
            .arg("--config")
            .arg(&config)
            .current_dir(dir.path())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| error.to_string())?;
        let stderr = child.stderr.take().ok_or("no log")?;
        let api = after(stderr, "management API on ").await?;
        Ok(Self {
            api,
            child,
            _dir: dir,
        })
    }

    /// Processor seconds that the daemon has used so far.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = self.proc("stat");
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks = fields
            .split_ascii_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|tick| tick.parse::<f64>().ok());
        ticks.sum::<f64>() / rustix::param::clock_ticks_per_second() as f64
    }

    /// The most memory that the daemon has had resident, in KiB.
    pub fn peak_kib(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok())
            .unwrap_or_default()
    }

    /// Stops it with SIGTERM and waits for it.
    pub async fn stop(mut self) -> Result<(), String> {
        let pid = self
            .child
            .id()
            .and_then(|pid| rustix::process::Pid::from_raw(pid as i32))
            .ok_or("no process")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .map_err(|error| error.to_string())?;
        let status = self.child.wait().await.map_err(|error| error.to_string())?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("the daemon ended with {status}"))
        }
    }

    fn proc(&self, file: &str) -> String {
        let pid = self.child.id().unwrap_or_default();
        fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
    }
}

/// A program or library built into the same profile as the daemon.
pub fn beside_daemon(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_iggy-connectors")).with_file_name(name)
}

/// Reads lines until one has `marker`, returns the word after it, and goes on reading so that the process never waits.
async fn after(
    output: impl AsyncRead + Unpin + Send + 'static,
    marker: &str,
) -> Result<String, String> {
    let mut lines = BufReader::new(output).lines();
    let mut seen = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some((_, rest)) = line.split_once(marker) {
            let word = rest
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .to_owned();
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(word);
        }
        seen.push(line);
    }
    Err(format!("ended before it was ready:\n{}", seen.join("\n")))
}
