//! What the process's control groups let it use of the machine, version 2 and version 1: for `process`. Files of the system are taken
//! as a stranger's: read up to a bound, and anything in them that makes no sense counts as no limit.

use std::{
    fs::File,
    io::Read as _,
    path::{Component, Path, PathBuf},
};

/// More than any of these files has.
const MOST_READ: u64 = 256 * 1024;
/// Groups stand in each other; more than this is no hierarchy that anybody has made.
const DEPTH: usize = 64;

/// Where the process stands in its groups: each folder from its own up to the root that it sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Groups {
    memory: Vec<PathBuf>,
    cpu: Vec<PathBuf>,
    /// Used processor time.
    cpuacct: Vec<PathBuf>,
    version: Version,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Version {
    One,
    #[default]
    Two,
}

/// What is left of the machine's memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) total: u64,
    pub(super) available: u64,
}

/// The processor time that a limited group may use and has used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cpu {
    /// How many cores' worth of time.
    pub(super) cores: f64,
    /// In µs.
    pub(super) used: u64,
}

/// One line of `/proc/self/mountinfo` that is about groups.
struct Mount {
    root: String,
    point: PathBuf,
    is_unified: bool,
    options: String,
}

impl Groups {
    /// Finds the groups of this process below `root`, which is `/` but in tests. Without any there are no limits.
    pub(super) fn find(root: &Path) -> Self {
        let text = |path: &str| read(&root.join(path)).unwrap_or_default();
        let mounts = mounts(&text("proc/self/mountinfo"));
        let own = text("proc/self/cgroup");
        let folders = |controller: &str| {
            let path = path_of(&own, Some(controller))?;
            let mut mounts = mounts.iter();
            let mount = mounts.find(|mount| !mount.is_unified && mount.has(controller))?;
            Some(mount.folders(root, path))
        };
        if let Some(memory) = folders("memory") {
            return Self {
                memory,
                // What a limited group uses can be told only where both controllers have the same groups.
                cpuacct: match path_of(&own, Some("cpu")) == path_of(&own, Some("cpuacct")) {
                    true => folders("cpuacct").unwrap_or_default(),
                    false => Vec::new(),
                },
                cpu: folders("cpu").unwrap_or_default(),
                version: Version::One,
            };
        }
        let unified = mounts.iter().find(|mount| mount.is_unified);
        let path = path_of(&own, None);
        let folders = unified
            .zip(path)
            .map(|(mount, path)| mount.folders(root, path));
        let folders = folders.unwrap_or_default();
        Self {
            memory: folders.clone(),
            cpu: folders.clone(),
            cpuacct: folders,
            version: Version::Two,
        }
    }

    /// What is left of `machine` when every group's limit is kept.
    pub(super) fn memory(&self, machine: Memory) -> Memory {
        let (limit, used, inactive) = match self.version {
            Version::One => (
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_inactive_file",
            ),
            Version::Two => ("memory.max", "memory.current", "inactive_file"),
        };
        let mut left = machine;
        for folder in &self.memory {
            let Some(limit) = number(&folder.join(limit)) else {
                continue;
            };
            left.total = left.total.min(limit);
            let used = number(&folder.join(used)).unwrap_or(0);
            // The kernel gives such pages up before it refuses memory.
            let stat = read(&folder.join("memory.stat")).unwrap_or_default();
            let used = used.saturating_sub(field(&stat, inactive).unwrap_or(0));
            left.available = left.available.min(limit.saturating_sub(used));
        }
        left.available = left.available.min(left.total);
        left
    }

    /// The narrowest limit on processor time that is below `machine` cores, and what the group that has it has used.
    pub(super) fn cpu(&self, machine: u64) -> Option<Cpu> {
        let limits = self.cpu.iter().enumerate();
        let limits = limits.filter_map(|(at, folder)| Some((at, self.cores(folder)?)));
        let (at, cores) = limits.min_by(|(_, one), (_, other)| one.total_cmp(other))?;
        if cores >= machine as f64 {
            return None;
        }
        let folder = self.cpuacct.get(at)?;
        let used = match self.version {
            Version::One => number(&folder.join("cpuacct.usage"))? / 1_000,
            Version::Two => field(&read(&folder.join("cpu.stat"))?, "usage_usec")?,
        };
        Some(Cpu { cores, used })
    }

    fn cores(&self, folder: &Path) -> Option<f64> {
        let (quota, period) = match self.version {
            Version::One => (
                number(&folder.join("cpu.cfs_quota_us"))?,
                number(&folder.join("cpu.cfs_period_us"))?,
            ),
            Version::Two => {
                let text = read(&folder.join("cpu.max"))?;
                let (quota, period) = text.trim().split_once(' ')?;
                (quota.parse().ok()?, period.trim().parse().ok()?)
            }
        };
        (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
    }
}

impl Mount {
    fn has(&self, controller: &str) -> bool {
        self.options.split(',').any(|option| option == controller)
    }

    /// The folder of the group at `path`, and those around it as far as they can be seen.
    fn folders(&self, root: &Path, path: &str) -> Vec<PathBuf> {
        // What is mounted may be a part of the hierarchy: a container's own.
        let root_of_mount = Path::new(&self.root);
        let below = Path::new(path).strip_prefix(root_of_mount);
        let below = below.unwrap_or_else(|_| Path::new(""));
        let mut names = below.components();
        let is_plain = |component: Component<'_>| {
            matches!(component, Component::Normal(_) | Component::RootDir)
        };
        if !names.all(is_plain) {
            return Vec::new();
        }
        let relative = |path: &Path| path.strip_prefix("/").map(Path::to_owned);
        let Ok(point) = relative(&self.point) else {
            return Vec::new();
        };
        let below = relative(below).unwrap_or_else(|_| below.to_owned());
        let point = root.join(point);
        let own = point.join(below);
        let around = own
            .ancestors()
            .take_while(|folder| folder.starts_with(&point));
        around.take(DEPTH).map(Path::to_owned).collect()
    }
}

/// The mounts of groups in the text of `/proc/self/mountinfo`.
fn mounts(text: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let (place, kind) = line.split_once(" - ")?;
        let mut kind = kind.split(' ');
        let (name, _device, options) = (kind.next()?, kind.next()?, kind.next()?);
        if name != "cgroup" && name != "cgroup2" {
            return None;
        }
        let mut place = place.split(' ').skip(3);
        Some(Mount {
            root: unescaped(place.next()?),
            point: unescaped(place.next()?).into(),
            is_unified: name == "cgroup2",
            options: options.to_owned(),
        })
    };
    text.lines().filter_map(mount).collect()
}

/// The kernel writes space, tab, line end and backslash as `\` and three octal digits.
fn unescaped(text: &str) -> String {
    let [space, tab, end, slash] = ["\\040", "\\011", "\\012", "\\134"];
    let text = text.replace(space, " ").replace(tab, "\t");
    text.replace(end, "\n").replace(slash, "\\")
}

/// The group of a controller in the text of `/proc/self/cgroup`; without one that of version 2.
fn path_of<'a>(text: &'a str, controller: Option<&str>) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let is_it = match controller {
            Some(controller) => controllers.split(',').any(|name| name == controller),
            None => controllers.is_empty(),
        };
        is_it.then_some(path)
    })
}

/// The number behind a name in lines such as `usage_usec 123`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(' ')?;
        (found == name).then(|| value.trim().parse().ok())?
    })
}

/// A file that holds one number. `max` and `-1` are none.
fn number(path: &Path) -> Option<u64> {
    read(path)?.trim().parse().ok()
}

fn read(path: &Path) -> Option<String> {
    let mut text = Vec::new();
    let file = File::open(path).ok()?;
    file.take(MOST_READ).read_to_end(&mut text).ok()?;
    String::from_utf8(text).ok()
}

#[cfg(test)]
mod tests;
