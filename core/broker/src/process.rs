//! What the operating system says about this process, for the statistics, and the one thing it is asked for:
//! more open files. Numbers come from `/proc`; where that is missing they are zero.

use std::{fs, path::Path};

const CLOCK_TICKS_PER_SECOND: f32 = 100.0;
const PAGE: u64 = 4096;

#[derive(Debug, Default)]
pub(crate) struct Usage {
    cpu_seconds: f32,
    /// Load of the machine over the last minute, per processor.
    pub(crate) load_percent: f32,
    pub(crate) memory: u64,
    pub(crate) total_memory: u64,
    pub(crate) available_memory: u64,
    pub(crate) read_bytes: u64,
    pub(crate) written_bytes: u64,
    pub(crate) threads: u32,
    pub(crate) hostname: String,
    pub(crate) kernel: String,
}

impl Usage {
    /// The mean over the time the broker has been running.
    pub(crate) fn cpu_percent(&self, run_micros: u64) -> f32 {
        if run_micros == 0 {
            return 0.0;
        }
        self.cpu_seconds * 100.0 / (run_micros as f32 / 1_000_000.0)
    }
}

/// Takes a snapshot.
pub(crate) fn usage() -> Usage {
    let stat = read("/proc/self/stat");
    // The second field is the name in parentheses and may hold spaces.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let field = |place: usize| {
        fields
            .get(place)
            .and_then(|field| field.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let processors = std::thread::available_parallelism().map_or(1.0, |count| count.get() as f32);
    let load = read("/proc/loadavg")
        .split_whitespace()
        .next()
        .and_then(|load| load.parse::<f32>().ok());
    let memory = read("/proc/meminfo");
    let io = read("/proc/self/io");
    Usage {
        cpu_seconds: (field(11) + field(12)) as f32 / CLOCK_TICKS_PER_SECOND,
        load_percent: load.unwrap_or(0.0) * 100.0 / processors,
        memory: field(21) * PAGE,
        total_memory: labelled(&memory, "MemTotal:") * 1024,
        available_memory: labelled(&memory, "MemAvailable:") * 1024,
        read_bytes: labelled(&io, "rchar:"),
        written_bytes: labelled(&io, "wchar:"),
        threads: u32::try_from(field(17)).unwrap_or(0),
        hostname: read("/proc/sys/kernel/hostname").trim().to_owned(),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
    }
}

/// Free and total bytes of the file system that holds `path`.
#[cfg(unix)]
pub(crate) fn disk_space(path: &Path) -> (u64, u64) {
    let found = rustix::fs::statvfs(path);
    found.map_or((0, 0), |disk| {
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        (bytes(disk.f_bavail), bytes(disk.f_blocks))
    })
}

/// Not known here.
#[cfg(not(unix))]
pub(crate) fn disk_space(_path: &Path) -> (u64, u64) {
    (0, 0)
}

/// Every partition keeps a file or two open, and the usual limit is a low default below one that is high
/// enough. Staying below it is not an error: opening fails later, if ever, and says so.
#[cfg(unix)]
pub(crate) fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "limit of open files not raised");
    }
}

/// There is no such limit here.
#[cfg(not(unix))]
pub(crate) fn raise_open_files() {}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn labelled(text: &str, label: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(label));
    value
        .and_then(|value| value.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
