//! What the operating system says about this process, for the statistics. Read from `/proc`; where that is
//! missing the numbers are zero.

use std::fs;

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

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn labelled(text: &str, label: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(label));
    value
        .and_then(|value| value.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
