//! Scripts: what a test tells a channel to do, step by step.
//!
//! A script travels as JSON, as the params of a join or the payload of the event `act`, and as the
//! info of an address or a timer.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One thing that a callback can do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    Push(String, Value),
    PushBinary(String),
    Broadcast(String, Value),
    BroadcastFrom(String, Value),
    /// Through the endpoint's handle rather than the context.
    HandleBroadcast {
        topic: String,
        event: String,
    },
    /// Tells the test.
    Note(String),
    /// Waits until the test opens the gate of that name.
    Wait(String),
    Sleep(u64),
    /// Waits for the blocking pool.
    Block,
    Reply(String, Value),
    ReplyBinary(String),
    /// Leaves the answer to the test.
    ReplyLater,
    /// Gives the answer that the test keeps.
    AnswerKept(Value),
    /// In `join`: the client is told no.
    Refuse(Value),
    Stop(Ending),
    Fail(String),
    Panic(String),
    Subscribe(String),
    Unsubscribe(String),
    /// Hands the channel's address to the test.
    GiveAddress,
    SendSelf(Vec<Step>),
    /// To the address that the test keeps; tells the test how it went.
    SendTo(Vec<Step>),
    /// Holds the shard up until the test opens the gate: no channel should.
    HoldShard(String),
    SendAfter(u64, Vec<Step>),
    Interval(u64, Vec<Step>),
    Disconnect(String),
}

/// [`simurgh::Stop`], those that an application gives.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ending {
    Normal,
    Shutdown,
    Error(String),
}

/// What a channel does at its join, and is to do later.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Plan {
    pub(crate) join: Vec<Step>,
    pub(crate) out: Vec<Step>,
    pub(crate) terminate: Vec<Step>,
}

impl Plan {
    pub(crate) fn join(steps: impl IntoIterator<Item = Step>) -> Value {
        Self { join: steps.into_iter().collect(), ..Self::default() }.params()
    }

    pub(crate) fn terminate(steps: impl IntoIterator<Item = Step>) -> Value {
        Self { terminate: steps.into_iter().collect(), ..Self::default() }.params()
    }

    pub(crate) fn params(&self) -> Value {
        serde_json::to_value(self).expect("a plan is JSON")
    }
}

pub(crate) fn push(event: &str) -> Step {
    Step::Push(event.into(), json!({}))
}

pub(crate) fn push_with(event: &str, payload: Value) -> Step {
    Step::Push(event.into(), payload)
}

pub(crate) fn broadcast(event: &str) -> Step {
    Step::Broadcast(event.into(), json!({}))
}

pub(crate) fn broadcast_with(event: &str, payload: Value) -> Step {
    Step::Broadcast(event.into(), payload)
}

pub(crate) fn broadcast_from(event: &str) -> Step {
    Step::BroadcastFrom(event.into(), json!({}))
}

pub(crate) fn handle_broadcast(topic: &str, event: &str) -> Step {
    Step::HandleBroadcast { topic: topic.into(), event: event.into() }
}

pub(crate) fn note(text: &str) -> Step {
    Step::Note(text.into())
}

pub(crate) fn wait(gate: &str) -> Step {
    Step::Wait(gate.into())
}

pub(crate) fn sleep(duration: Duration) -> Step {
    Step::Sleep(duration.as_millis() as u64)
}

pub(crate) fn reply(response: Value) -> Step {
    Step::Reply("ok".into(), response)
}

pub(crate) fn reply_status(status: &str, response: Value) -> Step {
    Step::Reply(status.into(), response)
}

pub(crate) fn refuse(response: Value) -> Step {
    Step::Refuse(response)
}

pub(crate) fn fail() -> Step {
    Step::Fail("as told".into())
}

pub(crate) fn panic() -> Step {
    Step::Panic("as told".into())
}

pub(crate) fn stop(ending: Ending) -> Step {
    Step::Stop(ending)
}

pub(crate) fn subscribe(topic: &str) -> Step {
    Step::Subscribe(topic.into())
}

pub(crate) fn unsubscribe(topic: &str) -> Step {
    Step::Unsubscribe(topic.into())
}

pub(crate) fn send_to(steps: impl IntoIterator<Item = Step>) -> Step {
    Step::SendTo(steps.into_iter().collect())
}

pub(crate) fn send_self(steps: impl IntoIterator<Item = Step>) -> Step {
    Step::SendSelf(steps.into_iter().collect())
}

pub(crate) fn send_after(delay: Duration, steps: impl IntoIterator<Item = Step>) -> Step {
    Step::SendAfter(delay.as_millis() as u64, steps.into_iter().collect())
}

pub(crate) fn interval(period: Duration, steps: impl IntoIterator<Item = Step>) -> Step {
    Step::Interval(period.as_millis() as u64, steps.into_iter().collect())
}

/// The payload of the event `act`.
pub(crate) fn script(steps: impl IntoIterator<Item = Step>) -> Value {
    serde_json::to_value(steps.into_iter().collect::<Vec<_>>()).expect("a script is JSON")
}
