//! Measurements on processes: Slotkeeper beside etcd, overloaded, with a million slots, and what is drawn from them.
//!
//! The scripts `benches/*` build it and start it; each says what it needs.

mod bars;
mod chart;
mod compare;
mod crowd;
mod endure;
mod etcd;
mod figures;
mod hand_over;
mod heartbeats;
mod latency;
mod overload;
mod overload_step;
mod plots;
mod prober;
mod processes;
mod record;
mod records;
mod scale;
mod slotkeeper;
mod wire;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;

#[derive(clap::Parser)]
enum Line {
    /// etcd and Slotkeeper by turns
    CompareEtcd(compare::Compare),
    /// Latency over load, etcd and Slotkeeper
    Latency(latency::Latency),
    /// More requests than a cluster can serve
    Overload(overload::Overload),
    /// A cluster of a million slots
    Scale(scale::Scale),
    /// Full load for ten minutes
    Endure(endure::Endure),
    /// Ten thousand TaskManagers that only say that they are alive
    Heartbeats(heartbeats::Heartbeats),
    /// Leadership handed over under the load of the typed client
    HandOver(hand_over::HandOver),
    /// Plots of what was recorded
    Plots(plots::Plots),
    /// How the bars stand by what was recorded
    Bars(plots::Bars),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // Whoever interrupts a measurement ends its servers too: they end with the values that own them.
    let ended = tokio::select! {
        ended = run(Line::parse()) => ended,
        Ok(()) = tokio::signal::ctrl_c() => Err("interrupted".into()),
    };
    let Err(problem) = ended else { return ExitCode::SUCCESS };
    eprintln!("{problem}");
    ExitCode::FAILURE
}

async fn run(line: Line) -> Result<(), Box<dyn Error>> {
    match line {
        Line::CompareEtcd(compare) => compare.run().await,
        Line::Latency(latency) => latency.run().await,
        Line::Overload(overload) => overload.run().await,
        Line::Scale(scale) => scale.run().await,
        Line::Endure(endure) => endure.run().await,
        Line::Heartbeats(heartbeats) => heartbeats.run().await,
        Line::HandOver(hand_over) => hand_over.run().await,
        Line::Plots(plots) => plots.run(),
        Line::Bars(bars) => bars.run(),
    }
}
