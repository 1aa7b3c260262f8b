//! Whether this kernel, and what it allows this process, suffices; and if not, how to mend it.
//!
//! [`Kernel::probe`] asks and judges nothing; [`check`] judges and asks nothing. It has to be done
//! before the executor starts, which on an old kernel prints a line and exits.

use std::{io, thread};

use io_uring::types::BufRingEntry;
use io_uring::{IoUring, opcode};

use super::no_thread::no_thread;
use super::patience::{self, with_patience};

/// The running kernel.
pub(crate) struct Kernel;

/// What the kernel said.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    /// As `uname -r` prints it.
    pub(crate) release: String,
    /// Setting up a ring with the flags that ours have; the error is an errno.
    pub(crate) setup: Result<(), i32>,
    /// The operations of ours that it lacks. Unknown, and empty, without a ring.
    pub(crate) missing: Vec<&'static str>,
    /// Completions can be left out (`IORING_FEAT_CQE_SKIP`) and never get lost
    /// (`IORING_FEAT_NODROP`), and waiting takes a timeout (`IORING_FEAT_EXT_ARG`).
    pub(crate) features: bool,
    /// A ring of incremental buffers could be registered.
    pub(crate) incremental_buffers: bool,
    /// `RLIMIT_MEMLOCK` in bytes; absent if there is none.
    pub(crate) memlock: Option<u64>,
    /// The process has `CAP_IPC_LOCK`, so that `memlock` doesn't count.
    pub(crate) privileged: bool,
    /// `kernel.io_uring_disabled`; absent before Linux 6.6.
    pub(crate) disabled: Option<u8>,
    /// `RLIMIT_NOFILE`, and how many descriptors the process has; absent if there is no limit.
    pub(crate) open_files: Option<(u64, u64)>,
}

/// What may be made use of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Abilities {
    /// Receives may share a buffer. Linux has it from 6.12 on, but before 6.15 completions could
    /// change places when a multishot ended, and the place of a piece is known by their order: some
    /// client's bytes would have been taken for another's.
    pub(crate) incremental_buffers: bool,
    /// Sockets may lie in the rings' own tables. Linux 6.1 has them, but before 6.13 one that was
    /// closed stayed open until all older operations of its ring had ended: see `sockets`.
    pub(crate) direct_descriptors: bool,
    /// How many bytes the rings may take; absent if there is no limit.
    pub(crate) memlock: Option<u64>,
    /// How many descriptors there may be, and are; absent if there is no limit.
    pub(crate) open_files: Option<(u64, u64)>,
}

/// Why shards can't run here, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("the kernel is too old: this is Linux {release}, needed is Linux 6.1 or newer")]
    TooOld { release: String },
    #[error("io_uring is disabled: sysctl -w kernel.io_uring_disabled=0")]
    Disabled,
    #[error(
        "io_uring is refused, though Linux {release} has it: most likely a seccomp filter, like \
         the default profile of Docker: run the container with a profile that allows \
         io_uring_setup, io_uring_enter and io_uring_register (--security-opt seccomp=profile.json)"
    )]
    Refused { release: String },
    #[error(
        "too little memory may be locked: {limit} bytes are allowed, {needed} are needed for \
         {}: ulimit -l {} (in systemd LimitMEMLOCK={needed}){}",
        if *shards == 1 { "a shard".to_owned() } else { format!("{shards} shards") },
        needed.div_ceil(1024),
        if *shards == 1 { "" } else { ", or fewer shards" },
    )]
    Memlock { limit: u64, needed: u64, shards: usize },
    #[error(
        "too few files may be open: {limit} are allowed, {needed} are needed for {}: ulimit -n 65536 \
         (in systemd LimitNOFILE=65536)",
        if *shards == 1 { "a shard".to_owned() } else { format!("{shards} shards") },
    )]
    FewFiles { limit: u64, needed: u64, shards: usize },
    #[error(
        "no memory is left for a ring; what other processes of the same user have locked counts \
         too: ulimit -l unlimited (in systemd LimitMEMLOCK=infinity)"
    )]
    NoMemory,
    #[error("no descriptor is left for a ring: ulimit -n 65536")]
    OpenFiles,
    #[error("this kernel's io_uring lacks {what}, though Linux {release} should have it")]
    Lacks { what: String, release: String },
    #[error("io_uring cannot be set up: {}", no_thread(&io::Error::from_raw_os_error(*errno)))]
    Setup { errno: i32 },
}

impl Kernel {
    /// Asks the kernel, by setting up a small ring and taking it down again.
    pub(crate) fn probe() -> Probe {
        let mut probe = Probe {
            release: read("/proc/sys/kernel/osrelease").unwrap_or_default(),
            setup: Ok(()),
            missing: Vec::new(),
            features: false,
            incremental_buffers: false,
            memlock: limit(libc::RLIMIT_MEMLOCK),
            privileged: has_capability(CAP_IPC_LOCK),
            disabled: read("/proc/sys/kernel/io_uring_disabled").and_then(|it| it.parse().ok()),
            open_files: open_files(),
        };
        // Waiting makes a limit no larger.
        let could_suffice =
            probe.privileged || probe.memlock.is_none_or(|limit| limit >= MEMLOCK_OF_A_SHARD);
        // The end of a ring interrupts a system call of the thread it was made on, some time later:
        // that must be no thread of the application's.
        let asked: io::Result<()> = thread::scope(|scope| {
            let asking = thread::Builder::new().spawn_scoped(scope, || {
                let ring = if could_suffice {
                    with_patience(libc::ENOMEM, patience::MEMORY, set_up)
                } else {
                    set_up()
                }?;
                ask_ring(&ring, &mut probe);
                Ok(())
            })?;
            asking.join().expect("asking does not panic")
        });
        probe.setup = asked.map_err(|error| error.raw_os_error().unwrap_or(libc::EIO));
        probe
    }
}

/// A small ring with the flags that ours have.
fn set_up() -> io::Result<IoUring> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_clamp()
        .build(8)
}

fn ask_ring(ring: &IoUring, probe: &mut Probe) {
    let params = ring.params();
    probe.features = params.is_feature_skip_cqe_on_success()
        && params.is_feature_nodrop()
        && params.is_feature_ext_arg();

    let mut operations = io_uring::Probe::new();
    let known = ring.submitter().register_probe(&mut operations).is_ok();
    probe.missing = OPERATIONS
        .iter()
        .filter(|(_, code)| !known || !operations.is_supported(*code))
        .map(|(name, _)| *name)
        .collect();

    #[repr(align(4096))]
    struct Page([u8; 4096]);
    let page = Box::new(Page([0; 4096]));
    let entries = (page.0.len() / size_of::<BufRingEntry>()) as u16;
    let (group, incremental) = (0, 2);
    let submitter = ring.submitter();
    // SAFETY: a page of as many entries as it holds, which is there until it is unregistered below;
    // none of them is ever handed to the kernel.
    let registered = unsafe {
        submitter.register_buf_ring_with_flags(page.0.as_ptr() as u64, entries, group, incremental)
    };
    probe.incremental_buffers = registered.is_ok();
    if registered.is_ok() && submitter.unregister_buf_ring(group).is_err() {
        // It stays lent until the ring is gone; a page is a small price for being sure.
        std::mem::forget(page);
    }
}

/// Judges what the kernel said, for so many shards.
///
/// # Errors
///
/// [`Unfit`], whose message says how to mend it.
pub(crate) fn check(probe: &Probe, shards: usize) -> Result<Abilities, Unfit> {
    let release = probe.release.clone();
    let version = version(&release);
    if version.is_some_and(|version| version < OLDEST) {
        return Err(Unfit::TooOld { release });
    }
    let abilities = Abilities {
        incremental_buffers: probe.incremental_buffers
            && version.is_some_and(|version| version >= (6, 15)),
        direct_descriptors: version.is_some_and(|version| version >= (6, 13)),
        memlock: if probe.privileged { None } else { probe.memlock },
        open_files: probe.open_files,
    };
    match probe.setup {
        Ok(()) => {}
        Err(libc::EPERM) if probe.disabled.is_some_and(|disabled| disabled > 0) => {
            return Err(Unfit::Disabled);
        }
        Err(libc::EPERM | libc::ENOSYS | libc::EACCES) => return Err(Unfit::Refused { release }),
        Err(libc::EMFILE | libc::ENFILE) => {
            abilities.suffice_for(shards)?;
            return Err(Unfit::OpenFiles);
        }
        Err(libc::ENOMEM) => {
            abilities.suffice_for(shards)?;
            return Err(Unfit::NoMemory);
        }
        Err(errno) => return Err(Unfit::Setup { errno }),
    }
    if !probe.missing.is_empty() {
        return Err(Unfit::Lacks { what: probe.missing.join(", "), release });
    }
    if !probe.features {
        return Err(Unfit::Lacks { what: "CQE_SKIP, NODROP or EXT_ARG".to_owned(), release });
    }
    abilities.suffice_for(shards)?;
    Ok(abilities)
}

impl Abilities {
    /// Whether so many shards can start with what may be locked and opened.
    ///
    /// # Errors
    ///
    /// [`Unfit::Memlock`] and [`Unfit::FewFiles`].
    fn suffice_for(&self, shards: usize) -> Result<(), Unfit> {
        let needed = shards as u64 * MEMLOCK_OF_A_SHARD;
        if let Some(limit) = self.memlock
            && limit < needed
        {
            return Err(Unfit::Memlock { limit, needed, shards });
        }
        // The executor's own descriptors are opened where an error becomes a panic.
        let needed = shards as u64 * DESCRIPTORS_OF_A_SHARD + SPARE_DESCRIPTORS;
        if let Some((limit, used)) = self.open_files
            && limit < used + needed
        {
            return Err(Unfit::FewFiles { limit, needed: used + needed, shards });
        }
        Ok(())
    }
}

/// How many files the process may have open, which also bounds a table of direct descriptors.
pub(crate) fn open_files_limit() -> usize {
    limit(libc::RLIMIT_NOFILE).map_or(LARGEST_TABLE, |files| (files as usize).min(LARGEST_TABLE))
}

/// How many descriptors the process may have, and how many it has; `None` without a limit.
pub(super) fn open_files() -> Option<(u64, u64)> {
    let limit = limit(libc::RLIMIT_NOFILE)?;
    // The folder that is read is open too, and is so no longer. If it can't be, nothing is left.
    let used = std::fs::read_dir("/proc/self/fd").map_or(limit, |files| files.count() as u64 - 1);
    Some((limit, used))
}

/// How many bytes of memory are free, or would be given back if they were needed.
pub(super) fn free_memory() -> Option<u64> {
    let memory = read("/proc/meminfo")?;
    let line = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The soft limit; absent if there is none.
fn limit(resource: libc::__rlimit_resource_t) -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is what this call writes.
    let result = unsafe { libc::getrlimit(resource, &raw mut limit) };
    (result == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// Whether the process has a capability, in the way that is open to everyone.
fn has_capability(capability: u32) -> bool {
    let Some(status) = read("/proc/self/status") else { return false };
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.is_some_and(|bits| bits & (1 << capability) != 0)
}

fn read(path: &str) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}

const OLDEST: (u32, u32) = (6, 1);

/// What our rings submit.
const OPERATIONS: [(&str, u8); 7] = [
    ("ACCEPT", opcode::Accept::CODE),
    ("RECV", opcode::RecvMulti::CODE),
    ("SEND", opcode::Send::CODE),
    ("POLL_ADD", opcode::PollAdd::CODE),
    ("SHUTDOWN", opcode::Shutdown::CODE),
    ("CLOSE", opcode::Close::CODE),
    ("ASYNC_CANCEL", opcode::AsyncCancel::CODE),
];

/// What a shard locks at its start: its first ring with queues of the default sizes, the executor's
/// rings and buffers. A test starts one within it.
pub(crate) const MEMLOCK_OF_A_SHARD: u64 = 512 << 10;

/// What a shard opens at its start: its listener, its doorbell, its first ring, and the executor's
/// three rings and eventfd; and a ring more, for clients beyond the first.
const DESCRIPTORS_OF_A_SHARD: u64 = 8;

/// What a process opens besides: pipes for signals, files that are read and closed again.
const SPARE_DESCRIPTORS: u64 = 16;

/// The kernel's bound on a table of direct descriptors.
const LARGEST_TABLE: usize = 1 << 20;

const CAP_IPC_LOCK: u32 = 14;

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Probe {
        Probe {
            release: "6.18.0-test".to_owned(),
            setup: Ok(()),
            missing: Vec::new(),
            features: true,
            incremental_buffers: true,
            memlock: Some(8 << 20),
            privileged: false,
            disabled: Some(0),
            open_files: Some((1_024, 10)),
        }
    }

    fn complaint(probe: &Probe) -> String {
        check(probe, 1).unwrap_err().to_string()
    }

    #[test]
    fn the_kernel_under_test_suffices() {
        check(&Kernel::probe(), 1).unwrap();
    }

    #[test]
    fn an_old_kernel_is_named() {
        let setup = Err(libc::EINVAL);
        let probe = Probe { release: "5.15.0-91-generic".to_owned(), setup, ..good() };
        assert_eq!(
            complaint(&probe),
            "the kernel is too old: this is Linux 5.15.0-91-generic, needed is Linux 6.1 or newer"
        );
        for release in ["6.1", "6.1.0", "6.12.9+deb13", "7.0-rc1"] {
            check(&Probe { release: release.to_owned(), ..good() }, 1).unwrap();
        }
    }

    #[test]
    fn a_disabled_io_uring_says_how_to_enable_it() {
        for disabled in [1, 2] {
            let probe = Probe { setup: Err(libc::EPERM), disabled: Some(disabled), ..good() };
            assert_eq!(
                complaint(&probe),
                "io_uring is disabled: sysctl -w kernel.io_uring_disabled=0"
            );
        }
    }

    #[test]
    fn a_seccomp_filter_is_told_from_a_disabled_io_uring() {
        for errno in [libc::EPERM, libc::ENOSYS, libc::EACCES] {
            for disabled in [None, Some(0)] {
                let probe = Probe { setup: Err(errno), disabled, ..good() };
                assert!(complaint(&probe).contains("Docker"), "{errno}");
            }
        }
    }

    #[test]
    fn a_small_memlock_is_told_with_what_is_needed() {
        let probe = Probe { memlock: Some(64 << 10), ..good() };
        let needed = MEMLOCK_OF_A_SHARD;
        let says = complaint(&probe);
        assert!(says.contains("65536 bytes are allowed"), "{says}");
        assert!(says.contains(&format!("{needed} are needed")), "{says}");
        assert!(says.contains(&format!("ulimit -l {}", needed / 1024)), "{says}");
        let no_memory = Err(libc::ENOMEM);
        assert_eq!(check(&Probe { setup: no_memory, ..probe.clone() }, 1), check(&probe, 1));
        let others_locked_it = complaint(&Probe { setup: no_memory, ..good() });
        assert!(others_locked_it.contains("ulimit -l unlimited"), "{others_locked_it}");
        check(&Probe { privileged: true, ..probe }, 1).unwrap();
    }

    #[test]
    fn too_few_descriptors_are_told_with_what_is_needed() {
        let enough = 3 + DESCRIPTORS_OF_A_SHARD + SPARE_DESCRIPTORS;
        check(&Probe { open_files: Some((enough, 3)), ..good() }, 1).unwrap();
        let probe = Probe { open_files: Some((enough - 1, 3)), ..good() };
        let says = complaint(&probe);
        assert!(says.contains(&format!("{} are allowed", enough - 1)), "{says}");
        assert!(says.contains(&format!("{enough} are needed")), "{says}");
        assert!(says.contains("ulimit -n 65536"), "{says}");
        assert_eq!(
            check(&Probe { setup: Err(libc::EMFILE), ..probe.clone() }, 1),
            check(&probe, 1)
        );
        let abilities = check(&Probe { open_files: Some((enough, 3)), ..good() }, 1).unwrap();
        assert!(matches!(abilities.suffice_for(2), Err(Unfit::FewFiles { shards: 2, .. })));
    }

    #[test]
    fn memlock_is_counted_for_all_shards() {
        let abilities = check(&good(), 1).unwrap();
        abilities.suffice_for(16).unwrap();
        assert!(matches!(abilities.suffice_for(17), Err(Unfit::Memlock { shards: 17, .. })));
    }

    #[test]
    fn incremental_buffers_need_completions_in_order() {
        let able = |release: &str, incremental_buffers| {
            let probe = Probe { release: release.to_owned(), incremental_buffers, ..good() };
            check(&probe, 1).unwrap().incremental_buffers
        };
        assert!(able("6.15.0", true));
        assert!(!able("6.14.9", true));
        assert!(!able("6.18.0", false));
    }

    #[test]
    fn what_this_process_has_is_known() {
        let (limit, used) = open_files().expect("every process has a limit");
        assert!(used >= 3 && used < limit, "{used} of {limit}");
        assert!(free_memory().unwrap() > 1 << 20);
    }

    #[test]
    fn direct_descriptors_need_a_kernel_that_closes_them() {
        let able = |release: &str| {
            check(&Probe { release: release.to_owned(), ..good() }, 1).unwrap().direct_descriptors
        };
        assert!(able("6.13.0") && able("7.0-rc1"));
        assert!(!able("6.12.9+deb13") && !able("6.1.0"));
    }
}
