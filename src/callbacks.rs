//! Callbacks: a channel type behind the engine's [`Cell`].
//!
//! This is the only code that is generic over the application. To run a callback the channel's state
//! is moved into one generic future, [`drive`], which is polled on the spot. Nearly always it is ready
//! at once and gives the state back; then its allocation goes back to the route for the next one.
//! Only a callback that waits keeps it, until its waker has fired and it is polled again.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};

use crate::channel::{Channel, Context, Env, Reply, RouteShared};
use crate::message::{
    Broadcast, Crash, DecodeError, EventError, FromEvent, JoinError, Payload, ProcessId, Refused,
    Stop, Topic, decode_params,
};
use crate::protocol::phoenix::{Field, RefBuf};
use crate::shard::channels::{AnySocket, Call, Cell, Outcome, RouteHandler};
use crate::telemetry::Event;

/// A route on this shard: makes the cells of its processes.
struct Route<C: Channel, F> {
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
    fn spawn(&self, process: ProcessId, socket: &Rc<dyn AnySocket>, topic: Topic) -> Box<dyn Cell> {
        let socket: Rc<dyn Any> = socket.clone();
        let socket = socket.downcast().expect("a route's mount has this socket type");
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
    fn poll(&mut self, call: Call<'_>, cx: &mut TaskContext<'_>) -> Poll<Outcome> {
        if let Call::Resume = call {
            return self.resume(cx);
        }
        let call = match TypedCall::decode(call) {
            Ok(call) => call,
            Err(error) => return Poll::Ready(Outcome::Unfit(error)),
        };
        let seat = self.seat.take().expect("a callback starts only when none runs");
        let spare = self.engine.spare.take();
        let mut future = spare.unwrap_or_else(|| Box::pin(None));
        future.as_mut().set(Some((self.engine.drive)(seat, call)));
        self.running = Some(future);
        self.resume(cx)
    }

    fn is_resting(&self) -> bool {
        self.seat.is_some()
    }
}

impl<C, F> ChannelCell<C, F>
where
    C: Channel,
    F: Future<Output = (Box<Seat<C>>, Outcome)> + 'static,
{
    /// Polls the callback that runs.
    #[inline]
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
    /// Fails for a join's params only.
    fn decode(call: Call<'_>) -> Result<Self, Box<DecodeError>> {
        Ok(match call {
            Call::Join { params } => Self::Join(decode_params(params).map_err(Box::new)?),
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
            Call::Resume => unreachable!("a callback that waits has its call"),
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
        let mut cx = Context { env, message_ref: RefBuf::null(), stop: None, close: None, joined };
        let done = match (state, call) {
            (state, TypedCall::Join(params)) => {
                let outcome = match C::join(&cx.env.topic, params, &mut cx).await {
                    Ok(joined) => {
                        *state = Some(joined.state);
                        joined
                            .reply
                            .map_or_else(|e| Outcome::Crashed(e.to_string()), Outcome::Joined)
                    }
                    Err(JoinError::Refused(Refused { response, unencoded })) => {
                        if let Some(error) = &unencoded {
                            let process = cx.env.process;
                            cx.desk().tell(process, Event::RefusalUnencoded { error });
                        }
                        Outcome::Refused(response)
                    }
                    Err(JoinError::Crash(crash)) => Outcome::Crashed(crash.to_string()),
                };
                hang_up(&mut cx);
                return (seat, outcome);
            }
            (None, _) => unreachable!("a joined channel has its state"),
            (Some(channel), TypedCall::Event { message_ref, event }) => {
                cx.message_ref = message_ref;
                let reply = channel.handle_in(event, &mut cx).await;
                reply.and_then(|reply| answer(&cx, reply))
            }
            (Some(channel), TypedCall::Unknown(unknown)) => {
                let Unknown { message_ref, event, payload, error } = *unknown;
                cx.message_ref = message_ref;
                let reply = channel.handle_unknown(&event, &payload, error, &mut cx).await;
                reply.and_then(|reply| answer(&cx, reply))
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
                hang_up(&mut cx);
                return (seat, Outcome::Terminated);
            }
        };
        hang_up(&mut cx);
        let outcome = match (done, cx.stop) {
            (Err(crash), _) => Outcome::Crashed(crash.to_string()),
            (Ok(()), Some(reason)) => Outcome::Stop(reason),
            (Ok(()), None) => Outcome::Done,
        };
        (seat, outcome)
    }
}

/// Closes the socket, if the callback has asked for that: what it has answered is queued before.
#[inline]
fn hang_up<C: Channel>(cx: &mut Context<'_, C>) {
    if let Some(close) = cx.close.take() {
        let (code, reason) = *close;
        cx.desk().close_socket(cx.env.process, code, reason);
    }
}

/// Answers the client's message, from here and by reference: an answer that went up with the outcome
/// would be moved five times on its way.
fn answer<C: Channel>(cx: &Context<'_, C>, reply: Reply) -> Result<(), Crash> {
    let Reply(Some((status, response))) = reply else { return Ok(()) };
    cx.desk().reply(cx.env.process, &cx.message_ref, &status, &response?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::ConnectionId;
    use crate::shard::channels::{PROCESS_SIZE, SESSION_SIZE, SocketValue};
    use crate::shard::lines::LINE_SIZE;
    use crate::shard::topics::Subscriber;
    use crate::{ConnectInfo, Join, Joined, NoEvents, Rejection, SocketHandler};

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
    }

    #[test]
    fn a_joined_channel_costs_what_it_did() {
        type Resting = ChannelCell<Counter, std::future::Ready<(Box<Seat<Counter>>, Outcome)>>;
        assert_eq!(size_of::<Resting>(), CELL);
        assert_eq!(size_of::<Seat<Counter>>() - size_of::<Option<Counter>>(), SEAT);
    }

    /// What `benches/README.md` tells of an idle client, where its topic is not counted.
    #[test]
    fn a_joined_client_at_rest_takes_less_than_400_bytes() {
        let seat = SEAT + size_of::<Option<()>>().next_multiple_of(align_of::<Seat<Counter>>());
        let parts = [
            ("line", LINE_SIZE),
            ("its slot and its deadline", 2 * size_of::<ConnectionId>()),
            ("session", SESSION_SIZE),
            (
                "the application's socket",
                allocated(size_of::<[usize; 2]>() + size_of::<SocketValue<()>>()),
            ),
            ("process", PROCESS_SIZE),
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

    const CELL: usize = 24;
    /// Besides the state: the way to its route, its socket and its topic.
    const SEAT: usize = 48;
}
