//! The embedded broker in a process of its own, for tests that kill it, starve it or give it another password.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use super::port::Port;

/// A broker in a process of its own, with its address and data kept from one process to the next. Dropping it kills it.
pub struct BrokerProcess {
    address: String,
    _port: Port,
    password: String,
    child: Option<Child>,
    dir: TempDir,
}

impl BrokerProcess {
    pub async fn start() -> Self {
        let port = Port::reserve();
        let mut broker = Self {
            address: port.address().to_string(),
            _port: port,
            password: "iggy".to_owned(),
            child: None,
            dir: TempDir::new().unwrap(),
        };
        broker.again().await;
        broker
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Starts the process again where it was, and waits until it listens.
    pub async fn again(&mut self) {
        let mut child = Command::new(program())
            .args(["--listen", &self.address, "--dir"])
            .arg(self.data())
            .env("IGGY_PASSWORD", &self.password)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap();
        assert!(
            line.is_some(),
            "the broker at {} does not start",
            self.address
        );
        self.child = Some(child);
    }

    /// `kill -9`.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.unwrap();
        }
    }

    /// For example `STOP`, after which it answers nothing until `CONT`.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = self.child.as_ref().and_then(Child::id).unwrap();
        let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Forgets everything. Only between two processes.
    pub fn wipe(&self) {
        assert!(self.child.is_none(), "the broker is running");
        std::fs::remove_dir_all(self.data()).unwrap();
    }

    /// The password of the processes that are started from now on.
    pub fn set_password(&mut self, password: &str) {
        password.clone_into(&mut self.password);
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }
}

/// The broker's program beside the daemon's. It belongs to another package: where only this one was asked for, it is built now.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let daemon = Path::new(env!("CARGO_BIN_EXE_iggy-connectors"));
        let program = daemon.with_file_name("iggy-connectors-broker");
        if !program.exists() {
            let built = std::process::Command::new(env!("CARGO"))
                .args(["build", "--quiet", "-p", "iggy_connector_broker"])
                .status();
            assert!(built.is_ok_and(|status| status.success()) && program.exists());
        }
        program
    })
}
