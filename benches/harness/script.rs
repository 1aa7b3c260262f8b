//! What is said in a bench, as both sides know it: the clients, and the bare server.

use std::io;
use std::ops::Range;

use simurgh::load::{self, Push, message};

/// What the bare server knows.
pub(crate) struct Script {
    /// The join of room 0. Another room's is as long, and differs from it at `number` alone.
    join: Vec<u8>,
    number: Range<usize>,
    /// How many bytes a push has on the wire.
    pub(crate) push: usize,
    pub(crate) answer: Answer,
    rooms: Vec<Room>,
}

/// Who is sent the answer to a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The one who pushed, as a reply with the payload he pushed.
    Sender,
    /// All who have joined his room, as a broadcast of the event he pushed.
    Room,
}

/// What the server says in a room.
struct Room {
    joined: Vec<u8>,
    /// Finished answers: to as many pushes as a read can bring when they go to one client.
    answers: Vec<u8>,
}

impl Script {
    /// A server of so many rooms and one event.
    pub(crate) fn new(rooms: usize, push: Push<'_>, answer: Answer) -> Self {
        let Push { event, payload } = push;
        let room = |number| {
            let topic = topic(number);
            let (message, copies) = match answer {
                Answer::Sender => (message::reply(&topic, payload), MAX_PUSHES),
                Answer::Room => (message::broadcast(&topic, event, payload), 1),
            };
            Room {
                joined: load::text(&message::joined(&topic, "{}")),
                answers: load::text(&message).repeat(copies),
            }
        };
        let join = |number| load::masked_text(&message::join(&topic(number), "{}"));
        // No digit of one is the other's.
        let (first, other) = (join(0), join(99_999));
        let differs = |&at: &usize| first[at] != other[at];
        let start = (0..first.len()).find(differs).expect("two rooms' names differ");
        let last = (0..first.len()).rfind(differs).expect("two rooms' names differ");
        Self {
            join: first,
            number: start..last + 1,
            push: load::masked_text(&message::push(&topic(0), event, payload)).len(),
            answer,
            rooms: (0..rooms).map(room).collect(),
        }
    }

    /// How many rooms there are.
    pub(crate) fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// The room that a join is for. Both are masked alike, so what a digit differs by from the
    /// zero in its place is its value.
    pub(crate) fn room(&self, join: &[u8]) -> io::Result<usize> {
        if join.len() != self.join.len() {
            return Err(io::Error::other("a join did not come in one read"));
        }
        let digits = self.number.clone().map(|at| usize::from(join[at] ^ self.join[at]));
        let room = digits.fold(0, |number, digit| 10 * number + digit);
        if room < self.rooms.len() { Ok(room) } else { Err(io::Error::other("an unknown room")) }
    }

    /// The answer to a join.
    pub(crate) fn joined(&self, room: usize) -> &[u8] {
        &self.rooms[room].joined
    }

    /// The answer to a push that all in the room hear.
    pub(crate) fn broadcast(&self, room: usize) -> &[u8] {
        &self.rooms[room].answers
    }

    /// The replies to so many pushes of one client.
    pub(crate) fn replies(&self, room: usize, pushes: usize) -> &[u8] {
        let replies = &self.rooms[room].answers;
        &replies[..replies.len() / MAX_PUSHES * pushes]
    }
}

/// The topic of a room. The names of all rooms are equally long.
pub(crate) fn topic(room: usize) -> String {
    format!("room:{room:05}")
}

/// What is broadcast. The payload is 100 bytes long, and the message that is heard 133.
pub(crate) const SHOUT: Push<'_> = Push {
    event: "shout",
    payload: concat!(
        r#"{"body":"They crossed seven valleys, and when they had come "#,
        r#"to the end, there were thirty of them."}"#
    ),
};

pub(crate) const PATH: &str = "/socket/websocket?vsn=2.0.0";

/// Of one client, in one read of the bare server.
pub(crate) const MAX_PUSHES: usize = 1_024;
