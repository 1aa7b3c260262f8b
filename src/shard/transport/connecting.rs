//! Connecting: `connect` runs, and then the client is refused or has a socket.

use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};

use super::Mark;
use crate::io::ConnectionId;
use crate::message::Response;
use crate::protocol::http::{self, AcceptKey, UpgradeError};
use crate::protocol::phoenix::Version;
use crate::shard::channels::mount::{Connect, ConnectFailure, Connected};
use crate::shard::channels::session::Session;
use crate::shard::lines::connection::{EndingStep, Head, Phase};
use crate::shard::links::wakers::Alarm;
use crate::shard::topics::{Kind, Subscriber};
use crate::shard::{Core, Dead, Local, panics};

/// A request that is answered when `connect` has decided.
pub(crate) struct Connecting {
    /// Absent while it is polled.
    pub(super) connect: Option<Connect>,
    pub(super) alarm: Alarm,
    pub(super) mount: u8,
    pub(super) version: Version,
    /// Looked at after `connect`, as Phoenix does, so that a refusal says 403 rather than 400.
    pub(super) upgrade: Result<AcceptKey, UpgradeError>,
    pub(super) peer: SocketAddr,
    pub(super) keep_alive: bool,
    /// What the client sent without waiting for the answer.
    pub(super) early: Vec<u8>,
    pub(super) mark: Mark,
}

impl std::fmt::Debug for Connecting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connecting").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Local {
    /// Polls a `connect` that waited.
    pub(crate) fn resume_connect(self: &Rc<Self>, id: ConnectionId) {
        let connecting = {
            let mut core = self.core.borrow_mut();
            let Some(connection) = core.connections.find(id) else { return };
            if !matches!(connection.phase, Phase::Connecting(_)) {
                return;
            }
            let Phase::Connecting(connecting) = core.take_phase(id) else {
                unreachable!("just seen");
            };
            connecting
        };
        self.poll_connect(id, connecting);
    }

    pub(super) fn poll_connect(self: &Rc<Self>, id: ConnectionId, mut connecting: Box<Connecting>) {
        connecting.alarm.prepare();
        let mut connect = connecting.connect.take().expect("put back when it waits");
        let waker = &connecting.alarm.waker;
        let polled = panics::catch(|| connect.as_mut().poll(&mut TaskContext::from_waker(waker)));
        if self.remote.watched.take_report() {
            let mut core = self.core.borrow_mut();
            core.counters.holds += 1;
            let handler = core.mounts[usize::from(connecting.mount)].handler.name();
            tracing::warn!(
                shard = core.shard,
                handler,
                callback = "connect",
                "a callback held up its shard"
            );
        }
        match polled {
            Ok(Poll::Pending) => {
                connecting.connect = Some(connect);
                self.core.borrow_mut().put(id, Phase::Connecting(connecting));
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
        let deadline = core.head_deadline();
        core.put(id, Phase::Head(Box::new(Head::new(connecting.peer, deadline))));
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
}

impl Core {
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
        self.put(id, Phase::Open(Box::new(session)));
        self.counters.connected += 1;
        tracing::debug!(peer = %connecting.peer, "connected");
    }
}
