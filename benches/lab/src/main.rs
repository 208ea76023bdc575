//! Measurements on processes: Slotkeeper beside etcd, overloaded, and with a million slots.
//!
//! `benches/compare-etcd`, `benches/overload` and `benches/scale` build it and start it; each says what it needs.

mod compare;
mod crowd;
mod etcd;
mod figures;
mod overload;
mod processes;
mod scale;
mod slotkeeper;
mod wire;

use clap::Parser;

#[derive(clap::Parser)]
enum Line {
    /// etcd and Slotkeeper by turns
    CompareEtcd(compare::Compare),
    /// More requests than a cluster can serve
    Overload(overload::Overload),
    /// A cluster of a million slots
    Scale(scale::Scale),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    match Line::parse() {
        Line::CompareEtcd(compare) => compare.run().await,
        Line::Overload(overload) => overload.run().await,
        Line::Scale(scale) => scale.run().await,
    }
}
