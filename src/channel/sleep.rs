//! Sleeping: the future that waits for a time to pass.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::shard::Desk;
use crate::shard::channels::TimerId;

/// Waits for a time to pass; made by [`Context::sleep`](crate::Context::sleep).
#[must_use = "a future does nothing unless it is awaited"]
pub struct Sleep {
    desk: Desk,
    duration: Duration,
    timer: Option<TimerId>,
}

impl Sleep {
    pub(crate) fn new(desk: Desk, duration: Duration) -> Self {
        Self { desk, duration, timer: None }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sleep({:?})", self.duration)
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.timer {
            None => {
                self.timer = Some(self.desk.set_alarm(self.duration, cx.waker()));
                Poll::Pending
            }
            Some(timer) if self.desk.reset_alarm(timer, cx.waker()) => Poll::Pending,
            Some(_) => Poll::Ready(()),
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            self.desk.cancel_alarm(timer);
        }
    }
}
