//! Values that people write on the command line: profiles, ceilings, labels, constraints.
//!
//! Promises: each form is also accepted as the JSON of the API; what does not parse is refused with an example. Must not:
//! decide what is allowed beyond the form; the server does. Tested below.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::api::constraints::Constraint;
use crate::api::resources::{Ceiling, Profile};

/// Short names of the members of a profile.
const MEMBERS: [(&str, &str); 5] = [
    ("cpu", "cpu_cores"),
    ("heap", "task_heap_memory"),
    ("off_heap", "task_off_heap_memory"),
    ("managed", "managed_memory"),
    ("network", "network_memory"),
];

/// Reads `cpu=1.5,heap=1GiB,gpu=1`, or the JSON of the API.
pub(super) fn profile(text: &str) -> Result<Profile, String> {
    amounts(text, false).map_err(|problem| format!("{problem}; for example `cpu=1.5,heap=1GiB,gpu=1`"))
}

/// Reads `slots=10,cpu=4`, or the JSON of the API.
pub(super) fn ceiling(text: &str) -> Result<Ceiling, String> {
    amounts(text, true).map_err(|problem| format!("{problem}; for example `slots=10,cpu=4`"))
}

fn amounts<T: DeserializeOwned>(text: &str, with_slots: bool) -> Result<T, String> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| error.to_string());
    }
    let (mut members, mut extended) = (Map::new(), Map::new());
    for part in text.split(',') {
        let (name, amount) = part.split_once('=').ok_or_else(|| format!("`{part}` is not NAME=AMOUNT"))?;
        let name = name.trim();
        let known = MEMBERS.iter().find(|(short, long)| *short == name.replace('-', "_") || *long == name);
        let (place, key) = match known {
            Some((_, long)) => (&mut members, *long),
            None if with_slots && name == "slots" => (&mut members, name),
            None => (&mut extended, name),
        };
        if place.insert(key.to_owned(), number_or_text(amount.trim())).is_some() {
            return Err(format!("`{name}` comes twice"));
        }
    }
    if !extended.is_empty() {
        members.insert("extended_resources".to_owned(), Value::Object(extended));
    }
    serde_json::from_value(Value::Object(members)).map_err(|error| error.to_string())
}

/// JSON's number if it is one, else a text.
pub(super) fn number_or_text(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::Number(number)) => Value::Number(number),
        _ => Value::String(text.to_owned()),
    }
}

/// Reads `key=value`.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a label is KEY=VALUE, for example `zone=a`".to_owned()),
    }
}

/// Reads `zone=a`, `zone!=a`, `zone in a,b`, `zone not_in a,b`, `exists gpu`, `not_exists gpu`, or the JSON of the API.
pub(super) fn constraint(text: &str) -> Result<Constraint, String> {
    let text = text.trim();
    let value = if text.starts_with('{') {
        serde_json::from_str(text).map_err(|error| error.to_string())?
    } else {
        words(text).ok_or_else(|| {
            "a constraint is `zone=a`, `zone!=a`, `zone in a,b`, `zone not_in a,b`, `exists gpu` or `not_exists gpu`"
                .to_owned()
        })?
    };
    serde_json::from_value(value).map_err(|error| error.to_string())
}

fn words(text: &str) -> Option<Value> {
    let label = |label: &str, op: &str, values: Value| serde_json::json!({"label": label, "op": op, "values": values});
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        [op @ ("exists" | "not_exists"), key] => return Some(serde_json::json!({"label": key, "op": op})),
        [key, op @ ("in" | "not_in"), values @ ..] if !values.is_empty() => {
            let values = values.concat();
            let list: Vec<&str> = values.trim_matches(['(', ')']).split(',').collect();
            return Some(label(key, op, serde_json::json!(list)));
        }
        _ => {}
    }
    let (key, op, value) = match text.split_once("!=") {
        Some((key, value)) => (key, "!=", value),
        None => text.split_once('=').map(|(key, value)| (key, "=", value))?,
    };
    let (key, value) = (key.trim(), value.trim());
    (!key.is_empty() && !key.contains(' ')).then(|| label(key, op, serde_json::json!([value])))
}

/// Reads `rack` or `rack:2`: at most so many per value of the label, 1 if not said.
pub(super) fn spread(text: &str) -> Result<Constraint, String> {
    let (label, most) = text.split_once(':').unwrap_or((text, "1"));
    let most: u32 =
        most.parse().map_err(|_| "a spread is LABEL or LABEL:COUNT, for example `rack:2`".to_owned())?;
    let value = serde_json::json!({"spread_by": label, "max_per": most});
    serde_json::from_value(value).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn as_json<T: serde::Serialize>(value: Result<T, String>) -> Value {
        serde_json::to_value(value.unwrap()).unwrap()
    }

    #[test]
    fn a_profile_is_names_and_amounts_or_json() {
        let expected = json!({
            "cpu_cores": 1.5, "task_heap_memory": 1 << 30, "task_off_heap_memory": 0, "managed_memory": 0,
            "network_memory": 64 << 20, "extended_resources": {"gpu": 1}
        });
        assert_eq!(as_json(profile("cpu=1.5,heap=1GiB, network=64m,gpu=1")), expected);
        let in_json = r#"{"cpu_cores":1.5,"task_heap_memory":"1GiB","network_memory":"64MiB","extended_resources":{"gpu":1}}"#;
        assert_eq!(as_json(profile(in_json)), expected);
        assert_eq!(as_json(profile("off-heap=7"))["task_off_heap_memory"], 7);
    }

    #[test]
    fn a_profile_that_can_not_be_meant_is_refused_with_an_example() {
        for text in
            ["", "cpu", "cpu=x", "cpu=1,cpu=2", "heap=1GB", "gpu=-1", "gpu=a", "{\"cpu\":1}", "cpu=1.2345"]
        {
            let problem = profile(text).expect_err(text);
            assert!(problem.contains("for example"), "{text}: {problem}");
        }
    }

    #[test]
    fn a_ceiling_may_name_slots_and_a_profile_may_not() {
        assert_eq!(as_json(ceiling("slots=10,cpu=4")), json!({"slots": 10, "cpu_cores": 4}));
        assert_eq!(as_json(profile("slots=10"))["extended_resources"], json!({"slots": 10}));
    }

    #[test]
    fn constraints_are_read_as_people_write_them() {
        for (text, expected) in [
            ("zone=a", json!({"label": "zone", "op": "=", "values": ["a"]})),
            ("zone != a", json!({"label": "zone", "op": "!=", "values": ["a"]})),
            ("zone in (a, b)", json!({"label": "zone", "op": "in", "values": ["a", "b"]})),
            ("zone not_in a,b", json!({"label": "zone", "op": "not_in", "values": ["a", "b"]})),
            ("exists gpu", json!({"label": "gpu", "op": "exists"})),
            ("not_exists gpu", json!({"label": "gpu", "op": "not_exists"})),
            (r#"{"task_manager":"tm-1"}"#, json!({"task_manager": "tm-1"})),
        ] {
            assert_eq!(as_json(constraint(text)), expected, "{text}");
        }
        for text in ["", "zone", "=a", "zone like a", "zone in", "{}", "a b=c"] {
            assert!(constraint(text).is_err(), "`{text}` is taken");
        }
    }

    #[test]
    fn a_spread_counts_one_unless_it_says_more() {
        assert_eq!(as_json(spread("rack")), json!({"spread_by": "rack", "max_per": 1}));
        assert_eq!(as_json(spread("rack:3")), json!({"spread_by": "rack", "max_per": 3}));
        assert!(spread("rack:0").is_err() && spread("rack:x").is_err());
    }
}
