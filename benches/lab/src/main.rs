//! Measurements on processes: Slotkeeper beside etcd, and a cluster of a million slots.
//!
//! `benches/compare-etcd` and `benches/scale` build it and start it; each says what it needs.

mod compare;
mod etcd;
mod figures;
mod processes;
mod scale;
mod slotkeeper;
mod wire;

use clap::Parser;

#[derive(clap::Parser)]
enum Line {
    /// etcd and Slotkeeper by turns
    CompareEtcd(compare::Compare),
    /// A cluster of a million slots
    Scale(scale::Scale),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    match Line::parse() {
        Line::CompareEtcd(compare) => compare.run().await,
        Line::Scale(scale) => scale.run().await,
    }
}
