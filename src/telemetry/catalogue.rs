//! The catalogue: everything that happens on a shard and is told.
//!
//! | told | at level |
//! |---|---|
//! | what the application or this server got wrong: crashes, what can't be encoded | error |
//! | what somebody should look at: held shards, late callbacks, topics and versions of nobody | warn |
//! | who was refused by the application, or closed for not reading or for what can't be read | info |
//! | who comes, joins and goes, and why; for whom there was no room | debug |
//!
//! Never a line a message. What a client could have written is escaped and cut ([`Text`], [`told`]), and
//! what it can cause has a few lines a minute and then a count ([`Rates`]); debug lines have no count,
//! for whoever asks for them wants them all.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tracing::Level;

use super::counts::Tally;
use super::log::{filtered_json, filtered_params};
use super::rates::{Rates, Withheld};
use super::text::{Text, told};
use super::who::Who;
use crate::message::EndReason;
use crate::protocol::http::Params;
use crate::protocol::websocket::CloseCode;

/// A shard's voice. Each of its owners has one.
#[derive(Debug, Clone)]
pub(crate) struct Telemetry {
    shard: usize,
    tally: Arc<Tally>,
    minute: Rc<Minute>,
}

/// What was told in this minute, by the shard's clock.
#[derive(Debug, Default)]
struct Minute {
    /// The instant of the turn; none before the first.
    now: Cell<Option<Instant>>,
    rates: RefCell<Rates>,
    /// When what was withheld is to be told.
    due: Cell<Option<Instant>>,
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
    ConnectionRefused,
    /// A request is no request: too large, or not to be understood.
    RequestRefused {
        error: &'a dyn fmt::Display,
        is_size: bool,
    },
    /// A request was not whole in time, and is answered so.
    RequestTooSlow,
    /// A plain route's handler panicked.
    RouteCrashed {
        path: &'a str,
        error: &'a str,
    },
    /// A client asks for a version that nothing speaks.
    VersionRefused {
        error: &'a dyn fmt::Display,
    },
    /// `connect` begins.
    Connecting {
        handler: &'static str,
        params: &'a Params,
    },
    /// The parameters of a connection are not what `connect` wants.
    ParamsRefused {
        error: &'a dyn fmt::Display,
    },
    /// `connect` said no.
    ConnectRefused {
        status: u16,
    },
    /// `connect` failed.
    ConnectCrashed {
        error: &'a str,
    },
    /// A socket is open.
    Connected,
    /// A socket has ended, for whatever reason.
    SocketEnded,
    /// We end a connection, or it has broken.
    Ending(&'a EndReason),

    // Channels.
    /// No route leads to a topic.
    Unmatched {
        handler: &'static str,
    },
    /// A socket has as many channels as it may.
    TooManyChannels {
        max: usize,
    },
    /// A client joins a topic that it has joined.
    DuplicateJoin,
    /// `join` begins.
    Joining {
        params: &'a [u8],
    },
    Joined,
    /// A join's params are not what it takes. The error names no values.
    JoinParamsRefused {
        error: &'a str,
    },
    /// `join` said no.
    JoinRefused,
    /// What refuses a join can't be sent; the client is refused without.
    RefusalUnencoded {
        error: &'a str,
    },
    /// A callback failed or panicked, what it gave back can't be sent, or the channel ends by an
    /// error of another kind.
    Crashed {
        channel: &'static str,
        error: &'a str,
    },
    /// Something has come to a channel that has no callback for it.
    Unexpected {
        what: Unexpected<'a>,
    },
    /// A callback did not end in the time that is left to a channel that ends.
    CallbackOverdue,
    /// A drop of a value of the application's panicked.
    DropCrashed {
        error: String,
    },
    /// The server ends.
    ShuttingDown,
    /// The turn has lasted too long.
    Held(Held<'a>),

    // Queues.
    /// A queue was full: something is refused, or a channel ends.
    Overloaded,
    /// The same, and what a timer was to send is lost.
    TimerLost {
        channel: &'static str,
    },
    /// Frames of broadcasts were queued for a client.
    Delivered(usize),
    /// A frame of a broadcast was dropped, because its reader does not read.
    Dropped,
    /// Another shard's queue was full.
    MeshFull,
    /// A broadcast from outside this shard found no room, or can't be encoded.
    BroadcastFailed {
        event: &'a str,
        error: &'a dyn fmt::Display,
    },
    /// A broadcast can't be encoded for one of those it is on its way to.
    BroadcastUnencoded {
        event: &'a str,
        error: &'a dyn fmt::Display,
    },
}

/// What a channel that does not want it has been sent.
pub(crate) enum Unexpected<'a> {
    Info,
    Broadcast { from: &'a str, event: &'a str },
}

/// What held up a shard.
pub(crate) enum Held<'a> {
    /// A channel's callback, and the client's event if it is for one.
    Callback {
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

/// Tells of one event: whom it is about, then the fields of its own, its error last. A line of the
/// level `DEBUG` is always told; of any other kind a client has a few a minute.
macro_rules! tell {
    ($telemetry:expr, $who:expr, DEBUG, $what:literal $(, $($fields:tt)*)?) => {
        tell!(@ $who, DEBUG, $what, true $(, $($fields)*)?)
    };
    ($telemetry:expr, $who:expr, $level:ident, $what:literal $(, $($fields:tt)*)?) => {
        tell!(@ $who, $level, $what, $telemetry.may_tell(Level::$level, $what, $who) $(, $($fields)*)?)
    };
    (@ $who:expr, $level:ident, $what:literal, $may:expr $(, $($fields:tt)*)?) => {
        if tracing::enabled!(Level::$level) && $may {
            let Who { peer, id, topic } = $who;
            let (id, topic) = (id.as_deref().map(Text::of), topic.as_deref().map(Text::of));
            tracing::event!(
                Level::$level,
                peer = peer.map(tracing::field::display),
                id = id.as_ref().map(Text::value),
                topic = topic.as_ref().map(Text::value),
                $($($fields)*,)?
                $what
            );
        }
    };
}

impl Telemetry {
    pub(crate) fn new(shard: usize, tally: Arc<Tally>) -> Self {
        Self { shard, tally, minute: Rc::default() }
    }

    /// Where the figures of what there is now are written down.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// A turn begins. Tells what was withheld in a minute that is over.
    #[inline]
    pub(crate) fn begin_turn(&self, now: Instant) {
        self.minute.now.set(Some(now));
        if self.minute.due.get().is_some_and(|due| due <= now) {
            self.end_minute(now);
        }
    }

    /// When there is something to tell though nothing more happens.
    pub(crate) fn next_instant(&self) -> Option<Instant> {
        self.minute.due.get()
    }

    /// The shard ends: tells what was withheld.
    pub(crate) fn end(&self) {
        let withheld = self.minute.rates.borrow_mut().take();
        self.tell_withheld(&withheld);
    }

    /// Tells of an event that is about nobody: counts it, and writes to the log what is to be read
    /// there.
    #[inline]
    pub(crate) fn tell(&self, event: Event<'_>) {
        match event {
            // The only one on the path of a message.
            Event::Delivered(broadcasts) => self.tally.deliveries.add(broadcasts as u64),
            event => self.tell_of(&Who::NOBODY, event),
        }
    }

    /// Tells of an event that is about somebody.
    pub(crate) fn tell_of(&self, who: &Who, event: Event<'_>) {
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
                    tell!(self, who, WARN, "can't accept clients: they wait", error = %told(&error));
                }
            }
            Event::ConnectionRefused => {
                refused_connections.add(1);
                tell!(self, who, DEBUG, "refused: there are too many connections");
            }
            Event::RequestRefused { error, is_size } => {
                if is_size { oversized } else { malformed }.add(1);
                tell!(self, who, INFO, "refused a request", error = %told(error));
            }
            Event::RequestTooSlow => {
                slow_requests.add(1);
                tell!(self, who, INFO, "refused a request that took too long");
            }
            Event::RouteCrashed { path, error } => {
                let path = Text::of(path);
                tell!(
                    self, who, ERROR, "a route's handler crashed",
                    path = path.value(), error = %told(&error)
                );
            }
            Event::VersionRefused { error } => {
                tell!(self, who, WARN, "refused a version", error = %told(error));
            }
            Event::Connecting { handler, params } => {
                tell!(
                    self, who, DEBUG, "connecting",
                    handler, parameters = %told(&filtered_params(params))
                );
            }
            Event::ParamsRefused { error } => {
                tell!(self, who, INFO, "refused connection", error = %told(error));
            }
            Event::ConnectRefused { status } => {
                tell!(self, who, INFO, "refused connection", status);
            }
            Event::ConnectCrashed { error } => {
                crashes.add(1);
                tell!(self, who, ERROR, "connect crashed", error = %told(&error));
            }
            Event::Connected => {
                connected.add(1);
                tell!(self, who, DEBUG, "connected");
            }
            Event::SocketEnded => disconnected.add(1),
            Event::Ending(reason) => self.tell_ending(who, reason),

            Event::Unmatched { handler } => {
                tell!(self, who, WARN, "ignoring unmatched topic", handler);
            }
            Event::TooManyChannels { max } => {
                refused_joins.add(1);
                tell!(self, who, ERROR, "reached the limit of channels per socket", max);
            }
            Event::DuplicateJoin => {
                tell!(self, who, DEBUG, "duplicate channel join: closing the existing channel");
            }
            Event::Joining { params } => {
                tell!(self, who, DEBUG, "joining", parameters = %told(&filtered_json(params)));
            }
            Event::Joined => tell!(self, who, DEBUG, "joined"),
            Event::JoinParamsRefused { error } => {
                tell!(
                    self, who, INFO, "refused join: its params do not fit",
                    error = %told(&error)
                );
            }
            Event::JoinRefused => tell!(self, who, INFO, "refused join"),
            Event::RefusalUnencoded { error } => {
                tell!(
                    self, who, ERROR, "the response of a refusal can't be encoded",
                    error = %told(&error)
                );
            }
            Event::Crashed { channel, error } => {
                crashes.add(1);
                tell!(self, who, ERROR, "channel crashed", channel, error = %told(&error));
            }
            Event::Unexpected { what: Unexpected::Info } => {
                tell!(self, who, WARN, "received unexpected message in handle_info");
            }
            Event::Unexpected { what: Unexpected::Broadcast { from, event } } => {
                let (from, event) = (Text::of(from), Text::of(event));
                tell!(
                    self,
                    who,
                    WARN,
                    "received unexpected broadcast in handle_broadcast",
                    from = from.value(),
                    event = event.value()
                );
            }
            Event::CallbackOverdue => {
                overdue.add(1);
                tell!(self, who, WARN, "a callback did not end in time: dropped");
            }
            Event::DropCrashed { error } => {
                tell!(self, who, ERROR, "a drop of the application's panicked", error = %told(&error));
            }
            Event::ShuttingDown => tracing::info!("shutting down"),
            Event::Held(held) => self.tell_held(who, &held),

            Event::Overloaded => overloaded.add(1),
            Event::TimerLost { channel } => {
                overloaded.add(1);
                tell!(
                    self,
                    who,
                    WARN,
                    "a channel's mailbox is full: a timer's message is lost",
                    channel
                );
            }
            Event::Delivered(broadcasts) => self.tally.deliveries.add(broadcasts as u64),
            Event::Dropped => dropped.add(1),
            Event::MeshFull => mesh_full.add(1),
            Event::BroadcastFailed { event, error } => {
                let event = Text::of(event);
                tell!(
                    self, who, ERROR, "a broadcast from outside this shard",
                    event = event.value(), error = %told(error)
                );
            }
            Event::BroadcastUnencoded { event, error } => {
                let event = Text::of(event);
                tell!(
                    self, who, ERROR, "a broadcast did not reach a client",
                    event = event.value(), error = %told(error)
                );
            }
        }
    }

    fn tell_ending(&self, who: &Who, reason: &EndReason) {
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
            EndReason::Broken(error) => {
                tell!(self, who, DEBUG, "a connection broke", error = %told(error));
            }
            EndReason::Unwritable | EndReason::Disconnected | EndReason::Draining => {}
            EndReason::Asked { .. } => tracing::debug!("a channel closes its socket"),
            EndReason::SlowReader { max_send_queue } => {
                slow_readers.add(1);
                tell!(self, who, INFO, "closing a connection that does not read", max_send_queue);
            }
            EndReason::KeepsMost { bytes, max_kept_bytes } => {
                shed.add(1);
                tell!(
                    self,
                    who,
                    INFO,
                    "closing the client that has most memory",
                    bytes,
                    max_kept_bytes
                );
            }
            EndReason::StuckReader { send_timeout } => {
                stuck_readers.add(1);
                tracing::info!(?send_timeout, "a connection broke whose reader took nothing");
            }
            EndReason::Unfinished { max_partial_bytes } => {
                unfinished.add(1);
                tell!(self, who, DEBUG, "closing the oldest that is unfinished", max_partial_bytes);
            }
            EndReason::NeverAsked { max_handshakes } => {
                unfinished.add(1);
                tell!(self, who, DEBUG, "closing the oldest that has not asked", max_handshakes);
            }
            EndReason::BadFrame { code, error } => {
                if *code == CloseCode::MESSAGE_TOO_BIG { oversized } else { malformed }.add(1);
                tell!(self, who, DEBUG, "closing a socket", error = %told(error));
            }
            EndReason::BadMessage { error } => {
                malformed.add(1);
                tell!(self, who, INFO, "closing a socket whose message can't be read", error = %told(error));
            }
            EndReason::TooEarly => {
                oversized.add(1);
                tell!(self, who, INFO, "refused: too much sent before connect");
            }
            EndReason::Idle => {
                idle.add(1);
                tell!(self, who, DEBUG, "closing a socket that was silent");
            }
            EndReason::SlowRequest => slow_requests.add(1),
            EndReason::Overdue => overdue.add(1),
        }
    }

    #[cold]
    fn tell_held(&self, who: &Who, held: &Held<'_>) {
        let shard = self.shard;
        if !matches!(held, Held::Turn) {
            self.tally.holds.add(1);
        }
        match held {
            Held::Callback { channel, callback, event } => {
                let event = event.map(Text::of);
                tell!(
                    self,
                    who,
                    WARN,
                    "a callback held up its shard: what takes long belongs into Context::blocking",
                    shard,
                    channel,
                    callback,
                    event = event.as_ref().map(Text::value)
                );
            }
            Held::Connect { handler } => {
                tell!(
                    self,
                    who,
                    WARN,
                    "a callback held up its shard",
                    shard,
                    handler,
                    callback = "connect"
                );
            }
            Held::Route { path } => {
                let path = Text::of(path);
                tell!(
                    self,
                    who,
                    WARN,
                    "a route's handler held up its shard",
                    shard,
                    path = path.value()
                );
            }
            Held::Turn => {
                tell!(
                    self,
                    who,
                    WARN,
                    "a turn held up its shard, but no single callback in it",
                    shard
                );
            }
        }
    }

    /// Whether a line that says this may be told.
    fn may_tell(&self, level: Level, what: &'static str, who: &Who) -> bool {
        let Some(now) = self.minute.now.get() else { return true };
        self.end_minute(now);
        let mut rates = self.minute.rates.borrow_mut();
        let may = rates.may_tell(now, level, what, who.subject());
        self.minute.due.set(rates.next_instant());
        may
    }

    #[cold]
    fn end_minute(&self, now: Instant) {
        let mut rates = self.minute.rates.borrow_mut();
        let withheld = rates.end_minute(now);
        self.minute.due.set(rates.next_instant());
        drop(rates);
        self.tell_withheld(&withheld);
    }

    fn tell_withheld(&self, withheld: &[Withheld]) {
        let shard = self.shard;
        for lines in withheld {
            match lines.level {
                Level::ERROR => tracing::error!(shard, "{lines}"),
                Level::WARN => tracing::warn!(shard, "{lines}"),
                _ => tracing::info!(shard, "{lines}"),
            }
        }
    }
}
