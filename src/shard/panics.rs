//! Panics of the application's code: caught, and told with their place.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// A callback is running on this thread: its panic is caught, so nothing is printed.
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    /// What the panic that is being caught said, and where.
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `callback`; a panic in it comes back as its message and place.
pub(crate) fn catch<R>(callback: impl FnOnce() -> R) -> Result<R, String> {
    install_hook();
    let outer = CATCHING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(callback));
    let result = result.map_err(|payload| {
        let caught = CAUGHT.take();
        // What was panicked with is a value of the application's, and its drop may panic as well.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(payload);
        }
        caught.map_or_else(|| "panicked".to_owned(), |caught| format!("panicked {caught}"))
    });
    CATCHING.set(outer);
    result
}

/// Only a hook learns where a panic was. Ours keeps that for [`catch`] and leaves every other
/// panic to the hook that was there before.
fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !CATCHING.get() {
                return previous(info);
            }
            let payload = info.payload();
            let message = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
                (Some(message), _) => message,
                (_, Some(message)) => message.as_str(),
                _ => "with a payload that is no text",
            };
            let place = info.location().map_or_else(String::new, |place| format!("at {place}: "));
            CAUGHT.set(Some(format!("{place}{message}")));
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_with_its_message_and_place() {
        let caught = catch(|| panic!("no {}", "room")).expect_err("it panics");
        assert!(caught.starts_with("panicked at src/shard/panics.rs:"), "{caught}");
        assert!(caught.ends_with(": no room"), "{caught}");
        assert_eq!(catch(|| 1), Ok(1));
    }

    #[test]
    fn a_panic_whose_payload_panics_when_it_is_dropped_is_caught_whole() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                std::panic::panic_any(Bomb);
            }
        }
        let caught = catch(|| std::panic::panic_any(Bomb)).expect_err("it panics");
        assert!(caught.ends_with("with a payload that is no text"), "{caught}");
        assert_eq!(catch(|| 1), Ok(1));
    }
}
