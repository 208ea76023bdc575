//! Asking before something is destroyed.

use std::io::{BufRead, IsTerminal as _};

use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;

/// Where the answer comes from.
enum Answers<'input> {
    /// The question is answered by `--yes`.
    Yes,
    /// A person sits there.
    Person(&'input mut dyn BufRead),
    /// Nobody could answer.
    Nobody,
}

impl Context {
    /// Asks whether to go on; returns well only if so.
    ///
    /// # Errors
    /// If the answer is not yes, or nobody can answer and `--yes` is not given.
    pub(super) fn confirm(&self, question: &str) -> Result<(), Failure> {
        let mut input = std::io::stdin().lock();
        let answers = if self.yes {
            Answers::Yes
        } else if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
            Answers::Person(&mut input)
        } else {
            Answers::Nobody
        };
        decide(question, answers, |text| self.printer.ask(text))
    }
}

fn decide(question: &str, answers: Answers<'_>, ask: impl Fn(&str)) -> Result<(), Failure> {
    match answers {
        Answers::Yes => Ok(()),
        Answers::Nobody => Err(Failure::usage(format!("nobody is there to answer: {question}"))
            .with_hint("`--yes` answers on the command line")),
        Answers::Person(input) => {
            ask(&format!("{question} [y/N] "));
            let mut line = String::new();
            // An unreadable answer is not a yes.
            let _ = input.read_line(&mut line);
            match line.trim() {
                "y" | "Y" | "yes" => Ok(()),
                _ => Err(Failure::new(Exit::Refused, "nothing was done")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(text: &str) -> bool {
        decide("Sure?", Answers::Person(&mut text.as_bytes()), |_| {}).is_ok()
    }

    #[test]
    fn only_a_clear_yes_goes_on() {
        assert!(answered("y\n") && answered("yes\n") && answered("Y"));
        assert!(!answered("\n") && !answered("") && !answered("yess\n") && !answered("n\n"));
    }

    #[test]
    fn without_a_person_only_the_option_goes_on() {
        assert!(decide("Sure?", Answers::Yes, |_| {}).is_ok());
        let failure = decide("Sure?", Answers::Nobody, |_| {}).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.hint.unwrap().contains("--yes"));
    }
}
