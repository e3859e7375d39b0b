//! Figures of this process and its machine, read from `/proc`: what `/stats` shows.

use std::{
    fs,
    time::{Duration, Instant, SystemTime},
};

/// Remembers when the process started and what processor time it had used at the last reading.
pub struct Process {
    started: Instant,
    start_time: SystemTime,
    last: Sample,
}

/// One reading.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Share of one core that the process used since the last reading, in percent.
    pub cpu_usage: f32,
    /// Share of all cores that the machine used since the last reading, in percent.
    pub total_cpu_usage: f32,
    /// Resident memory, in bytes.
    pub memory_usage: u64,
    pub total_memory: u64,
    pub available_memory: u64,
    pub run_time: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    /// Ticks that the process has used.
    process: u64,
    /// Ticks that the machine's cores were busy, and in all.
    busy: u64,
    all: u64,
}

impl Process {
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            start_time: SystemTime::now(),
            last: Sample::read(),
        }
    }

    pub fn start_time(&self) -> SystemTime {
        self.start_time
    }

    /// Reads the figures. Where `/proc` cannot be read they are zero.
    pub fn read(&mut self) -> Figures {
        let now = Sample::read();
        let last = std::mem::replace(&mut self.last, now);
        let all = now.all.saturating_sub(last.all);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
        let (total_memory, available_memory) = machine_memory();
        Figures {
            cpu_usage: percent(now.process.saturating_sub(last.process) * cores, all),
            total_cpu_usage: percent(now.busy.saturating_sub(last.busy), all),
            memory_usage: resident_memory(),
            total_memory,
            available_memory,
            run_time: self.started.elapsed(),
        }
    }
}

impl Default for Process {
    fn default() -> Self {
        Self::new()
    }
}

impl Sample {
    fn read() -> Self {
        let process = fs::read_to_string("/proc/self/stat")
            .ok()
            .and_then(|text| process_ticks(&text));
        let machine = fs::read_to_string("/proc/stat")
            .ok()
            .and_then(|text| machine_ticks(&text));
        let (busy, all) = machine.unwrap_or_default();
        Self {
            process: process.unwrap_or_default(),
            busy,
            all,
        }
    }
}

fn percent(part: u64, whole: u64) -> f32 {
    if whole == 0 {
        0.0
    } else {
        part as f32 * 100.0 / whole as f32
    }
}

/// User and system ticks of `/proc/self/stat`: fields 14 and 15, counted behind the command's closing bracket.
fn process_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Busy and all ticks of the first line of `/proc/stat`; idle and iowait are not busy.
fn machine_ticks(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line
        .split_ascii_whitespace()
        .take(8)
        .map_while(|tick| tick.parse().ok())
        .collect();
    let all: u64 = ticks.iter().sum();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some((all - idle, all))
}

fn resident_memory() -> u64 {
    let Ok(text) = fs::read_to_string("/proc/self/status") else {
        return 0;
    };
    kibibytes(&text, "VmRSS:")
}

fn machine_memory() -> (u64, u64) {
    let Ok(text) = fs::read_to_string("/proc/meminfo") else {
        return (0, 0);
    };
    (
        kibibytes(&text, "MemTotal:"),
        kibibytes(&text, "MemAvailable:"),
    )
}

/// The bytes of a line such as `VmRSS:   1234 kB`, 0 when it is not there.
fn kibibytes(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let number = value.and_then(|value| value.split_ascii_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or_default() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_read_behind_a_command_with_brackets() {
        let stat = "7 (a) (b)) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20 0 1 0 100";
        assert_eq!(process_ticks(stat), Some(42));
        assert_eq!(process_ticks("garbage"), None);
    }

    #[test]
    fn idle_ticks_are_not_busy() {
        assert_eq!(
            machine_ticks("cpu  1 2 3 10 20 4 5 6 0 0\ncpu0 1\n"),
            Some((21, 51))
        );
        assert_eq!(machine_ticks("cpu  1 2"), None);
    }

    #[test]
    fn a_process_that_runs_has_figures() {
        let mut process = Process::new();
        let figures = process.read();
        assert!(figures.memory_usage > 0, "{figures:?}");
        assert!(
            figures.total_memory >= figures.available_memory,
            "{figures:?}"
        );
    }
}
