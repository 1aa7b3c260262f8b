//! How a load is set up.

use std::net::Ipv4Addr;
use std::time::Duration;

/// How a load is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The core on which the load's thread is pinned; `None` (the default) leaves it where it is.
    pub cpu: Option<usize>,
    /// The first address clients connect from, 127.0.0.1 by default. The next one is taken after
    /// every 10,000 clients, for an address has no more than 28,232 ports to give. Several loads to
    /// one server begin at different addresses.
    pub source: Ipv4Addr,
    /// How many clients connect or join at a time, 128 by default: fewer than a listener's backlog,
    /// since what overflows that is repeated by the kernel only after a second.
    pub at_once: usize,
    /// How long the server may owe something without anything owed coming, 5 s by default.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let patience = Duration::from_secs(5);
        Self { cpu: None, source: Ipv4Addr::LOCALHOST, at_once: 128, patience }
    }
}

impl Options {
    /// The address that a client connects from.
    pub(super) fn source_of(&self, index: usize) -> Ipv4Addr {
        let step = (index / CLIENTS_PER_SOURCE) as u32;
        Ipv4Addr::from_bits(self.source.to_bits() + step)
    }
}

/// Of 28,232 ports (`net.ipv4.ip_local_port_range`). `bind` tries the 14,116 odd ones first, and
/// who comes when they are taken looks at each of them: 40 s of CPU for four times 15,000 clients.
const CLIENTS_PER_SOURCE: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_clients_connect_from_further_addresses() {
        let source = "127.0.1.255".parse().unwrap();
        let options = Options { source, ..Options::default() };
        assert_eq!(options.source_of(CLIENTS_PER_SOURCE - 1), source);
        assert_eq!(options.source_of(CLIENTS_PER_SOURCE), Ipv4Addr::new(127, 0, 2, 0));
    }
}
