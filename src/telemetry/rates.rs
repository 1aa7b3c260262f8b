//! Rates: how many lines of a kind a minute has, for each client that causes them.
//!
//! A client writes as many requests as it likes, and what is told of them must not fill the disk or
//! hide what others have done. So of each kind a client has a few lines a minute, and then a count of
//! those that were withheld.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use tracing::Level;

use super::text::{MAX_NAME, Text, grouped};
use crate::message::beginning;

/// What has been told in this minute.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    /// When it is over; it began with the first line.
    end: Option<Instant>,
    entries: HashMap<(&'static str, Subject), Entry>,
    has_withheld: bool,
}

#[derive(Debug)]
struct Entry {
    level: Level,
    told: u32,
    withheld: u64,
}

/// Whom a line is about, as far as lines are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    /// An address. Of IPv6 the network of 64 bits, of which one client has all addresses.
    Peer(IpAddr),
    /// Where there is no peer: a topic or the type of a channel.
    Name(Box<str>),
    /// Nobody: the kind of line is all there is to count by.
    Nobody,
    /// All for whom there is no entry left.
    Others,
}

impl Subject {
    pub(crate) fn name(name: &str) -> Self {
        Self::Name(beginning(name, MAX_NAME).into())
    }

    pub(crate) fn peer(address: IpAddr) -> Self {
        Self::Peer(match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            address => address,
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(IpAddr::V4(address)) => write!(f, " from {address}"),
            Self::Peer(IpAddr::V6(network)) => write!(f, " from {network}/64"),
            Self::Name(name) => match Text::of(name) {
                Text::Plain(name) => write!(f, " of {name:?}"),
                Text::Odd(name) => write!(f, " of {name:?}"),
            },
            Self::Nobody => Ok(()),
            Self::Others => write!(f, " from others"),
        }
    }
}

/// Lines of one kind that were not told in a minute.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Withheld {
    pub(crate) level: Level,
    what: &'static str,
    subject: Subject,
    count: u64,
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, subject, count, .. } = self;
        write!(f, "{what}: and {} more{subject} in the last minute", grouped(*count))
    }
}

impl Rates {
    /// Whether a line that says this may be told, in a minute that is not over.
    pub(crate) fn may_tell(
        &mut self,
        now: Instant,
        level: Level,
        what: &'static str,
        subject: Subject,
    ) -> bool {
        self.end.get_or_insert(now + MINUTE);
        let mut key = (what, subject);
        if self.entries.len() >= MAX_ENTRIES && !self.entries.contains_key(&key) {
            key.1 = Subject::Others;
        }
        let entry = self.entries.entry(key).or_insert(Entry { level, told: 0, withheld: 0 });
        if entry.told < MAX_LINES {
            entry.told += 1;
            return true;
        }
        entry.withheld += 1;
        self.has_withheld = true;
        false
    }

    /// Ends the minute if it is over; says what was withheld in it.
    pub(crate) fn end_minute(&mut self, now: Instant) -> Vec<Withheld> {
        if self.end.is_none_or(|end| now < end) { Vec::new() } else { self.take() }
    }

    /// Ends the minute; says what was withheld in it.
    pub(crate) fn take(&mut self) -> Vec<Withheld> {
        let Self { entries, .. } = std::mem::take(self);
        let withheld = entries.into_iter().filter(|(_, entry)| entry.withheld > 0);
        let withheld = withheld.map(|((what, subject), entry)| Withheld {
            level: entry.level,
            what,
            subject,
            count: entry.withheld,
        });
        withheld.collect()
    }

    /// When there will be something to say though nothing more happens.
    pub(crate) fn next_instant(&self) -> Option<Instant> {
        self.end.filter(|_| self.has_withheld)
    }
}

/// Lines of a kind and a client in a minute: enough to see what it does.
pub(crate) const MAX_LINES: u32 = 5;

/// Kinds and clients that are counted by themselves. All beyond share one entry for each kind, of
/// which there are some thirty.
const MAX_ENTRIES: usize = 256;

const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> Subject {
        Subject::peer([10, 0, 0, last].into())
    }

    fn say(withheld: Vec<Withheld>) -> Vec<String> {
        let mut lines: Vec<_> = withheld.iter().map(ToString::to_string).collect();
        lines.sort();
        lines
    }

    #[test]
    fn a_client_has_a_few_lines_of_a_kind_and_then_a_count() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let mut told = 0;
        for _ in 0..1_209 {
            told += u32::from(rates.may_tell(start, Level::INFO, "refused", peer(1)));
        }
        assert_eq!(told, MAX_LINES);
        assert!(rates.may_tell(start, Level::INFO, "refused", peer(2)), "another client's");
        assert!(rates.may_tell(start, Level::WARN, "unmatched", peer(1)), "another kind");
        assert_eq!(rates.next_instant(), Some(start + MINUTE));
        assert!(rates.end_minute(start + MINUTE / 2).is_empty());
        let withheld = say(rates.end_minute(start + MINUTE));
        assert_eq!(withheld, ["refused: and 1,204 more from 10.0.0.1 in the last minute"]);
        assert_eq!(rates.next_instant(), None);
        assert!(rates.may_tell(start + MINUTE, Level::INFO, "refused", peer(1)));
    }

    #[test]
    fn many_addresses_do_not_grow_the_table() {
        let (mut rates, now) = (Rates::default(), Instant::now());
        let mut told = 0;
        for address in 0..100_000 {
            let subject = Subject::peer(IpAddr::V4(address.into()));
            told += usize::from(rates.may_tell(now, Level::INFO, "refused", subject));
        }
        assert_eq!(rates.entries.len(), MAX_ENTRIES + 1);
        assert_eq!(told, MAX_ENTRIES + MAX_LINES as usize);
        let withheld = say(rates.take());
        assert_eq!(withheld, ["refused: and 99,739 more from others in the last minute"]);
    }

    #[test]
    fn addresses_of_a_network_of_ipv6_are_one_client_and_mapped_ones_are_ipv4() {
        let subject = |address: &str| Subject::peer(address.parse().unwrap());
        assert_eq!(subject("2001:db8:1:2::3"), subject("2001:db8:1:2:ffff::"));
        assert_ne!(subject("2001:db8:1:2::3"), subject("2001:db8:1:3::3"));
        assert_eq!(subject("::ffff:10.0.0.1"), peer(1));
        assert_eq!(subject("2001:db8:1:2::3").to_string(), " from 2001:db8:1:2::/64");
    }
}
