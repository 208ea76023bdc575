//! Leadership handed over under the load of the typed client: how long nothing is acknowledged, and what fails.
//!
//! Promises: `slotkeeper-chaos hand-over` runs servers, clients and hand-overs, because the typed client lives beside it;
//! here its report is judged and recorded. Must not: measure by itself.

use std::error::Error;
use std::path::PathBuf;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::bars::Verdict;
use crate::record::Recording;

type Failed = Box<dyn Error>;

/// What the bar asks for.
const RUNS_MIN: usize = 30;
const CLIENTS_MIN: usize = 64;
const TOO_FEW: &str = "it asks for 30 hand-overs under 64 clients";

/// What is measured.
#[derive(Debug, clap::Args)]
pub struct HandOver {
    /// The program `slotkeeper`
    #[arg(long, value_name = "FILE")]
    slotkeeper: PathBuf,
    /// The program `slotkeeper-chaos`
    #[arg(long, value_name = "FILE")]
    chaos: PathBuf,
    /// Hand-overs
    #[arg(long, default_value_t = 30)]
    runs: usize,
    /// Clients
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Where to write what was measured, as JSON
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

impl HandOver {
    /// Runs it and prints what came of it.
    pub async fn run(&self) -> Result<(), Failed> {
        let recording = Recording::begin("hand-over", self.record.as_deref(), Some(&std::env::temp_dir()));
        let folder = tempfile::Builder::new().prefix("hand-over-").tempdir()?;
        let report_file = folder.path().join("report.json");
        let mut command = Command::new(&self.chaos);
        command.arg("hand-over").arg("--binary").arg(self.slotkeeper.canonicalize()?);
        command.args(["--runs", &self.runs.to_string(), "--clients", &self.clients.to_string()]);
        command.arg("--report").arg(&report_file).kill_on_drop(true);
        let status = command.status().await?;
        if !status.success() {
            return Err(format!("slotkeeper-chaos hand-over: {status}").into());
        }
        let report: Value = serde_json::from_slice(&std::fs::read(&report_file)?)?;
        let number = |name: &str| report[name].as_f64().ok_or_else(|| format!("the report has no {name}"));
        let is_enough = self.runs >= RUNS_MIN && self.clients >= CLIENTS_MIN;
        let verdicts = [
            Verdict::if_so(is_enough, "hand-over-gap", number("gap_ms_max")?, TOO_FEW),
            Verdict::if_so(is_enough, "hand-over-failed", number("failed")?, TOO_FEW),
        ];
        let samples = json!({ "hand_overs": self.runs, "calls": report["done"] });
        Ok(recording.end(&samples, &report, &verdicts)?)
    }
}
