//! Which CPUs the shards get: one for each physical core that the process may use.
//!
//! Two hyper-threads of a core share its caches and its ports to memory; a shard on each would not
//! be twice as fast, but would double what is forwarded between shards.

use super::cgroup::Share;

/// The CPU of each shard. `None` for `shards`: one shard a physical core, no more than the process'
/// share of CPU time (its control groups' quota) pays for. With more shards than cores, it begins
/// again at the first.
pub(crate) fn for_shards(shards: Option<usize>) -> Vec<usize> {
    let cores = one_each(&allowed(), |cpu| {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        parse_list(&std::fs::read_to_string(path).ok()?)
    });
    let shards = shards.unwrap_or_else(|| paid(cores.len(), &Share::of_this_process()));
    cores.into_iter().cycle().take(shards.max(1)).collect()
}

/// How many of so many cores the share of CPU time pays for.
///
/// Of a quota of one and a half, one: two shards at work have spent it when three quarters of each
/// period are over, and then both stand still. What is left over is for the threads that block.
fn paid(cores: usize, share: &Share) -> usize {
    let whole = share.cpus.map_or(cores, |cpus| cpus as usize);
    whole.clamp(1, cores.max(1))
}

/// Every CPU that this thread may use.
pub(crate) fn allowed() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect()
}

/// Lets this thread use these CPUs, and no others. None at all changes nothing.
///
/// A thread begins where the one that started it was allowed to be, which for a shard is one core.
pub(crate) fn allow(cpus: &[usize]) {
    // SAFETY: a set of CPUs is a bit mask; all zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let fitting = cpus.iter().filter(|&&cpu| cpu < libc::CPU_SETSIZE as usize);
    for &cpu in fitting.clone() {
        // SAFETY: the CPU's bit lies within the set.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    if fitting.count() > 0 {
        // SAFETY: the set is read within the call, and its size is the one given. A failure leaves
        // the thread where it is allowed to be, which is slower and nothing else.
        unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) };
    }
}

/// The first CPU of each core in `mask`. `siblings` says which CPUs share a core with one, itself
/// included, or nothing if that is not known.
fn one_each(mask: &[usize], siblings: impl Fn(usize) -> Option<Vec<usize>>) -> Vec<usize> {
    let mut cores: Vec<usize> = Vec::new();
    for &cpu in mask {
        let siblings = siblings(cpu).unwrap_or_default();
        if !cores.iter().any(|core| *core == cpu || siblings.contains(core)) {
            cores.push(cpu);
        }
    }
    if cores.is_empty() {
        cores.push(0);
    }
    cores
}

/// Reads the kernel's way of listing CPUs: `0,4` or `0-1` or `0-3,8-11`.
fn parse_list(list: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cpus.extend(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hyper_threads_of_a_core_are_one() {
        // As on four cores of two threads: 0 and 4, 1 and 5, …
        let siblings = |cpu: usize| Some(vec![cpu % 4, cpu % 4 + 4]);
        assert_eq!(one_each(&[0, 1, 2, 3, 4, 5, 6, 7], siblings), [0, 1, 2, 3]);
        assert_eq!(one_each(&[5, 6], siblings), [5, 6]);
        assert_eq!(one_each(&[1, 5], siblings), [1]);
    }

    #[test]
    fn unknown_siblings_are_cores_of_their_own() {
        assert_eq!(one_each(&[2, 3], |_| None), [2, 3]);
        assert_eq!(one_each(&[], |_| None), [0]);
    }

    #[test]
    fn lists_are_read_as_the_kernel_writes_them() {
        assert_eq!(parse_list("0-1\n"), Some(vec![0, 1]));
        assert_eq!(parse_list("0,4"), Some(vec![0, 4]));
        assert_eq!(parse_list("0-2,8-9"), Some(vec![0, 1, 2, 8, 9]));
        assert_eq!(parse_list("zero"), None);
        assert_eq!(parse_list(""), None);
    }

    #[test]
    fn a_quota_pays_for_whole_cores_and_at_least_one() {
        let paid = |cpus| paid(8, &Share { cpus, ..Share::default() });
        assert_eq!([None, Some(8.0), Some(64.0)].map(paid), [8, 8, 8]);
        assert_eq!([Some(4.0), Some(1.5), Some(1.0), Some(0.1)].map(paid), [4, 1, 1, 1]);
    }

    #[test]
    fn more_shards_than_cores_begin_again() {
        let cores = for_shards(None).len();
        let dealt = for_shards(Some(cores * 2 + 1));
        assert_eq!(dealt.len(), cores * 2 + 1);
        assert!(dealt.iter().skip(1).any(|cpu| *cpu == dealt[0]));
    }
}
