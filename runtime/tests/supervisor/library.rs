//! The supervisor as a library, with loaded plugins and a real broker: connectors that come and go.

use std::{fs, sync::Arc};

use iggy_connectors::{
    config::{
        self,
        spec::{self, Direction},
    },
    plugin, state,
    supervisor::{Handle, Host, Refused, Request, Status, Supervisor},
};
use tempfile::TempDir;
use tokio::time::Instant;

use super::harness::broker::{Broker, PATIENCE, Topic, eventually};

const GROUP: &str = "lines";

/// A source that numbers its messages and a sink that writes them down, under a supervisor.
struct House {
    dir: TempDir,
    supervisor: Supervisor,
    plugins: plugin::Registry,
    topic: Topic,
    sink: Handle,
    source: Handle,
    _broker: Broker,
}

impl House {
    async fn new() -> Self {
        let broker = Broker::start().await;
        let topic = broker.topic(1).await;
        let dir = TempDir::new().unwrap();
        let state = dir.path().join("state");
        let plugins = plugin::Registry::new(&state, 1).unwrap();
        let host = Host {
            secrets: iggy_connectors::config::Secrets::default(),
            iggy: broker.iggy(),
            plugins: plugins.clone(),
            search_paths: vec![],
            state: state::Folder::open(&state).unwrap(),
        };
        let supervisor = Supervisor::new(Arc::new(host)).unwrap();
        let mut handles = Vec::new();
        for spec in specs(&dir, &topic) {
            handles.push(supervisor.add(spec).unwrap());
        }
        handles.sort_by_key(|handle| handle.direction);
        let source = handles.pop().unwrap();
        let sink = handles.pop().unwrap();
        Self {
            dir,
            supervisor,
            plugins,
            topic,
            sink,
            source,
            _broker: broker,
        }
    }

    fn written(&self) -> Vec<u64> {
        let text = fs::read_to_string(self.dir.path().join("ledger")).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split(' ').nth(3));
        lines.map(|id| id.parse().unwrap()).collect()
    }

    /// Lets everything flow until the source has ended, and then everything stop.
    async fn finish(self) {
        for handle in [&self.sink, &self.source] {
            handle.request(Request::Start).await.unwrap();
        }
        let until = self.source.counts().sent + 3000;
        fs::write(self.dir.path().join("until"), until.to_string()).unwrap();
        let last = Some(until - 1);
        eventually(last, async || self.written().last().copied()).await;
        let abandoned = self.supervisor.stop(Instant::now() + PATIENCE).await;
        assert_eq!(abandoned, Vec::<String>::new());
        assert_eq!(self.topic.members(GROUP).await, 0);
        assert_eq!(self.written(), (0..until).collect::<Vec<_>>());
        assert!(self.plugins.shutdown(PATIENCE).await);
    }
}

fn specs(dir: &TempDir, topic: &Topic) -> Vec<spec::Connector> {
    let (stream, name) = (&topic.stream, &topic.name);
    let path = |file: &str| dir.path().join(file).display().to_string();
    let text = format!(
        r#"
[sources.numbers]
path = "libledger_source"
streams = [{{ stream = "{stream}", topic = "{name}", schema = "raw" }}]
plugin_config = {{ until = "{until}", acked = "{acked}", interval_ms = 1 }}

[sinks.lines]
path = "libledger_sink"
streams = [{{ stream = "{stream}", topics = ["{name}"], schema = "raw", consumer_group = "{GROUP}" }}]
plugin_config = {{ ledger = "{ledger}" }}
"#,
        until = path("until"),
        acked = path("acked"),
        ledger = path("ledger"),
    );
    let file = dir.path().join("config.toml");
    fs::write(&file, text).unwrap();
    config::load(Some(&file)).unwrap().connectors
}

async fn reached(handle: &Handle, status: Status) {
    eventually(status, async || handle.snapshot().status).await;
}

#[tokio::test]
async fn connectors_come_and_go_while_others_run() {
    let house = House::new().await;
    reached(&house.sink, Status::Running).await;
    let spec = house.sink.spec();
    let taken = house
        .supervisor
        .add(spec::Connector::clone(&spec))
        .err()
        .unwrap();
    assert!(
        taken.to_string().contains("sink with the key lines"),
        "{taken}"
    );

    house.sink.request(Request::Pause).await.unwrap();
    reached(&house.sink, Status::Paused).await;
    let key = &spec.key;
    assert!(house.supervisor.remove(Direction::Sink, key).await.unwrap());
    assert!(!house.supervisor.remove(Direction::Sink, key).await.unwrap());
    assert!(house.supervisor.find(Direction::Sink, key).is_none());
    assert_eq!(house.supervisor.all().len(), 1);
    let refused = house.sink.request(Request::Start).await.unwrap_err();
    assert!(matches!(refused, Refused::Ending), "{refused}");
    let sent = house.source.counts().sent;
    eventually(true, async || house.source.counts().sent > sent).await;

    let sink = house.supervisor.add(spec::Connector::clone(&spec)).unwrap();
    assert_ne!(sink.id, house.sink.id);
    reached(&sink, Status::Running).await;
    House { sink, ..house }.finish().await;
}
