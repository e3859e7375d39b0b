//! Fixture plugins for tests of the fence: found by the product's own lookup, compiled from C, loaded into registries that share nothing.
//!
//! The Rust ones are dev-dependencies, so cargo has built their shared libraries into the folder of the running test. Each [`Plugins`]
//! loads copies of its own: what one test does to a library no other one sees.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use iggy_connector_message::{Schema, TopicMetadata};
use iggy_connectors::{
    config::spec::{Deadlines, Direction},
    pipeline::{
        Batch, Failure, FailureKind, FlushReason, FlushRequest, Message, Rank, SinkPlugin as _,
    },
    plugin::{self, Library, LoadError, Registry},
};
use serde_json::Value;
use tempfile::TempDir;

/// Long enough for everything that is expected to happen, on a machine that does much else.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A registry of its own, with a folder for whatever a test wants to keep.
pub struct Plugins {
    pub folder: TempDir,
    pub registry: Registry,
}

impl Plugins {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let registry = Registry::new(folder.path(), 1).expect("a registry");
        Self { folder, registry }
    }

    /// A path inside the test's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The test's own copy of a fixture plugin: a build that runs beside the test may replace the original, and another content is
    /// another library.
    pub fn fixture(&self, name: &str) -> PathBuf {
        let copy = self.path(&format!("fixture_{name}.so"));
        if !copy.exists() {
            std::fs::copy(located(name), &copy).expect("a fixture can be copied");
        }
        copy
    }

    pub async fn sink_library(&self, name: &str) -> Library {
        self.load(&self.fixture(name), Direction::Sink)
            .await
            .unwrap_or_else(|error| panic!("{error}"))
    }

    pub async fn source_library(&self, name: &str) -> Library {
        self.load(&self.fixture(name), Direction::Source)
            .await
            .unwrap_or_else(|error| panic!("{error}"))
    }

    pub async fn load(&self, path: &Path, direction: Direction) -> Result<Library, LoadError> {
        self.registry.load(path, direction).await
    }

    /// Compiles a C fixture with these macros defined.
    pub fn compile(&self, source: &str, defines: &[&str]) -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let name = format!("lib{}.so", uuid::Uuid::new_v4());
        let output = self.path(&name);
        let compiled = Command::new(&compiler)
            .args([
                "-std=c11",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-pedantic",
                "-shared",
                "-fPIC",
                "-pthread",
            ])
            .args(defines.iter().map(|define| format!("-D{define}")))
            .arg("-I")
            .arg(root.join("../core/abi/include"))
            .arg("-o")
            .arg(&output)
            .arg(root.join("tests/plugins").join(source))
            .output()
            .unwrap_or_else(|error| panic!("this test needs a C compiler, `{compiler}`: {error}"));
        assert!(
            compiled.status.success(),
            "{}",
            String::from_utf8_lossy(&compiled.stderr)
        );
        output
    }
}

/// The file of a fixture plugin, as cargo has built it.
fn located(name: &str) -> PathBuf {
    plugin::locate(name, Path::new(""), &[]).unwrap_or_else(|error| panic!("{error}"))
}

/// Deadlines that nothing in a test reaches unless it hangs.
pub fn patient() -> Deadlines {
    Deadlines {
        open: PATIENCE,
        consume: PATIENCE,
        poll: None,
        close: PATIENCE,
    }
}

/// How long a call may take that is meant to miss its deadline.
pub const HASTE: Duration = Duration::from_millis(100);

/// Deadlines that a call which hangs at this entry point reaches at once. All others stay patient: the machine may be slow.
pub fn hasty_at(entry: &str) -> Deadlines {
    let mut deadlines = patient();
    match entry {
        "open" => deadlines.open = HASTE,
        "poll" => deadlines.poll = Some(HASTE),
        "close" => deadlines.close = HASTE,
        _ => deadlines.consume = HASTE,
    }
    deadlines
}

pub async fn open_sink(
    library: &Library,
    config: &Value,
    deadlines: Deadlines,
) -> Result<plugin::Sink, Failure> {
    plugin::Sink::open(library, open(config, deadlines)).await
}

pub async fn open_source(
    library: &Library,
    config: &Value,
    deadlines: Deadlines,
) -> Result<plugin::Source, Failure> {
    plugin::Source::open(library, open(config, deadlines)).await
}

fn open(config: &Value, deadlines: Deadlines) -> plugin::Open<'_> {
    plugin::Open {
        key: "tested",
        config,
        state: None,
        deadlines,
    }
}

/// A flush of everything, as before the end.
pub fn everything() -> FlushRequest {
    FlushRequest {
        reason: FlushReason::Stop,
        partition: None,
    }
}

/// How a sink fails in a message that says what to do. A call that is cancelled before the plugin has begun with it has done nothing, and
/// is made again.
pub async fn failed_in(sink: &plugin::Sink, message: &str) -> Failure {
    for _ in 0..100 {
        let failed = sink.consume(batch([message]), Rank::First).await;
        let failure = failed.expect_err("a failure");
        if failure.kind != FailureKind::Transient {
            return failure;
        }
    }
    panic!("the plugin never began with {message}");
}

/// A batch of text messages.
pub fn batch<'a>(payloads: impl IntoIterator<Item = &'a str>) -> Arc<Batch> {
    let messages = (0..).zip(payloads).map(|(offset, payload)| Message {
        id: u128::from(offset) << 64 | 1,
        offset,
        checksum: 0,
        timestamp: 1,
        origin_timestamp: 2,
        headers: Bytes::new(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    });
    Arc::new(Batch {
        topic: Arc::new(TopicMetadata {
            stream: "stream".to_owned(),
            topic: "topic".to_owned(),
        }),
        partition_id: 3,
        current_offset: 9,
        schema: Schema::Text,
        messages: messages.collect(),
    })
}

/// Waits until a file is there, and returns its text.
pub async fn text_of(path: &Path) -> String {
    let wait = async {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        std::fs::read_to_string(path).expect("a readable file")
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("`{}` never appeared", path.display()))
}

/// Waits until something is so.
pub async fn until(is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("what a test waits for comes about");
}
