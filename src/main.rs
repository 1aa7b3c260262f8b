//! The `simurgh` command.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Phoenix Channels for Rust: thread-per-core over io_uring.
///
/// Without a command it serves the demo, a chat, at http://127.0.0.1:4000/.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
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
    /// Topics: room:lobby is open, other rooms (room:NAME) want a "name" in the join's params;
    /// ping:NAME answers "ping", echoes "echo" and crashes on "crash". Ctrl-C or SIGTERM closes all
    /// sockets with 1012, so that their clients reconnect, and ends.
    Serve(Serve),
}

#[derive(Args)]
struct Serve {
    /// Address and port to listen at; port 0 takes any that is free
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4000", env = "SIMURGH_LISTEN")]
    listen: String,

    /// Number of shards, each a thread of its own [default: one per physical core]
    #[arg(long, value_name = "N", env = "SIMURGH_SHARDS")]
    shards: Option<usize>,

    /// What to log: error, warn, info, debug, trace, or a filter such as simurgh=debug
    ///
    /// At info: refusals and crashes. At debug also each connect and join. Never a line a message.
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "SIMURGH_LOG")]
    log: String,
}

fn main() -> ExitCode {
    let command = Command::parse();
    let serve = match command.action {
        Some(Action::Serve(serve)) => serve,
        None => command.serve,
    };
    match serve.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simurgh: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Serve {
    fn run(self) -> Result<(), Box<dyn std::error::Error>> {
        let filter = EnvFilter::try_new(&self.log)
            .map_err(|error| format!("--log {:?} is no level and no filter: {error}", self.log))?;
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
        let mut endpoint = simurgh::demo::endpoint().listen(&self.listen);
        if let Some(shards) = self.shards {
            endpoint = endpoint.shards(shards);
        }
        let running = endpoint.start()?;
        let cpus: Vec<_> = running.cpus().iter().map(usize::to_string).collect();
        println!("simurgh {} at http://{}/", env!("CARGO_PKG_VERSION"), running.local_addr());
        println!("{} shard(s) on CPU {}; Ctrl-C ends", cpus.len(), cpus.join(", "));
        running.run()?;
        Ok(())
    }
}
