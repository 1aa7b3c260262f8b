//! Cells: the application's part of a process, as the engine sees it.

use std::any::Any;
use std::task::{Context, Poll};

use super::timers::MakeInfo;
use crate::message::{Broadcast, DecodeError, Payload, PayloadRef, Stop};
use crate::protocol::phoenix::{Field, RefBuf};
use crate::shard::links::Code;

/// The application's part of a process: its state at rest, or the callback that waits.
pub(crate) trait Cell {
    /// Starts a callback and polls it once, only while none runs; or polls the one that waits, for
    /// [`Call::Resume`].
    fn poll(&mut self, call: Call<'_>, cx: &mut Context<'_>) -> Poll<Outcome>;

    /// No callback has begun and not ended.
    fn is_resting(&self) -> bool;
}

/// A callback to run, and what it is given.
pub(crate) enum Call<'a> {
    Join {
        params: PayloadRef<'a>,
    },
    Event {
        message_ref: RefBuf,
        event: Field<'a>,
        payload: PayloadRef<'a>,
    },
    Out(Broadcast),
    Broadcast(Broadcast),
    Gap(Broadcast),
    Info(Box<dyn Any + Send>),
    Tick(MakeInfo),
    Terminate(Stop),
    /// One that waited goes on.
    Resume,
}

impl<'a> Call<'a> {
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Join { .. } => Code::Join,
            Self::Event { .. } => Code::HandleIn,
            Self::Out(_) => Code::HandleOut,
            Self::Broadcast(_) => Code::HandleBroadcast,
            Self::Gap(_) => Code::HandleGap,
            Self::Info(_) | Self::Tick(_) => Code::HandleInfo,
            Self::Terminate(_) => Code::Terminate,
            Self::Resume => Code::Resumed,
        }
    }

    /// The client's event if it is for one (that has a plain name).
    pub(crate) fn event(&self) -> Option<&'a str> {
        match self {
            Self::Event { event, .. } => event.as_borrowed(),
            _ => None,
        }
    }
}

/// How a callback has ended.
pub(crate) enum Outcome {
    Joined(Payload),
    Refused(Payload),
    /// The join's params are not what it takes.
    Unfit(Box<DecodeError>),
    Done,
    /// It is done, and so is the channel.
    Stop(Stop),
    /// What its error says. The error itself is the application's and has been dropped.
    Crashed(String),
    Terminated,
}
