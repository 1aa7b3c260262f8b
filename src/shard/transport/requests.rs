//! Requests: heads read, routes found, plain ones answered.

use std::net::SocketAddr;

use super::errand::{Connecting, Errand, Goodbye, Read, RouteCall};
use super::table::{Stage, Step, Transport};
use super::unfinished::Mark;
use super::waiting::Stopped;
use crate::io::ConnectionId;
use crate::message::{EndReason, PlainRoute, Request, Response, Stop};
use crate::protocol::http::{self, Afterwards, Param};
use crate::shard::channels::{Hub, Mount, Pressure};
use crate::shard::lines::Place;
use crate::shard::links::Alarm;
use crate::telemetry::{Event, Who};

/// Bytes of a connection of which requests are awaited.
pub(crate) struct Requests<'b> {
    id: ConnectionId,
    place: u32,
    peer: SocketAddr,
    bytes: Bytes<'b>,
    /// Where in them the next request begins.
    position: usize,
    /// The mark of what began in a receive before, until that is whole.
    begun: Option<Mark>,
    /// What comes behind is not for us to read: it waits until `connect` has decided, or for ever.
    is_over: bool,
    /// So many are read in this turn, and so many are still to be.
    share: u16,
    left: u16,
}

enum Bytes<'b> {
    Lent(&'b mut [u8]),
    /// The beginning came before.
    Kept(Vec<u8>),
}

impl Bytes<'_> {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Lent(bytes) => bytes,
            Self::Kept(bytes) => bytes,
        }
    }
}

/// What becomes of a request.
enum Handled {
    Answer(Response),
    /// An answer after which nothing more is read.
    Last(Response),
    Errand(Errand<'static>),
    /// It is for nothing here, and its connection with it.
    HandOver,
}

impl Transport {
    /// Bytes have come of a connection that is no socket yet.
    pub(super) fn begin_head<'b>(
        &mut self,
        hub: &mut Hub,
        place: u32,
        bytes: &'b mut [u8],
        share: u16,
    ) -> Option<Requests<'b>> {
        let arriving = &mut self.arriving[place as usize];
        let (id, peer) = (arriving.id, arriving.peer);
        if !arriving.awaits_request() {
            match arriving.stage {
                Stage::HandingOver => self.keep_for_hand_over(hub, id, bytes),
                _ => self.keep_early(hub, id, bytes),
            }
            return None;
        }
        let kept = self.unfinished.take_bytes(id);
        let (begun, bytes) = match kept {
            None => (None, Bytes::Lent(bytes)),
            Some((mark, mut whole)) => {
                whole.extend_from_slice(bytes);
                (Some(mark), Bytes::Kept(whole))
            }
        };
        let (position, is_over) = (0, false);
        Some(Requests { id, place, peer, bytes, position, begun, is_over, share, left: share })
    }

    /// What is sent without waiting for `connect` is kept until that has decided.
    fn keep_early(&mut self, hub: &mut Hub, id: ConnectionId, bytes: &[u8]) {
        if self.unfinished.kept_bytes(id) + bytes.len() > self.bounds.max_head_size {
            return self.end(hub, id, EndReason::TooEarly);
        }
        self.unfinished.keep_more(id, bytes);
        self.trim_unfinished(hub);
    }

    /// A request is awaited from here on, behind all others of whom one is.
    fn await_request(&mut self, place: u32) {
        let mark = self.unfinished.await_head(self.arriving[place as usize].id);
        self.set_stage(place, Stage::Head(mark));
    }

    pub(super) fn read_request(
        &mut self,
        hub: &mut Hub,
        requests: &mut Requests<'_>,
    ) -> Read<'static> {
        if requests.is_over {
            return Read::Over(Goodbye::None);
        }
        let id = requests.id;
        let rest = &requests.bytes.as_slice()[requests.position..];
        // One that began before is read in any case: what is left over is of this receive.
        if requests.left == 0 && requests.begun.is_none() && !rest.is_empty() {
            return Read::Over(Goodbye::Stopped(Pressure::Share));
        }
        requests.left = requests.left.saturating_sub(1);
        let (head, size) = match http::parse(rest, self.bounds.max_head_size) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return Read::Over(Goodbye::None),
            Err(error) => {
                let peer = requests.peer;
                let is_size = error.status() == 431;
                let refused = Event::RequestRefused { error: &error, is_size };
                hub.telemetry.tell_of(&Who::peer(peer), refused);
                let response = Response::new(error.status()).text(format!("{error}\n"));
                requests.is_over = true;
                self.answer(hub, id, &response, false, Afterwards::Close);
                return Read::Over(Goodbye::None);
            }
        };
        let (is_head, afterwards) = (head.method == "HEAD", self.afterwards(&head));
        let handled = self.handle(hub, id, &head, &rest[..size], requests.peer);
        if let Handled::HandOver = handled {
            let unread = rest.to_vec();
            requests.is_over = true;
            requests.position = requests.bytes.as_slice().len();
            self.begin_hand_over(id, requests.place, unread);
            return Read::Over(Goodbye::None);
        }
        requests.position += size;
        requests.begun = None;
        match handled {
            Handled::Answer(response) => {
                requests.is_over = afterwards == Afterwards::Close;
                self.answer(hub, id, &response, is_head, afterwards);
                Read::More
            }
            Handled::Last(response) => {
                requests.is_over = true;
                self.answer(hub, id, &response, false, Afterwards::Close);
                Read::Over(Goodbye::None)
            }
            Handled::HandOver => unreachable!("handed over above"),
            Handled::Errand(Errand::Route(call)) => {
                requests.is_over = afterwards == Afterwards::Close;
                Read::Errand(Errand::Route(call))
            }
            Handled::Errand(errand) => {
                requests.is_over = true;
                // What is sent without waiting for the answer comes behind it.
                let early = requests.bytes.as_slice()[requests.position..].to_vec();
                self.unfinished.keep_bytes(id, early, None);
                requests.position = requests.bytes.as_slice().len();
                self.set_stage(requests.place, Stage::Deciding);
                Read::Errand(errand)
            }
        }
    }

    /// What is left is the beginning of a request, unless nothing more is to be read.
    pub(super) fn end_requests(
        &mut self,
        hub: &mut Hub,
        requests: Requests<'_>,
        how: Goodbye,
    ) -> Option<Stopped> {
        let Requests { id, place, bytes, position, begun, is_over, share, left, .. } = requests;
        hub.count_read(id.into(), share - left);
        if let Goodbye::Stopped(why) = how {
            return Some(Stopped { left: bytes.as_slice().len() - position, why });
        }
        if !is_over && position < bytes.as_slice().len() {
            if begun.is_none() {
                // It has its time from here, among others that have begun.
                self.await_request(place);
            }
            let bytes = match bytes {
                Bytes::Kept(bytes) if position == 0 => bytes,
                bytes => bytes.as_slice()[position..].to_vec(),
            };
            self.unfinished.keep_bytes(id, bytes, begun);
        }
        None
    }

    /// Says how a request is answered, or by whom.
    fn handle(
        &mut self,
        hub: &mut Hub,
        id: ConnectionId,
        head: &http::Head<'_>,
        bytes: &[u8],
        peer: SocketAddr,
    ) -> Handled {
        let path: Vec<_> = http::segments(head.path).collect();
        let is_upgrade = http::is_upgrade(head);
        let mounts = hub.channels.mounts().iter().enumerate();
        let mount = mounts.into_iter().find_map(|(index, mount)| {
            Some((index, mount, match_mount(mount, &path, is_upgrade)?))
        });
        if mount.is_none()
            && let Some(fallback) = &self.routes.fallback
            && self.plain_route(&path).is_none()
        {
            if self.draining.is_none() && fallback.has_room() {
                return Handled::HandOver;
            }
            hub.telemetry.tell_of(&Who::peer(peer), Event::ConnectionRefused);
            return Handled::Last(unavailable());
        }
        match head.body() {
            Ok(http::Body::None) => {}
            // Nothing here reads bodies, and what isn't read can't be told from the next request.
            Ok(_) => return Handled::Last(Response::new(413)),
            Err(error) => return Handled::Last(Response::new(error.status())),
        }
        let Some((index, mount, variables)) = mount else {
            return self.plain(id, head, &path, bytes, peer);
        };
        if head.method != "GET" {
            return Handled::Answer(Response::new(400));
        }
        if self.draining.is_some() {
            return Handled::Last(unavailable());
        }
        let Ok(mut params) = http::decode_query(head.query) else {
            return Handled::Answer(Response::new(400));
        };
        let vsn = params.get("vsn").map(|vsn| match vsn {
            Param::Text(text) => Some(text.as_str()),
            Param::List(_) | Param::Map(_) => None,
        });
        let encoding = match mount.encoding(vsn) {
            Ok(encoding) => encoding,
            Err(error) => {
                let refused = Event::VersionRefused { error: &error };
                hub.telemetry.tell_of(&Who::peer(peer), refused);
                return Handled::Answer(Response::new(403));
            }
        };
        for (name, value) in variables {
            params.insert(name, Param::Text(value));
        }
        let handler = mount.handler.name();
        let connecting = Event::Connecting { handler, params: &params };
        hub.telemetry.tell_of(&Who::peer(peer), connecting);
        Handled::Errand(Errand::Connect(Box::new(Connecting {
            id,
            connect: mount.handler.connect(params, to_request(head, bytes, peer)),
            alarm: Alarm::for_connect(hub.links.remote(), id),
            mount: u8::try_from(index).expect("an endpoint has at most 255 mounts"),
            encoding,
            upgrade: http::check_upgrade(head),
            peer,
            afterwards: self.afterwards(head),
        })))
    }

    /// The plain route that has this path, decoded, as Phoenix' router does it; its sockets are found
    /// by what was sent.
    fn plain_route(&self, path: &[&str]) -> Option<&PlainRoute> {
        let path: Vec<_> = path.iter().map(|segment| http::decode_segment(segment)).collect();
        self.routes.plain.iter().find(|route| route.path == path)
    }

    /// What becomes of a connection when this request is answered.
    fn afterwards(&self, head: &http::Head<'_>) -> Afterwards {
        if self.draining.is_some() { Afterwards::Close } else { head.afterwards() }
    }

    /// A request that is for no mount.
    fn plain(
        &self,
        id: ConnectionId,
        head: &http::Head<'_>,
        path: &[&str],
        bytes: &[u8],
        peer: SocketAddr,
    ) -> Handled {
        let Some(route) = self.plain_route(path) else {
            return Handled::Answer(Response::new(404));
        };
        if head.method != "GET" && head.method != "HEAD" {
            return Handled::Answer(Response::new(405).header("allow", "GET, HEAD"));
        }
        Handled::Errand(Errand::Route(RouteCall {
            id,
            handle: route.handle.clone(),
            request: to_request(head, bytes, peer),
            is_head: head.method == "HEAD",
            afterwards: self.afterwards(head),
        }))
    }

    /// A plain route's handler has answered.
    pub(crate) fn answer_route(&mut self, hub: &mut Hub, call: &RouteCall, response: &Response) {
        self.answer(hub, call.id, response, call.is_head, call.afterwards);
    }

    /// Answers a request, or says why there will be no answer. If it is not the last, another is
    /// awaited.
    pub(super) fn answer(
        &mut self,
        hub: &mut Hub,
        id: ConnectionId,
        response: &Response,
        is_head: bool,
        afterwards: Afterwards,
    ) {
        self.respond(hub, id, response, is_head, afterwards);
        if afterwards == Afterwards::Close {
            self.leave(hub, id, Step::Shutdown, &Stop::Closed);
        } else if let Some(Place::Arriving(place)) = hub.lines.place(id.into()) {
            let deadline = hub.clock.seconds_begun() + self.bounds.head_timeout;
            let arriving = &mut self.arriving[place as usize];
            (arriving.deadline, arriving.was_answered) = (deadline, true);
            self.await_request(place);
        }
    }

    /// Queues an HTTP answer.
    pub(super) fn respond(
        &mut self,
        hub: &mut Hub,
        id: ConnectionId,
        response: &Response,
        is_head: bool,
        afterwards: Afterwards,
    ) {
        let headers: Vec<_> =
            response.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        hub.write_bytes(id.into(), |out| {
            let write = if is_head { http::write_head_response } else { http::write_response };
            let content_type = response.content_type.as_deref();
            write(out, response.status, content_type, &response.body, &headers, afterwards);
        });
    }
}

/// There is no room, or no server any more.
pub(super) fn unavailable() -> Response {
    Response::new(503).header("retry-after", RETRY_AFTER)
}

/// Seconds. Places come free one by one, so later is not better; sooner is only more load.
const RETRY_AFTER: &str = "10";

/// The path variables of a request that is for this mount, as they were sent: `c%2Fd` is no slash.
fn match_mount<'m>(
    mount: &'m Mount,
    path: &[&str],
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
            None if pattern == *segment => {}
            None => return None,
        }
    }
    Some(variables)
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
