//! What a process that has just ended is given back late.
//!
//! Its rings are taken down after it has gone, by threads of the kernel's: what it had locked, and
//! the port of a listener that one of its accepts still names, are free some 50 ms later. Whoever
//! starts it anew at once would be told that both are taken.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// Tries again for a while, as long as it fails by `errno`.
pub(super) fn with_patience<T>(
    errno: i32,
    patience: Duration,
    mut make: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        match make() {
            Err(error) if error.raw_os_error() == Some(errno) && Instant::now() < deadline => {
                thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
}

/// For locked memory.
pub(super) const MEMORY: Duration = Duration::from_secs(3);

/// For a port. One that is truly taken is told so late, which hurts nobody but who reads it.
pub(super) const PORT: Duration = Duration::from_secs(1);

/// Between two attempts.
pub(super) const PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails so often, by this error.
    fn fails(times: u32, errno: i32) -> impl FnMut() -> io::Result<u32> {
        let mut tried = 0;
        move || {
            tried += 1;
            if tried > times { Ok(tried) } else { Err(io::Error::from_raw_os_error(errno)) }
        }
    }

    #[test]
    fn it_is_had_for_one_error_only_and_not_for_ever() {
        let long = Duration::from_secs(60);
        assert_eq!(with_patience(libc::ENOMEM, long, fails(2, libc::ENOMEM)).unwrap(), 3);
        let error = with_patience(libc::ENOMEM, long, fails(2, libc::EPERM)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        let error = with_patience(libc::ENOMEM, Duration::ZERO, fails(2, libc::ENOMEM));
        assert_eq!(error.unwrap_err().raw_os_error(), Some(libc::ENOMEM));
    }
}
