//! The catalogue: everything that happens on a shard and is told.
//!
//! | told | at level |
//! |---|---|
//! | what the application or this server got wrong: crashes, what can't be encoded | error |
//! | what somebody should look at: held shards, late callbacks, topics and versions of nobody | warn |
//! | who was refused by the application, or closed for not reading | info |
//! | who comes, joins and goes, and why; for whom there was no room | debug |
//!
//! Never a line a message.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::counts::Tally;
use super::log::{filtered_json, filtered_params};
use crate::message::EndReason;
use crate::protocol::http::Params;
use crate::protocol::websocket::CloseCode;

/// A shard's voice. Each of its owners has one.
#[derive(Debug, Clone)]
pub(crate) struct Telemetry {
    shard: usize,
    tally: Arc<Tally>,
}

/// Something that has happened.
pub(crate) enum Event<'a> {
    // Connections.
    /// The kernel has accepted a client.
    Accepted,
    /// The kernel could not accept a client; the same trouble is news once a minute.
    AcceptFailed {
        error: std::io::Error,
        is_news: bool,
    },
    /// There is no room for a client.
    ConnectionRefused {
        peer: SocketAddr,
    },
    /// A request is no request: too large, or not to be understood.
    RequestRefused {
        peer: SocketAddr,
        error: &'a dyn fmt::Display,
        is_size: bool,
    },
    /// A request was not whole in time, and is answered so.
    RequestTooSlow {
        peer: SocketAddr,
    },
    /// A plain route's handler panicked.
    RouteCrashed {
        path: &'a str,
        error: String,
    },
    /// A client asks for a version that nothing speaks.
    VersionRefused {
        peer: SocketAddr,
        error: &'a dyn fmt::Display,
    },
    /// `connect` begins.
    Connecting {
        peer: SocketAddr,
        handler: &'static str,
        params: &'a Params,
    },
    /// The parameters of a connection are not what `connect` wants.
    ParamsRefused {
        peer: SocketAddr,
        error: &'a dyn fmt::Display,
    },
    /// `connect` said no.
    ConnectRefused {
        peer: SocketAddr,
        status: u16,
    },
    /// `connect` failed.
    ConnectCrashed {
        peer: SocketAddr,
        error: String,
    },
    /// A socket is open.
    Connected {
        peer: SocketAddr,
    },
    /// A socket has ended, for whatever reason.
    SocketEnded,
    /// We end a connection, or it has broken.
    Ending(&'a EndReason),

    // Channels.
    /// No route leads to a topic.
    Unmatched {
        topic: &'a str,
        handler: &'static str,
    },
    /// A socket has as many channels as it may.
    TooManyChannels {
        topic: &'a str,
        max: usize,
    },
    /// A client joins a topic that it has joined.
    DuplicateJoin {
        topic: &'a str,
    },
    /// `join` begins.
    Joining {
        topic: &'a str,
        params: &'a [u8],
    },
    Joined {
        topic: &'a str,
    },
    /// A join's params are not what it takes. The error names no values.
    JoinParamsRefused {
        topic: &'a str,
        error: &'a str,
    },
    /// `join` said no.
    JoinRefused {
        topic: &'a str,
    },
    /// A callback failed or panicked, or what it gave back can't be sent.
    Crashed {
        topic: &'a str,
        channel: &'static str,
        error: &'a str,
    },
    /// A callback did not end in the time that is left to a channel that ends.
    CallbackOverdue {
        topic: &'a str,
    },
    /// A drop of a value of the application's panicked.
    DropCrashed {
        error: String,
    },
    /// The turn has lasted too long.
    Held(Held<'a>),

    // Queues.
    /// A queue was full: something is refused, or a channel ends.
    Overloaded,
    /// The same, and what a timer was to send is lost.
    TimerLost,
    /// Frames of broadcasts were queued for a client.
    Delivered(usize),
    /// A frame of a broadcast was dropped, because its reader does not read.
    Dropped,
    /// Another shard's queue was full.
    MeshFull,
    /// A broadcast from outside this shard found no room, or can't be encoded.
    BroadcastFailed {
        topic: &'a str,
        event: &'a str,
        error: &'a dyn fmt::Display,
    },
    /// A broadcast can't be encoded for one of those it is on its way to.
    BroadcastUnencoded {
        topic: &'a str,
        event: &'a str,
        error: &'a dyn fmt::Display,
    },
}

/// What held up a shard.
pub(crate) enum Held<'a> {
    /// A channel's callback, and the client's event if it is for one.
    Callback {
        topic: &'a str,
        channel: &'static str,
        callback: &'static str,
        event: Option<&'a str>,
    },
    Connect {
        handler: &'static str,
    },
    /// A plain route.
    Route {
        path: &'a str,
    },
    /// No single one of these.
    Turn,
}

impl Telemetry {
    pub(crate) fn new(shard: usize, tally: Arc<Tally>) -> Self {
        Self { shard, tally }
    }

    /// Where the figures of what there is now are written down.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Tells of an event: counts it, and writes to the log what is to be read there.
    #[inline]
    pub(crate) fn tell(&self, event: Event<'_>) {
        match event {
            // The only one on the path of a message.
            Event::Delivered(broadcasts) => self.tally.deliveries.add(broadcasts as u64),
            event => self.tell_more(event),
        }
    }

    fn tell_more(&self, event: Event<'_>) {
        let Tally {
            accepted,
            accepts_failed,
            refused_connections,
            oversized,
            malformed,
            slow_requests,
            connected,
            disconnected,
            refused_joins,
            overdue,
            crashes,
            overloaded,
            dropped,
            mesh_full,
            ..
        } = &*self.tally;
        match event {
            Event::Accepted => accepted.add(1),
            Event::AcceptFailed { error, is_news } => {
                accepts_failed.add(1);
                if is_news {
                    tracing::warn!(%error, "can't accept clients: they wait");
                }
            }
            Event::ConnectionRefused { peer } => {
                refused_connections.add(1);
                tracing::debug!(%peer, "refused: there are too many connections");
            }
            Event::RequestRefused { peer, error, is_size } => {
                if is_size { oversized } else { malformed }.add(1);
                tracing::info!(%peer, %error, "refused a request");
            }
            Event::RequestTooSlow { peer } => {
                slow_requests.add(1);
                tracing::info!(%peer, "refused a request that took too long");
            }
            Event::RouteCrashed { path, error } => {
                tracing::error!(path, error, "a route's handler crashed");
            }
            Event::VersionRefused { peer, error } => tracing::warn!(%peer, "{error}"),
            Event::Connecting { peer, handler, params } => {
                let parameters = filtered_params(params);
                tracing::debug!(%peer, handler, %parameters, "connecting");
            }
            Event::ParamsRefused { peer, error } => {
                tracing::info!(%peer, %error, "refused connection");
            }
            Event::ConnectRefused { peer, status } => {
                tracing::info!(%peer, status, "refused connection");
            }
            Event::ConnectCrashed { peer, error } => {
                crashes.add(1);
                tracing::error!(%peer, error, "connect crashed");
            }
            Event::Connected { peer } => {
                connected.add(1);
                tracing::debug!(%peer, "connected");
            }
            Event::SocketEnded => disconnected.add(1),
            Event::Ending(reason) => self.tell_ending(reason),

            Event::Unmatched { topic, handler } => {
                tracing::warn!(topic, handler, "ignoring unmatched topic");
            }
            Event::TooManyChannels { topic, max } => {
                refused_joins.add(1);
                tracing::error!(topic, max, "reached the limit of channels per socket");
            }
            Event::DuplicateJoin { topic } => {
                tracing::debug!(topic, "duplicate channel join: closing the existing channel");
            }
            Event::Joining { topic, params } => {
                let parameters = filtered_json(params);
                tracing::debug!(topic, %parameters, "joining");
            }
            Event::Joined { topic } => tracing::debug!(%topic, "joined"),
            Event::JoinParamsRefused { topic, error } => {
                tracing::info!(%topic, error, "refused join: its params do not fit");
            }
            Event::JoinRefused { topic } => tracing::info!(%topic, "refused join"),
            Event::Crashed { topic, channel, error } => {
                crashes.add(1);
                tracing::error!(topic, channel, error, "channel crashed");
            }
            Event::CallbackOverdue { topic } => {
                overdue.add(1);
                tracing::warn!(%topic, "a callback did not end in time: dropped");
            }
            Event::DropCrashed { error } => {
                tracing::error!(error, "a drop of the application's panicked");
            }
            Event::Held(held) => self.tell_held(&held),

            Event::Overloaded => overloaded.add(1),
            Event::TimerLost => {
                overloaded.add(1);
                tracing::warn!("a channel's mailbox is full: a timer's message is lost");
            }
            Event::Delivered(_) => unreachable!("told above"),
            Event::Dropped => dropped.add(1),
            Event::MeshFull => mesh_full.add(1),
            Event::BroadcastFailed { topic, event, error } => {
                tracing::error!(topic, event, %error, "a broadcast from outside this shard");
            }
            Event::BroadcastUnencoded { topic, event, error } => {
                tracing::error!(topic, event, %error, "a broadcast did not reach a client");
            }
        }
    }

    fn tell_ending(&self, reason: &EndReason) {
        let Tally {
            slow_readers,
            shed,
            stuck_readers,
            unfinished,
            oversized,
            malformed,
            idle,
            slow_requests,
            overdue,
            ..
        } = &*self.tally;
        match reason {
            EndReason::Broken(error) => tracing::debug!(%error, "a connection broke"),
            EndReason::Unwritable | EndReason::Disconnected | EndReason::Draining => {}
            EndReason::Asked { .. } => tracing::debug!("a channel closes its socket"),
            EndReason::SlowReader { max_send_queue } => {
                slow_readers.add(1);
                tracing::info!(max_send_queue, "closing a connection that does not read");
            }
            EndReason::KeepsMost { bytes, max_kept_bytes } => {
                shed.add(1);
                tracing::info!(bytes, max_kept_bytes, "closing the client that has most memory");
            }
            EndReason::StuckReader { send_timeout } => {
                stuck_readers.add(1);
                tracing::info!(?send_timeout, "a connection broke whose reader took nothing");
            }
            EndReason::Unfinished { max_partial_bytes } => {
                unfinished.add(1);
                tracing::debug!(max_partial_bytes, "closing the oldest that is unfinished");
            }
            EndReason::NeverAsked { max_handshakes } => {
                unfinished.add(1);
                tracing::debug!(max_handshakes, "closing the oldest that has not asked");
            }
            EndReason::BadFrame { code, error } => {
                if *code == CloseCode::MESSAGE_TOO_BIG { oversized } else { malformed }.add(1);
                tracing::debug!(%error, "closing a socket");
            }
            EndReason::BadMessage { error } => {
                malformed.add(1);
                tracing::debug!(%error, "closing a socket");
            }
            EndReason::TooEarly { peer } => {
                oversized.add(1);
                tracing::info!(%peer, "refused: too much sent before connect");
            }
            EndReason::Idle => {
                idle.add(1);
                tracing::debug!("closing a socket that was silent");
            }
            EndReason::SlowRequest => slow_requests.add(1),
            EndReason::Overdue => overdue.add(1),
        }
    }

    #[cold]
    fn tell_held(&self, held: &Held<'_>) {
        let shard = self.shard;
        if !matches!(held, Held::Turn) {
            self.tally.holds.add(1);
        }
        match held {
            Held::Callback { topic, channel, callback, event } => tracing::warn!(
                shard,
                topic,
                channel,
                callback,
                event,
                "a callback held up its shard: what takes long belongs into Context::blocking"
            ),
            Held::Connect { handler } => {
                tracing::warn!(shard, handler, callback = "connect", "a callback held up its shard")
            }
            Held::Route { path } => {
                tracing::warn!(shard, path, "a route's handler held up its shard");
            }
            Held::Turn => {
                tracing::warn!(shard, "a turn held up its shard, but no single callback in it");
            }
        }
    }
}
