//! What keeps clients from being accepted, told once a minute and not with every attempt.

use std::time::{Duration, Instant};

/// What has been told, and when.
#[derive(Default)]
pub(super) struct Troubles(Vec<(Trouble, Instant)>);

/// What was tried, and the error's number. There are few of either.
type Trouble = (&'static str, i32);

impl Troubles {
    /// Whether this is to be told now; then it counts as told.
    pub(super) fn is_news(&mut self, trouble: Trouble, now: Instant) -> bool {
        let told = self.0.iter_mut().find(|(other, _)| *other == trouble);
        match told {
            Some((_, at)) if now.saturating_duration_since(*at) < PAUSE => return false,
            Some((_, at)) => *at = now,
            None => self.0.push((trouble, now)),
        }
        true
    }
}

/// Whether a failure to accept is over with the client whom it concerned: `accept` also tells of
/// what has happened to a connection before it was taken. Of the rest, most would fail again at
/// once: the process or the system has no room, and the client is still in the backlog.
pub(super) fn is_of_one_client(errno: i32) -> bool {
    matches!(
        errno,
        libc::ECONNABORTED
            | libc::EPERM
            | libc::EPROTO
            | libc::ENOPROTOOPT
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::ENONET
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
    )
}

const PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_room_is_no_clients_trouble() {
        assert!(is_of_one_client(libc::ECONNABORTED) && is_of_one_client(libc::EHOSTUNREACH));
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS, libc::EINVAL] {
            assert!(!is_of_one_client(errno), "{errno}");
        }
    }

    #[test]
    fn each_trouble_is_news_once_a_minute() {
        let mut troubles = Troubles::default();
        let start = Instant::now();
        let mut is_news =
            |trouble, seconds| troubles.is_news(trouble, start + Duration::from_secs(seconds));
        assert!(is_news(("accept", libc::EMFILE), 0));
        assert!(!is_news(("accept", libc::EMFILE), 59));
        assert!(is_news(("accept", libc::ENFILE), 59), "another");
        assert!(is_news(("ring", libc::EMFILE), 59), "another");
        assert!(is_news(("accept", libc::EMFILE), 60), "still");
        assert!(!is_news(("accept", libc::EMFILE), 61));
    }
}
