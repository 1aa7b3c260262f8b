//! A shard's thread: started and pinned by glommio, and nowhere else is glommio spoken of.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Instant;

use glommio::{ExecutorJoinHandle, GlommioError, LocalExecutorBuilder, Placement};

use super::no_thread::{NO_THREAD, no_thread};
use super::{Error, patience};

/// A shard's thread, running.
#[derive(Debug)]
pub(crate) struct ShardThread<T: Send + 'static> {
    name: String,
    handle: ExecutorJoinHandle<T>,
}

impl<T: Send + 'static> ShardThread<T> {
    /// Waits until the shard's future has ended.
    ///
    /// # Errors
    ///
    /// [`Error::Panicked`] if it panicked.
    pub(crate) fn join(self) -> Result<T, Error> {
        self.handle.join().map_err(|error| explain(self.name, error))
    }
}

/// Starts a thread, on `cpu` if one is given, and runs the future there that `make` makes there.
///
/// Returns when `make` is about to be called, so that whatever keeps the executor from starting is
/// an error here.
///
/// # Errors
///
/// [`Error::Thread`], also when locked memory did not suffice for three seconds: what a process
/// that ended a moment ago had locked is freed late.
pub(crate) fn spawn_shard<F>(
    cpu: Option<usize>,
    name: &str,
    make: impl FnOnce() -> F + Send + 'static,
) -> Result<ShardThread<F::Output>, Error>
where
    F: Future + 'static,
    F::Output: Send + 'static,
{
    check_threads().map_err(|error| explain(name.to_owned(), error.into()))?;
    let deadline = Instant::now() + patience::MEMORY;
    // An attempt that fails before it has begun leaves `make` to the next.
    let make = Arc::new(Mutex::new(Some(make)));
    loop {
        let (started, has_started) = mpsc::sync_channel(1);
        let make = Arc::clone(&make);
        let run = move || async move {
            let make = make.lock().unwrap_or_else(PoisonError::into_inner).take();
            let make = make.expect("only one attempt gets so far");
            // Somebody listens: the spawning thread waits for this or for the sender's end.
            let _ = started.send(());
            make().await
        };
        let placement = cpu.map_or(Placement::Unbound, Placement::Fixed);
        let spawned = LocalExecutorBuilder::new(placement)
            .name(name)
            // The executor moves no bytes: its default would lock ten megabytes.
            .io_memory(64 << 10)
            .spawn(run);
        let error = match spawned {
            Ok(handle) if has_started.recv().is_ok() => {
                return Ok(ShardThread { name: name.to_owned(), handle });
            }
            Ok(handle) => match handle.join() {
                Err(error) => error,
                Ok(_) => unreachable!("the executor ran a future that never began"),
            },
            Err(error) => error,
        };
        if !lacks_memory(&error) || Instant::now() >= deadline {
            return Err(explain(name.to_owned(), error));
        }
        std::thread::sleep(patience::PAUSE);
    }
}

/// Whether the two threads of an executor are to be had: where there is none for its second, glommio
/// panics, which whoever reads standard error would see before he is told why.
fn check_threads() -> std::io::Result<()> {
    let (hold, held) = mpsc::channel::<()>();
    let first = std::thread::Builder::new().spawn(move || held.recv())?;
    let second = std::thread::Builder::new().spawn(|| {});
    drop(hold);
    let _ = first.join();
    let _ = second?.join();
    Ok(())
}

fn lacks_memory(error: &GlommioError<()>) -> bool {
    matches!(error, GlommioError::IoError(error) if error.kind() == ErrorKind::OutOfMemory)
}

fn explain(name: String, error: GlommioError<()>) -> Error {
    use glommio::BuilderErrorKind::ThreadPanic;
    let panic = match error {
        GlommioError::BuilderError(ThreadPanic(panic)) => panic,
        GlommioError::IoError(error) => {
            return Error::Thread { name, reason: no_thread(&error) };
        }
        error => return Error::Thread { name, reason: error.to_string() },
    };
    let message = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(message), _) => (*message).to_owned(),
        (_, Some(message)) => message.clone(),
        _ => "with something that is no message".to_owned(),
    };
    if message.starts_with(NO_HELPER) {
        return Error::Thread { name, reason: format!("glommio: {message}{NO_THREAD}") };
    }
    Error::Panicked { name, message }
}

/// How the panic begins with which glommio ends an executor that can't have its own thread beside it.
const NO_HELPER: &str = "failed to spawn thread";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_is_where_it_was_put() {
        let cpu = super::super::cpu::for_shards(Some(1))[0];
        let thread = spawn_shard(Some(cpu), "pinned", move || async {
            let name = std::thread::current().name().map(str::to_owned);
            (core_affinity::get_core_ids().unwrap(), name)
        });
        let (mask, name) = thread.unwrap().join().unwrap();
        assert_eq!(mask.iter().map(|core| core.id).collect::<Vec<_>>(), [cpu]);
        assert!(name.unwrap().starts_with("pinned"));
    }

    #[test]
    fn a_cpu_that_is_not_there_is_an_error() {
        let error = spawn_shard(Some(100_000), "nowhere", || async {}).unwrap_err();
        assert!(error.to_string().contains("nowhere"), "{error}");
    }

    #[test]
    fn a_panic_is_told_when_joined() {
        let thread = spawn_shard(None, "careless", || async { panic!("with these words") });
        let error = thread.unwrap().join().unwrap_err();
        assert_eq!(error.to_string(), "shard careless panicked: with these words");
    }
}
