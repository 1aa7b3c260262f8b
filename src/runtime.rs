//! Runtimes of others, whose timers and sockets the application's futures may need.

/// A runtime that futures want to find on the thread that makes, polls and drops them, as Tokio's
/// timers and sockets do.
///
/// Given to [`Builder::runtime`](crate::Builder::runtime), it is entered once on each thread that runs
/// the application's code, the shards' and those of the blocking pool, for as long as that lives. So
/// it costs nothing later. It is not this that polls the futures: it only finds them there.
///
/// With the feature `tokio`, `tokio::runtime::Handle` is one. For any other it is a few lines:
///
/// ```
/// use simurgh::EnterRuntime;
///
/// struct Ours(tokio::runtime::Handle);
///
/// impl EnterRuntime for Ours {
///     fn enter(&self, run: &mut dyn FnMut()) {
///         let _entered = self.0.enter();
///         run();
///     }
/// }
/// ```
pub trait EnterRuntime: Send + Sync + 'static {
    /// Calls `run`, once, while this thread is in the runtime.
    fn enter(&self, run: &mut dyn FnMut());
}

#[cfg(feature = "tokio")]
impl EnterRuntime for tokio::runtime::Handle {
    fn enter(&self, run: &mut dyn FnMut()) {
        let _entered = tokio::runtime::Handle::enter(self);
        run();
    }
}

/// Calls `run` in the runtime, if there is one.
pub(crate) fn within(runtime: Option<&dyn EnterRuntime>, run: impl FnOnce()) {
    let mut run = Some(run);
    let mut once = || {
        if let Some(run) = run.take() {
            run();
        }
    };
    match runtime {
        Some(runtime) => runtime.enter(&mut once),
        None => once(),
    }
}
