//! Figures of this process and its machine, read from `/proc`: what `/stats` shows. Where control groups limit the process, what they
//! leave is its machine.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use super::cgroup::{Cpu, Groups, Memory};

/// Remembers when the process started and what processor time it had used at the last reading.
pub struct Process {
    started: Instant,
    start_time: SystemTime,
    groups: Groups,
    last: Sample,
}

/// One reading.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Share of one core that the process used since the last reading, in percent.
    pub cpu_usage: f32,
    /// Share of all cores that the machine used since the last reading, in percent. Where a control group limits the processor time:
    /// the share of that time that the group used.
    pub total_cpu_usage: f32,
    /// Resident memory, in bytes.
    pub memory_usage: u64,
    /// That of the machine, or less where a control group limits it.
    pub total_memory: u64,
    pub available_memory: u64,
    pub run_time: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    /// Ticks that the process has used.
    process: u64,
    machine: Machine,
    /// Where processor time is limited.
    cpu: Option<Cpu>,
}

/// The processors of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Machine {
    cores: u64,
    /// Ticks that the cores were busy, and in all.
    busy: u64,
    all: u64,
}

impl Process {
    pub fn new() -> Self {
        let groups = Groups::find(Path::new("/"));
        Self {
            started: Instant::now(),
            start_time: SystemTime::now(),
            last: Sample::read(&groups),
            groups,
        }
    }

    pub fn start_time(&self) -> SystemTime {
        self.start_time
    }

    /// Reads the figures. Where `/proc` cannot be read they are zero.
    pub fn read(&mut self) -> Figures {
        let now = Sample::read(&self.groups);
        let last = std::mem::replace(&mut self.last, now);
        let memory = self.groups.memory(machine_memory());
        Figures {
            cpu_usage: now.process_usage(&last),
            total_cpu_usage: now.total_usage(&last),
            memory_usage: resident_memory(),
            total_memory: memory.total,
            available_memory: memory.available,
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
    fn read(groups: &Groups) -> Self {
        let process = fs::read_to_string("/proc/self/stat")
            .ok()
            .and_then(|text| process_ticks(&text));
        let machine = fs::read_to_string("/proc/stat")
            .ok()
            .and_then(|text| machine_ticks(&text));
        let machine = machine.unwrap_or_default();
        Self {
            at: Instant::now(),
            process: process.unwrap_or_default(),
            cpu: groups.cpu(machine.cores),
            machine,
        }
    }

    fn process_usage(&self, last: &Self) -> f32 {
        let used = self.process.saturating_sub(last.process);
        let all = self.machine.all.saturating_sub(last.machine.all);
        percent(used.saturating_mul(self.machine.cores), all)
    }

    fn total_usage(&self, last: &Self) -> f32 {
        let (Some(now), Some(before)) = (self.cpu, last.cpu) else {
            let busy = self.machine.busy.saturating_sub(last.machine.busy);
            return percent(busy, self.machine.all.saturating_sub(last.machine.all));
        };
        let allowed = self.at.duration_since(last.at).as_micros() as f64 * now.cores;
        percent(now.used.saturating_sub(before.used), allowed as u64)
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

/// The cores of `/proc/stat`, and the busy and all ticks of its first line; idle and iowait are not busy.
fn machine_ticks(stat: &str) -> Option<Machine> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line
        .split_ascii_whitespace()
        .take(8)
        .map_while(|tick| tick.parse().ok())
        .collect();
    let all = ticks
        .iter()
        .fold(0_u64, |sum, ticks| sum.saturating_add(*ticks));
    let idle = ticks.get(3)?.saturating_add(*ticks.get(4)?);
    let of_core = |line: &&str| {
        line.strip_prefix("cpu")
            .is_some_and(|rest| !rest.starts_with(' '))
    };
    Some(Machine {
        cores: stat.lines().filter(of_core).count() as u64,
        busy: all.saturating_sub(idle),
        all,
    })
}

fn resident_memory() -> u64 {
    let Ok(text) = fs::read_to_string("/proc/self/status") else {
        return 0;
    };
    kibibytes(&text, "VmRSS:")
}

fn machine_memory() -> Memory {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    Memory {
        total: kibibytes(&text, "MemTotal:"),
        available: kibibytes(&text, "MemAvailable:"),
    }
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
            machine_ticks("cpu  1 2 3 10 20 4 5 6 0 0\ncpu0 1\ncpu1 2\nintr 5\n"),
            Some(Machine {
                cores: 2,
                busy: 21,
                all: 51
            })
        );
        assert_eq!(machine_ticks("cpu  1 2"), None);
    }

    #[test]
    fn a_group_with_limited_time_uses_a_share_of_that_time() {
        let at = Instant::now();
        let sample = |at, used| Sample {
            at,
            process: 0,
            machine: Machine {
                cores: 8,
                busy: 0,
                all: 0,
            },
            cpu: Some(Cpu { cores: 0.5, used }),
        };
        let last = sample(at, 1_000);
        let now = sample(at + Duration::from_secs(2), 251_000);
        assert_eq!(now.total_usage(&last), 25.0);
        assert_eq!(last.total_usage(&now), 0.0);
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
