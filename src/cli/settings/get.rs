//! `slotkeeper settings get`; also how settings look.

use serde::Serialize;
use serde_json::Value;

use crate::api::settings::{SettingValues, Settings};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::table::Table;

/// Shows all settings with their defaults, ranges and the revisions of their last changes
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Get {}

pub(super) async fn run(_get: &Get, context: &Context) -> Result<(), Failure> {
    let settings = context.client.settings().await?;
    context.printer.data(&settings, |settings| table(settings).render());
    Ok(())
}

pub(super) fn table(settings: &Settings) -> Table {
    let mut table = Table::new(&["SETTING", "VALUE", "DEFAULT", "CHANGED IN", "RANGE"]);
    let defaults = members(&settings.defaults);
    for (name, value) in members(&settings.values) {
        let default = defaults.get(&name).map(text).unwrap_or_default();
        let range = settings.ranges.get(&name).cloned().unwrap_or_default();
        let changed = settings.changed_in_revisions.get(&name).filter(|revision| revision.0 > 0);
        let changed = changed.map(|revision| format!("revision {revision}")).unwrap_or_default();
        table.row([name, text(&value), default, changed, range]);
    }
    table
}

fn members(values: &SettingValues) -> serde_json::Map<String, Value> {
    match values.serialize(serde_json::value::Serializer) {
        Ok(Value::Object(members)) => members,
        _ => unreachable!("settings are written as an object"),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        other => other.to_string(),
    }
}
