//! Every bound and time the server keeps: its default, the reason for it, and what happens at it.

use std::time::Duration;

/// The limits of an endpoint.
///
/// Set on the builder with [`limits`](crate::Builder::limits). A mount may set its own
/// [`max_topics`](crate::Mount::max_topics), [`idle_timeout`](crate::Mount::idle_timeout),
/// [`max_frame_size`](crate::Mount::max_frame_size),
/// [`max_message_size`](crate::Mount::max_message_size) and
/// [`max_json_depth`](crate::Mount::max_json_depth), which win over what stands here.
///
/// A connection's times (`head_timeout`, `idle_timeout`, `close_timeout`) are counted in whole
/// seconds, rounded up, and may end up to two seconds late. They are not over before all has been
/// read that had come by then: a server that was stopped for a minute, or has a flood to read, first
/// hears its clients, for which it takes ten seconds more at most.
///
/// Limits are added as the server learns to keep more of them, so a literal ends with
/// `..Limits::default()`.
///
/// # Example
///
/// ```
/// use simurgh::Limits;
///
/// let mut limits = Limits::default();
/// limits.max_message_size = 64 << 10;
/// assert_eq!(limits.max_topics, 100);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// TCP connections of all shards together. Default 16,777,216, which is more than any machine
    /// has memory for: who knows what his can hold sets it. Past it: the next client is answered
    /// with 503 and `retry-after`, and closed; of those who are to be answered at the same time
    /// all but 1,024 a shard are closed without a word.
    pub max_connections: usize,
    /// TCP connections of one shard. Default 16,777,216: no less than in all. The kernel deals
    /// clients out by chance, so leave some room above an even share. Past it: as for
    /// [`max_connections`](Self::max_connections), though other shards may have room.
    pub max_connections_per_shard: usize,
    /// Connections of one shard that are on their way to a socket: a request is awaited, also the
    /// next one of a connection that is kept, or `connect` runs. Default 16,384: a hundred thousand
    /// clients that come back at once to eight shards are not held up, and what a flood of silent
    /// ones costs stays below 100 MB of the kernel's memory. Past it: the one whose request has
    /// been awaited longest is closed; if all have asked, the newest is answered with 503.
    pub max_handshakes: usize,
    /// Bytes of memory for what has come to one shard and is not whole: request heads, messages,
    /// and what was sent before `connect` has accepted. Default 128 MiB, a dozen of the largest
    /// messages at once. Past it: the connection is closed whose unfinished piece is the oldest, an
    /// open socket with 1013, any other without a word. Should be more than
    /// [`max_message_size`](Self::max_message_size), or the largest can't come in pieces.
    pub max_partial_bytes: usize,
    /// Bytes of a request's head, request line and headers together. Default 16 KiB: cookies and
    /// tokens fit, and a flood of half-sent heads stays small. Past it: 431 and the end.
    pub max_head_size: usize,
    /// Time from the connection's beginning to the whole request head, and from one request's
    /// answer to the next head. Default 10 s: a slow phone on a bad network makes it. Past it: 408
    /// if a head had begun, and the connection is closed.
    pub head_timeout: Duration,
    /// Bytes of payload in one WebSocket frame. Default 10,000,000, as Phoenix. Past it: close 1009.
    pub max_frame_size: usize,
    /// Bytes of payload in one WebSocket message, all its fragments together. Default 10,000,000,
    /// like one frame. Past it: close 1009.
    pub max_message_size: usize,
    /// Nested arrays and objects in a payload. Default 125: deeper than any honest one, and as deep
    /// as `serde_json` follows it, which reads 127 levels, with the reply around it. So what one
    /// client sends, another's channel and another client can decode. Past it: close 1011.
    pub max_json_depth: usize,
    /// Topics joined or joining on one socket. Default 100, as Phoenix. Past it: the join is
    /// refused with `{"reason":"too many channels joined"}`.
    pub max_topics: usize,
    /// Time without a byte received. Default 60 s, as Phoenix: clients send a heartbeat every 30 s.
    /// Past it: close 1002, as Phoenix under Bandit (clients reconnect after it).
    pub idle_timeout: Duration,
    /// Bytes waiting for a reader that does not read. Default 16 MiB, so that the largest
    /// message a client may send can be sent on to one that is slow. Past it: broadcasts are dropped
    /// for channels that allow it ([`LOSSY`](crate::Channel::LOSSY)), and if that does not do, the
    /// connection is closed at once. So is one for which more than this and a message of
    /// [`max_message_size`](Self::max_message_size) together comes up in one go, before the kernel
    /// could be offered any of it.
    pub max_send_queue: usize,
    /// Bytes of memory kept for clients, of all shards together: what they are owed and have not
    /// taken, what of them is not whole, what waits to be read or for their channels, and broadcasts
    /// that are under way. Default a quarter of the memory that is free at the start, in the machine
    /// or in the control group's limit, whichever is less. Past it: whoever has most of it is closed
    /// without a word, until an eighth of it is free.
    pub max_kept_bytes: Option<usize>,
    /// Time in which a client's machine takes something of what it owes: acknowledges it, or opens its
    /// window again. Default 60 s, as for a client that sends nothing: a phone in a tunnel, or one
    /// that is woken every minute, may come back to its connection. (Phoenix's servers close it when a
    /// send has been stuck for 30 s, but notice that only once its buffers are full.) Past it: the
    /// kernel (`TCP_USER_TIMEOUT`) breaks the connection, whatever it owes and although its
    /// heartbeats come; so a channel that is [`LOSSY`](crate::Channel::LOSSY) keeps its client no
    /// longer than this either. In milliseconds; `Duration::MAX` is 24 days, and leaves it to
    /// [`idle_timeout`](Self::idle_timeout) to find out who is gone.
    pub send_timeout: Duration,
    /// Messages waiting for a channel whose callback is not done, or whose join runs. Default
    /// 1,000. Past it: a client's message is answered with `{"reason":"overloaded"}`, an
    /// [`Address`](crate::Address) gets [`Full`](crate::AddressError::Full), and a broadcast that
    /// must be intercepted ends the channel with `phx_error`. As many broadcasts wait for a
    /// [`Subscription`](crate::Subscription), which is told how many it missed.
    pub max_mailbox: usize,
    /// Bytes that a client has sent and that wait so, for all channels of its socket together; and
    /// bytes of the broadcasts that wait for one channel or one
    /// [`Subscription`](crate::Subscription). Default 16 MiB, as for what may wait for
    /// a reader. Past it: as for [`max_mailbox`](Self::max_mailbox). One message is always let in
    /// where less than this waits, and one broadcast where none does.
    pub max_mailbox_bytes: usize,
    /// How long a client is not read because what it says goes where much waits already: to a
    /// channel that is busy, to another shard, to the subscribers of a topic. Its messages wait in
    /// the kernel and then at the client meanwhile, so that nothing is lost; its heartbeats wait
    /// behind them. Default 10 s, a third of what stock clients wait for the answer to one. Past it:
    /// as for [`max_mailbox`](Self::max_mailbox) and [`max_mesh_queue`](Self::max_mesh_queue). With
    /// zero nobody waits.
    pub hold_timeout: Duration,
    /// Time that a channel has to end, from when its connection goes or the server stops, or from
    /// its own `terminate`: for the callback that runs then and for `terminate` together. Default
    /// 5 s, as Phoenix. Past it: future and state are dropped.
    pub terminate_timeout: Duration,
    /// Time for a client to answer our Close. Default 5 s; at most 1 s for one that has sent what
    /// can't be read. Past it: the TCP connection is closed.
    pub close_timeout: Duration,
    /// What may wait between one shard and another: broadcasts, and what channels of the one send to
    /// those of the other. Default 4,096. Past it: a broadcast fails for that shard with
    /// [`Overloaded`](crate::BroadcastError::Overloaded), and the topic's channels there are told
    /// ([`handle_gap`](crate::Channel::handle_gap)); a message or a late reply is `Full`. Clients'
    /// own messages wait before it comes to that ([`hold_timeout`](Self::hold_timeout)). In one turn
    /// a shard's callbacks may make as many broadcasts, on however many shards: who makes more gets
    /// [`Backlog`](crate::BroadcastError::Backlog).
    pub max_mesh_queue: usize,
    /// Bytes of what waits between one shard and another. Default 64 MiB, six of the
    /// largest that clients can cause. One that is larger goes when none waits. Past it: as for
    /// [`max_mesh_queue`](Self::max_mesh_queue).
    pub max_mesh_bytes: usize,
    /// Bytes of broadcasts that are on their way to the subscribers of one topic on one shard, which
    /// are served in slices if they are many. Default 16 MiB, as for what a single reader may owe;
    /// all topics of a shard together may have four times as much. Past it: whoever broadcasts gets
    /// [`Backlog`](crate::BroadcastError::Backlog), and nobody gets the message.
    pub max_fanout_queue: usize,
    /// Broadcasts, messages and late replies waiting for a shard from threads that are no shards.
    /// Default 16,384. Past it: whoever sends gets an error, and of a broadcast the channels that
    /// miss it are told.
    pub max_inbox: usize,
    /// Bytes of what waits for a shard from such threads; of an application's own messages only
    /// what lies in them directly is counted. Default 64 MiB. Past it: as for
    /// [`max_inbox`](Self::max_inbox).
    pub max_inbox_bytes: usize,
    /// Connections that wait for the reader of a
    /// [`fallback_listener`](crate::Builder::fallback_listener), of all shards together. Default
    /// 1,024, as a listener's backlog. Past it: 503 with `retry-after`, and the connection is closed.
    pub max_fallback_queue: usize,
    /// Threads of the pool that [`blocking`](crate::Context::blocking) runs on. Default 16.
    pub blocking_threads: usize,
    /// Work waiting for such a thread. Default 4,096. Past it: the work is refused.
    pub max_blocking_queue: usize,
}

impl Limits {
    /// These limits where so many bytes are free: what is kept for clients has a bound, and what
    /// waits between threads is no more than a part of it, though always two of the largest messages.
    pub(crate) fn fit(self, free: Option<u64>, shards: usize) -> Self {
        let free = free.map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let max_kept_bytes = self.max_kept_bytes.unwrap_or(free / 4);
        let two = self.max_message_size.saturating_mul(2);
        let part = |of: usize| (max_kept_bytes / 4 / of.max(1)).max(two);
        let ways = shards * shards.saturating_sub(1);
        Self {
            max_kept_bytes: Some(max_kept_bytes),
            max_partial_bytes: self.max_partial_bytes.min((max_kept_bytes / shards).max(two)),
            max_mesh_bytes: self.max_mesh_bytes.min(part(ways)),
            max_inbox_bytes: self.max_inbox_bytes.min(part(shards)),
            ..self
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 1 << 24,
            max_connections_per_shard: 1 << 24,
            max_handshakes: 16_384,
            max_partial_bytes: 128 << 20,
            max_head_size: 16 << 10,
            head_timeout: Duration::from_secs(10),
            max_frame_size: 10_000_000,
            max_message_size: 10_000_000,
            max_json_depth: 125,
            max_topics: 100,
            idle_timeout: Duration::from_secs(60),
            max_send_queue: 16 << 20,
            max_kept_bytes: None,
            send_timeout: Duration::from_secs(60),
            max_mailbox: 1_000,
            max_mailbox_bytes: 16 << 20,
            hold_timeout: Duration::from_secs(10),
            terminate_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(5),
            max_mesh_queue: 4_096,
            max_mesh_bytes: 64 << 20,
            max_fanout_queue: 16 << 20,
            max_inbox: 16_384,
            max_inbox_bytes: 64 << 20,
            max_fallback_queue: 1_024,
            blocking_threads: 16,
            max_blocking_queue: 4_096,
        }
    }
}
