//! Processes: joined channels, and how their callbacks run.
//!
//! At rest a process is plain data: an entry in the shard's table, and the application's state in
//! its [`Cell`]. To run a callback the state is moved into one generic future, [`drive`], which is
//! polled on the spot. Nearly always it is ready at once and gives the state back; then its
//! allocation goes back to the route for the next one. Only a callback that waits keeps it, until
//! its waker has fired and it is polled again.
//!
//! The shard's tables are never borrowed while the application's code runs, so a callback may
//! push, broadcast and subscribe as it likes. Two callbacks are never inside one another: what a
//! callback sends to a process, its own included, waits in that process' mailbox.

use std::any::Any;
use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use smallvec::SmallVec;

use crate::channel::{Channel, Context, Reply};
use crate::config::Limits;
use crate::io::ConnectionId;
use crate::message::{
    Broadcast, Crash, EventError, FromEvent, Payload, PayloadRef, ProcessId, Refused, Rejection,
    Stop, Topic, decode_params,
};
use crate::protocol::phoenix::{Field, RefBuf};
use crate::shard::channels::mount::RouteHandler;
use crate::shard::channels::timers::{MakeInfo, TimerId};
use crate::shard::links::wakers::Alarm;
use crate::shard::table::Table;
use crate::shard::topics::TopicIndex;
use crate::shard::{Core, Local};
use crate::socket::SocketHandler;

/// What the shard knows of a joined channel.
pub(crate) struct Process {
    pub(crate) generation: u32,
    pub(crate) status: Status,
    pub(crate) mount: u8,
    pub(crate) route: u8,
    /// The client joined with a null `join_ref`. Then `join_ref` below is the ref of the join,
    /// which replies and pushes carry, while everything else carries null.
    pub(crate) null_join_ref: bool,
    pub(crate) connection: ConnectionId,
    pub(crate) topic: TopicIndex,
    /// The place among the topic's subscribers, while it is one.
    pub(crate) position: Option<u32>,
    pub(crate) join_ref: RefBuf,
    pub(crate) mailbox: Mailbox,
    /// The application's part. Absent while a callback is being polled.
    pub(crate) cell: Option<Box<dyn Cell>>,
    pub(crate) rare: Option<Box<Rare>>,
}

/// What few processes have.
#[derive(Default)]
pub(crate) struct Rare {
    /// While joining: the ref of the join, to answer it.
    pub(crate) join_message_ref: RefBuf,
    /// While joining: the `join_ref` of the channel that this one takes the place of. It is told
    /// that it is closed when the join has been answered.
    pub(crate) replaces: Option<RefBuf>,
    /// The alarm of a callback that waits.
    pub(crate) alarm: Option<Alarm>,
    /// It ends when the callback that runs is done, and why. A join so marked has failed.
    pub(crate) ending: Option<Stop>,
    /// Topics besides its own, and its place among their subscribers.
    pub(crate) subscriptions: SmallVec<[(TopicIndex, u32); 2]>,
    /// Timers that send to it, which end with it.
    pub(crate) timers: SmallVec<[TimerId; 1]>,
    /// The timer that drops it if it has not ended by then.
    pub(crate) overdue: Option<TimerId>,
}

impl Process {
    /// It has ended for everyone but itself.
    pub(crate) fn is_ending(&self) -> bool {
        matches!(self.status, Status::Failing | Status::Closing)
            || self.rare.as_ref().is_some_and(|rare| rare.ending.is_some())
    }

    /// Forgets what only a join needs, and gives back the `join_ref` of the channel it replaces.
    pub(crate) fn end_joining(&mut self) -> Option<RefBuf> {
        let rare = self.rare.as_mut()?;
        rare.join_message_ref = RefBuf::null();
        let replaced = rare.replaces.take();
        if rare.is_empty() {
            self.rare = None;
        }
        replaced
    }
}

impl Rare {
    fn is_empty(&self) -> bool {
        self.alarm.is_none()
            && self.ending.is_none()
            && self.subscriptions.is_empty()
            && self.timers.is_empty()
            && self.overdue.is_none()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// `join` runs.
    Joining,
    Joined,
    /// `terminate` runs; the client is told of an error afterwards.
    Failing,
    /// `terminate` runs; the client knows, or is gone.
    Closing,
}

/// What waits for a process: boxed, because most have nothing most of the time.
#[derive(Default)]
pub(crate) struct Mailbox(Option<Box<Queue>>);

#[derive(Default)]
struct Queue {
    mail: VecDeque<Mail>,
    /// Bytes of it that its client has sent.
    received: usize,
    /// Bytes of it that are broadcasts, which others may hold too.
    shared: usize,
}

impl Mailbox {
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.mail.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Bytes that a client has sent of what waits.
    pub(crate) fn received(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.received)
    }

    /// Whether a broadcast finds room: for so many that wait, and for their bytes. There is always
    /// room for the bytes of one.
    pub(crate) fn has_room_for(&self, mail: &Mail, limits: &Limits) -> bool {
        self.0.as_ref().is_none_or(|queue| {
            let fits = queue.shared == 0
                || queue.shared.saturating_add(mail.shared()) <= limits.max_mailbox_bytes;
            queue.mail.len() < limits.max_mailbox && fits
        })
    }

    /// Whether the last thing that waits is the word of a gap, and this is another of the same
    /// topic.
    pub(crate) fn says_already(&self, mail: &Mail) -> bool {
        let last = self.0.as_ref().and_then(|queue| queue.mail.back());
        match (last, mail) {
            (Some(Mail::Gap(last)), Mail::Gap(missed)) => last.topic() == missed.topic(),
            _ => false,
        }
    }

    pub(crate) fn push(&mut self, mail: Mail) {
        let queue = self.0.get_or_insert_default();
        queue.received += mail.received();
        queue.shared += mail.shared();
        queue.mail.push_back(mail);
    }

    pub(crate) fn pop(&mut self) -> Option<Mail> {
        let queue = self.0.as_mut()?;
        let mail = queue.mail.pop_front();
        queue.received -= mail.as_ref().map_or(0, Mail::received);
        queue.shared -= mail.as_ref().map_or(0, Mail::shared);
        if queue.mail.is_empty() {
            self.0 = None;
        }
        mail
    }

    pub(crate) fn take(&mut self) -> VecDeque<Mail> {
        self.0.take().map_or_else(VecDeque::new, |queue| queue.mail)
    }
}

/// Something that waits in a mailbox.
pub(crate) enum Mail {
    /// A client's event.
    Event {
        message_ref: RefBuf,
        event: String,
        payload: Payload,
    },
    /// The client leaves.
    Leave {
        message_ref: RefBuf,
    },
    /// A broadcast to intercept.
    Out(Broadcast),
    /// A broadcast of another topic.
    Broadcast(Broadcast),
    /// A broadcast that was missed.
    Gap(Broadcast),
    Info(Box<dyn Any + Send>),
    /// An interval's message, made when its turn comes.
    Tick(MakeInfo),
    /// Whatever the client sent for this topic while it was joining, to be looked at afterwards as
    /// if the join had held it up.
    Behind(Box<OwnedMessage>),
}

impl Mail {
    /// Bytes of the broadcast that it is.
    fn shared(&self) -> usize {
        match self {
            Self::Out(broadcast) | Self::Broadcast(broadcast) | Self::Gap(broadcast) => {
                broadcast.size()
            }
            Self::Event { .. }
            | Self::Leave { .. }
            | Self::Info(_)
            | Self::Tick(_)
            | Self::Behind(_) => 0,
        }
    }

    /// Bytes that a client has sent for it, and that only it holds.
    fn received(&self) -> usize {
        match self {
            Self::Event { message_ref, event, payload } => {
                message_ref.as_ref().as_json().len() + event.len() + payload.as_bytes().len()
            }
            Self::Leave { message_ref } => message_ref.as_ref().as_json().len(),
            Self::Behind(message) => {
                let refs = [&message.join_ref, &message.message_ref];
                refs.map(|part| part.as_ref().as_json().len()).iter().sum::<usize>()
                    + message.topic.len()
                    + message.event.len()
                    + message.payload.as_bytes().len()
            }
            Self::Out(_) | Self::Broadcast(_) | Self::Gap(_) | Self::Info(_) | Self::Tick(_) => 0,
        }
    }
}

/// A client's message that outlives its receive buffer.
pub(crate) struct OwnedMessage {
    pub(crate) join_ref: RefBuf,
    pub(crate) message_ref: RefBuf,
    pub(crate) topic: Rc<str>,
    pub(crate) event: String,
    pub(crate) payload: Payload,
}

/// The processes of a shard.
#[derive(Default)]
pub(crate) struct Processes {
    entries: Table<Process>,
    generation: u32,
}

impl Processes {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn insert(&mut self, make: impl FnOnce(ProcessId) -> Process) -> ProcessId {
        self.generation = self.generation.wrapping_add(1);
        let index = u32::try_from(self.entries.next_place()).expect("processes fit u32");
        let id = ProcessId { index, generation: self.generation };
        self.entries.insert(make(id));
        id
    }

    #[inline]
    pub(crate) fn find(&mut self, id: ProcessId) -> Option<&mut Process> {
        let process = self.entries.get_mut(id.index as usize)?;
        (process.generation == id.generation).then_some(process)
    }

    /// The process that is at this place now, if there is one.
    pub(crate) fn at_place(&self, index: u32) -> Option<&Process> {
        self.entries.get(index as usize)
    }

    /// The process at this place, whose id is known to be current.
    pub(crate) fn at(&mut self, index: u32) -> (ProcessId, &mut Process) {
        let process = &mut self.entries[index as usize];
        (ProcessId { index, generation: process.generation }, process)
    }

    pub(crate) fn remove(&mut self, id: ProcessId) -> Option<Process> {
        self.find(id)?;
        Some(self.entries.remove(id.index as usize))
    }

    /// Every process' id.
    pub(crate) fn ids(&self) -> Vec<ProcessId> {
        let entries = self.entries.iter();
        let id = |(index, process): (usize, &Process)| ProcessId {
            index: index as u32,
            generation: process.generation,
        };
        entries.map(id).collect()
    }
}

/// The application's part of a process: its state at rest, or the callback that waits.
pub(crate) trait Cell {
    /// Starts a callback and polls it once. Only while none runs.
    fn start(&mut self, call: Call<'_>, cx: &mut TaskContext<'_>) -> Poll<Outcome>;

    /// Polls the callback that waits.
    fn resume(&mut self, cx: &mut TaskContext<'_>) -> Poll<Outcome>;

    /// No callback has begun and not ended.
    fn is_resting(&self) -> bool;
}

/// A callback to run, and what it is given.
pub(crate) enum Call<'a> {
    Join { params: PayloadRef<'a> },
    Event { message_ref: RefBuf, event: Field<'a>, payload: PayloadRef<'a> },
    Out(Broadcast),
    Broadcast(Broadcast),
    Gap(Broadcast),
    Info(Box<dyn Any + Send>),
    Tick(MakeInfo),
    Terminate(Stop),
}

impl<'a> Call<'a> {
    /// The callback, and the client's event if it is for one (that has a plain name).
    pub(crate) fn name(&self) -> (&'static str, Option<&'a str>) {
        let callback = match self {
            Self::Join { .. } => "join",
            Self::Event { event, .. } => return ("handle_in", event.as_borrowed()),
            Self::Out(_) => "handle_out",
            Self::Broadcast(_) => "handle_broadcast",
            Self::Gap(_) => "handle_gap",
            Self::Info(_) | Self::Tick(_) => "handle_info",
            Self::Terminate(_) => "terminate",
        };
        (callback, None)
    }
}

/// How a callback has ended.
pub(crate) enum Outcome {
    Joined(Payload),
    Refused(Payload),
    Done,
    Stop(Stop),
    /// What its error says. The error itself is the application's and has been dropped.
    Crashed(String),
    Terminated,
}

/// What every callback of a process needs: it travels with the state.
pub(crate) struct Env<C: Channel> {
    pub(crate) route: Rc<RouteShared<C>>,
    pub(crate) process: ProcessId,
    pub(crate) socket: Rc<C::Socket>,
    pub(crate) topic: Topic,
}

impl<C: Channel> Env<C> {
    pub(crate) fn core(&self) -> RefMut<'_, Core> {
        self.route.local.core.borrow_mut()
    }
}

/// What the processes of a route share on this shard.
pub(crate) struct RouteShared<C: Channel> {
    pub(crate) local: Rc<Local>,
    pub(crate) app: Arc<<C::Socket as SocketHandler>::App>,
    pub(crate) value: Option<Arc<dyn Any + Send + Sync>>,
}

/// A route on this shard: makes the cells of its processes.
pub(crate) struct Route<C: Channel, F> {
    shared: Rc<RouteShared<C>>,
    engine: Rc<Engine<C, F>>,
}

/// How the callbacks of a channel type become futures, and the allocation that they take in turns.
struct Engine<C: Channel, F> {
    drive: fn(Box<Seat<C>>, TypedCall<C>) -> F,
    spare: RefCell<Option<FutureBox<F>>>,
}

type FutureBox<F> = Pin<Box<Option<F>>>;

/// The route of a channel type.
pub(crate) fn route<C: Channel>(shared: RouteShared<C>) -> Box<dyn RouteHandler> {
    fn with<C: Channel, F: Future<Output = (Box<Seat<C>>, Outcome)> + 'static>(
        shared: RouteShared<C>,
        drive: fn(Box<Seat<C>>, TypedCall<C>) -> F,
    ) -> Box<dyn RouteHandler> {
        let engine = Rc::new(Engine { drive, spare: RefCell::new(None) });
        Box::new(Route { shared: Rc::new(shared), engine })
    }
    with(shared, drive::<C>)
}

impl<C, F> RouteHandler for Route<C, F>
where
    C: Channel,
    F: Future<Output = (Box<Seat<C>>, Outcome)> + 'static,
{
    fn spawn(&self, process: ProcessId, socket: &Rc<dyn Any>, topic: Topic) -> Box<dyn Cell> {
        let socket = socket.clone().downcast().expect("a route's mount has this socket type");
        let env = Env { route: self.shared.clone(), process, socket, topic };
        let seat = Some(Box::new(Seat { state: None, env }));
        Box::new(ChannelCell { engine: self.engine.clone(), seat, running: None })
    }

    fn intercepts(&self, event: &str) -> bool {
        C::INTERCEPT.contains(&event)
    }

    fn is_intercepting(&self) -> bool {
        !C::INTERCEPT.is_empty()
    }

    fn is_lossy(&self) -> bool {
        C::LOSSY
    }

    fn name(&self) -> &'static str {
        std::any::type_name::<C>()
    }
}

/// What a callback is lent, and gives back: in a box, so that handing it over is moving a pointer.
struct Seat<C: Channel> {
    /// None before `join` has returned it.
    state: Option<C>,
    env: Env<C>,
}

struct ChannelCell<C: Channel, F> {
    engine: Rc<Engine<C, F>>,
    /// Absent while a callback runs.
    seat: Option<Box<Seat<C>>>,
    running: Option<FutureBox<F>>,
}

impl<C, F> Cell for ChannelCell<C, F>
where
    C: Channel,
    F: Future<Output = (Box<Seat<C>>, Outcome)> + 'static,
{
    fn start(&mut self, call: Call<'_>, cx: &mut TaskContext<'_>) -> Poll<Outcome> {
        let call = match TypedCall::decode(call) {
            Ok(call) => call,
            Err(crash) => return Poll::Ready(Outcome::Crashed(crash.to_string())),
        };
        let seat = self.seat.take().expect("a callback starts only when none runs");
        let spare = self.engine.spare.take();
        let mut future = spare.unwrap_or_else(|| Box::pin(None));
        future.as_mut().set(Some((self.engine.drive)(seat, call)));
        self.running = Some(future);
        self.resume(cx)
    }

    fn resume(&mut self, cx: &mut TaskContext<'_>) -> Poll<Outcome> {
        let mut future = self.running.take().expect("a callback waits");
        let running = future.as_mut().as_pin_mut().expect("set when it was started");
        match running.poll(cx) {
            Poll::Pending => {
                self.running = Some(future);
                Poll::Pending
            }
            Poll::Ready((seat, outcome)) => {
                future.as_mut().set(None);
                self.engine.spare.replace(Some(future));
                self.seat = Some(seat);
                Poll::Ready(outcome)
            }
        }
    }

    fn is_resting(&self) -> bool {
        self.seat.is_some()
    }
}

/// A [`Call`] in the channel's own types.
enum TypedCall<C: Channel> {
    Join(C::Params),
    Event { message_ref: RefBuf, event: C::Event },
    Unknown(Box<Unknown>),
    Out(Broadcast),
    Broadcast(Broadcast),
    Gap(Broadcast),
    Info(C::Info),
    Terminate(Stop),
}

/// An event that the channel does not know: rare, so it takes no room in every call.
struct Unknown {
    message_ref: RefBuf,
    event: String,
    payload: Payload,
    error: EventError,
}

impl<C: Channel> TypedCall<C> {
    fn decode(call: Call<'_>) -> Result<Self, Crash> {
        Ok(match call {
            Call::Join { params } => Self::Join(decode_params(params)?),
            Call::Event { message_ref, event, payload } => {
                // An event that is no string reaches the channel as its JSON text.
                let (name, decoded) = match &event {
                    Field::Text(name) => (name.as_ref(), C::Event::from_event(name, payload)),
                    Field::Other(raw) => {
                        (std::str::from_utf8(raw).unwrap_or_default(), Err(EventError::Unknown))
                    }
                };
                match decoded {
                    Ok(event) => Self::Event { message_ref, event },
                    Err(error) => Self::Unknown(Box::new(Unknown {
                        message_ref,
                        event: name.to_owned(),
                        payload: payload.to_payload(),
                        error,
                    })),
                }
            }
            Call::Out(message) => Self::Out(message),
            Call::Broadcast(message) => Self::Broadcast(message),
            Call::Gap(message) => Self::Gap(message),
            Call::Info(info) => Self::info(info),
            Call::Tick(make) => Self::info(make()),
            Call::Terminate(reason) => Self::Terminate(reason),
        })
    }

    fn info(info: Box<dyn Any + Send>) -> Self {
        match (info as Box<dyn Any>).downcast() {
            Ok(info) => Self::Info(*info),
            Err(_) => unreachable!("an address sends its channel's own type"),
        }
    }
}

/// Runs one callback: the only future there is.
///
/// One block and no `async fn`s inside one another, each of which would keep its arguments twice.
#[allow(clippy::manual_async_fn, reason = "an async fn keeps its arguments beside its variables")]
fn drive<C: Channel>(
    mut seat: Box<Seat<C>>,
    call: TypedCall<C>,
) -> impl Future<Output = (Box<Seat<C>>, Outcome)> {
    async move {
        let Seat { state, env } = &mut *seat;
        let joined = state.is_some();
        let mut cx = Context { env, message_ref: RefBuf::null(), stop: None, joined };
        let done = match (state, call) {
            (state, TypedCall::Join(params)) => {
                let outcome = match C::join(&cx.env.topic, params, &mut cx).await {
                    Ok(joined) => {
                        *state = Some(joined.state);
                        joined
                            .reply
                            .map_or_else(|e| Outcome::Crashed(e.to_string()), Outcome::Joined)
                    }
                    Err(Rejection::Refused(Refused { response, .. })) => Outcome::Refused(response),
                    Err(Rejection::Crash(crash)) => Outcome::Crashed(crash.to_string()),
                };
                return (seat, outcome);
            }
            (None, _) => unreachable!("a joined channel has its state"),
            (Some(channel), TypedCall::Event { message_ref, event }) => {
                cx.message_ref = message_ref;
                let reply = channel.handle_in(event, &mut cx).await;
                reply.and_then(|reply| send_reply(&cx, reply))
            }
            (Some(channel), TypedCall::Unknown(unknown)) => {
                let Unknown { message_ref, event, payload, error } = *unknown;
                cx.message_ref = message_ref;
                let reply = channel.handle_unknown(&event, &payload, error, &mut cx).await;
                reply.and_then(|reply| send_reply(&cx, reply))
            }
            (Some(channel), TypedCall::Out(message)) => channel.handle_out(&message, &mut cx).await,
            (Some(channel), TypedCall::Broadcast(message)) => {
                channel.handle_broadcast(&message, &mut cx).await
            }
            (Some(channel), TypedCall::Gap(missed)) => {
                channel.handle_gap(missed.topic(), &mut cx).await
            }
            (Some(channel), TypedCall::Info(info)) => channel.handle_info(info, &mut cx).await,
            (Some(channel), TypedCall::Terminate(reason)) => {
                channel.terminate(&reason, &mut cx).await;
                return (seat, Outcome::Terminated);
            }
        };
        let outcome = match (done, cx.stop) {
            (Err(crash), _) => Outcome::Crashed(crash.to_string()),
            (Ok(()), Some(reason)) => Outcome::Stop(reason),
            (Ok(()), None) => Outcome::Done,
        };
        (seat, outcome)
    }
}

fn send_reply<C: Channel>(cx: &Context<'_, C>, reply: Reply) -> Result<(), Crash> {
    let Reply(Some((status, response))) = reply else { return Ok(()) };
    let response = response?;
    cx.env.core().reply(cx.env.process, &cx.message_ref, status, &response)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::shard::topics::Subscriber;
    use super::*;
    use crate::shard::channels::session::Session;
    use crate::shard::lines::connection::Connection;
    use crate::{ConnectInfo, Join, Joined, NoEvents};

    struct Visitor;

    impl SocketHandler for Visitor {
        type App = ();
        type Params = ();

        async fn connect(_: (), _: &ConnectInfo<()>) -> Result<Self, Rejection> {
            Ok(Self)
        }
    }

    /// A channel whose state is a number.
    struct Counter(#[expect(dead_code, reason = "it is only held")] u64);

    impl Channel for Counter {
        type Socket = Visitor;
        type Params = ();
        type Event = NoEvents;
        type Info = ();

        async fn join(_: &Topic, _: (), _: &mut Context<'_, Self>) -> Join<Self> {
            Ok(Joined::new(Self(0)))
        }

        async fn handle_in(
            &mut self,
            event: NoEvents,
            _: &mut Context<'_, Self>,
        ) -> Result<Reply, Crash> {
            match event {}
        }
    }

    #[test]
    fn a_joined_channel_costs_what_it_did() {
        assert_eq!(size_of::<Process>(), PROCESS);
        assert_eq!(size_of::<Mailbox>(), 8);
        type Resting = ChannelCell<Counter, std::future::Ready<(Box<Seat<Counter>>, Outcome)>>;
        assert_eq!(size_of::<Resting>(), CELL);
        assert_eq!(size_of::<Seat<Counter>>() - size_of::<Option<Counter>>(), SEAT);
    }

    /// What `benches/README.md` tells of an idle client, where its topic is not counted.
    #[test]
    fn a_joined_client_at_rest_takes_less_than_400_bytes() {
        let seat = SEAT + size_of::<Option<()>>().next_multiple_of(align_of::<Seat<Counter>>());
        let parts = [
            ("connection", size_of::<Connection>()),
            ("its slot and its deadline", 2 * size_of::<ConnectionId>()),
            ("session", allocated(size_of::<Session>())),
            ("the application's socket", allocated(size_of::<[usize; 2]>())),
            ("process", PROCESS),
            ("its cell", allocated(CELL)),
            ("its seat, with a state of no size", allocated(seat)),
            ("subscriber", size_of::<Subscriber>()),
        ];
        for (part, bytes) in parts {
            println!("{bytes:4} {part}");
        }
        let sum: usize = parts.iter().map(|(_, bytes)| bytes).sum();
        assert!(sum < 400, "{sum} bytes");
    }

    /// What glibc's allocator takes for so many bytes: a header of eight, in steps of sixteen.
    fn allocated(bytes: usize) -> usize {
        (bytes + 8).next_multiple_of(16).max(32)
    }

    fn info(number: u32) -> Mail {
        Mail::Info(Box::new(number))
    }

    fn number(mail: Option<Mail>) -> Option<u32> {
        match mail? {
            Mail::Info(info) => (info as Box<dyn Any>).downcast().ok().map(|number| *number),
            _ => None,
        }
    }

    #[test]
    fn a_mailbox_gives_back_in_order_and_owns_nothing_when_it_is_empty() {
        let mut mailbox = Mailbox::default();
        assert!(mailbox.is_empty() && mailbox.pop().is_none());
        (0..3).for_each(|it| mailbox.push(info(it)));
        assert_eq!(mailbox.len(), 3);
        let given: Vec<_> = std::iter::from_fn(|| number(mailbox.pop())).collect();
        assert_eq!(given, [0, 1, 2]);
        assert!(mailbox.is_empty() && mailbox.0.is_none());
        (3..5).for_each(|it| mailbox.push(info(it)));
        assert_eq!(mailbox.take().len(), 2);
        assert!(mailbox.is_empty() && mailbox.take().is_empty());
    }

    #[test]
    fn an_id_of_a_process_that_has_ended_finds_nobody() {
        let mut processes = Processes::default();
        let first = processes.insert(process);
        assert_eq!(ProcessId::unpack(first.pack()), first);
        assert!(processes.remove(first).is_some());
        let second = processes.insert(process);
        assert_eq!(first.index, second.index);
        assert!(processes.find(first).is_none() && processes.remove(first).is_none());
        assert_eq!(processes.ids(), [second]);
    }

    fn process(id: ProcessId) -> Process {
        let mut topics = crate::shard::topics::Topics::new();
        Process {
            generation: id.generation,
            status: Status::Joined,
            mount: 0,
            route: 0,
            null_join_ref: false,
            connection: ConnectionId::new(0, 0, 1),
            topic: topics.hold("topic"),
            position: None,
            join_ref: RefBuf::null(),
            mailbox: Mailbox::default(),
            cell: None,
            rare: None,
        }
    }

    const PROCESS: usize = 88;
    const CELL: usize = 24;
    /// Besides the state: the way to its route, its socket and its topic.
    const SEAT: usize = 48;
}
