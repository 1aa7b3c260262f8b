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

const PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

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
