//! The runbook as something that runs: the commands below a heading, with the words in capitals filled in.
//!
//! What it promises: a person who does what the document prints does what is done here, in the same order; the table of
//! exit statuses is followed as it stands. What it must not do: know a command that the document does not print.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Programs of the machine that a step may use.
const TOOLS: [&str; 3] = ["df", "du", "rm"];

/// The part of `docs/operations.md` below a heading.
fn part(heading: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let text = std::fs::read_to_string(path).unwrap();
    let part = text.split("\n## ").find(|part| part.lines().next() == Some(heading));
    part.unwrap_or_else(|| panic!("the runbook has no part `{heading}`")).to_owned()
}

/// The commands of the code blocks below a heading, in order.
pub fn steps(heading: &str) -> Vec<String> {
    let part = part(heading);
    let blocks = part.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap_or_default());
    let lines = blocks.flat_map(str::lines).map(|line| line.split("  #").next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The heading that `text` sends its reader to.
fn reference(text: &str) -> Option<&str> {
    text.split('*').nth(1)
}

/// What the table of exit statuses sends a person to: the commands of the part that it names, or of the part that this
/// one names if it has none of its own.
pub fn steps_after(status: Option<i32>) -> Vec<String> {
    let row = format!("| {} |", status.expect("the server ended by itself"));
    let table = part("How a server ends");
    let row = table.lines().find(|line| line.starts_with(&row)).unwrap_or_else(|| panic!("no row `{row}`"));
    let heading = reference(row).unwrap_or_else(|| panic!("the row names no part: {row}"));
    let own = steps(heading);
    if !own.is_empty() {
        return own;
    }
    let text = part(heading);
    steps(reference(&text).unwrap_or_else(|| panic!("`{heading}` has no commands and names no part")))
}

/// Does steps, with words filled in.
pub struct Hands {
    words: BTreeMap<String, String>,
}

impl Hands {
    /// Hands that talk to these servers.
    pub fn new(servers: &[String]) -> Self {
        Self { words: BTreeMap::from([("SERVERS".to_owned(), servers.join(","))]) }
    }

    /// Fills in `word` from now on.
    pub fn fill(&mut self, word: &str, value: impl ToString) {
        self.words.insert(word.to_owned(), value.to_string());
    }

    /// Runs a step that ends well; gives what it printed as data.
    pub fn run(&self, step: &str) -> String {
        let output = self.command(step).stdin(Stdio::null()).output().unwrap();
        let (out, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "`{step}` ended with {}:\n{out}{said}", output.status);
        out.into_owned()
    }

    /// Starts a step that goes on, with its log in a file.
    pub fn start(&self, step: &str, log: &Path) -> Child {
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let mut command = self.command(step);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
    }

    fn command(&self, step: &str) -> Command {
        let step = self.filled(step);
        let mut words = step.split_whitespace();
        let program = match words.next() {
            Some("slotkeeper") => env!("CARGO_BIN_EXE_slotkeeper"),
            Some(tool) if TOOLS.contains(&tool) => tool,
            _ => panic!("a step of another program: {step}"),
        };
        let mut command = Command::new(program);
        command.args(words).env("SLOTKEEPER_SERVERS", &self.words["SERVERS"]);
        command.env("SLOTKEEPER_FREE_SPACE_FLOOR", "16MiB");
        command
    }

    /// Longer words first, because some begin as others do.
    fn filled(&self, step: &str) -> String {
        let mut words: Vec<_> = self.words.iter().collect();
        words.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
        let filled = words.into_iter().fold(step.to_owned(), |step, (word, value)| step.replace(word, value));
        let is_left = |word: &&str| {
            let letters = word.trim_matches(|c: char| !c.is_ascii_alphabetic());
            letters.len() > 2 && letters.chars().all(|c| c.is_ascii_uppercase() || c == '_')
        };
        let left = filled.split([' ', ':']).find(is_left);
        assert_eq!(left, None, "a word of the step is not filled in: {filled}");
        filled
    }
}
