//! The rules of the house as tests: which room may use which, which crate is named where, how long a file gets.
//!
//! The tables here are the ones of `docs/architecture.md`. A failure names the file, the line and the rule. Exceptions are
//! a list with a ceiling each; ceilings only fall.

use std::fs;
use std::path::{Path, PathBuf};

/// A room, and the rooms that it may use besides itself.
const ROOMS: [(&str, &[&str]); 16] = [
    ("domain", &["codec"]),
    ("scheduler", &["domain"]),
    ("codec", &[]),
    ("clock", &[]),
    ("background", &["clock"]),
    ("telemetry", &[]),
    ("api", &["domain"]),
    ("storage", &["codec"]),
    ("replica", &["domain", "codec"]),
    ("consensus", &["domain", "codec", "clock", "background", "storage", "replica", "telemetry"]),
    ("leader", &["domain", "scheduler", "clock", "background", "replica", "consensus", "telemetry"]),
    ("http", &["domain", "api", "leader", "replica", "consensus", "clock", "telemetry"]),
    ("client", &["api"]),
    ("agent", &["api", "client", "clock"]),
    ("cli", &["api", "client", "agent", "server", "clock", "telemetry"]),
    (
        "server",
        &[
            "domain",
            "scheduler",
            "codec",
            "clock",
            "background",
            "telemetry",
            "api",
            "storage",
            "replica",
            "consensus",
            "leader",
            "http",
            "client",
            "agent",
        ],
    ),
];

/// A crate, and the only rooms that may name it.
const CRATE_HOMES: [(&str, &[&str]); 12] = [
    ("bincode", &["codec"]),
    ("sled", &["storage"]),
    ("tempfile", &["storage", "server"]),
    ("openraft", &["consensus"]),
    ("axum", &["http"]),
    ("hyper", &["http"]),
    ("hyper_util", &["http"]),
    ("reqwest", &["client"]),
    ("clap", &["cli", "server"]),
    ("hdrhistogram", &["cli"]),
    ("tracing_subscriber", &["telemetry"]),
    ("prometheus_client", &["telemetry"]),
];

/// Crates that the pure rooms may not name: no clock, no I/O, no tasks, no logs, no randomness.
const IMPURE: [&str; 6] = ["tokio", "tracing", "rand", "futures", "std::fs", "std::net"];

const FILE_LINES_MAX: usize = 500;
const TEST_FILE_LINES_MAX: usize = 800;
const BANNED_FILE_NAMES: [&str; 5] = ["utils", "helpers", "common", "misc", "manager"];

/// Files that are longer than they should be, with the ceiling that they may not pass.
const LONG_FILES: [(&str, usize); 0] = [];

struct Source {
    path: PathBuf,
    /// The file as text, and without its inline tests.
    text: String,
    product: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources_below(folder: &str) -> Vec<Source> {
    let mut files = Vec::new();
    collect(&root().join(folder), &mut files);
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let product = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned();
            Source { path: path.strip_prefix(root()).unwrap().to_owned(), text, product }
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

impl Source {
    /// The room that the file is in; `None` for `lib.rs` and `main.rs`.
    fn room(&self) -> Option<String> {
        let below = self.path.strip_prefix("src").ok()?;
        let first = below.components().next()?.as_os_str().to_str()?;
        let name = first.strip_suffix(".rs").unwrap_or(first);
        ROOMS.iter().any(|(room, _)| *room == name).then(|| name.to_owned())
    }

    fn is_test(&self) -> bool {
        let name = self.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        name == "tests"
            || name.ends_with("_tests")
            || self.path.components().any(|part| part.as_os_str() == "tests")
    }

    /// Lines of code with their numbers, comments taken out.
    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.product
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(index, line)| (index + 1, line.split(" // ").next().unwrap_or(line)))
    }
}

fn assert_none(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}

/// Whether `line` names `path` as a whole path segment followed by `::`, or imports it.
fn names(line: &str, path: &str) -> bool {
    let mut rest = line;
    while let Some(at) = rest.find(path) {
        let before = rest[..at].chars().next_back();
        let after = &rest[at + path.len()..];
        let starts = before.is_none_or(|c| !(c.is_alphanumeric() || c == '_' || c == ':'));
        let ends = after.starts_with("::") || after.starts_with(';') || after.starts_with(" as ");
        if starts && ends {
            return true;
        }
        rest = after;
    }
    false
}

#[test]
fn a_room_uses_only_the_rooms_below_it() {
    let mut findings = Vec::new();
    for source in sources_below("src").iter().filter(|source| !source.is_test()) {
        let Some(room) = source.room() else { continue };
        let (_, allowed) = ROOMS.iter().find(|(name, _)| *name == room).unwrap();
        for (number, line) in source.code_lines() {
            for (other, _) in ROOMS {
                let forbidden = other != room && !allowed.contains(&other);
                let grouped = line.contains("crate::{") && line.contains(&format!("{other}::"));
                if forbidden && (names(line, &format!("crate::{other}")) || grouped) {
                    findings
                        .push(format!("{}:{number}: `{room}` may not use `{other}`", source.path.display()));
                }
            }
        }
    }
    assert_none("rooms", &findings);
}

#[test]
fn a_crate_is_named_only_in_its_home() {
    let mut findings = Vec::new();
    for source in sources_below("src").iter().filter(|source| !source.is_test()) {
        let Some(room) = source.room() else { continue };
        for (number, line) in source.code_lines() {
            for (name, homes) in CRATE_HOMES {
                if names(line, name) && !homes.contains(&room.as_str()) {
                    findings.push(format!("{}:{number}: `{name}` lives in {homes:?}", source.path.display()));
                }
            }
        }
    }
    assert_none("crates outside their home", &findings);
}

#[test]
fn the_pure_rooms_name_no_clock_no_task_and_no_socket() {
    let mut findings = Vec::new();
    for source in sources_below("src").iter().filter(|source| !source.is_test()) {
        if !matches!(source.room().as_deref(), Some("domain" | "scheduler")) {
            continue;
        }
        for (number, line) in source.code_lines() {
            if let Some(name) = IMPURE.iter().find(|name| names(line, name)) {
                findings.push(format!("{}:{number}: `{name}` in a pure room", source.path.display()));
            }
        }
    }
    assert_none("pure rooms", &findings);
}

#[test]
fn every_file_says_what_it_is_and_stays_readable() {
    let mut findings = Vec::new();
    let folders = ["src", "tests", "chaos", "benches", "fuzz"];
    for source in folders.into_iter().flat_map(sources_below) {
        let path = source.path.display().to_string();
        let lines = source.text.lines().count();
        if !source.text.starts_with("//!") {
            findings.push(format!("{path}: does not start with `//!`"));
        }
        let ceiling = LONG_FILES.iter().find(|(name, _)| *name == path).map(|(_, ceiling)| *ceiling);
        let usual = if source.is_test() { TEST_FILE_LINES_MAX } else { FILE_LINES_MAX };
        if lines > ceiling.unwrap_or(usual) {
            findings.push(format!("{path}: {lines} lines, at most {}", ceiling.unwrap_or(usual)));
        }
        let stem = source.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if BANNED_FILE_NAMES.contains(&stem) {
            findings.push(format!("{path}: the name says nothing"));
        }
    }
    assert_none("files", &findings);
}

#[test]
fn nothing_is_left_for_later_and_only_the_printer_prints() {
    // Split so that this file does not find itself.
    let left_over =
        [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["todo", "!("].concat(), ["dbg", "!("].concat()];
    let ignored = ["#[ign", "ore"].concat();
    let mut findings = Vec::new();
    for source in ["src", "tests", "chaos", "benches", "fuzz"].into_iter().flat_map(sources_below) {
        for (index, line) in source.text.lines().enumerate() {
            if left_over.iter().chain([&ignored]).any(|mark| line.contains(mark.as_str())) {
                findings.push(format!("{}:{}: left over", source.path.display(), index + 1));
            }
        }
        let prints =
            source.path.starts_with("src") && !source.is_test() && !source.path.ends_with("cli/printer.rs");
        for (number, line) in source.code_lines().filter(|_| prints) {
            if ["println!(", "eprintln!(", "print!(", "eprint!("].iter().any(|print| line.contains(print)) {
                findings.push(format!("{}:{number}: prints outside `cli/printer.rs`", source.path.display()));
            }
            if line.contains(".unwrap()") {
                findings.push(format!("{}:{number}: `unwrap` outside tests", source.path.display()));
            }
        }
    }
    assert_none("left-overs", &findings);
}
