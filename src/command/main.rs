//! The `simurgh` command.

mod log;

use std::ffi::OsStr;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, LevelFilter};

use log::Log;

/// Phoenix Channels for Rust: thread-per-core over io_uring.
///
/// Without a command it serves the demo, a chat, at http://127.0.0.1:4000/.
#[derive(Parser)]
#[command(name = "simurgh", version, args_conflicts_with_subcommands = true)]
struct Command {
    #[command(subcommand)]
    action: Option<Action>,

    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Action {
    /// Serve the demo chat: a page at /, Phoenix sockets at /socket
    ///
    /// Topics to join:
    ///   room:lobby  a room for everyone
    ///   room:NAME   another room; wants a "name" in the join's params
    ///   ping:NAME   answers "ping", echoes "echo", crashes on "crash"
    ///
    /// Ctrl-C or SIGTERM closes all sockets with 1012, so that their clients reconnect, and ends. A
    /// second one waits for nobody; a third ends the process whatever holds it.
    #[command(verbatim_doc_comment)]
    Serve(Serve),
}

#[derive(Args)]
struct Serve {
    /// Address and port to listen at; port 0 takes any that is free
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4000", env = "SIMURGH_LISTEN")]
    listen: String,

    /// Number of shards, each a thread of its own [default: one per physical core, within the quota of
    /// CPU time]
    #[arg(long, value_name = "N", env = "SIMURGH_SHARDS")]
    shards: Option<usize>,

    /// What to log: off, error, warn, info, debug, trace, or a filter such as warn,simurgh=debug
    ///
    /// At info: refusals and crashes. At debug also each connect and join. Never a line a message.
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "SIMURGH_LOG")]
    log: String,
}

fn main() -> ExitCode {
    let command = with_set_variables(Command::command());
    let command = match Command::from_arg_matches(&command.get_matches()) {
        Ok(command) => command,
        Err(error) => error.exit(),
    };
    let serve = match command.action {
        Some(Action::Serve(serve)) => serve,
        None => command.serve,
    };
    let log = log_filter(&serve.log).and_then(|filter| {
        Log::start(filter).map_err(|error| {
            let advice = "raise the limit of threads (ulimit -u) or of descriptors (ulimit -n)";
            format!("can't start the thread that writes the log: {error}; {advice}")
        })
    });
    let log = match log {
        Ok(log) => log,
        Err(error) => {
            let _ = writeln!(io::stderr(), "simurgh: {error}");
            return ExitCode::FAILURE;
        }
    };
    match serve.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.say(&format!("simurgh: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// A command that takes variables for unset that are set to nothing, as compose files and files of
/// variables set them.
fn with_set_variables(command: clap::Command) -> clap::Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| match arg.get_env() {
            // An argument can't forget its variable, but may ask for one that nobody can set.
            Some(name) if is_empty(name) => arg.env("").hide_env(true),
            _ => arg,
        })
        .mut_subcommands(with_set_variables)
}

impl Serve {
    fn run(self) -> Result<(), Box<dyn std::error::Error>> {
        let mut endpoint = simurgh::demo::endpoint().listen(&self.listen);
        if let Some(shards) = self.shards {
            endpoint = endpoint.shards(shards);
        }
        endpoint.start()?.run_with(|running| {
            // Whoever would read it may have gone, or the disk be full: it serves without.
            let _ = greet(running);
        })?;
        Ok(())
    }
}

fn greet(running: &simurgh::Running) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "simurgh {} at http://{}/", env!("CARGO_PKG_VERSION"), running.local_addr())?;
    writeln!(out, "{}", running.ceiling())?;
    writeln!(out, "{}; Ctrl-C ends", placement(running.cpus()))?;
    out.flush()
}

/// Which CPUs the shards have: `2 shards on CPUs 0, 1`.
fn placement(cpus: &[usize]) -> String {
    let numbers: Vec<_> = cpus.iter().map(usize::to_string).collect();
    let plural = if cpus.len() == 1 { "" } else { "s" };
    format!("{} shard{plural} on CPU{plural} {}", cpus.len(), numbers.join(", "))
}

/// A level, or a filter as `tracing-subscriber` reads it; without the line that says what standard
/// output has said.
///
/// It would take a misspelt level for the name of a module and log nothing at all, so a word by
/// itself has to be a level.
fn log_filter(text: &str) -> Result<EnvFilter, String> {
    let no_filter = |reason: String| format!("--log \"{text}\": {reason}");
    if text.contains('=') {
        let filter = EnvFilter::try_new(text).map_err(|error| no_filter(error.to_string()))?;
        return Ok(filter.add_directive(no_greeting()));
    }
    let level: LevelFilter = text.parse().map_err(|_| {
        let wanted = "it must be off, error, warn, info, debug or trace, or a filter such as \
                      warn,simurgh=debug";
        no_filter(wanted.to_owned())
    })?;
    Ok(EnvFilter::default().add_directive(no_greeting()).add_directive(level.into()))
}

fn no_greeting() -> Directive {
    "simurgh::endpoint=off".parse().expect("a directive")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_are_consistent() {
        Command::command().debug_assert();
    }

    #[test]
    fn its_version_is_under_its_own_name_and_not_its_packages() {
        let version = concat!("simurgh ", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!(Command::command().render_version(), version);
    }

    #[test]
    fn a_misspelt_level_is_refused() {
        for good in ["off", "error", "warn", "info", "debug", "trace", "warn,simurgh=debug"] {
            assert!(log_filter(good).is_ok(), "{good}");
        }
        assert_eq!(log_filter("debug").unwrap().to_string(), "simurgh::endpoint=off,debug");
        for bad in ["degub", "simurgh", "info,warn", "simurgh=loud", "=x=y="] {
            assert!(log_filter(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_shard_is_told_from_several() {
        assert_eq!(placement(&[3]), "1 shard on CPU 3");
        assert_eq!(placement(&[0, 1]), "2 shards on CPUs 0, 1");
    }
}
