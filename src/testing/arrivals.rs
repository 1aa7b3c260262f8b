use std::collections::VecDeque;

use tungstenite::Message as WsMessage;

use super::error::Unread;
use super::message::{Malformed, Message, Version};

/// The messages that have arrived and were not read, in their order.
#[derive(Debug, Default)]
pub(super) struct Arrivals(VecDeque<Arrival>);

/// A message and the frame it came in.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) frame: WsMessage,
    pub(super) message: Message,
}

impl Arrivals {
    /// Adds the message in a text or binary frame.
    pub(super) fn file(&mut self, frame: WsMessage, version: Version) -> Result<(), Malformed> {
        let message = match &frame {
            WsMessage::Text(text) => version.decode(text)?,
            WsMessage::Binary(bytes) => Message::decode_binary(bytes)?,
            other => unreachable!("{other:?} carries no message"),
        };
        self.0.push_back(Arrival { frame, message });
        Ok(())
    }

    /// Takes the first that is wanted of those behind the first `looked_at`.
    pub(super) fn take(
        &mut self,
        looked_at: usize,
        wanted: impl Fn(&Message) -> bool,
    ) -> Option<Arrival> {
        let mut rest = self.0.iter().skip(looked_at);
        let index = rest.position(|arrival| wanted(&arrival.message))?;
        self.0.remove(looked_at + index)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// For an error to tell.
    pub(super) fn unread(&self) -> Unread {
        Unread::new(self.0.iter().map(|arrival| &arrival.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(events: &[&str]) -> Arrivals {
        let mut arrivals = Arrivals::default();
        for event in events {
            let text = format!(r#"[null,null,"t","{event}",{{}}]"#);
            arrivals.file(WsMessage::text(text), Version::V2).unwrap();
        }
        arrivals
    }

    fn take(arrivals: &mut Arrivals, looked_at: usize, event: &str) -> bool {
        let taken = arrivals.take(looked_at, |message| message.event == event);
        assert!(taken.as_ref().is_none_or(|taken| taken.message.event == event));
        taken.is_some()
    }

    #[test]
    fn the_first_that_is_wanted_is_taken_and_the_rest_kept_in_its_order() {
        let mut arrivals = arrivals(&["a", "b", "a", "c"]);
        assert!(take(&mut arrivals, 0, "b"));
        assert!(!take(&mut arrivals, 0, "b"));
        let rest = std::iter::from_fn(|| arrivals.take(0, |_| true));
        assert!(rest.map(|arrival| arrival.message.event).eq(["a", "a", "c"]));
    }

    #[test]
    fn what_was_looked_at_is_not_looked_at_again() {
        let mut arrivals = arrivals(&["a", "b", "a"]);
        assert!(take(&mut arrivals, 1, "a"));
        assert!(!take(&mut arrivals, 1, "a"));
        assert!(!take(&mut arrivals, 2, "b"));
        assert!(!take(&mut arrivals, 3, "b"));
        assert_eq!(arrivals.len(), 2);
    }

    #[test]
    fn a_frame_is_kept_with_its_message_and_a_malformed_one_is_not() {
        let mut arrivals = Arrivals::default();
        let binary = WsMessage::binary(b"\x02\x01\x01te\x07".to_vec());
        arrivals.file(binary.clone(), Version::V1).unwrap();
        arrivals.file(WsMessage::text("[]"), Version::V2).unwrap_err();
        arrivals.file(WsMessage::binary(b"\x07".to_vec()), Version::V2).unwrap_err();
        assert_eq!(arrivals.len(), 1);
        let arrival = arrivals.take(0, |_| true).unwrap();
        assert_eq!((arrival.frame, arrival.message.event), (binary, "e".into()));
        assert_eq!(arrivals.unread().to_string(), "nothing is unread");
    }

    #[test]
    fn what_is_unread_is_told_in_its_order() {
        let told = arrivals(&["a", "b"]).unread().to_string();
        assert_eq!(told, r#"unread: [null,null,"t","a",{}] [null,null,"t","b",{}]"#);
    }
}
