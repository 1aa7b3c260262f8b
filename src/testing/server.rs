//! A server for tests: any endpoint on ports of its own, one for each shard.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::telemetry::Holdings;
use crate::{Builder, Ceiling, Handle, Running, ShardCounts};

/// An endpoint that runs for a test, every shard at a port of its own, so that the test decides
/// which shard a client is on. Ends when it is dropped.
///
/// # Example
///
/// ```
/// use simurgh::testing::{Client, Server};
///
/// let server = Server::start(simurgh::demo::endpoint(), 2);
/// let mut one = Client::connect(server.addr(0), "/socket")?;
/// let mut other = Client::connect(server.addr(1), "/socket")?;
/// one.join("room:lobby", serde_json::json!({}))?;
/// other.join("room:lobby", serde_json::json!({}))?;
/// one.push("room:lobby", "new_msg", serde_json::json!({"body": "hi"}));
/// other.expect("room:lobby", "new_msg")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Server {
    running: Running,
}

impl Server {
    /// Starts the endpoint with so many shards on 127.0.0.1; an address it was given is not used.
    ///
    /// # Panics
    ///
    /// When it can't be started.
    pub fn start<A: Send + Sync + 'static>(endpoint: Builder<A>, shards: usize) -> Self {
        let endpoint = endpoint.listen("127.0.0.1:0").shards(shards).port_per_shard();
        match endpoint.start() {
            Ok(running) => Self { running },
            Err(error) => panic!("the server can't be started: {error}"),
        }
    }

    /// The address of a shard.
    pub fn addr(&self, shard: usize) -> SocketAddr {
        self.running.local_addrs()[shard]
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.running.local_addrs().len()
    }

    /// How many connections it can hold.
    pub fn ceiling(&self) -> Ceiling {
        self.running.ceiling()
    }

    /// Reaches the endpoint.
    pub fn handle(&self) -> Handle {
        self.running.handle()
    }

    /// What each shard has counted, as of its last turn.
    pub fn counts(&self) -> Vec<ShardCounts> {
        self.running.handle().counts()
    }

    /// Waits until the counts are as wanted: a shard publishes them at the end of a turn, a little
    /// after its clients have heard of what it did.
    ///
    /// # Panics
    ///
    /// When they aren't within ten seconds; says what they are.
    pub fn await_counts(&self, wanted: impl Fn(&[ShardCounts]) -> bool) -> Vec<ShardCounts> {
        await_figures(|| self.counts(), wanted)
    }

    /// What each shard holds now.
    ///
    /// # Panics
    ///
    /// When a shard does not answer within ten seconds.
    pub fn holdings(&self) -> Vec<Holdings> {
        self.running.handle().holdings()
    }

    /// Waits until the shards hold what is wanted.
    ///
    /// # Panics
    ///
    /// When they don't within ten seconds; says what they hold.
    pub fn await_holdings(&self, wanted: impl Fn(&[Holdings]) -> bool) -> Vec<Holdings> {
        await_figures(|| self.holdings(), wanted)
    }

    /// Waits until nothing is left of any client: see [`Holdings::is_rest`].
    ///
    /// # Panics
    ///
    /// As for [`await_holdings`](Self::await_holdings).
    pub fn await_rest(&self) {
        self.await_holdings(|shards| shards.iter().all(Holdings::is_rest));
    }

    /// Shuts the endpoint down and waits for its end.
    ///
    /// # Panics
    ///
    /// When a shard has failed.
    pub fn stop(self) {
        self.running.handle().shutdown();
        if let Err(error) = self.running.join() {
            panic!("the server ended badly: {error}");
        }
    }
}

/// Asks for figures until they are as wanted, for ten seconds.
fn await_figures<T: fmt::Debug>(ask: impl Fn() -> Vec<T>, wanted: impl Fn(&[T]) -> bool) -> Vec<T> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let figures = ask();
        if wanted(&figures) {
            return figures;
        }
        assert!(Instant::now() < deadline, "the shards' figures are not as wanted: {figures:#?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn figures_are_asked_for_until_they_are_as_wanted() {
        let asked = Cell::new(0);
        let ask = || {
            asked.update(|times| times + 1);
            vec![asked.get(); 2]
        };
        assert_eq!(await_figures(ask, |figures| figures == [3, 3]), [3, 3]);
        assert_eq!(asked.get(), 3, "and no more");
    }
}
