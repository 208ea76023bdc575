//! A process of the program under test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Long enough for a loaded machine; a test that waits this long has failed.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A command of the program, apart from the environment of whoever runs the tests.
pub fn slotkeeper(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slotkeeper"));
    command.args(arguments);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SLOTKEEPER_"))
    {
        command.env_remove(name);
    }
    command
}

/// Runs a command that ends by itself.
pub fn run(arguments: &[&str]) -> Output {
    slotkeeper(arguments).output().unwrap()
}

/// A running process, killed when the test is done with it.
pub struct Running {
    child: Child,
}

impl Running {
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = slotkeeper(arguments);
        Self { child: command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap() }
    }

    /// The first lines of standard output, up to the one that is just `last`.
    pub fn lines_until(&mut self, last: &str) -> String {
        let mut text = String::new();
        let out = self.child.stdout.take().expect("standard output is read once");
        for line in BufReader::new(out).lines() {
            let line = line.unwrap();
            text.push_str(&line);
            text.push('\n');
            if line == last {
                return text;
            }
        }
        panic!("the process ended early: {}", self.errors());
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end and gives the exit status.
    pub fn status(&mut self) -> Option<i32> {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the process does not end: {}", self.errors());
    }

    fn errors(&mut self) -> String {
        let _ = self.child.kill();
        let mut text = String::new();
        if let Some(mut errors) = self.child.stderr.take() {
            let _ = errors.read_to_string(&mut text);
        }
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
