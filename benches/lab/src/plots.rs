//! Plots and the table of bars, from what was recorded.
//!
//! Promises: nothing is measured; what is missing is named with the command that makes it, and the rest is drawn. Must not: show a
//! figure that no record has.

use std::error::Error;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::bars::{BARS, Bar, Verdict, command, short};
use crate::chart::{Axis, Chart, Scale, Series};
use crate::records::{Record, Unusable};

type Failed = Box<dyn Error>;

/// Where records and plots are.
#[derive(Debug, clap::Args)]
pub struct Plots {
    /// Folder with the records
    #[arg(long, value_name = "FOLDER", default_value = "docs/measurements")]
    from: PathBuf,
    /// Folder for the plots
    #[arg(long, value_name = "FOLDER", default_value = "docs/plots")]
    to: PathBuf,
}

/// Where the records are.
#[derive(Debug, clap::Args)]
pub struct Bars {
    /// Folder with the records
    #[arg(long, value_name = "FOLDER", default_value = "docs/measurements")]
    from: PathBuf,
}

type Drawing = fn(&Path) -> Result<Chart, Unusable>;

/// The plots: the name of the file and what draws it.
const DRAWINGS: [(&str, Drawing); 4] =
    [("throughput", throughput), ("latency", latency), ("decisions", decisions), ("fail-over", fail_over)];

impl Plots {
    /// Draws what there are records for; fails if any is missing.
    pub fn run(&self) -> Result<(), Failed> {
        std::fs::create_dir_all(&self.to)?;
        let mut problems = Vec::new();
        for (name, drawing) in DRAWINGS {
            match drawing(&self.from) {
                Ok(chart) => {
                    let file = self.to.join(format!("{name}.svg"));
                    std::fs::write(&file, chart.svg())?;
                    println!("{}", file.display());
                }
                Err(problem) => problems.push(format!("{name}: {problem}")),
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.join("\n").into()) }
    }
}

impl Bars {
    /// Prints the table of bars, in the form of `docs/performance.md`.
    pub fn run(&self) -> Result<(), Failed> {
        println!("| Bar | Wanted | Measured | | Command |\n|---|---|---|---|---|");
        for bar in &BARS {
            println!("{}", row(bar, &self.from)?);
        }
        Ok(())
    }
}

fn row(bar: &Bar, folder: &Path) -> Result<String, Unusable> {
    let verdict = match Record::read(folder, bar.record) {
        Ok(record) => record.verdicts()?.into_iter().find(|verdict| verdict.id == bar.id),
        Err(Unusable::Missing { .. }) => None,
        Err(damaged) => return Err(damaged),
    };
    let verdict = verdict.unwrap_or_else(|| Verdict::aside(bar.id, None, "no record"));
    let measured =
        verdict.measured.map_or("–".to_owned(), |value| format!("{} {}", short(value), bar.unit));
    let state = match verdict.is_met() {
        Some(true) => "met".to_owned(),
        Some(false) => "**missed**".to_owned(),
        None => format!("not judged: {}", verdict.not_judged.unwrap_or_default()),
    };
    Ok(format!("| {} | {} | {measured} | {state} | `{}` |", bar.what, bar.aim(), command(bar.record)))
}

fn line(name: &str, points: Vec<(f64, f64)>) -> Series {
    Series { name: name.to_owned(), points, is_stairs: false }
}

fn throughput(folder: &Path) -> Result<Chart, Unusable> {
    let record = Record::read(folder, "compare-etcd")?;
    let rows: Vec<&Value> = record.list("/results/rows")?.iter().filter(|row| row["slots"] == 1).collect();
    let points = |side: &str| {
        let path = format!("/{side}/slots_per_second");
        let point = |row: &&Value| Ok((record.number(row, "/clients")?, record.number(row, &path)?));
        rows.iter().map(point).collect::<Result<Vec<_>, _>>()
    };
    Ok(Chart {
        title: "Allocations of one slot, by the number of clients",
        source: record.source()?,
        x: Axis { label: "clients, each with one request at a time", scale: Scale::Logarithmic },
        y: Axis { label: "slots a second", scale: Scale::Logarithmic },
        series: vec![line("etcd", points("etcd")?), line("Slotkeeper", points("slotkeeper")?)],
    })
}

fn latency(folder: &Path) -> Result<Chart, Unusable> {
    let record = Record::read(folder, "latency")?;
    let mut series = Vec::new();
    for (side, name) in [("etcd", "etcd"), ("slotkeeper", "Slotkeeper")] {
        // A run without etcd has nothing here.
        let Ok(steps) = record.list(&format!("/results/{side}/steps")) else { continue };
        for quantile in ["p50", "p99"] {
            let path = format!("/{quantile}_ms");
            let point =
                |step: &Value| Ok((record.number(step, "/asked_per_second")?, record.number(step, &path)?));
            let points = steps.iter().map(point).collect::<Result<Vec<_>, _>>()?;
            series.push(line(&format!("{name}, {quantile}"), points));
        }
    }
    Ok(Chart {
        title: "Latency of an allocation, by the load of an open loop",
        source: record.source()?,
        x: Axis {
            label: "requests a second that were due, at shares of the capacity of each",
            scale: Scale::Linear,
        },
        y: Axis { label: "latency in ms, from when a request was due", scale: Scale::Logarithmic },
        series,
    })
}

fn decisions(folder: &Path) -> Result<Chart, Unusable> {
    let record = Record::read(folder, "scheduler")?;
    let all = record.list("/results/decisions")?;
    let mut series = Vec::new();
    for strategy in ["any_fit", "least_utilization", "most_utilization"] {
        let case = format!("1 slot, {strategy}");
        for quantile in ["p50", "p99"] {
            let path = format!("/plan_{quantile}_us");
            let of_case = all.iter().filter(|found| found["case"] == case.as_str());
            let point =
                |found: &Value| Ok((record.number(found, "/task_managers")?, record.number(found, &path)?));
            let points = of_case.map(point).collect::<Result<Vec<_>, _>>()?;
            series.push(line(&format!("{strategy}, {quantile}"), points));
        }
    }
    Ok(Chart {
        title: "Slotkeeper: one decision, by the size of the fleet",
        source: record.source()?,
        x: Axis { label: "TaskManagers with 16 slots each", scale: Scale::Logarithmic },
        y: Axis { label: "time to decide on one slot, in µs", scale: Scale::Logarithmic },
        series,
    })
}

fn fail_over(folder: &Path) -> Result<Chart, Unusable> {
    let record = Record::read(folder, "compare-etcd")?;
    let mut series = Vec::new();
    for (side, name) in [("etcd", "etcd"), ("slotkeeper", "Slotkeeper")] {
        let gaps = record.list(&format!("/results/fail_over_ms/{side}"))?;
        let mut gaps = gaps.iter().map(|gap| record.number(gap, "")).collect::<Result<Vec<_>, _>>()?;
        gaps.sort_by(f64::total_cmp);
        series.push(Series {
            name: format!("{name}, {} fail-overs", gaps.len()),
            points: shares(&gaps),
            is_stairs: true,
        });
    }
    Ok(Chart {
        title: "kill -9 of the leader: how long nothing is acknowledged",
        source: record.source()?,
        x: Axis { label: "longest time without a success, in ms", scale: Scale::Logarithmic },
        y: Axis { label: "% of fail-overs that took no longer", scale: Scale::Linear },
        series,
    })
}

/// For each value the share, in per cent, of those that are no larger.
fn shares(sorted: &[f64]) -> Vec<(f64, f64)> {
    let count = sorted.len().max(1) as f64;
    let first = sorted.first().map(|value| (*value, 0.0));
    first
        .into_iter()
        .chain(sorted.iter().enumerate().map(|(at, value)| (*value, (at + 1) as f64 * 100.0 / count)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Bars, DRAWINGS, Plots, decisions, latency, shares, throughput};
    use serde_json::{Value, json};
    use std::path::Path;

    fn write(folder: &Path, kind: &str, results: &Value, bars: &Value) {
        let record = json!({
            "kind": kind, "command": format!("benches/{kind}"), "at": "2026-01-02T03:04:05Z", "commit": "abc",
            "machine": {"cores": 2, "load_before": "0.1", "load_after": "2.0"}, "results": results, "bars": bars,
        });
        std::fs::write(folder.join(format!("{kind}.json")), record.to_string()).unwrap();
    }

    fn whole() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let side = |rate: f64| json!({"slots_per_second": rate});
        let rows = json!([
            {"clients": 1, "slots": 1, "etcd": side(900.0), "slotkeeper": side(800.0)},
            {"clients": 64, "slots": 1, "etcd": side(4_000.0), "slotkeeper": side(9_000.0)},
            {"clients": 64, "slots": 100, "etcd": side(4_000.0), "slotkeeper": side(30_000.0)},
        ]);
        let gaps = json!({"etcd": [1_500.0, 1_100.0], "slotkeeper": [190.0, 188.0]});
        let bars = json!([{"id": "rate-256", "measured": 2.5}]);
        write(folder.path(), "compare-etcd", &json!({"rows": rows, "fail_over_ms": gaps}), &bars);
        let steps = json!([{"share": 0.5, "asked_per_second": 5_000.0, "p50_ms": 2.0, "p99_ms": 9.0}]);
        write(folder.path(), "latency", &json!({"etcd": null, "slotkeeper": {"steps": steps}}), &json!([]));
        let decided = json!([{"task_managers": 100, "case": "1 slot, any_fit", "plan_p50_us": 0.4, "plan_p99_us": 1.0}]);
        write(folder.path(), "scheduler", &json!({"decisions": decided}), &json!([]));
        folder
    }

    #[test]
    fn all_plots_come_of_whole_records_and_twice_the_same() {
        let (folder, to) = (whole(), tempfile::tempdir().unwrap());
        let plots = Plots { from: folder.path().to_owned(), to: to.path().to_owned() };
        let read = || {
            DRAWINGS.map(|(name, _)| std::fs::read_to_string(to.path().join(format!("{name}.svg"))).unwrap())
        };
        plots.run().unwrap();
        let first = read();
        plots.run().unwrap();
        assert_eq!(first, read());
        assert!(first.iter().all(|svg| svg.contains("Slotkeeper") && !svg.contains("NaN")));
    }

    #[test]
    fn rows_of_many_slots_are_not_drawn_among_those_of_one() {
        let chart = throughput(whole().path()).unwrap();
        assert_eq!(chart.series[0].points, [(1.0, 900.0), (64.0, 4_000.0)]);
        assert_eq!(chart.series[1].points, [(1.0, 800.0), (64.0, 9_000.0)]);
    }

    #[test]
    fn a_run_without_etcd_shows_slotkeeper_alone() {
        let names: Vec<String> =
            latency(whole().path()).unwrap().series.into_iter().map(|series| series.name).collect();
        assert_eq!(names, ["Slotkeeper, p50", "Slotkeeper, p99"]);
    }

    #[test]
    fn a_missing_record_leaves_the_other_plots_and_is_named_with_its_command() {
        let (folder, to) = (whole(), tempfile::tempdir().unwrap());
        std::fs::remove_file(folder.path().join("scheduler.json")).unwrap();
        let plots = Plots { from: folder.path().to_owned(), to: to.path().to_owned() };
        let said = plots.run().unwrap_err().to_string();
        assert!(said.contains("cargo bench --bench scheduler"), "{said}");
        assert!(to.path().join("throughput.svg").exists() && !to.path().join("decisions.svg").exists());
    }

    #[test]
    fn a_decision_without_its_figure_is_an_error() {
        let folder = whole();
        let decided = json!([{"task_managers": 100, "case": "1 slot, any_fit", "plan_p50_us": 0.4}]);
        write(folder.path(), "scheduler", &json!({"decisions": decided}), &json!([]));
        assert!(decisions(folder.path()).unwrap_err().to_string().contains("/plan_p99_us"));
    }

    #[test]
    fn the_table_of_bars_needs_no_record_but_refuses_a_damaged_one() {
        let folder = whole();
        let bars = Bars { from: folder.path().to_owned() };
        bars.run().unwrap();
        std::fs::write(folder.path().join("scale.json"), "{").unwrap();
        assert!(bars.run().is_err());
    }

    #[test]
    fn the_distribution_ends_at_all_of_them() {
        assert_eq!(shares(&[1.0, 3.0]), [(1.0, 0.0), (1.0, 50.0), (3.0, 100.0)]);
    }
}
