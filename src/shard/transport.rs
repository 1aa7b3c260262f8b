//! Transports: from a connection's first byte to an open socket, and what comes and goes after.
//!
//! ```text
//!  Head ──request──▶ plain route ──▶ Head again, or Ending
//!    │
//!    └──mount──▶ Connecting ──connect ok──▶ Open ──close, error, silence──▶ Ending ──▶ gone
//!                    └───────refused──────▶ Head again
//! ```

use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};

use super::connection::{Ending, EndingStep, Head, Phase};
use super::mount::{Connect, ConnectFailure, Connected, Mount};
use super::session::Session;
use super::topics::{Kind, Subscriber};
use super::wakers::Alarm;
use super::{Core, Dead, Local, panics};
use crate::channel::Stop;
use crate::io::ConnectionId;
use crate::protocol::http::{self, AcceptKey, Param, UpgradeError};
use crate::protocol::phoenix::{self, Ref, Version};
use crate::protocol::websocket::{self, Input, Limits, Message};
use crate::response::{Response, Route};
use crate::socket::Request;

/// A request that is answered when `connect` has decided.
pub(crate) struct Connecting {
    /// Absent while it is polled.
    connect: Option<Connect>,
    alarm: Alarm,
    mount: u8,
    version: Version,
    /// Looked at after `connect`, as Phoenix does, so that a refusal says 403 rather than 400.
    upgrade: Result<AcceptKey, UpgradeError>,
    peer: SocketAddr,
    keep_alive: bool,
    /// What the client sent without waiting for the answer.
    early: Vec<u8>,
}

impl std::fmt::Debug for Connecting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connecting").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// What to do with bytes that came.
enum Received {
    Head(Box<Head>),
    Socket(Option<Box<websocket::Partial>>),
    Ending(Option<Box<websocket::Partial>>),
    Nothing,
}

/// What became of a request.
enum Handled {
    /// Answered; another may follow.
    Answered,
    /// Answered, and that was the last.
    Last,
    /// `connect` decides.
    Connecting(Box<Connecting>),
}

impl Local {
    /// Takes bytes that a client sent.
    pub(crate) fn receive(self: &Rc<Self>, id: ConnectionId, bytes: &mut [u8]) {
        let received = self.core.borrow_mut().begin_receive(id, bytes);
        match received {
            Received::Head(head) => self.receive_head(id, head, bytes),
            Received::Socket(partial) => self.receive_frames(id, partial, bytes),
            Received::Ending(partial) => {
                let limits = self.core.borrow().websocket_limits();
                self.receive_ending(id, Input::new(partial, bytes, limits));
            }
            Received::Nothing => {}
        }
    }

    fn receive_head(self: &Rc<Self>, id: ConnectionId, mut head: Box<Head>, bytes: &mut [u8]) {
        if head.bytes.is_empty() {
            return self.receive_requests(id, head, bytes);
        }
        // The beginning came before: the whole is looked at in the connection's own buffer.
        let mut whole = std::mem::take(&mut head.bytes);
        whole.extend_from_slice(bytes);
        self.receive_requests(id, head, &mut whole);
    }

    fn receive_requests(self: &Rc<Self>, id: ConnectionId, mut head: Box<Head>, bytes: &mut [u8]) {
        let max = self.core.borrow().limits.max_head_size;
        let mut rest = bytes;
        loop {
            let (handled, size) = match http::parse(rest, max) {
                Ok(Some((parsed, size))) => {
                    (self.request(id, &parsed, &rest[..size], head.peer), size)
                }
                Ok(None) => {
                    head.bytes.extend_from_slice(rest);
                    self.core.borrow_mut().put_back(id, Phase::Head(head));
                    return;
                }
                Err(error) => {
                    tracing::info!(peer = %head.peer, %error, "refused a request");
                    let response = Response::new(error.status()).text(format!("{error}\n"));
                    let mut core = self.core.borrow_mut();
                    core.respond(id, &response, false, false);
                    core.begin_ending(id, EndingStep::Shutdown);
                    return;
                }
            };
            rest = &mut rest[size..];
            match handled {
                Handled::Answered => {
                    let core = self.core.borrow();
                    head.deadline = core.seconds_begun() + core.head_timeout();
                }
                Handled::Last => {
                    self.core.borrow_mut().begin_ending(id, EndingStep::Shutdown);
                    return;
                }
                Handled::Connecting(mut connecting) => {
                    connecting.early.extend_from_slice(rest);
                    self.poll_connect(id, connecting);
                    return;
                }
            }
        }
    }

    /// Answers a request, or begins `connect`.
    fn request(
        self: &Rc<Self>,
        id: ConnectionId,
        head: &http::Head<'_>,
        bytes: &[u8],
        peer: SocketAddr,
    ) -> Handled {
        let answer = |response: &Response| {
            let keep_alive = head.keep_alive();
            self.core.borrow_mut().respond(id, response, head.method == "HEAD", keep_alive);
            if keep_alive { Handled::Answered } else { Handled::Last }
        };
        let last = |response: &Response| {
            self.core.borrow_mut().respond(id, response, false, false);
            Handled::Last
        };
        match head.body() {
            Ok(http::Body::None) => {}
            // Nothing here reads bodies, and what isn't read can't be told from the next request.
            Ok(_) => return last(&Response::new(413)),
            Err(error) => return last(&Response::new(error.status())),
        }
        let path: Vec<_> = http::segments(head.path).collect();
        let (mounts, routes) = {
            let core = self.core.borrow();
            (core.mounts.clone(), core.routes.clone())
        };
        let is_upgrade = http::is_upgrade(head);
        let mount = mounts.iter().enumerate().find_map(|(index, mount)| {
            Some((index, mount, match_mount(mount, &path, is_upgrade)?))
        });
        let Some((index, mount, variables)) = mount else {
            let request = || to_request(head, bytes, peer);
            return answer(&plain_response(&routes, &path, head, request));
        };
        if head.method != "GET" {
            return answer(&Response::new(400));
        }
        let Ok(mut params) = http::decode_query(head.query) else {
            return answer(&Response::new(400));
        };
        let vsn = params.get("vsn").map(|vsn| match vsn {
            Param::Text(text) => Some(text.as_str()),
            Param::List(_) | Param::Map(_) => None,
        });
        let version = match phoenix::negotiate(vsn) {
            Ok(version) => version,
            Err(error) => {
                tracing::warn!(%peer, "{error}");
                return answer(&Response::new(403));
            }
        };
        for (name, value) in variables {
            params.insert(name, Param::Text(value));
        }
        tracing::debug!(
            %peer,
            handler = mount.handler.name(),
            parameters = %crate::telemetry::log::filtered_params(&params),
            "connecting"
        );
        Handled::Connecting(Box::new(Connecting {
            connect: Some(mount.handler.connect(params, to_request(head, bytes, peer))),
            alarm: Alarm::for_connect(&self.remote, id),
            mount: u8::try_from(index).expect("an endpoint has at most 255 mounts"),
            version,
            upgrade: http::check_upgrade(head),
            peer,
            keep_alive: head.keep_alive(),
            early: Vec::new(),
        }))
    }

    /// Polls a `connect` that waited.
    pub(crate) fn resume_connect(self: &Rc<Self>, id: ConnectionId) {
        let connecting = {
            let mut core = self.core.borrow_mut();
            let Some(connection) = core.connections.find(id) else { return };
            match std::mem::take(&mut connection.phase) {
                Phase::Connecting(connecting) => connecting,
                other => {
                    connection.phase = other;
                    return;
                }
            }
        };
        self.poll_connect(id, connecting);
    }

    fn poll_connect(self: &Rc<Self>, id: ConnectionId, mut connecting: Box<Connecting>) {
        connecting.alarm.prepare();
        let mut connect = connecting.connect.take().expect("put back when it waits");
        let waker = &connecting.alarm.waker;
        let polled = panics::catch(|| connect.as_mut().poll(&mut TaskContext::from_waker(waker)));
        match polled {
            Ok(Poll::Pending) => {
                connecting.connect = Some(connect);
                self.core.borrow_mut().put_back(id, Phase::Connecting(connecting));
            }
            Ok(Poll::Ready(Ok(connected))) => self.accept(id, *connecting, connected),
            Ok(Poll::Ready(Err(failure))) => self.refuse(id, &connecting, failure),
            Err(panic) => {
                self.refuse(id, &connecting, ConnectFailure::Crash(panic));
            }
        }
    }

    fn refuse(self: &Rc<Self>, id: ConnectionId, connecting: &Connecting, failure: ConnectFailure) {
        let peer = connecting.peer;
        let response = match failure {
            ConnectFailure::Params(error) => {
                tracing::info!(%peer, %error, "refused connection");
                Response::new(403)
            }
            ConnectFailure::Refused(refused) => {
                tracing::info!(%peer, status = refused.status, "refused connection");
                let response = Response::new(refused.status);
                if refused.body.is_empty() { response } else { response.text(refused.body) }
            }
            ConnectFailure::Crash(error) => {
                self.core.borrow_mut().counters.crashes += 1;
                tracing::error!(%peer, error, "connect crashed");
                Response::new(500)
            }
        };
        self.respond_and_go_on(id, connecting, &response);
    }

    /// Answers instead of upgrading. The client may send another request, unless it has sent
    /// something already: that may be frames of an upgrade it took for granted.
    fn respond_and_go_on(
        self: &Rc<Self>,
        id: ConnectionId,
        connecting: &Connecting,
        response: &Response,
    ) {
        let mut core = self.core.borrow_mut();
        let keep_alive = connecting.keep_alive && connecting.early.is_empty();
        core.respond(id, response, false, keep_alive);
        if !keep_alive {
            core.begin_ending(id, EndingStep::Shutdown);
            return;
        }
        let deadline = core.seconds_begun() + core.head_timeout();
        let head = Head { peer: connecting.peer, bytes: Vec::new(), deadline };
        core.put_back(id, Phase::Head(Box::new(head)));
    }

    /// The application accepts: upgrades, if the request can be.
    fn accept(self: &Rc<Self>, id: ConnectionId, connecting: Connecting, connected: Connected) {
        let key = match &connecting.upgrade {
            Ok(key) => key,
            Err(error) => {
                let response = Response::new(400).text(error.to_string());
                self.core.borrow_mut().dead.push(Dead::Socket(connected.socket));
                return self.respond_and_go_on(id, &connecting, &response);
            }
        };
        self.core.borrow_mut().open(id, &connecting, key, connected);
        let mut early = connecting.early;
        if !early.is_empty() {
            self.receive(id, &mut early);
        }
    }

    fn receive_frames(
        self: &Rc<Self>,
        id: ConnectionId,
        partial: Option<Box<websocket::Partial>>,
        bytes: &mut [u8],
    ) {
        let (limits, max_depth, version) = {
            let mut core = self.core.borrow_mut();
            let version = core.connections.version(id).expect("only an open socket has frames");
            (core.websocket_limits(), core.limits.max_json_depth, version)
        };
        let mut input = Input::new(partial, bytes, limits);
        loop {
            let (is_binary, bytes) = match input.next_message() {
                Ok(None) => break,
                Ok(Some(Message::Text(text))) => (false, text.as_bytes()),
                Ok(Some(Message::Binary(bytes))) => (true, bytes),
                Ok(Some(Message::Ping(payload))) => {
                    self.core.borrow_mut().pong(id, payload);
                    continue;
                }
                Ok(Some(Message::Pong)) => continue,
                Ok(Some(Message::Close(code))) => {
                    let code = code.map(|code| websocket::close_reply(Some(code)));
                    self.core.borrow_mut().answer_close(id, code);
                    return;
                }
                Err(error) => {
                    tracing::debug!(%error, "closing a socket");
                    self.core.borrow_mut().fail_socket(id, error.close_code());
                    return;
                }
            };
            if version == Version::V2
                && let Some(message_ref) = phoenix::heartbeat_ref(bytes)
            {
                self.core.borrow_mut().answer_heartbeat(id, Ref::from_json(message_ref));
                continue;
            }
            match version.decode(is_binary, bytes, max_depth) {
                Ok(message) => self.handle_message(id, &message),
                Err(error) => {
                    tracing::debug!(%error, "closing a socket");
                    self.core.borrow_mut().close_socket(id, 1011, &Stop::Closed);
                }
            }
            if self.core.borrow_mut().connections.session(id).is_none() {
                // Closed by what it sent; its own Close may be here already.
                return self.receive_ending(id, input);
            }
        }
        if let Some(session) = self.core.borrow_mut().connections.session(id) {
            session.partial = input.finish();
        }
    }

    /// Waits for the client's Close; everything else that comes is no longer heard.
    fn receive_ending(self: &Rc<Self>, id: ConnectionId, mut input: Input<'_>) {
        let step = loop {
            match input.next_message() {
                Ok(None) => break EndingStep::AwaitClose,
                Ok(Some(Message::Close(_))) => break EndingStep::Close,
                Err(_) => break EndingStep::Shutdown,
                Ok(Some(_)) => {}
            }
        };
        let partial = input.finish();
        let mut core = self.core.borrow_mut();
        if let Some(ending) = core.ending(id)
            && ending.step == EndingStep::AwaitClose
        {
            (ending.step, ending.partial) = (step, partial);
            if step != EndingStep::AwaitClose {
                core.ending.push(id);
            }
        }
    }
}

impl Core {
    fn begin_receive(&mut self, id: ConnectionId, bytes: &[u8]) -> Received {
        let heard = self.seconds_begun();
        let max_early = self.limits.max_head_size;
        let Some(connection) = self.connections.find(id) else { return Received::Nothing };
        connection.heard = heard;
        match &mut connection.phase {
            Phase::Open(session) => Received::Socket(session.partial.take()),
            Phase::Head(_) => match std::mem::take(&mut connection.phase) {
                Phase::Head(head) => Received::Head(head),
                _ => unreachable!("just seen"),
            },
            Phase::Connecting(connecting) => {
                connecting.early.extend_from_slice(bytes);
                if connecting.early.len() > max_early {
                    tracing::info!(peer = %connecting.peer, "refused: too much sent before connect");
                    self.close_now(id);
                }
                Received::Nothing
            }
            Phase::Ending(ending) if ending.step == EndingStep::AwaitClose => {
                Received::Ending(ending.partial.take())
            }
            Phase::Ending(_) | Phase::Empty => Received::Nothing,
        }
    }

    /// Gives a connection back its phase, which was taken out to be worked with.
    fn put_back(&mut self, id: ConnectionId, phase: Phase) {
        match self.connections.find(id) {
            Some(connection) => connection.phase = phase,
            None => self.dead.push(Dead::Phase(phase)),
        }
    }

    /// A client has connected.
    pub(crate) fn accepted(&mut self, id: ConnectionId, peer: SocketAddr) {
        self.counters.accepted += 1;
        let (now, begun) = (self.seconds(), self.seconds_begun());
        let deadline = begun + self.head_timeout();
        let head = Head { peer, bytes: Vec::new(), deadline };
        self.connections.insert(id, begun, Phase::Head(Box::new(head)));
        let idle_timeout = ceil_seconds(self.limits.idle_timeout);
        self.deadlines.insert(id, now, deadline.min(begun + idle_timeout));
    }

    /// Queues an HTTP answer.
    fn respond(&mut self, id: ConnectionId, response: &Response, is_head: bool, keep_alive: bool) {
        let headers: Vec<_> =
            response.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.write_bytes(id, |out| {
            let write = if is_head { http::write_head_response } else { http::write_response };
            let content_type = response.content_type.as_deref();
            write(out, response.status, content_type, &response.body, &headers, keep_alive);
        });
    }

    /// Queues bytes that are no message: an HTTP answer, a control frame.
    fn write_bytes(&mut self, id: ConnectionId, write: impl FnOnce(&mut Vec<u8>)) {
        if self.is_flooded(id) {
            return;
        }
        let Some(connection) = self.connections.find(id) else { return };
        let arena = self.send_queue.arena();
        let start = arena.len();
        write(arena);
        self.send_queue.queue_written(id, &mut connection.outbox, start);
        self.check_backlog(id);
    }

    fn open(
        &mut self,
        id: ConnectionId,
        connecting: &Connecting,
        key: &AcceptKey,
        connected: Connected,
    ) {
        self.write_bytes(id, |out| http::write_switching_protocols(out, key, &[]));
        let version = connecting.version;
        let subscription = connected.id.map(|name| {
            let topic = self.topics.hold(&name);
            let subscriber = Subscriber {
                connection: id,
                process: u32::MAX,
                mount: connecting.mount,
                route: 0,
                kind: Kind::Socket,
                version,
            };
            (topic, self.add_subscriber(topic, subscriber))
        });
        let session = Session {
            version,
            mount: connecting.mount,
            socket: connected.socket,
            partial: None,
            channels: Default::default(),
            id: subscription,
        };
        self.put_back(id, Phase::Open(Box::new(session)));
        self.counters.connected += 1;
        tracing::debug!(peer = %connecting.peer, "connected");
    }

    fn pong(&mut self, id: ConnectionId, payload: &[u8]) {
        self.write_bytes(id, |out| websocket::write_pong(out, payload));
    }

    /// The client closes: its Close is answered, and then that was it.
    fn answer_close(&mut self, id: ConnectionId, code: Option<u16>) {
        self.write_bytes(id, |out| websocket::write_close(out, code.or(Some(1000))));
        self.end_session(id, &Stop::Closed);
        self.begin_ending(id, EndingStep::Close);
    }

    /// Closes an open socket from our side.
    pub(crate) fn close_socket(&mut self, id: ConnectionId, code: u16, reason: &Stop) {
        self.close_towards(id, code, reason, EndingStep::AwaitClose);
    }

    /// Closes an open socket whose frames can't be understood any more, its Close among them.
    ///
    /// What still comes is thrown away until the client ends its side too: were the connection
    /// closed with some of it unread, a reset could overtake our Close and say nothing of why.
    fn fail_socket(&mut self, id: ConnectionId, code: u16) {
        self.close_towards(id, code, &Stop::Closed, EndingStep::Shutdown);
    }

    fn close_towards(&mut self, id: ConnectionId, code: u16, reason: &Stop, step: EndingStep) {
        let Some(session) = self.connections.session(id) else { return };
        if !self.slices.is_empty() {
            // What was broadcast before comes before the Close.
            for (_, process) in session.channels.clone() {
                self.catch_up(process);
            }
        }
        self.write_bytes(id, |out| websocket::write_close(out, Some(code)));
        self.end_session(id, reason);
        self.begin_ending(id, step);
    }

    /// Drops a connection without a word: it is broken, owes too much, or has had its time.
    pub(crate) fn close_now(&mut self, id: ConnectionId) {
        self.end_session(id, &Stop::Closed);
        if let Some(connection) = self.connections.remove(id) {
            self.dead.push(Dead::Phase(connection.phase));
            self.closed.push(id);
        }
    }

    /// Nothing more will come from this connection.
    pub(crate) fn ended(&mut self, id: ConnectionId) {
        // A half-closed client still reads what is under way, but it can neither answer a Close nor
        // send a heartbeat: what is queued goes out, and that was it.
        self.end_session(id, &Stop::Closed);
        let Some(connection) = self.connections.find(id) else { return };
        match &connection.phase {
            Phase::Connecting(_) | Phase::Empty => self.close_now(id),
            Phase::Open(_) => unreachable!("its session has just ended"),
            // The answer to its last request may still be queued.
            Phase::Head(_) | Phase::Ending(_) => self.begin_ending(id, EndingStep::Close),
        }
    }

    /// Ends a socket's channels and subscriptions. The connection stays, on its way out.
    fn end_session(&mut self, id: ConnectionId, reason: &Stop) {
        let deadline = self.seconds_begun() + self.close_timeout();
        let Some(connection) = self.connections.find(id) else { return };
        let Phase::Open(session) = &mut connection.phase else { return };
        let channels = std::mem::take(&mut session.channels);
        let subscription = session.id.take();
        let partial = session.partial.take();
        let step = EndingStep::Close;
        let ending = Phase::Ending(Box::new(Ending { step, deadline, partial }));
        let open = std::mem::replace(&mut connection.phase, ending);
        self.dead.push(Dead::Phase(open));
        if let Some((topic, position)) = subscription {
            self.remove_subscriber(topic, position);
            self.topics.release(topic);
        }
        for (_, process) in channels {
            // Nothing is told to the client; subscriptions end at once, so that no broadcast is
            // spent on a connection that is gone.
            self.desert_topics(process);
            self.end_process(process, reason.clone());
        }
        self.counters.disconnected += 1;
    }

    fn begin_ending(&mut self, id: ConnectionId, step: EndingStep) {
        let (now, deadline) = (self.seconds(), self.seconds_begun() + self.close_timeout());
        let Some(connection) = self.connections.find(id) else { return };
        if let Phase::Ending(ending) = &mut connection.phase {
            (ending.step, ending.deadline) = (step, deadline);
        } else {
            connection.phase = Phase::Ending(Box::new(Ending { step, deadline, partial: None }));
        }
        self.deadlines.insert(id, now, deadline);
        self.ending.push(id);
    }

    fn ending(&mut self, id: ConnectionId) -> Option<&mut Ending> {
        match &mut self.connections.find(id)?.phase {
            Phase::Ending(ending) => Some(ending),
            _ => None,
        }
    }

    /// After a flush: those connections on their way out that have nothing left to write go on.
    pub(crate) fn advance_endings(&mut self) {
        for id in std::mem::take(&mut self.ending) {
            let Some(connection) = self.connections.find(id) else { continue };
            let is_drained = connection.outbox.is_drained();
            let Phase::Ending(ending) = &mut connection.phase else { continue };
            match ending.step {
                EndingStep::AwaitClose | EndingStep::AwaitEnd => {}
                // The socket takes more, but not in one write: on with it next turn.
                _ if connection.outbox.goes_on() => self.ending.push(id),
                // Looked at again when it is writable; or its deadline comes.
                _ if !is_drained => {}
                EndingStep::Close => self.close_now(id),
                EndingStep::Shutdown => {
                    ending.step = EndingStep::AwaitEnd;
                    self.shut_down.push(id);
                }
            }
        }
    }

    /// A connection's time may be over; if not, says when to look again.
    pub(crate) fn check_deadline(&mut self, id: ConnectionId) -> Option<u32> {
        let now = self.seconds();
        let (idle_timeout, head_timeout) =
            (ceil_seconds(self.limits.idle_timeout), self.head_timeout());
        let connection = self.connections.find(id)?;
        let deadline = match &connection.phase {
            Phase::Head(head) => head.deadline,
            Phase::Ending(ending) => ending.deadline,
            Phase::Open(_) | Phase::Connecting(_) | Phase::Empty => connection.heard + idle_timeout,
        };
        if now < deadline {
            return Some(match &connection.phase {
                // The next phase may have an earlier deadline, and nobody is told when it begins.
                Phase::Head(_) | Phase::Connecting(_) => {
                    deadline.min(now + idle_timeout.min(head_timeout))
                }
                _ => deadline,
            });
        }
        match &connection.phase {
            Phase::Open(_) => {
                tracing::debug!("closing a socket that was silent");
                self.close_socket(id, 1002, &Stop::Closed);
            }
            // Who has not begun to ask is told nothing: that could be taken for the answer to a
            // request that is on its way.
            Phase::Head(head) if !head.bytes.is_empty() => {
                tracing::info!(peer = %head.peer, "refused a request that took too long");
                self.respond(id, &Response::new(408), false, false);
                self.begin_ending(id, EndingStep::Shutdown);
            }
            _ => self.close_now(id),
        }
        None
    }

    /// Whether so much waits for a connection that nothing more is made for it: then it is noted, to
    /// be closed at the end of the turn.
    ///
    /// Unlike [`check_backlog`](Self::check_backlog) this counts what the kernel has not been
    /// offered yet. A turn reads ten thousand small requests of one client; were each answer a
    /// large one, memory would be gone before the turn is. There is room for one message of the
    /// largest size before what he owes begins to count.
    #[inline]
    pub(crate) fn is_flooded(&mut self, id: ConnectionId) -> bool {
        let Some(connection) = self.connections.find(id) else { return false };
        let max_owed = self.limits.max_send_queue;
        let max_queued = max_owed.saturating_add(self.limits.max_message_size);
        let outbox = &connection.outbox;
        if outbox.owes() <= max_owed && self.send_queue.waiting(outbox) <= max_queued {
            return false;
        }
        if self.overdue_readers.last() != Some(&id) {
            self.overdue_readers.push(id);
        }
        true
    }

    /// Notes a connection whose reader does not read, to be closed at the end of the turn.
    pub(crate) fn check_backlog(&mut self, id: ConnectionId) {
        let max = self.limits.max_send_queue;
        let Some(connection) = self.connections.find(id) else { return };
        if connection.outbox.owes() > max {
            self.overdue_readers.push(id);
        }
    }

    /// Closes the connections whose readers do not read. They may have been noted several times.
    pub(crate) fn close_readers(&mut self) {
        for id in std::mem::take(&mut self.overdue_readers) {
            if self.connections.find(id).is_none() {
                continue;
            }
            self.counters.slow_readers += 1;
            let max_send_queue = self.limits.max_send_queue;
            tracing::info!(max_send_queue, "closing a connection that does not read");
            self.close_now(id);
        }
    }

    fn head_timeout(&self) -> u32 {
        ceil_seconds(self.limits.head_timeout)
    }

    fn close_timeout(&self) -> u32 {
        ceil_seconds(self.limits.close_timeout)
    }

    fn websocket_limits(&self) -> Limits {
        Limits {
            max_frame_size: self.limits.max_frame_size,
            max_message_size: self.limits.max_message_size,
        }
    }
}

/// The path variables of a request that is for this mount.
fn match_mount<'m>(
    mount: &'m Mount,
    path: &[std::borrow::Cow<'_, str>],
    is_upgrade: bool,
) -> Option<Vec<(&'m str, String)>> {
    // A WebSocket is welcome at the bare mount too: there are clients that use its URL as given.
    let behind = match path.len().checked_sub(mount.path.len())? {
        0 if is_upgrade => &[],
        length if length == mount.websocket_path.len() => mount.websocket_path.as_slice(),
        _ => return None,
    };
    let mut variables = Vec::new();
    for (segment, pattern) in path.iter().zip(mount.path.iter().chain(behind)) {
        match pattern.strip_prefix(':') {
            // A name that begins with an underscore matches and is not told.
            Some(name) if name.starts_with('_') => {}
            Some(name) => variables.push((name, segment.to_string())),
            None if pattern == segment => {}
            None => return None,
        }
    }
    Some(variables)
}

fn plain_response(
    routes: &[Route],
    path: &[std::borrow::Cow<'_, str>],
    head: &http::Head<'_>,
    request: impl FnOnce() -> Request,
) -> Response {
    let Some(route) = routes.iter().find(|route| route.path == *path) else {
        return Response::new(404);
    };
    if head.method != "GET" && head.method != "HEAD" {
        return Response::new(405).header("allow", "GET, HEAD");
    }
    let request = request();
    panics::catch(|| (route.handle)(&request)).unwrap_or_else(|panic| {
        tracing::error!(path = head.path, error = panic, "a route's handler crashed");
        Response::new(500)
    })
}

/// The request as the application sees it: one copy of the head, and places in it.
fn to_request(head: &http::Head<'_>, bytes: &[u8], peer: SocketAddr) -> Request {
    let start = bytes.as_ptr() as usize;
    let place = |part: &[u8]| {
        let from = (part.as_ptr() as usize).saturating_sub(start);
        from as u32..(from + part.len()) as u32
    };
    Request {
        peer,
        method: place(head.method.as_bytes()),
        target: place(head.target.as_bytes()),
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (place(name.as_bytes()), place(value)))
            .collect(),
        head: bytes.into(),
    }
}

/// The wheel's measure. It leaves room for an instant that it is added to.
fn ceil_seconds(duration: std::time::Duration) -> u32 {
    let seconds = duration.as_millis().div_ceil(1000);
    u32::try_from(seconds).unwrap_or(u32::MAX).min(u32::MAX / 2)
}
