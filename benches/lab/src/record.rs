//! What a run measured, as JSON in a file: from it come the plots and the table of bars.
//!
//! Promises: a record says on which machine, under which load, how durable, of which commit and from how many samples.
//! Must not: name folders or hosts, which say nothing about the figures.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};

use crate::bars::{Verdict, bar};

/// How many times a sync of the disk is tried out.
const SYNCS: usize = 50;
/// How much each of them writes.
const SYNC_BYTES: usize = 4096;
/// Options that name places on this machine; they and their values are left out of the recorded command.
const PLACES: [&str; 5] = ["--slotkeeper", "--chaos", "--folder", "--record", "--binary"];

/// A record in the making; begins before the run, so that it knows the load before.
#[derive(Debug)]
pub struct Recording {
    kind: &'static str,
    file: Option<PathBuf>,
    load_before: String,
    sync: Value,
    began: Instant,
}

impl Recording {
    /// Begins. `file` is where the record goes, if anywhere; `disk` is the folder in which servers sync, if any does.
    pub fn begin(kind: &'static str, file: Option<&Path>, disk: Option<&Path>) -> Self {
        let sync = match disk {
            Some(folder) => json!({
                "mode": "every acknowledged write is synced to disk by a majority before it is acknowledged",
                "one_sync_us": one_sync_us(folder).unwrap_or(Value::Null),
            }),
            None => json!({ "mode": "no disk is used" }),
        };
        let file = file.map(Path::to_owned);
        Self { kind, file, load_before: load_average(), sync, began: Instant::now() }
    }

    /// Prints how the bars stand, and writes the record if that was asked for.
    ///
    /// # Errors
    /// If the file can not be written.
    pub fn end(self, samples: &Value, results: &Value, verdicts: &[Verdict]) -> std::io::Result<()> {
        for verdict in verdicts {
            println!("{}", verdict.line());
        }
        let Some(file) = &self.file else { return Ok(()) };
        let record = json!({
            "kind": self.kind,
            "command": command_line(self.kind, std::env::args().skip(1)),
            "at": said_by("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
            "commit": commit(),
            "seconds": self.began.elapsed().as_secs(),
            "machine": machine(&self.load_before),
            "sync": self.sync,
            "samples": samples,
            "results": results,
            "bars": verdicts.iter().map(judged).collect::<Vec<_>>(),
        });
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        let mut text = serde_json::to_string_pretty(&record)?;
        text.push('\n');
        File::create(file)?.write_all(text.as_bytes())?;
        println!("recorded in {}", file.display());
        Ok(())
    }
}

fn judged(verdict: &Verdict) -> Value {
    json!({
        "id": verdict.id,
        "what": bar(&verdict.id).map(|bar| bar.what),
        "aim": bar(&verdict.id).map(crate::bars::Bar::aim),
        "measured": verdict.measured,
        "is_met": verdict.is_met(),
        "not_judged": verdict.not_judged,
    })
}

/// The command as somebody would type it in the top folder, without the places that only this machine has.
fn command_line(kind: &str, args: impl Iterator<Item = String>) -> String {
    let mut words = match kind {
        "scheduler" | "memory" => vec!["cargo bench --bench scheduler --".to_owned()],
        kind => vec![format!("benches/{kind}")],
    };
    let mut args = args.filter(|word| word != kind && word != "--bench");
    while let Some(word) = args.next() {
        if PLACES.contains(&word.as_str()) {
            args.next();
        } else if !PLACES.iter().any(|place| word.starts_with(&format!("{place}="))) {
            words.push(word);
        }
    }
    words.join(" ").trim_end_matches(" --").to_owned()
}

fn said_by(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success());
    output.map_or_else(String::new, |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The commit of the folder that this was started in; says when files differ from it.
fn commit() -> String {
    let commit = said_by("git", &["rev-parse", "--short=12", "HEAD"]);
    let is_changed = !said_by("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
    match (commit.as_str(), is_changed) {
        ("", _) => "unknown".to_owned(),
        (commit, true) => format!("{commit} and changes"),
        (commit, false) => commit.to_owned(),
    }
}

fn machine(load_before: &str) -> Value {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (cpus, memory) = (file("/proc/cpuinfo"), file("/proc/meminfo"));
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next());
    let total_kib: Option<u64> = total.and_then(|total| total.parse().ok());
    json!({
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "cpu": model.map_or("unknown", |(_, model)| model.trim()),
        "memory_mib": total_kib.map(|kib| kib >> 10),
        "kernel": file("/proc/sys/kernel/osrelease").trim(),
        "load_before": load_before,
        "load_after": load_average(),
    })
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// What one write and sync takes in `folder`: median and the longest, in microseconds.
fn one_sync_us(folder: &Path) -> std::io::Result<Value> {
    let path = folder.join(format!(".sync-probe-{}", std::process::id()));
    let (mut file, mut took_us) = (File::create(&path)?, Vec::new());
    for _ in 0..SYNCS {
        let begun = Instant::now();
        let synced = file.write_all(&[7; SYNC_BYTES]).and_then(|()| file.sync_data());
        if let Err(error) = synced {
            std::fs::remove_file(&path)?;
            return Err(error);
        }
        took_us.push(begun.elapsed().as_micros());
    }
    std::fs::remove_file(&path)?;
    took_us.sort_unstable();
    let at = |number: usize| u64::try_from(took_us[number]).unwrap_or(u64::MAX);
    Ok(json!({ "median": at(SYNCS / 2), "longest": at(SYNCS - 1), "count": SYNCS }))
}

#[cfg(test)]
mod tests {
    use super::{Recording, command_line};
    use crate::bars::Verdict;
    use serde_json::{Value, json};

    fn line(kind: &str, args: &[&str]) -> String {
        command_line(kind, args.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn the_recorded_command_names_no_places() {
        let args = ["scale", "--slotkeeper", "/a/b", "--slots", "1000", "--record=/tmp/x", "--folder", "/c"];
        assert_eq!(line("scale", &args), "benches/scale --slots 1000");
        assert_eq!(line("scheduler", &["--bench", "--record", "/x"]), "cargo bench --bench scheduler");
        assert_eq!(line("memory", &["--memory", "7"]), "cargo bench --bench scheduler -- --memory 7");
    }

    #[test]
    fn a_record_says_where_and_how_it_was_made_and_how_the_bars_stand() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deep/scale.json");
        let recording = Recording::begin("scale", Some(&file), Some(folder.path()));
        let verdicts = [Verdict::of("restart", 9.0), Verdict::aside("large-rate", None, "too short")];
        recording.end(&json!({"restarts": 1}), &json!({"restart_seconds": 9.0}), &verdicts).unwrap();
        let record: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(record["kind"], "scale");
        assert!(record["machine"]["cores"].as_u64().unwrap() > 0);
        assert!(record["sync"]["one_sync_us"]["median"].as_u64().is_some(), "{record}");
        assert_eq!(record["samples"]["restarts"], 1);
        assert_eq!(record["bars"][0]["is_met"], false);
        assert_eq!(record["bars"][1]["is_met"], Value::Null);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the probe of the disk is gone");
    }
}
