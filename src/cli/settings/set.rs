//! `slotkeeper settings set`.

use serde_json::{Map, Value};

use super::get::table;
use crate::api::settings::PatchSettings;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::values;

/// Changes settings; what is not named stays as it is
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Set {
    /// For example `heartbeat_timeout=10s`; `none` switches a timeout off
    #[arg(value_name = "SETTING=VALUE", required = true, value_parser = values::label)]
    changes: Vec<(String, String)>,
}

pub(super) async fn run(set: &Set, context: &Context) -> Result<(), Failure> {
    let settings = context.client.patch_settings(&patch(&set.changes)?).await?;
    context.printer.data(&settings, |settings| table(settings).render());
    Ok(())
}

fn patch(changes: &[(String, String)]) -> Result<PatchSettings, Failure> {
    let mut members = Map::new();
    for (name, text) in changes {
        let value = if text == "none" { Value::Null } else { values::number_or_text(text) };
        if members.insert(name.replace('-', "_"), value).is_some() {
            return Err(Failure::usage(format!("`{name}` comes twice")));
        }
    }
    serde_json::from_value(Value::Object(members)).map_err(|error| {
        Failure::usage(format!("the change can not be read: {error}"))
            .with_hint("`slotkeeper settings get` shows the names and the ranges")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::units::DurationText;

    fn change(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn numbers_durations_and_none_are_told_apart() {
        let changes = [
            change("heartbeat-timeout", "10s"),
            change("confirm_timeout", "none"),
            change("expiries_per_second_max", "3"),
        ];
        let patch = patch(&changes).unwrap();
        assert_eq!(patch.heartbeat_timeout, Some(DurationText { ms: 10_000 }));
        assert_eq!((patch.confirm_timeout, patch.expiries_per_second_max), (Some(None), Some(3)));
    }

    #[test]
    fn what_is_no_setting_or_no_value_is_refused() {
        for changes in [
            vec![change("colour", "red")],
            vec![change("heartbeat_timeout", "10")],
            vec![change("lease_grace", "1s"), change("lease-grace", "2s")],
        ] {
            assert!(patch(&changes).is_err(), "{changes:?} is taken");
        }
    }
}
