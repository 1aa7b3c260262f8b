//! What the control groups of this process leave it: a share of CPU time, and memory.
//!
//! A group is a folder in a mounted file system. It has at most what each folder above it has, so
//! all of them are looked at, up to the mount point. There are two kinds, and a system may have
//! both at once:
//!
//! | | CPU time | memory |
//! |---|---|---|
//! | v2 | `cpu.max`: quota and period | `memory.max`, `memory.current` |
//! | v1 | `cpu.cfs_quota_us`, `cpu.cfs_period_us` | `memory.limit_in_bytes`, `memory.usage_in_bytes` |
//!
//! A set of CPUs (`cpuset`) needs no look here: it shows in the mask of CPUs of every thread.

use std::path::{Component, Path, PathBuf};

/// What is left to the process.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Share {
    /// How many CPUs' whole time; absent if there is no quota.
    pub(crate) cpus: Option<f64>,
    /// Bytes until the groups' limit; absent if there is none. What the kernel would give back from
    /// its cache of files counts as free.
    pub(crate) memory: Option<u64>,
}

impl Share {
    /// Asks the kernel.
    pub(crate) fn of_this_process() -> Self {
        Self::read(|path| std::fs::read_to_string(path).ok())
    }

    /// The same for files that `read` reads.
    fn read(read: impl Fn(&Path) -> Option<String>) -> Self {
        let (Some(groups), Some(mounts)) =
            (read(Path::new("/proc/self/cgroup")), read(Path::new("/proc/self/mountinfo")))
        else {
            return Self::default();
        };
        let mounts: Vec<_> = mounts.lines().filter_map(Mount::parse).collect();
        let mut share = Self::default();
        for (controllers, path) in groups.lines().filter_map(parse_group) {
            for mount in mounts.iter().filter(|mount| mount.has(controllers)) {
                for folder in mount.folders(path) {
                    let read = |name: &str| read(&folder.join(name));
                    share.cpus = least(share.cpus, cpus(&read));
                    share.memory = least(share.memory, memory(&read));
                }
            }
        }
        share
    }
}

/// Where groups can be seen: a line of `mountinfo`, which looks like this.
///
/// ```text
/// 31 24 0:27 /docker/abc /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
///            root        mount point                     kind  source  controllers among others
/// ```
struct Mount<'a> {
    /// The group that is seen at the mount point.
    root: &'a Path,
    point: PathBuf,
    is_v2: bool,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let mut kind = kind.split(' ');
        let root = Path::new(place.next()?);
        // A blank is the only one of the letters that are written as numbers to be met in a path.
        let point = PathBuf::from(place.next()?.replace("\\040", " "));
        let is_v2 = match kind.next()? {
            "cgroup2" => true,
            "cgroup" => false,
            _ => return None,
        };
        Some(Self { root, point, is_v2, options: kind.nth(1)? })
    }

    /// Whether the groups with these controllers are seen here: v2 names none.
    fn has(&self, controllers: &str) -> bool {
        match controllers {
            "" => self.is_v2,
            _ if self.is_v2 => false,
            _ => controllers.split(',').any(|one| self.options.split(',').any(|it| it == one)),
        }
    }

    /// The folder of the group at `path`, and those above it.
    ///
    /// A container sees its own group at the mount point, but may be told the path that the host
    /// knows it by.
    fn folders(&self, path: &'a Path) -> impl Iterator<Item = PathBuf> {
        let below = path.strip_prefix(self.root).unwrap_or(Path::new(""));
        let is_plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        let below = if is_plain { below } else { Path::new("") };
        let folders: Vec<_> = below.ancestors().map(|part| self.point.join(part)).collect();
        folders.into_iter()
    }
}

/// The controllers and the path in a line of `/proc/self/cgroup`: `4:cpu,cpuacct:/docker/abc`, for
/// v2 `0::/docker/abc`.
fn parse_group(line: &str) -> Option<(&str, &Path)> {
    let mut parts = line.splitn(3, ':').skip(1);
    Some((parts.next()?, Path::new(parts.next()?)))
}

fn cpus(read: &impl Fn(&str) -> Option<String>) -> Option<f64> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| *number > 0.0);
    let (quota, period) = match read("cpu.max") {
        Some(both) => {
            let (quota, period) = both.split_once(' ')?;
            (number(quota)?, number(period)?)
        }
        None => (number(&read("cpu.cfs_quota_us")?)?, number(&read("cpu.cfs_period_us")?)?),
    };
    Some(quota / period)
}

fn memory(read: &impl Fn(&str) -> Option<String>) -> Option<u64> {
    let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
    let (limit, used, cache) = match number("memory.max") {
        Some(limit) => (limit, number("memory.current")?, "inactive_file "),
        // Without a limit it says a number beyond every memory.
        None => {
            let limit = number("memory.limit_in_bytes")?;
            (limit, number("memory.usage_in_bytes")?, "total_inactive_file ")
        }
    };
    let statistics = read("memory.stat").unwrap_or_default();
    let cached = statistics.lines().find_map(|line| line.strip_prefix(cache)?.parse().ok());
    Some(limit.saturating_sub(used.saturating_sub(cached.unwrap_or(0))))
}

fn least<T: PartialOrd>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other < one { other } else { one }),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Files<'a> = &'a [(&'a str, &'a str)];

    fn share(files: Files<'_>) -> Share {
        Share::read(|path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        })
    }

    const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";

    #[test]
    fn a_quota_of_v2_is_read() {
        let files = [
            ("/proc/self/cgroup", "0::/app.slice/server\n"),
            ("/proc/self/mountinfo", V2),
            ("/sys/fs/cgroup/app.slice/server/cpu.max", "150000 100000\n"),
            ("/sys/fs/cgroup/app.slice/server/memory.max", "1073741824\n"),
            ("/sys/fs/cgroup/app.slice/server/memory.current", "73741824\n"),
            ("/sys/fs/cgroup/app.slice/server/memory.stat", "anon 9\ninactive_file 3741824\n"),
        ];
        assert_eq!(share(&files), Share { cpus: Some(1.5), memory: Some(1_003_741_824) });
    }

    #[test]
    fn a_group_has_no_more_than_those_above_it() {
        let files = |own: &'static str, above: &'static str| {
            [
                ("/proc/self/cgroup", "0::/pod/server\n"),
                ("/proc/self/mountinfo", V2),
                ("/sys/fs/cgroup/pod/server/cpu.max", own),
                ("/sys/fs/cgroup/pod/cpu.max", above),
            ]
        };
        let cpus = |own, above| share(&files(own, above)).cpus;
        assert_eq!(cpus("400000 100000\n", "200000 100000\n"), Some(2.0));
        assert_eq!(cpus("200000 100000\n", "400000 100000\n"), Some(2.0));
        assert_eq!(cpus("max 100000\n", "100000 50000\n"), Some(2.0));
        assert_eq!(cpus("max 100000\n", "max 100000\n"), None);
    }

    #[test]
    fn v1_has_a_mount_for_each_controller() {
        let files = [
            ("/proc/self/cgroup", "5:cpuset:/\n4:memory:/jobs/a\n3:cpu,cpuacct:/jobs/a\n0::/\n"),
            (
                "/proc/self/mountinfo",
                "31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                 32 24 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                 33 24 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
                 34 24 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                 25 1 8:1 / / rw - ext4 /dev/sda1 rw\n",
            ),
            ("/sys/fs/cgroup/cpu,cpuacct/jobs/a/cpu.cfs_quota_us", "-1\n"),
            ("/sys/fs/cgroup/cpu,cpuacct/jobs/a/cpu.cfs_period_us", "100000\n"),
            ("/sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_quota_us", "350000\n"),
            ("/sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_period_us", "100000\n"),
            ("/sys/fs/cgroup/memory/jobs/a/memory.limit_in_bytes", "9223372036854771712\n"),
            ("/sys/fs/cgroup/memory/jobs/a/memory.usage_in_bytes", "4096\n"),
            ("/sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", "8000000\n"),
            ("/sys/fs/cgroup/memory/jobs/memory.usage_in_bytes", "3000000\n"),
            ("/sys/fs/cgroup/memory/jobs/memory.stat", "total_inactive_file 1000000\n"),
        ];
        assert_eq!(share(&files), Share { cpus: Some(3.5), memory: Some(6_000_000) });
    }

    /// Docker with v1: the path is the host's, the mount shows the container's own group.
    #[test]
    fn a_container_finds_its_group_at_the_mount_point() {
        let mut files = [
            ("/proc/self/cgroup", "3:cpu,cpuacct:/docker/abc\n"),
            (
                "/proc/self/mountinfo",
                "31 24 0:27 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct\n",
            ),
            ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n"),
            ("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            // Somebody else's.
            ("/sys/fs/cgroup/cpu/../../other/cpu.cfs_quota_us", "100000\n"),
            ("/sys/fs/cgroup/cpu/../../other/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(share(&files).cpus, Some(2.0));
        // A group below it.
        files[0].1 = "3:cpu,cpuacct:/docker/abc/inner\n";
        assert_eq!(share(&files).cpus, Some(2.0));
        // One that lies outside of what can be seen here.
        files[0].1 = "3:cpu,cpuacct:/docker/other\n";
        assert_eq!(share(&files).cpus, Some(2.0));
        files[0].1 = "3:cpu,cpuacct:/docker/abc/../../other\n";
        assert_eq!(share(&files).cpus, Some(2.0));
    }

    #[test]
    fn without_groups_or_limits_there_are_none() {
        assert_eq!(share(&[]), Share::default());
        let mut files = vec![("/proc/self/cgroup", "0::/\n"), ("/proc/self/mountinfo", V2)];
        assert_eq!(share(&files), Share::default());
        for (quota, limit) in [("max 100000\n", "max\n"), ("", ""), ("many\n", "-1\n"), ("0 0", "")]
        {
            files.truncate(2);
            files.push(("/sys/fs/cgroup/cpu.max", quota));
            files.push(("/sys/fs/cgroup/memory.max", limit));
            files.push(("/sys/fs/cgroup/memory.current", "1\n"));
            assert_eq!(share(&files), Share::default(), "{quota:?} {limit:?}");
        }
    }

    #[test]
    fn more_used_than_allowed_leaves_nothing() {
        let files = [
            ("/proc/self/cgroup", "0::/\n"),
            ("/proc/self/mountinfo", V2),
            ("/sys/fs/cgroup/memory.max", "100\n"),
            ("/sys/fs/cgroup/memory.current", "300\n"),
        ];
        assert_eq!(share(&files).memory, Some(0));
    }
}
