//! The channels that the tests run: actors with a script each, and their socket.

use std::marker::PhantomData;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use simurgh::prelude::*;

use crate::script::{Ending, Plan, Step};
use crate::support::{ActorAddress, App};

/// The socket of all tests: a name for it may be asked for.
pub(crate) struct User {
    id: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct UserParams {
    id: Option<String>,
}

impl SocketHandler for User {
    type App = App;
    type Params = UserParams;

    async fn connect(params: UserParams, _: &ConnectInfo<App>) -> Result<Self, Rejection> {
        Ok(User { id: params.id })
    }

    fn id(&self) -> Option<String> {
        assert_ne!(self.id.as_deref(), Some("panic"), "as told");
        self.id.clone()
    }
}

/// What tells one kind of actor from another.
pub(crate) trait Kind: 'static {
    const INTERCEPT: &'static [&'static str] = &[];
}

/// An actor to which broadcasts go past its callbacks.
pub(crate) struct Plain;

impl Kind for Plain {}

/// An actor that has a say in the broadcasts of the event `secret`.
pub(crate) struct Intercepting;

impl Kind for Intercepting {
    const INTERCEPT: &'static [&'static str] = &["secret"];
}

/// A channel that does as it is told: by its join's params, by the event `act`, by its infos.
pub(crate) struct Actor<K: Kind> {
    topic: String,
    app: App,
    plan: Plan,
    kind: PhantomData<K>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    Act(Vec<Step>),
    Echo(Payload),
}

impl<K: Kind> Channel for Actor<K> {
    type Socket = User;
    type Params = Plan;
    type Event = Event;
    type Info = Vec<Step>;

    const INTERCEPT: &'static [&'static str] = K::INTERCEPT;

    async fn join(topic: &Topic, plan: Plan, cx: &mut Context<'_, Self>) -> Join<Self> {
        let app = cx.app().clone();
        // Made before the script runs, so that what becomes of it is seen when the join fails too.
        let actor = Actor { topic: topic.to_string(), app, plan, kind: PhantomData };
        let steps = actor.plan.join.clone();
        match act(&steps, cx).await?.0 {
            None => Ok(Joined::new(actor)),
            Some(response) => Ok(Joined::with_reply(actor, response)),
        }
    }

    async fn handle_in(
        &mut self,
        event: Event,
        cx: &mut Context<'_, Self>,
    ) -> Result<Reply, Crash> {
        match event {
            Event::Act(steps) => Ok(act(&steps, cx).await.map_err(crash)?.1),
            Event::Echo(payload) => Ok(Reply::ok(payload)),
        }
    }

    async fn handle_out(
        &mut self,
        message: &Broadcast,
        cx: &mut Context<'_, Self>,
    ) -> Result<(), Crash> {
        act(&self.plan.out, cx).await.map_err(crash)?;
        cx.push(message.event(), json!({ "handle_out": message.payload().raw_json()? }))?;
        Ok(())
    }

    async fn handle_info(
        &mut self,
        steps: Vec<Step>,
        cx: &mut Context<'_, Self>,
    ) -> Result<(), Crash> {
        act(&steps, cx).await.map_err(crash)?;
        Ok(())
    }

    async fn handle_broadcast(
        &mut self,
        message: &Broadcast,
        cx: &mut Context<'_, Self>,
    ) -> Result<(), Crash> {
        let heard = json!({ "topic": message.topic(), "event": message.event() });
        cx.push("heard", heard)?;
        Ok(())
    }

    async fn terminate(&mut self, reason: &Stop, cx: &mut Context<'_, Self>) {
        self.app.note(format!("{} terminates: {reason:?}", self.topic));
        let done = act(&self.plan.terminate, cx).await;
        assert!(done.is_ok(), "a terminate fails only by a panic");
    }
}

impl<K: Kind> Drop for Actor<K> {
    fn drop(&mut self) {
        self.app.note(format!("{} is dropped", self.topic));
    }
}

fn crash(rejection: JoinError) -> Crash {
    match rejection {
        JoinError::Crash(crash) => crash,
        JoinError::Refused(_) => Crash::new("only a join can be refused"),
    }
}

/// Plays a script, and gives the response that it came to: for a join and for an event.
async fn act<K: Kind>(
    steps: &[Step],
    cx: &mut Context<'_, Actor<K>>,
) -> Result<(Option<Payload>, Reply), JoinError> {
    let app = cx.app().clone();
    let (mut response, mut reply) = (None, Reply::none());
    for step in steps.iter().cloned() {
        match step {
            Step::Push(event, payload) => cx.push(&event, payload)?,
            Step::PushBinary(event) => cx.push(&event, Payload::binary(&[1, 2, 3][..]))?,
            Step::Broadcast(event, payload) => cx.broadcast(&event, payload)?,
            Step::BroadcastFrom(event, payload) => cx.broadcast_from(&event, payload)?,
            Step::HandleBroadcast { topic, event } => app.handle().broadcast(&topic, &event, ())?,
            Step::Note(text) => app.note(text),
            Step::Wait(gate) => app.gate(&gate).await,
            Step::Sleep(millis) => cx.sleep(Duration::from_millis(millis)).await,
            Step::Block => cx.blocking(|| ()).await?,
            Step::Reply(status, value) => {
                response = Some(Payload::json(&value)?);
                reply = Reply::with_status(status, value);
            }
            Step::ReplyBinary(status) => {
                let bytes = Payload::binary(&[4, 5, 6][..]);
                response = Some(bytes.clone());
                reply = Reply::with_status(status, bytes);
            }
            Step::ReplyLater => app.give_reply(cx.reply_later()?),
            Step::AnswerKept(value) => app.answer_kept(value)?,
            Step::Refuse(value) => return Err(Refused::with_response(value).into()),
            Step::Stop(ending) => cx.stop(match ending {
                Ending::Normal => Stop::Normal,
                Ending::Shutdown => Stop::Shutdown,
                Ending::Error(reason) => Stop::Error(reason),
            }),
            Step::Fail(reason) => return Err(Crash::new(reason).into()),
            Step::Panic(reason) => panic!("{reason}"),
            Step::Subscribe(topic) => cx.subscribe(&topic),
            Step::Unsubscribe(topic) => cx.unsubscribe(&topic),
            Step::GiveAddress => {
                let address = cx.address();
                app.give_address(ActorAddress {
                    broadcast_from: Box::new({
                        let (app, address) = (app.clone(), address.clone());
                        move |topic, event| {
                            app.handle().broadcast_from(&address, topic, event, ()).unwrap();
                        }
                    }),
                    send: Box::new(move |steps| address.send(steps)),
                });
            }
            Step::SendTo(steps) => app.note(format!("{:?}", app.send_to_kept(steps))),
            Step::HoldShard(gate) => app.hold(&gate),
            Step::SendSelf(steps) => cx.address().send(steps)?,
            Step::SendAfter(millis, steps) => cx.send_after(Duration::from_millis(millis), steps),
            Step::Interval(millis, steps) => cx.interval(Duration::from_millis(millis), steps),
            Step::Disconnect(id) => app.handle().disconnect(&id)?,
        }
    }
    Ok((response, reply))
}
