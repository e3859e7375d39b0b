//! Trees of files as kernels and containers make them, and as nobody should.

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const GIB: u64 = 1024 * 1024 * 1024;
const MACHINE: Memory = Memory {
    total: 8 * GIB,
    available: 6 * GIB,
};
const V2: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n";
const V1: &str = "24 23 0:5 / /dev rw - devtmpfs udev rw\n\
                  32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                  35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                  41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

fn tree(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn groups(files: &[(&str, &str)]) -> (Groups, TempDir) {
    let dir = tree(files);
    (Groups::find(dir.path()), dir)
}

#[test]
fn a_group_of_version_2_bounds_memory_and_time() {
    let (groups, _dir) = groups(&[
        ("proc/self/mountinfo", V2),
        ("proc/self/cgroup", "0::/a/b\n"),
        ("sys/fs/cgroup/a/b/memory.max", "2147483648\n"),
        ("sys/fs/cgroup/a/b/memory.current", "1610612736\n"),
        (
            "sys/fs/cgroup/a/b/memory.stat",
            "anon 5\ninactive_file 536870912\nactive_file 7\n",
        ),
        ("sys/fs/cgroup/a/b/cpu.max", "150000 100000\n"),
        (
            "sys/fs/cgroup/a/b/cpu.stat",
            "usage_usec 1234\nuser_usec 1000\n",
        ),
    ]);
    let left = Memory {
        total: 2 * GIB,
        available: GIB,
    };
    assert_eq!(groups.memory(MACHINE), left);
    let cpu = Cpu {
        cores: 1.5,
        used: 1234,
    };
    assert_eq!(groups.cpu(4), Some(cpu));
    assert_eq!(groups.cpu(1), None, "the machine has less");
}

#[test]
fn the_narrowest_of_the_groups_around_counts() {
    let (groups, _dir) = groups(&[
        ("proc/self/mountinfo", V2),
        ("proc/self/cgroup", "0::/a/b\n"),
        ("sys/fs/cgroup/a/memory.max", "1073741824\n"),
        ("sys/fs/cgroup/a/memory.current", "268435456\n"),
        ("sys/fs/cgroup/a/b/memory.max", "max\n"),
        ("sys/fs/cgroup/a/b/memory.current", "1\n"),
        ("sys/fs/cgroup/a/cpu.max", "50000 100000\n"),
        ("sys/fs/cgroup/a/cpu.stat", "usage_usec 9\n"),
        ("sys/fs/cgroup/a/b/cpu.max", "200000 100000\n"),
        ("sys/fs/cgroup/a/b/cpu.stat", "usage_usec 5\n"),
    ]);
    let left = Memory {
        total: GIB,
        available: GIB - GIB / 4,
    };
    assert_eq!(groups.memory(MACHINE), left);
    let cpu = Cpu {
        cores: 0.5,
        used: 9,
    };
    assert_eq!(groups.cpu(4), Some(cpu));
}

#[test]
fn a_group_of_version_1_bounds_memory_and_time() {
    let (groups, _dir) = groups(&[
        ("proc/self/mountinfo", V1),
        (
            "proc/self/cgroup",
            "4:memory:/app\n3:cpuset:/\n2:cpu,cpuacct:/app\n0::/\n",
        ),
        (
            "sys/fs/cgroup/memory/app/memory.limit_in_bytes",
            "3221225472\n",
        ),
        (
            "sys/fs/cgroup/memory/app/memory.usage_in_bytes",
            "2147483648\n",
        ),
        (
            "sys/fs/cgroup/memory/app/memory.stat",
            "inactive_file 1\ntotal_inactive_file 1073741824\n",
        ),
        (
            "sys/fs/cgroup/memory/memory.limit_in_bytes",
            "9223372036854771712\n",
        ),
        ("sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us", "25000\n"),
        (
            "sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us",
            "100000\n",
        ),
        ("sys/fs/cgroup/cpu,cpuacct/app/cpuacct.usage", "7000000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
    ]);
    let left = Memory {
        total: 3 * GIB,
        available: 2 * GIB,
    };
    assert_eq!(groups.memory(MACHINE), left);
    let cpu = Cpu {
        cores: 0.25,
        used: 7000,
    };
    assert_eq!(groups.cpu(2), Some(cpu));
}

#[test]
fn what_another_group_used_is_not_taken_for_that_of_the_limited_one() {
    let mounts = "32 31 0:29 / /cpu rw - cgroup cgroup rw,cpu\n33 31 0:30 / /acct rw - cgroup cgroup rw,cpuacct\n\
                  35 31 0:32 / /memory rw - cgroup cgroup rw,memory\n";
    for (own, used) in [
        ("3:memory:/a\n2:cpuacct:/\n1:cpu:/a\n", None),
        ("3:memory:/a\n2:cpuacct:/a\n1:cpu:/a\n", Some(5)),
    ] {
        let (groups, _dir) = groups(&[
            ("proc/self/mountinfo", mounts),
            ("proc/self/cgroup", own),
            ("cpu/a/cpu.cfs_quota_us", "50000"),
            ("cpu/a/cpu.cfs_period_us", "100000"),
            ("acct/a/cpuacct.usage", "5000"),
            ("acct/cpuacct.usage", "9000000"),
        ]);
        assert_eq!(groups.cpu(2).map(|cpu| cpu.used), used, "{own}");
    }
}

#[test]
fn a_container_that_sees_its_own_part_of_the_hierarchy_finds_its_group_at_the_mount() {
    let mounts =
        "35 31 0:32 /docker/abc /sys/fs/cgroup/memory\\040here ro - cgroup cgroup rw,memory\n";
    let (groups, _dir) = groups(&[
        ("proc/self/mountinfo", mounts),
        ("proc/self/cgroup", "4:memory:/docker/abc\n"),
        (
            "sys/fs/cgroup/memory here/memory.limit_in_bytes",
            "1073741824",
        ),
        ("sys/fs/cgroup/memory here/memory.usage_in_bytes", "0"),
    ]);
    let left = Memory {
        total: GIB,
        available: GIB,
    };
    assert_eq!(groups.memory(MACHINE), left);
}

#[test]
fn without_groups_or_limits_the_machine_is_what_it_is() {
    let (none, _dir) = groups(&[]);
    let (unlimited, _other) = groups(&[
        ("proc/self/mountinfo", V2),
        ("proc/self/cgroup", "0::/\n"),
        ("sys/fs/cgroup/memory.max", "max\n"),
        ("sys/fs/cgroup/cpu.max", "max 100000\n"),
    ]);
    for groups in [none, unlimited] {
        assert_eq!(groups.memory(MACHINE), MACHINE);
        assert_eq!(groups.cpu(2), None);
    }
}

#[test]
fn a_path_that_climbs_out_of_the_hierarchy_is_not_followed() {
    for path in ["/../../secret", "/a/../../secret", "../secret"] {
        let (groups, _dir) = groups(&[
            ("proc/self/mountinfo", V2),
            ("proc/self/cgroup", &format!("0::{path}\n")),
            ("sys/secret/memory.max", "1\n"),
            ("sys/fs/secret/memory.max", "1\n"),
        ]);
        assert_eq!(groups.memory(MACHINE), MACHINE, "{path}");
    }
}

#[test]
fn figures_that_make_no_sense_bound_nothing_and_never_wrap() {
    for (limit, used, inactive, expected) in [
        ("-1", "5", "", MACHINE.available),
        ("99999999999999999999999", "5", "", MACHINE.available),
        ("\u{0}", "5", "", MACHINE.available),
        ("1073741824", "9223372036854775807", "inactive_file 1", 0),
        ("1073741824", "1", "inactive_file 18446744073709551615", GIB),
        ("1073741824", "lots", "inactive_file", GIB),
        ("0", "5", "", 0),
    ] {
        let (groups, _dir) = groups(&[
            ("proc/self/mountinfo", V2),
            ("proc/self/cgroup", "0::/a\n"),
            ("sys/fs/cgroup/a/memory.max", limit),
            ("sys/fs/cgroup/a/memory.current", used),
            ("sys/fs/cgroup/a/memory.stat", inactive),
        ]);
        let available = groups.memory(MACHINE).available;
        assert_eq!(available, expected, "{limit:?} {used:?} {inactive:?}");
    }
    for max in ["0 100000", "100000 0", "100000", "-5 -5", "x y", ""] {
        let (groups, _dir) = groups(&[
            ("proc/self/mountinfo", V2),
            ("proc/self/cgroup", "0::/a\n"),
            ("sys/fs/cgroup/a/cpu.max", max),
            ("sys/fs/cgroup/a/cpu.stat", "usage_usec 1\n"),
        ]);
        assert_eq!(groups.cpu(64), None, "{max:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_text_of_a_hierarchy_makes_it_panic_or_gives_more_than_the_machine_has(
        mounts in "(\\PC{0,60}|.{0,20} / /sys/fs/cgroup rw - cgroup2 c rw|\n){0,4}",
        own in "(\\PC{0,40}|0::/[a-c./]{0,9}|4:memory:/x|\n){0,4}",
        max in "\\PC{0,20}|[0-9]{0,25}",
        stat in "(\\PC{0,30}|usage_usec [0-9]{0,22}|inactive_file [0-9]{0,22}|\n){0,4}",
    ) {
        let (groups, _dir) = groups(&[
            ("proc/self/mountinfo", &mounts),
            ("proc/self/cgroup", &own),
            ("sys/fs/cgroup/a/memory.max", &max),
            ("sys/fs/cgroup/a/cpu.max", &max),
            ("sys/fs/cgroup/a/cpu.stat", &stat),
            ("sys/fs/cgroup/a/memory.stat", &stat),
        ]);
        let left = groups.memory(MACHINE);
        prop_assert!(left.total <= MACHINE.total && left.available <= MACHINE.available);
        let _ = groups.cpu(4);
    }
}
