//! `slotkeeper requirements`: what a job declares to want.

mod clear;
mod get;
mod put;

use super::allocations::reasons_text;
use super::amounts::amounts;
use super::context::Context;
use super::failure::Failure;
use super::table::Table;
use crate::api::requirements::Requirements as Declared;

/// Declares and shows what a job wants
#[derive(Debug, clap::Subcommand)]
pub(super) enum Requirements {
    Get(get::Get),
    Put(Box<put::Put>),
    Clear(clear::Clear),
}

pub(super) async fn run(verb: &Requirements, context: &Context) -> Result<(), Failure> {
    match verb {
        Requirements::Get(get) => get::run(get, context).await,
        Requirements::Put(put) => put::run(put, context).await,
        Requirements::Clear(clear) => clear::run(clear, context).await,
    }
}

fn show(context: &Context, declared: &Declared) {
    context.printer.data(declared, |declared| table(declared).render());
    context.printer.talk(&format!("version {}", declared.version));
}

fn table(declared: &Declared) -> Table {
    let mut table =
        Table::new(&["REQUIREMENT", "MIN", "DESIRED", "GRANTED", "PENDING", "PROFILE", "REASONS"]);
    for line in &declared.requirements {
        table.row([
            line.name.to_string(),
            line.min.to_string(),
            line.desired.to_string(),
            line.granted.to_string(),
            line.pending.to_string(),
            line.profile.as_ref().map_or("default slot".to_owned(), amounts),
            reasons_text(&line.reasons),
        ]);
    }
    table
}
