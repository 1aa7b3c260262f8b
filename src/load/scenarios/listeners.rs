//! Listeners: clients to whom others speak.

use std::io;

use super::Scenario;
use crate::load::cast::Cast;
use crate::load::run::Run;
use crate::load::{Error, Load, Push, Report};

impl Load {
    /// Every client waits for one broadcast in its room, which is made elsewhere.
    ///
    /// The latencies reach from the call of this, which may well be after the broadcast was made.
    ///
    /// # Errors
    ///
    /// The kernel's; what the server does wrong is in the report.
    pub fn hear(&mut self, push: Push<'_>) -> Result<Report, Error> {
        let scripts = self.broadcasts(push, 1);
        let (mut run, mut cast) = self.begin(scripts);
        let started = run.started();
        for client in 0..cast.len() {
            cast.await_broadcast(&mut run, client, started);
        }
        Ok(run.drive(Listeners { cast })?)
    }
}

/// All of them, once.
struct Listeners<'a> {
    cast: Cast<'a>,
}

impl Scenario for Listeners<'_> {
    fn handle_ready(&mut self, run: &mut Run<'_>, client: usize) -> io::Result<()> {
        self.cast.receive_last(run, client);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::test_server::{LENGTH, PING, joined, phoenix, server_of_rooms};

    const SHOUT: Push<'static> = Push { event: "shout", ..PING };

    #[test]
    fn others_are_heard() {
        let server = server_of_rooms(phoenix);
        let (mut speakers, mut listeners) = (joined(server, 6), joined(server, 6));
        // One in each room.
        let said = speakers.speak_at_rate(SHOUT, 100.0, LENGTH).unwrap().clean().unwrap();
        let heard = listeners.hear(SHOUT).unwrap().clean().unwrap();
        assert_eq!((said.received, heard.received), (6, 6));
    }
}
