//! The only place of direct output: data on standard output, talk on standard error.
//!
//! Promises: what a script reads (standard output) has the data and nothing else, as a table or as JSON; a reader that
//! closes the pipe ends the output quietly. Must not: decide what is shown.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use super::failure::Failure;

/// How data looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Output {
    /// For people.
    Table,
    /// The shapes of the HTTP API.
    Json,
}

/// Prints data and talk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Printer {
    output: Output,
    /// Whether data comes again and again.
    repeats: bool,
}

impl Printer {
    pub(super) fn new(output: Output) -> Self {
        Self { output, repeats: false }
    }

    /// The same printer for data that comes again and again: JSON takes one line each time, a table a fresh screen.
    pub(super) fn repeating(self) -> Self {
        Self { repeats: true, ..self }
    }

    /// Prints data: `value` as JSON, or the text that `table` makes of it.
    pub(super) fn data<T: Serialize + ?Sized>(&self, value: &T, table: impl FnOnce(&T) -> String) {
        let text = match self.output {
            Output::Table if self.repeats && io::stdout().is_terminal() => {
                format!("\x1b[H\x1b[2J{}", table(value))
            }
            Output::Table => table(value),
            Output::Json if self.repeats => as_json(serde_json::to_string(value)),
            Output::Json => as_json(serde_json::to_string_pretty(value)),
        };
        write_out(&text);
    }

    /// Says something about the data; scripts do not see it.
    pub(super) fn talk(&self, text: &str) {
        write_err(&format!("{text}\n"));
    }

    /// Says that something was done.
    pub(super) fn done<T: Serialize>(&self, value: &T, sentence: &str) {
        match self.output {
            Output::Table => self.talk(sentence),
            Output::Json => self.data(value, |_| String::new()),
        }
    }

    /// Asks a question, without a line end.
    pub(super) fn ask(&self, question: &str) {
        write_err(question);
    }

    /// Prints why a verb failed.
    pub(super) fn failure(&self, failure: &Failure) {
        let mut text = format!("error: {}\n", failure.message);
        for cause in &failure.causes {
            text.push_str(&format!("  caused by: {cause}\n"));
        }
        if let Some(hint) = &failure.hint {
            text.push_str(&format!("hint: {hint}\n"));
        }
        write_err(&text);
    }

    /// Prints what the parser of the command line has to say (help, version, or what is wrong).
    pub(super) fn parsed(&self, error: &clap::Error) {
        // A closed pipe is the reader's wish.
        let _ = error.print();
    }
}

fn as_json(text: serde_json::Result<String>) -> String {
    let mut text = text.expect("a shape of the API is always JSON");
    text.push('\n');
    text
}

fn write_out(text: &str) {
    let mut out = io::stdout().lock();
    // A reader that has closed the pipe has seen enough.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn write_err(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
