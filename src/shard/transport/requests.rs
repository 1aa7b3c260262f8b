//! Requests: heads read, routes found, plain ones answered.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::rc::Rc;

use super::Connecting;
use crate::io::ConnectionId;
use crate::message::{PlainRoute, Request, Response};
use crate::protocol::http::{self, Param};
use crate::protocol::phoenix;
use crate::shard::channels::mount::Mount;
use crate::shard::lines::connection::{EndingStep, Head, Phase};
use crate::shard::links::wakers::Alarm;
use crate::shard::{Core, Local, panics};

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
    pub(super) fn receive_head(
        self: &Rc<Self>,
        id: ConnectionId,
        mut head: Box<Head>,
        bytes: &mut [u8],
    ) {
        if head.bytes.is_empty() {
            head.mark = 0;
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
                    self.core.borrow_mut().put(id, Phase::Head(head));
                    return;
                }
                Err(error) => {
                    tracing::info!(peer = %head.peer, %error, "refused a request");
                    let response = Response::new(error.status()).text(format!("{error}\n"));
                    let mut core = self.core.borrow_mut();
                    core.count_unreadable(error.status() == 431);
                    core.respond(id, &response, false, false);
                    core.begin_ending(id, EndingStep::Shutdown);
                    return;
                }
            };
            rest = &mut rest[size..];
            match handled {
                Handled::Answered => {
                    let core = self.core.borrow();
                    head.deadline = core.head_deadline();
                    head.mark = 0;
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
            mark: 0,
        }))
    }
}

impl Core {
    /// Counts a request or a message that can't be read: for its size, or for what is in it.
    pub(super) fn count_unreadable(&mut self, is_size: bool) {
        let counters = &mut self.counters;
        *(if is_size { &mut counters.oversized } else { &mut counters.malformed }) += 1;
    }

    /// Queues an HTTP answer.
    pub(crate) fn respond(
        &mut self,
        id: ConnectionId,
        response: &Response,
        is_head: bool,
        keep_alive: bool,
    ) {
        let headers: Vec<_> =
            response.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.write_bytes(id, |out| {
            let write = if is_head { http::write_head_response } else { http::write_response };
            let content_type = response.content_type.as_deref();
            write(out, response.status, content_type, &response.body, &headers, keep_alive);
        });
    }
}

/// The path variables of a request that is for this mount.
fn match_mount<'m>(
    mount: &'m Mount,
    path: &[Cow<'_, str>],
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
    routes: &[PlainRoute],
    path: &[Cow<'_, str>],
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
