//! Versions activated under load with something going wrong at each step, undone by activating the older one, and daemons killed in the
//! midst of it.

use std::{fs, path::PathBuf, time::Duration};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    flow::{self, Flow, LONG, SINK, SOURCE, Server, Setup, at_rest, new_topic},
    harness::{
        broker::Topic,
        daemon::{Daemon, PATIENCE},
        ledger::{self, Entry},
    },
    oracle::{self, Verdict},
    run::Run,
};

/// A sink whose other version is opened when it is closed, beside the flow's, whose versions are open together for a moment.
const EXCLUSIVE: &str = "exclusive";
const CONNECTORS: [&str; 3] = [SINK, EXCLUSIVE, SOURCE];
const PARTITIONS: u32 = 3;
const BATCH: u64 = 10;
const IN_FLIGHT: u64 = 3;

/// Each connector's versions by what is special about them: what they are told, and what they write down, has this name or number.
const VERSIONS: [&str; 8] = [
    "base",
    "good",
    "close fatal",
    "close wait",
    "open fatal",
    "open panic",
    "open wait",
    "library",
];
const BASE: usize = 0;
const GOOD: usize = 1;
const CLOSES_BADLY: usize = 2;
const NEVER_CLOSES: usize = 3;
/// What stands in a version file that an editor has left behind.
const NO_LIBRARY: usize = 7;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The library of the new version is not there.
    Check,
    /// The new version does not open, in one of three ways.
    Open(usize),
    /// The choice cannot be written down.
    Record,
    /// The old version does not close.
    CloseOld(usize),
    /// The choice cannot be written down, and the new version never closes.
    CloseNew,
    /// Neither does the new version open nor, for a while, the old one again.
    Reopen,
    /// The disk is full when the source is drained, and for a moment longer.
    Save,
}

const OF_ALL: [Fault; 8] = [
    Fault::Check,
    Fault::Open(4),
    Fault::Open(5),
    Fault::Open(6),
    Fault::Record,
    Fault::CloseOld(CLOSES_BADLY),
    Fault::CloseOld(NEVER_CLOSES),
    Fault::CloseNew,
];

impl Fault {
    /// Those that can happen to a connector.
    fn of(connector: usize) -> impl Iterator<Item = (usize, Self)> {
        let more = match CONNECTORS[connector] {
            SOURCE => &[Self::Reopen, Self::Save][..],
            EXCLUSIVE => &[Self::Reopen],
            _ => &[],
        };
        let faults = OF_ALL.iter().chain(more);
        faults.map(move |fault| (connector, *fault))
    }

    /// The version that is active when it happens, and the one that is to be.
    const fn versions(self) -> (usize, usize) {
        match self {
            Self::Check => (BASE, NO_LIBRARY),
            Self::Open(version) => (BASE, version),
            Self::CloseOld(version) => (version, GOOD),
            Self::CloseNew => (BASE, NEVER_CLOSES),
            Self::Record | Self::Reopen | Self::Save => (BASE, GOOD),
        }
    }

    /// The status of the answer and the step in it, where they are known.
    const fn answer(self) -> Option<(u16, Option<&'static str>)> {
        match self {
            Self::Check => Some((422, None)),
            Self::Open(_) | Self::Reopen => Some((409, Some("open"))),
            Self::Record | Self::CloseNew => Some((500, Some("record"))),
            Self::CloseOld(_) => Some((200, None)),
            Self::Save => None,
        }
    }
}

/// A flow whose daemon comes and goes.
struct Stage {
    flow: Flow,
    daemon: Daemon,
    client: reqwest::Client,
    /// The numbers of each connector's [`VERSIONS`].
    numbers: Vec<Vec<u64>>,
    /// How often messages of the source and of the sinks may have come again.
    deaths: u64,
}

impl Stage {
    async fn new(server: &str) -> Self {
        let topic = new_topic(server).await;
        topic.create(PARTITIONS).await;
        let mut flow = flow_of(topic, server);
        // A full disk is an error and no signal.
        flow.home
            .launch_with(&["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"]);
        let daemon = flow.home.start().await;
        let client = reqwest::Client::builder().pool_max_idle_per_host(0);
        let mut stage = Self {
            flow,
            daemon,
            client: client.build().unwrap(),
            numbers: Vec::new(),
            deaths: 0,
        };
        for connector in 0..CONNECTORS.len() {
            let numbers = stage.create(connector).await;
            stage.numbers.push(numbers);
            // A choice is made: a restart does not take the highest version.
            stage.activated(connector, GOOD).await;
            stage.activated(connector, BASE).await;
        }
        stage
    }

    /// Makes all versions of a connector, and returns their numbers.
    async fn create(&self, connector: usize) -> Vec<u64> {
        let route = route(connector);
        let base = self.daemon.get(&format!("{route}/configs/active")).await;
        let mut numbers = vec![base["version"].as_u64().unwrap()];
        for (index, name) in VERSIONS.iter().enumerate().skip(1) {
            let document = document(&base, connector, index);
            let path = self.daemon.url(&format!("{route}/configs"));
            let sent = self.client.post(path).json(&document).send();
            let stored: Value = sent.await.unwrap().json().await.unwrap();
            let number = stored["version"].as_u64();
            numbers.push(number.unwrap_or_else(|| panic!("{name}: {stored}")));
        }
        let kind = match CONNECTORS[connector] {
            SOURCE => "source",
            _ => "sink",
        };
        let file = format!("{}_{kind}_v{}.toml", CONNECTORS[connector], numbers[7]);
        let file = self.connectors().join(file);
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("libledger", "libnowhere")).unwrap();
        numbers
    }

    fn connectors(&self) -> PathBuf {
        self.flow.home.path().join("local_state/connectors")
    }

    /// Asks for a version. `None` when the daemon dies before it answers.
    fn asks(
        &self,
        connector: usize,
        version: usize,
    ) -> impl Future<Output = Option<(u16, Value)>> + Send + 'static {
        let path = format!("{}/configs/active", route(connector));
        let body = json!({ "version": self.numbers[connector][version] });
        let request = self.client.put(self.daemon.url(&path)).json(&body);
        let request = request.timeout(PATIENCE);
        async move {
            let reply = request.send().await.ok()?;
            Some((reply.status().as_u16(), reply.json().await.ok()?))
        }
    }

    async fn activated(&self, connector: usize, version: usize) {
        let (status, answer) = self.asks(connector, version).await.unwrap();
        assert_eq!(
            status,
            200,
            "{}, {}: {answer}\n{}",
            CONNECTORS[connector],
            VERSIONS[version],
            self.daemon.stderr().text()
        );
        self.runs(connector, version).await;
    }

    async fn active(&self, connector: usize) -> usize {
        let path = format!("{}/configs/active", route(connector));
        let active = self.daemon.get(&path).await;
        let numbers = self.numbers[connector].iter();
        let mut versions = numbers.enumerate();
        let found = versions.find(|(_, number)| active["version"] == **number);
        found.unwrap_or_else(|| panic!("{active}")).0
    }

    /// Waits until a version has written something down from now on, which is the one that is said to be active.
    async fn runs(&self, connector: usize, version: usize) {
        assert_eq!(self.active(connector).await, version, "{connector}");
        let key = CONNECTORS[connector];
        let (lines, acks) = (self.ledger(connector).len(), self.acks().len());
        let deadline = Instant::now() + LONG;
        loop {
            let seen = match key {
                SOURCE => self.acks()[acks..]
                    .windows(2)
                    .any(|pair| pair[1] == pair[0] + batch(version)),
                _ => {
                    let ledger = self.ledger(connector);
                    let mut writers = ledger[lines..].iter().map(|entry| &*entry.writer);
                    writers.any(|writer| writer == token(version))
                }
            };
            if seen {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "{key}: {} does not run\n{}",
                VERSIONS[version],
                self.daemon.stderr().text()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let is_running = |shown: &Value| shown["status"] == "running";
        self.daemon.wait_for(&route(connector), is_running).await;
    }

    fn acks(&self) -> Vec<u64> {
        ledger::acks(&self.flow.acked_file())
    }

    fn ledger(&self, connector: usize) -> Vec<Entry> {
        ledger::entries(&self.flow.home.path().join(CONNECTORS[connector]))
    }

    /// Where a folder keeps the choice from being written down.
    fn in_the_way(&self) -> PathBuf {
        self.connectors()
            .join(".unfinished-.active_versions.toml.tmp")
    }

    fn begin(&self, fault: Fault, connector: usize) {
        match fault {
            Fault::Record | Fault::CloseNew => {
                fs::create_dir_all(self.in_the_way().join("full")).unwrap();
            }
            Fault::Reopen => self.flow.tell(&opening(connector), "fatal"),
            Fault::Save => self.limit(Some(1)),
            Fault::Check | Fault::Open(_) | Fault::CloseOld(_) => {}
        }
    }

    fn end(&self, fault: Fault, connector: usize) {
        match fault {
            Fault::Record | Fault::CloseNew => fs::remove_dir_all(self.in_the_way()).unwrap(),
            Fault::Reopen => self.flow.forgive(&opening(connector)),
            Fault::Save => self.limit(getrlimit(Resource::Fsize).current),
            Fault::Check | Fault::Open(_) | Fault::CloseOld(_) => {}
        }
    }

    /// How large the daemon's files may become.
    fn limit(&self, current: Option<u64>) {
        let pid = Pid::from_raw(self.daemon.pid() as i32).unwrap();
        let free = getrlimit(Resource::Fsize);
        prlimit(Some(pid), Resource::Fsize, Rlimit { current, ..free }).unwrap();
    }

    /// The fault happens, and what is active afterwards runs.
    async fn fails(&mut self, run: &mut Run, fault: Fault, connector: usize) {
        let (old, new) = fault.versions();
        if old != BASE {
            self.activated(connector, old).await;
        }
        self.begin(fault, connector);
        let asked = tokio::spawn(self.asks(connector, new));
        if fault == Fault::Save {
            // Not all of it is settled; what is not comes again.
            self.deaths += 1;
            tokio::time::sleep(run.moment(Duration::from_millis(300))).await;
            self.end(fault, connector);
        }
        let (status, answer) = asked.await.unwrap().unwrap();
        if let Some((expected, step)) = fault.answer() {
            let told = (status, answer["step"].as_str());
            assert_eq!(told, (expected, step), "{fault:?}: {answer}");
        }
        if fault == Fault::Reopen {
            let has_failed = |shown: &Value| shown["status"] == "error";
            self.daemon.wait_for(&route(connector), has_failed).await;
        }
        if fault != Fault::Save {
            self.end(fault, connector);
        }
        let active = if status == 200 { new } else { old };
        self.runs(connector, active).await;
    }

    /// The daemon is killed in the midst of it.
    async fn dies(&mut self, run: &mut Run, fault: Fault, connector: usize) {
        let (old, new) = fault.versions();
        if old != BASE {
            self.activated(connector, old).await;
        }
        self.begin(fault, connector);
        let asked = tokio::spawn(self.asks(connector, new));
        tokio::time::sleep(run.moment(Duration::from_millis(60))).await;
        if fault == Fault::Save {
            self.end(fault, connector);
        }
        self.again().await;
        if fault != Fault::Save {
            self.end(fault, connector);
        }
        let active = self.active(connector).await;
        let told = asked.await.unwrap().map(|(status, _)| status);
        let may = match (told, fault.answer()) {
            (Some(200), _) => vec![new],
            (Some(_), _) | (None, Some((400.., _))) => vec![old],
            (None, _) => vec![old, new],
        };
        assert!(
            may.contains(&active),
            "{fault:?}: {} is active after the answer {told:?}",
            VERSIONS[active]
        );
        self.runs(connector, active).await;
    }

    /// Kills the daemon and starts it again.
    async fn again(&mut self) {
        self.daemon.signal(rustix::process::Signal::KILL);
        self.daemon.ended().await;
        self.deaths += 1;
        self.daemon = self.flow.home.start().await;
    }

    /// Lets everything come to rest, where the counts add up, and go on. Returns how many messages came again so far.
    async fn rests(&self) -> [u64; 3] {
        let end = self.flow.end_after(100);
        let came_again = self.rests_at(end).await;
        self.flow.goes_on();
        came_again
    }

    async fn rests_at(&self, end: u64) -> [u64; 3] {
        self.flow.settled(&self.daemon, end).await;
        let deadline = Instant::now() + LONG;
        let places = self.flow.places().await;
        while !self.of_exclusive(&places).missing.is_empty() {
            assert!(Instant::now() < deadline, "{EXCLUSIVE} lacks messages");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        at_rest(&self.daemon, EXCLUSIVE).await;
        [
            self.flow.of_source(end).await.duplicated,
            self.flow.of_sink().await.duplicated,
            self.of_exclusive(&places).duplicated,
        ]
    }

    fn of_exclusive(&self, places: &[(u32, u64)]) -> Verdict {
        let ledger = self.ledger(1);
        let came = ledger.iter().map(|entry| (entry.partition, entry.offset));
        let of = |partition| {
            let entries = ledger.iter();
            let entries = entries.filter(move |entry| entry.partition == partition);
            entries.map(|entry| entry.offset)
        };
        Verdict::of(places.iter().copied(), came).in_partitions((0..PARTITIONS).map(of))
    }

    fn assert_ordered(&self, numbers: &[Vec<u64>]) {
        oracle::assert_ordered(&self.ledger(0));
        oracle::assert_ordered(&self.ledger(1));
        for (partition, numbers) in (0..).zip(numbers) {
            let entries = numbers.iter().map(|number| Entry {
                topic: String::new(),
                partition,
                offset: *number,
                id: String::new(),
                writer: String::new(),
            });
            oracle::assert_ordered(&entries.collect::<Vec<_>>());
        }
    }
}

fn flow_of(topic: Topic, server: &str) -> Flow {
    let more = |key: &str| {
        format!(
            "token = \"{}\"\nopen_deed = \"{key}_open_deed\"",
            token(BASE)
        )
    };
    let exclusive = Setup {
        batch: BATCH,
        sink_plugin: more(EXCLUSIVE) + "\nexclusive = true\nlock = \"lock\"",
        ..Setup::default()
    };
    let setup = Setup {
        partitions: PARTITIONS,
        batch: BATCH,
        source_plugin: format!(
            "keys = 7\nmax_in_flight = {IN_FLIGHT}\nopen_deed = \"{SOURCE}_open_deed\""
        ),
        sink_plugin: more(SINK),
        others: flow::sink(EXCLUSIVE, &topic, &exclusive),
        ..Setup::default()
    };
    Flow::of(topic, server, setup)
}

/// One of [`VERSIONS`], made of the first.
fn document(base: &Value, connector: usize, version: usize) -> Value {
    let mut document = base.clone();
    for key in ["key", "version", "active"] {
        document.as_object_mut().unwrap().shift_remove(key);
    }
    let plugin = &mut document["plugin_config"];
    match CONNECTORS[connector] {
        SOURCE => plugin["batch"] = batch(version).into(),
        _ => plugin["token"] = token(version).into(),
    }
    if let Some((entry, deed)) = VERSIONS[version].split_once(' ') {
        plugin[entry] = deed.into();
        if deed == "wait" {
            // That of a close bounds the drain as well.
            let limit = if entry == "close" { "5s" } else { "2s" };
            document[format!("{entry}_timeout")] = limit.into();
        }
    }
    document
}

/// What a sink of this version writes beside each message.
fn token(version: usize) -> String {
    format!("v{version}")
}

/// How many messages a source of this version offers at once.
const fn batch(version: usize) -> u64 {
    BATCH + version as u64
}

fn route(connector: usize) -> String {
    match CONNECTORS[connector] {
        SOURCE => format!("/sources/{SOURCE}"),
        key => format!("/sinks/{key}"),
    }
}

/// Whom to tell what happens before a connector opens.
fn opening(connector: usize) -> String {
    format!("{}_open", CONNECTORS[connector])
}

#[tokio::test]
async fn a_version_that_fails_at_any_step_of_its_activation_leaves_the_old_one_flowing() {
    let mut run = Run::new("activation");
    let server = Server::start().await;
    let mut stage = Stage::new(server.address()).await;
    let (mut deaths, mut came_again) = (stage.deaths, stage.rests().await);
    let mut left = Vec::new();
    for round in 0..run.scaled(6, 60) {
        if left.is_empty() {
            left = (0..CONNECTORS.len()).flat_map(Fault::of).collect();
        }
        let (connector, fault) = left.swap_remove(run.draw(0..left.len() as u64) as usize);
        let is_killed = run.draw(0..3) == 0;
        let what = format!(
            "round {round}, {}: {fault:?}, killed: {is_killed}",
            CONNECTORS[connector]
        );
        run.note(&what);
        match is_killed {
            true => stage.dies(&mut run, fault, connector).await,
            false => stage.fails(&mut run, fault, connector).await,
        }
        stage.activated(connector, GOOD).await;
        stage.activated(connector, BASE).await;
        if run.draw(0..4) == 0 {
            stage.again().await;
            stage.runs(connector, BASE).await;
        }
        run.tried();
        let now = stage.rests().await;
        let has_died = std::mem::replace(&mut deaths, stage.deaths) != stage.deaths;
        let before = std::mem::replace(&mut came_again, now);
        assert!(has_died || before == now, "{what}: {before:?}, {now:?}");
    }
    let end = stage.flow.end_after(100);
    stage.rests_at(end).await;
    let numbers = stage.flow.by_partition().await;
    stage.assert_ordered(&numbers);
    let places = stage.flow.places().await;
    let (in_topic, in_ledger) = (IN_FLIGHT * batch(NO_LIBRARY), stage.flow.unstored());
    let of_source = stage.flow.of_source(end).await;
    run.finish_each(", source", &of_source, stage.deaths, in_topic);
    let of_sink = stage.flow.of_sink().await;
    run.finish_each(", sink", &of_sink, stage.deaths, in_ledger);
    let of_exclusive = stage.of_exclusive(&places);
    run.finish_each(", exclusive sink", &of_exclusive, stage.deaths, in_ledger);
    stage.daemon.interrupt().await;
}
