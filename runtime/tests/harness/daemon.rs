//! The daemon in a process of its own: started with a configuration, watched through its output and its API, signalled.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    task::JoinHandle,
    time::Instant,
};

/// Ten times and more of what anything here takes on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running daemon. Dropping it kills it.
pub struct Daemon {
    child: Child,
    stdout: Lines,
    stderr: Lines,
    readers: Vec<JoinHandle<()>>,
    api: String,
}

/// What a process has written so far.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<String>>>);

/// A folder with a configuration, in which daemons are started one after another.
pub struct Home {
    dir: TempDir,
    config: PathBuf,
    env: Vec<(String, String)>,
    /// A program with arguments that starts the daemon in its own place; none when empty.
    launcher: Vec<String>,
}

impl Home {
    /// `config` is a runtime file in TOML. Ports are chosen by the system, data and state stay in the folder.
    pub fn new(config: &str) -> Self {
        Self::within(TempDir::new().unwrap(), config)
    }

    /// As [`Home::new`], in memory where that is possible: what the daemon syncs costs nothing there.
    pub fn in_memory(config: &str) -> Self {
        let memory = "/dev/shm";
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let mounted = mounts.lines().find_map(|line| line.split_once(memory));
        // Daemons load their copies of plugins from their folder.
        let is_usable = mounted.is_some_and(|(_, options)| !options.contains("noexec"));
        let dir = match is_usable {
            true => TempDir::new_in(memory),
            false => TempDir::new(),
        };
        Self::within(dir.unwrap(), config)
    }

    fn within(dir: TempDir, config: &str) -> Self {
        let file = dir.path().join("config.toml");
        std::fs::write(&file, config).unwrap();
        let mut home = Self {
            dir,
            config: file,
            env: Vec::new(),
            launcher: Vec::new(),
        };
        home.set("IGGY_CONNECTORS_HTTP_ADDRESS", "127.0.0.1:0");
        home.set("IGGY_CONNECTORS_IGGY_ADDRESS", "127.0.0.1:0");
        if !config.contains("shutdown_timeout") {
            // A machine that does much else is given time for an end in order.
            home.set("IGGY_CONNECTORS_RUNTIME_SHUTDOWN_TIMEOUT", "45s");
        }
        home
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Sets an environment variable of the daemons started from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Has the daemons started from now on by a program that makes itself the daemon: its arguments are followed by the daemon's.
    pub fn launch_with(&mut self, launcher: &[&str]) {
        self.launcher = launcher.iter().map(|word| (*word).to_owned()).collect();
    }

    /// Starts a daemon and waits until its API listens.
    pub async fn start(&self) -> Daemon {
        let mut daemon = self.spawn();
        daemon.listening().await;
        daemon
    }

    /// Starts a daemon and does not wait for anything.
    pub fn spawn(&self) -> Daemon {
        // Not in the first request, which may be one that is timed.
        client();
        let daemon = env!("CARGO_BIN_EXE_iggy-connectors").to_owned();
        let mut words = self.launcher.iter().cloned().chain([daemon]);
        let mut child = Command::new(words.next().unwrap())
            .args(words)
            .arg("--config")
            .arg(&self.config)
            .current_dir(self.dir.path())
            .env_remove("RUST_LOG")
            .envs(self.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (stdout, stderr) = (Lines::default(), Lines::default());
        let readers = vec![
            tokio::spawn(stdout.clone().collect(child.stdout.take().unwrap())),
            tokio::spawn(stderr.clone().collect(child.stderr.take().unwrap())),
        ];
        Daemon {
            child,
            stdout,
            stderr,
            readers,
            api: String::new(),
        }
    }
}

impl Daemon {
    pub fn stdout(&self) -> &Lines {
        &self.stdout
    }

    pub fn stderr(&self) -> &Lines {
        &self.stderr
    }

    /// Waits until the API of a daemon that was only spawned listens.
    pub async fn listening(&mut self) {
        let line = self.stderr.wait_for("management API on http").await;
        let at = line.find("http").unwrap();
        line[at..]
            .split_whitespace()
            .next()
            .unwrap()
            .clone_into(&mut self.api);
    }

    pub fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// The address of a route.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.api)
    }

    pub async fn get(&self, path: &str) -> Value {
        client()
            .get(self.url(path))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    /// Posts nothing to a route: the status of the answer, and what it says.
    pub async fn post(&self, path: &str) -> (u16, Value) {
        let request = client().post(self.url(path));
        let reply = request.timeout(PATIENCE).send().await.unwrap();
        (reply.status().as_u16(), reply.json().await.unwrap())
    }

    /// Sends a request, with a body where there is one: the status of the answer, and what it says; null where that is no JSON.
    pub async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let mut request = client().request(method, self.url(path));
        if let Some(body) = body {
            request = request.json(body);
        }
        let reply = request.timeout(PATIENCE).send().await.unwrap();
        let status = reply.status().as_u16();
        let text = reply.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    /// Asks something of a connector, and waits until it is `then`, as it is shown.
    pub async fn ask(&self, connector: &str, command: &str, then: &str) -> Value {
        let (status, answer) = self.post(&format!("{connector}/{command}")).await;
        assert_eq!(status, 202, "{answer}");
        assert!(answer["status"].is_string(), "{answer}");
        let is_done = |found: &Value| found["status"] == then;
        self.wait_for(connector, is_done).await
    }

    /// Waits until `met` holds for what a route answers.
    pub async fn wait_for(&self, path: &str, met: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.get(path).await;
            if met(&found) {
                return found;
            }
            assert!(Instant::now() < deadline, "{found}\n{}", self.stderr.text());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The counts of one connector in `/stats`.
    pub async fn stats(&self, key: &str) -> Value {
        let stats = self.get("/stats").await;
        let connectors = stats["connectors"].as_array().unwrap();
        connectors
            .iter()
            .find(|connector| connector["key"] == key)
            .unwrap()
            .clone()
    }

    /// Waits until `met` holds for the counts of one connector.
    pub async fn wait_for_stats(&self, key: &str, met: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let stats = self.stats(key).await;
            if met(&stats) {
                return stats;
            }
            assert!(Instant::now() < deadline, "{stats}\n{}", self.stderr.text());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid() as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the process to end.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended
            .unwrap_or_else(|_| panic!("the daemon goes on\n{}", self.stderr.text()))
            .unwrap()
    }

    /// Waits until everything that the ended process wrote has been read.
    pub async fn output_closed(&mut self) {
        for reader in self.readers.drain(..) {
            reader.await.unwrap();
        }
    }

    /// Ctrl-C, then the exit code; prints the log when it is not 0.
    pub async fn interrupt(mut self) {
        self.signal(rustix::process::Signal::INT);
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0), "{}", self.stderr.text());
    }

    /// `kill -9`.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// Made once: that takes longer than a request. It keeps no connections, which belong to the runtime of one test.
fn client() -> &'static reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let client = reqwest::Client::builder().pool_max_idle_per_host(0);
        client.build().unwrap()
    })
}

impl Lines {
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub fn text(&self) -> String {
        self.all().join("\n")
    }

    /// Waits until a line contains `part`, and returns it.
    pub async fn wait_for(&self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.all().into_iter().find(|line| line.contains(part)) {
                return line;
            }
            assert!(
                Instant::now() < deadline,
                "no line with {part:?} in:\n{}",
                self.text()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn collect(self, output: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            self.0.lock().unwrap().push(line);
        }
    }
}
