//! Processes that a test starts: its own binary again, running the same test in another part.
//!
//! The two talk by lines: the test writes to the actor's standard input, the actor to its standard
//! output, marked so that nothing the test runner says is taken for it.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The part that this process was started to play, if it is an actor.
pub(crate) fn part() -> Option<String> {
    std::env::var(PART).ok()
}

/// A command that runs `test` (its path within this binary) again as an actor with this part,
/// without privileges and under these limits, as `prlimit` takes them.
pub(crate) fn command(limits: &[&str], test: &str, part: &str) -> Command {
    let binary = std::env::current_exe().expect("a test knows its binary");
    // Both are of util-linux. Without capabilities root is bounded like everybody.
    let mut command = Command::new("prlimit");
    command.args(limits);
    if is_root() {
        command.args(["setpriv", "--bounding-set", "-all"]);
    }
    command.arg(binary).args([test, "--exact", "--nocapture"]).env(PART, part);
    command
}

/// Tells the test something; called by the actor.
pub(crate) fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    // The runner's own lines may have left theirs unfinished.
    writeln!(stdout, "\n{MARK}{line}").expect("the test listens");
    stdout.flush().expect("the test listens");
}

/// The next word of the test's; called by the actor. The test's end ends the actor.
pub(crate) fn hear() -> String {
    let mut line = String::new();
    if std::io::stdin().read_line(&mut line).unwrap_or(0) == 0 {
        std::process::exit(1);
    }
    line.trim().to_owned()
}

/// An actor that runs. It ends when it is dropped.
pub(crate) struct Actor {
    process: Child,
    words: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Actor {
    pub(crate) fn start(mut command: Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("an actor can be started");
        let words = process.stdin.take().expect("it is piped");
        let lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        Self { process, words, lines }
    }

    /// Tells the actor something.
    pub(crate) fn tell(&mut self, word: &str) {
        writeln!(self.words, "{word}").expect("the actor listens");
    }

    /// What the actor says next.
    ///
    /// # Panics
    ///
    /// When it ends instead.
    pub(crate) fn hear(&mut self) -> String {
        let mut said = self.lines.by_ref().map_while(Result::ok);
        let line = said.find_map(|line| line.strip_prefix(MARK).map(str::to_owned));
        line.expect("the actor says something before it ends")
    }

    /// Sends its process a signal, by name.
    pub(crate) fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
    }

    /// Waits until the actor has ended.
    ///
    /// # Panics
    ///
    /// When it has failed.
    pub(crate) fn end(mut self) {
        while let Some(Ok(_)) = self.lines.next() {}
        let status = self.process.wait().expect("nobody else has waited");
        assert!(status.success(), "an actor failed: {status}");
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

const PART: &str = "SIMURGH_TEST_PART";
const MARK: &str = "actor: ";
