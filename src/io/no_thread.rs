//! Why there is no thread, and what helps.

use std::io;

/// Why there is no thread, and what helps.
pub(crate) fn no_thread(error: &io::Error) -> String {
    format!("{error}{}", thread_remedy(error))
}

/// What helps against this failure to start a thread; empty where nothing is known.
fn thread_remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EAGAIN) => NO_THREAD,
        _ => "",
    }
}

/// clone(2) says EAGAIN for whichever bound it is that is reached.
pub(super) const NO_THREAD: &str = "; no thread is left for this user or container: raise ulimit -u \
     (LimitNPROC= in systemd) or pids.max of the control group (TasksMax=, docker --pids-limit)";
