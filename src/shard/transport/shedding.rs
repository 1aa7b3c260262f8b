//! Shedding: who goes when all clients together have more of the server's memory than they may.
//!
//! Each bound by itself leaves room for the sum: clients who owe a little less than they may, and
//! messages that are nearly whole, are more than a small machine has. So all that is kept for clients
//! is counted, over all shards, and past the bound whoever has most of it goes: what he is owed, what
//! of him is not whole or waits to be read, and what waits for his channels.

use std::collections::HashMap;

use super::table::Transport;
use crate::io::ConnectionId;
use crate::message::{EndReason, LineId, kept};
use crate::shard::channels::Hub;

impl Transport {
    /// Closes those who have most, while all together have too much.
    pub(crate) fn shed(&mut self, hub: &mut Hub) {
        let own = hub.lines.bytes() + self.unfinished.bytes() + self.waiting.bytes();
        hub.ease(kept() + own);
        let Some(mut excess) = hub.links.keep(own) else { return };
        let max_kept_bytes = hub.links.shared().max_kept_bytes;
        let mut debtors: Vec<_> = self.debtors(hub).into_iter().collect();
        debtors.sort_unstable_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        for (line, bytes) in debtors {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(bytes);
            self.end(hub, line.into(), EndReason::KeepsMost { bytes, max_kept_bytes });
        }
    }

    /// What each client has of what is kept.
    fn debtors(&self, hub: &Hub) -> HashMap<LineId, usize> {
        let mut debtors: HashMap<LineId, usize> = HashMap::new();
        let unread = self.unfinished.sizes().chain(self.waiting.sizes());
        let unread = unread.map(|(id, bytes): (ConnectionId, usize)| (id.into(), bytes));
        for (line, bytes) in hub.lines.debtors().chain(hub.channels.mailed()).chain(unread) {
            *debtors.entry(line).or_default() += bytes;
        }
        debtors
    }
}
