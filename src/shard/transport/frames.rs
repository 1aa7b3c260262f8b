//! Frames: what an open socket's client sends, cut into messages and handed to its session.

use std::rc::Rc;

use crate::channel::Stop;
use crate::io::ConnectionId;
use crate::protocol::phoenix::{self, Ref, Version};
use crate::protocol::websocket::{self, CloseCode, Input, Limits, Message, Partial};
use crate::shard::{Core, Local};

impl Local {
    pub(super) fn receive_frames(
        self: &Rc<Self>,
        id: ConnectionId,
        partial: Option<Box<Partial>>,
        bytes: &mut [u8],
    ) {
        let (limits, max_depth, version) = {
            let mut core = self.core.borrow_mut();
            let version = core.connections.version(id).expect("only an open socket has frames");
            (core.websocket_limits(), core.limits.max_json_depth, version)
        };
        let mut input = Input::new(partial, bytes, limits);
        let mut is_same_message = true;
        loop {
            let decoded = match input.next_message() {
                Ok(None) => break,
                Ok(Some(Message::Text(text))) => {
                    if version == Version::V2
                        && let Some(message_ref) = phoenix::heartbeat_ref(text.as_bytes())
                    {
                        self.core.borrow_mut().answer_heartbeat(id, Ref::from_json(message_ref));
                        is_same_message = false;
                        continue;
                    }
                    version.decode(text, max_depth)
                }
                Ok(Some(Message::Binary(bytes))) => version.decode_binary(bytes, max_depth),
                Ok(Some(Message::Ping(payload))) => {
                    self.core.borrow_mut().pong(id, payload);
                    continue;
                }
                Ok(Some(Message::Pong)) => continue,
                Ok(Some(Message::Close(code))) => {
                    self.core.borrow_mut().answer_close(id, websocket::close_reply(code));
                    return;
                }
                Err(error) => {
                    tracing::debug!(%error, "closing a socket");
                    let mut core = self.core.borrow_mut();
                    core.count_unreadable(error.close_code() == CloseCode::MESSAGE_TOO_BIG);
                    core.fail_socket(id, error.close_code());
                    return;
                }
            };
            is_same_message = false;
            match decoded {
                Ok(message) => self.handle_message(id, &message),
                Err(error) => {
                    tracing::debug!(%error, "closing a socket");
                    let mut core = self.core.borrow_mut();
                    core.count_unreadable(false);
                    core.close_socket(id, CloseCode::INTERNAL_ERROR, &Stop::Closed);
                }
            }
            if self.core.borrow_mut().connections.session(id).is_none() {
                // Closed by what it sent; its own Close may be here already.
                return self.receive_ending(id, input);
            }
        }
        let Some(mut partial) = input.finish() else { return };
        if !is_same_message {
            partial.mark = 0;
        }
        self.core.borrow_mut().keep_partial(id, partial);
    }
}

impl Core {
    fn pong(&mut self, id: ConnectionId, payload: &[u8]) {
        self.write_bytes(id, |out| websocket::write_pong(out, payload));
    }

    pub(super) fn websocket_limits(&self) -> Limits {
        Limits {
            max_frame_size: self.limits.max_frame_size,
            max_message_size: self.limits.max_message_size,
        }
    }
}
