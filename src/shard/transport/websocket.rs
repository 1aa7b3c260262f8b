//! WebSockets: what an open socket's client sends, cut into messages and handed to its session.

use super::errand::{Errand, Goodbye, Read};
use super::table::{SocketBounds, Step, Transport};
use super::unfinished::Mark;
use super::waiting::Stopped;
use crate::io::ConnectionId;
use crate::message::{Encoding, EndReason, LineId, Stop};
use crate::protocol::phoenix::{self, Ref};
use crate::protocol::websocket::{self, Ahead, Input, Message, Partial};
use crate::shard::channels::{Hub, Pressure};

/// Bytes of an open socket.
pub(crate) struct Frames<'b> {
    line: LineId,
    session: u32,
    encoding: Encoding,
    max_depth: usize,
    input: Input<'b>,
    /// The mark of the message that began in a receive before, until that is whole.
    begun: Option<Mark>,
    /// So many messages are read in this turn, and so many are still to be.
    share: u16,
    left: u16,
}

impl<'b> Frames<'b> {
    #[inline]
    pub(super) fn new(
        line: LineId,
        session: u32,
        encoding: Encoding,
        begun: Option<(Mark, Box<Partial>)>,
        bytes: &'b mut [u8],
        bounds: &SocketBounds,
        share: u16,
    ) -> Self {
        let (begun, partial) = begun.unzip();
        let input = Input::new(partial, bytes, bounds.websocket);
        let max_depth = bounds.max_json_depth;
        Self { line, session, encoding, max_depth, input, begun, share, left: share }
    }

    /// Reads one message.
    #[inline(always)]
    pub(super) fn read(&mut self, hub: &mut Hub) -> Read<'_> {
        if (self.left == 0 || hub.is_pressed())
            && let Some(why) = self.stop(hub)
        {
            return Read::Over(Goodbye::Stopped(why));
        }
        self.left = self.left.saturating_sub(1);
        let Self { line, session, encoding, max_depth, input, begun, .. } = self;
        let decoded = match input.next_message() {
            Ok(Some(Message::Text(text))) => {
                if encoding.has_plain_heartbeats()
                    && let Some(message_ref) = phoenix::heartbeat_ref(text.as_bytes())
                {
                    *begun = None;
                    hub.answer_heartbeat(*line, Ref::from_json(message_ref));
                    return Read::More;
                }
                encoding.decode(text, *max_depth)
            }
            Ok(Some(Message::Binary(bytes))) => encoding.decode_binary(bytes, *max_depth),
            Ok(Some(Message::Ping(payload))) => {
                hub.write_bytes(*line, |out| websocket::write_pong(out, payload));
                return Read::More;
            }
            Ok(Some(Message::Pong)) => return Read::More,
            Ok(None) => return Read::Over(Goodbye::None),
            Ok(Some(Message::Close(code))) => return Read::Over(Goodbye::Close(code)),
            Err(error) => return Read::Over(Goodbye::BadFrame(error)),
        };
        *begun = None;
        match decoded {
            Ok(message) => match hub.take_message(*session, *line, &message) {
                Some(callback) => Read::Errand(Errand::Callback(callback)),
                None => Read::More,
            },
            Err(malformed) => Read::Over(Goodbye::BadMessage(malformed)),
        }
    }
}

impl Frames<'_> {
    /// Whether reading stops here, and why. Not before a heartbeat or a control frame, when it is not
    /// the client's own share that is over.
    #[cold]
    fn stop(&mut self, hub: &mut Hub) -> Option<Pressure> {
        if let Some(met) = hub.take_pressure() {
            return Some(met);
        }
        let ahead = self.input.peek();
        if self.left == 0 {
            return (!matches!(ahead, Ahead::Nothing)).then_some(Pressure::Share);
        }
        let is_urgent = match ahead {
            Ahead::Nothing | Ahead::Control => true,
            Ahead::Small(text) => str::from_utf8(&text).is_ok_and(|text| {
                let message = self.encoding.decode(text, self.max_depth);
                message.is_ok_and(|message| message.topic == "phoenix".into())
            }),
            Ahead::Large => false,
        };
        (!is_urgent).then_some(Pressure::Shard)
    }
}

impl Transport {
    /// Has read what an open socket's client sent.
    #[inline]
    pub(super) fn end_frames(
        &mut self,
        hub: &mut Hub,
        frames: Frames<'_>,
        how: Goodbye,
    ) -> Option<Stopped> {
        let Frames { line, input, begun, share, left, .. } = frames;
        let id = ConnectionId::from(line);
        // Much that is no message yet takes its time too.
        let pieces = input.position() / PIECE;
        hub.count_read(
            line,
            (share - left).saturating_add(u16::try_from(pieces).unwrap_or(u16::MAX)),
        );
        match how {
            Goodbye::Stopped(why) => {
                let left = input.rest().len();
                if let Some(partial) = input.finish() {
                    self.unfinished.keep_message(id, partial, begun);
                }
                return Some(Stopped { left, why });
            }
            Goodbye::None => {
                if let Some(partial) = input.finish() {
                    self.unfinished.keep_message(id, partial, begun);
                }
            }
            Goodbye::Close(code) => {
                // Its Close is answered, and then that was it.
                let code = websocket::close_reply(code);
                hub.write_bytes(line, |out| websocket::write_close(out, Some(code)));
                self.leave(hub, id, Step::Close, &Stop::Closed);
            }
            Goodbye::BadFrame(error) => {
                let (code, error) = (error.close_code(), error.to_string());
                self.end(hub, id, EndReason::BadFrame { code, error });
            }
            Goodbye::BadMessage(malformed) => {
                self.end(hub, id, EndReason::BadMessage { error: malformed.to_string() });
                // The client's own Close may be here already.
                self.look_for_close(hub, id, input, None);
            }
        }
        None
    }
}

/// So many bytes count as a message.
const PIECE: usize = 4 << 10;
