//! Futures that a channel waits for: of its own making, of the blocking pool, of another runtime.

use std::future::poll_fn;
use std::sync::LazyLock;
use std::task::Poll;
use std::thread;

use serde::Deserialize;
use serde_json::json;
use simurgh::prelude::*;
use simurgh::{BlockingError, Builder};

use crate::channels::User;
use crate::doors::{Door, on_new_servers};
use crate::support::{App, World, limits};

struct Waiter;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    /// Waits for a task of another runtime, which waits for the gate.
    Task,
    /// The same with a task that panics.
    PanickingTask,
    /// Waits for a future that other threads wake, many times in vain.
    Flurry,
    /// Waits for work that waits for the gate.
    Block,
    PanickingBlock,
}

impl Channel for Waiter {
    type Socket = User;
    type Params = ();
    type Event = Event;
    type Info = ();

    async fn join(_: &Topic, _: (), _: &mut Context<'_, Self>) -> Join<Self> {
        Ok(Joined::new(Waiter))
    }

    async fn handle_in(
        &mut self,
        event: Event,
        cx: &mut Context<'_, Self>,
    ) -> Result<Reply, Crash> {
        let app = cx.app().clone();
        match event {
            Event::Task => {
                let task = RUNTIME.spawn(async move {
                    app.gate("task").await;
                    42
                });
                Ok(Reply::ok(Json(task.await?)))
            }
            Event::PanickingTask => {
                RUNTIME.spawn(async { panic!("as told") }).await?;
                Ok(Reply::none())
            }
            Event::Flurry => {
                let mut polls = 0;
                poll_fn(|cx| {
                    polls += 1;
                    for _ in 0..3 {
                        let waker = cx.waker().clone();
                        thread::spawn(move || waker.wake());
                    }
                    cx.waker().wake_by_ref();
                    if polls < 10 { Poll::Pending } else { Poll::Ready(()) }
                })
                .await;
                Ok(Reply::ok(()))
            }
            Event::Block => {
                let work = move || {
                    app.note("works");
                    app.hold("work");
                    42
                };
                Ok(match cx.blocking(work).await {
                    Ok(answer) => Reply::ok(Json(answer)),
                    Err(error) => Reply::error(json!({ "full": error == BlockingError::Full })),
                })
            }
            Event::PanickingBlock => {
                let error = cx.blocking(|| -> u8 { panic!("as told") }).await.unwrap_err();
                Ok(Reply::error(json!(error.to_string())))
            }
        }
    }
}

/// A runtime on a thread of its own, for all tests.
static RUNTIME: LazyLock<tokio::runtime::Handle> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let handle = runtime.handle().clone();
    thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
});

fn endpoint(endpoint: Builder<App>) -> Builder<App> {
    let mut limits = limits();
    (limits.blocking_threads, limits.max_blocking_queue) = (1, 1);
    endpoint
        .limits(limits)
        .socket("/futures", |mount| mount.handler::<User>().channel::<Waiter>("wait:*"))
}

fn played(scenario: impl Fn(&World, Door)) {
    on_new_servers(1, endpoint, scenario);
}

#[test]
fn a_channel_may_wait_for_a_task_of_another_runtime() {
    played(|world, door| {
        let mut client = door.client_at(world, 0, "/futures");
        client.join("wait:1", json!({})).unwrap();
        let sent = client.push("wait:1", "task", json!({}));
        client.silence_everywhere().unwrap();
        world.open("task");
        assert_eq!(client.reply(sent).unwrap().response, json!(42));
        client.push("wait:1", "panicking_task", json!({}));
        client.expect("wait:1", "phx_error").unwrap();
    });
}

#[test]
fn a_future_may_be_woken_by_many_threads_in_vain_and_after_its_end() {
    played(|world, door| {
        let mut client = door.client_at(world, 0, "/futures");
        client.join("wait:1", json!({})).unwrap();
        for _ in 0..10 {
            let sent = client.push("wait:1", "flurry", json!({}));
            assert!(client.reply(sent).unwrap().is_ok());
        }
        client.silence_everywhere().unwrap();
    });
}

#[test]
fn blocking_work_gives_its_result_or_says_that_it_panicked() {
    played(|world, door| {
        let mut client = door.client_at(world, 0, "/futures");
        client.join("wait:1", json!({})).unwrap();
        let sent = client.push("wait:1", "panicking_block", json!({}));
        let error = client.reply(sent).unwrap().response.to_string();
        assert!(
            error.contains("blocking work panicked at") && error.contains("as told"),
            "{error}"
        );
        let sent = client.push("wait:1", "block", json!({}));
        client.silence_everywhere().unwrap();
        world.open("work");
        assert_eq!(client.reply(sent).unwrap().response, json!(42));
    });
}

#[test]
fn blocking_work_beyond_the_queue_is_refused() {
    played(|world, door| {
        let mut client = door.client_at(world, 0, "/futures");
        for topic in ["wait:1", "wait:2", "wait:3"] {
            client.join(topic, json!({})).unwrap();
        }
        let first = client.push("wait:1", "block", json!({}));
        world.expect_note("works");
        let second = client.push("wait:2", "block", json!({}));
        let third = client.push("wait:3", "block", json!({}));
        assert_eq!(client.reply(third).unwrap().response, json!({"full": true}));
        world.server.await_counts(|counts| counts.iter().any(|c| c.overloaded > 0));
        world.open("work");
        for sent in [first, second] {
            assert_eq!(client.reply(sent).unwrap().response, json!(42));
        }
    });
}
