//! The runbook as something that runs: the commands below a heading, with the words in capitals filled in.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The commands of the code blocks below a heading of `docs/operations.md`, in order.
pub fn steps(heading: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let text = std::fs::read_to_string(path).unwrap();
    let section = text.split("\n## ").find(|section| section.starts_with(heading));
    let section = section.unwrap_or_else(|| panic!("the runbook has no part `{heading}`"));
    let blocks = section.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap_or_default());
    let lines = blocks.flat_map(str::lines).map(|line| line.split("  #").next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
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

    /// Runs a step that ends; gives what it printed as data.
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
        assert_eq!(words.next(), Some("slotkeeper"), "a step of another program: {step}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_slotkeeper"));
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
