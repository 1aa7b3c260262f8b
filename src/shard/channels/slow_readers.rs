//! Slow readers: what becomes of a client who owes more than he may.

use smallvec::SmallVec;

use super::audience::Crowd;
use super::mailbox::Mail;
use super::mount::handler;
use crate::message::{EndReason, LineId};
use crate::shard::lines::Room;
use crate::telemetry::Event;

impl Crowd<'_> {
    /// Notes a client who has more than he may, to be closed at the end of the turn, unless enough
    /// of what waits for him may be dropped.
    #[cold]
    pub(super) fn relieve(&mut self, line: LineId, room: Room) {
        match room {
            Room::Left => {}
            // It was not enough a moment ago.
            Room::Exceeded if self.chores.ends_last(line) => {}
            Room::Exceeded if self.shed(line) => {}
            Room::Exceeded | Room::Flooded => {
                let max_send_queue = self.lines.max_owed();
                self.chores.end(line, EndReason::SlowReader { max_send_queue });
            }
        }
    }

    /// Drops broadcasts that wait for channels that allow it, and has them told. Whether the client
    /// owes no more than he may now.
    fn shed(&mut self, line: LineId) -> bool {
        let Self { channels, lines, telemetry, .. } = self;
        let mut missed = SmallVec::<[u32; 4]>::new();
        let is_enough = lines.drop_broadcasts(line, |process| {
            // The one it was for may have ended, and its place be another client's.
            let its = channels.processes.at_place(process).filter(|process| process.line == line);
            let is_lossy =
                its.is_some_and(|its| handler(&channels.mounts, its.mount, its.route).is_lossy());
            if is_lossy {
                telemetry.tell(Event::Dropped);
                if !missed.contains(&process) {
                    missed.push(process);
                }
            }
            is_lossy
        });
        for process in missed {
            self.deliver(process, Mail::Missed);
        }
        is_enough
    }
}
