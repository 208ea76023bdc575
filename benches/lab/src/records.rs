//! Records of measurements, read from a folder.
//!
//! Promises: a record that is not there is named together with the command that makes it; one that does not have what it
//! should is an error that names the file and the field. Must not: guess a missing figure.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::bars::{Verdict, command};

/// Why a record can not be used.
#[derive(Debug, PartialEq, Eq)]
pub enum Unusable {
    /// There is none.
    Missing { file: PathBuf, command: String },
    /// It can not be read, or has not what it should.
    Damaged { file: PathBuf, problem: String },
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing { file, command } => {
                write!(f, "{} is missing; `{command}` makes it", file.display())
            }
            Self::Damaged { file, problem } => write!(f, "{}: {problem}", file.display()),
        }
    }
}

impl std::error::Error for Unusable {}

/// One record.
#[derive(Debug)]
pub struct Record {
    file: PathBuf,
    value: Value,
}

impl Record {
    /// Reads the record of a kind from `folder`.
    ///
    /// # Errors
    /// If it is missing, is not JSON, or is of another kind.
    pub fn read(folder: &Path, kind: &str) -> Result<Self, Unusable> {
        let file = folder.join(format!("{kind}.json"));
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Unusable::Missing { file, command: command(kind) });
            }
            Err(error) => return Err(Unusable::Damaged { file, problem: error.to_string() }),
        };
        let value: Value = match serde_json::from_str(&text) {
            Ok(value) => value,
            Err(error) => return Err(Unusable::Damaged { file, problem: error.to_string() }),
        };
        let record = Self { file, value };
        let found = record.text("kind")?;
        if found == kind { Ok(record) } else { Err(record.damaged(&format!("it is a record of {found}"))) }
    }

    fn damaged(&self, problem: &str) -> Unusable {
        Unusable::Damaged { file: self.file.clone(), problem: problem.to_owned() }
    }

    fn text(&self, field: &str) -> Result<&str, Unusable> {
        self.value[field].as_str().ok_or_else(|| self.damaged(&format!("it has no text `{field}`")))
    }

    /// What stands under a path of fields, such as `/results/rows`.
    ///
    /// # Errors
    /// If it is not there.
    pub fn at(&self, path: &str) -> Result<&Value, Unusable> {
        let found = self.value.pointer(path).filter(|found| !found.is_null());
        found.ok_or_else(|| self.damaged(&format!("it has no `{path}`")))
    }

    /// The items of a list.
    ///
    /// # Errors
    /// If there is no such list.
    pub fn list(&self, path: &str) -> Result<&[Value], Unusable> {
        let list = self.at(path)?.as_array();
        list.map(Vec::as_slice).ok_or_else(|| self.damaged(&format!("`{path}` is no list")))
    }

    /// A number within `value`, which came from this record.
    ///
    /// # Errors
    /// If there is no such number.
    pub fn number(&self, value: &Value, path: &str) -> Result<f64, Unusable> {
        let found = value.pointer(path).and_then(Value::as_f64);
        found.ok_or_else(|| self.damaged(&format!("there is no number `{path}` in {value}")))
    }

    /// Where it is from, for below a title: the command, and then machine, commit and day.
    ///
    /// # Errors
    /// If it does not say that.
    pub fn source(&self) -> Result<[String; 2], Unusable> {
        let machine = self.at("/machine")?;
        let circumstances = format!(
            "{} cores, load {} to {}, commit {}, {}",
            self.number(machine, "/cores")?,
            machine["load_before"].as_str().unwrap_or("unknown"),
            machine["load_after"].as_str().unwrap_or("unknown"),
            self.text("commit")?,
            self.text("at")?.split('T').next().unwrap_or_default(),
        );
        Ok([self.text("command")?.to_owned(), circumstances])
    }

    /// How its bars stand.
    ///
    /// # Errors
    /// If there are none.
    pub fn verdicts(&self) -> Result<Vec<Verdict>, Unusable> {
        let of = |bar: &Value| {
            let id = bar["id"].as_str().ok_or_else(|| self.damaged("a bar has no id"))?;
            Ok(Verdict {
                id: id.to_owned(),
                measured: bar["measured"].as_f64(),
                not_judged: bar["not_judged"].as_str().map(str::to_owned),
            })
        };
        self.list("/bars")?.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Record, Unusable};
    use serde_json::json;

    fn folder_with(text: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("scale.json"), text).unwrap();
        folder
    }

    #[test]
    fn a_missing_record_is_named_with_the_command_that_makes_it() {
        let folder = tempfile::tempdir().unwrap();
        let said = Record::read(folder.path(), "scale").unwrap_err().to_string();
        assert!(said.contains("scale.json") && said.contains("benches/scale --record"), "{said}");
    }

    #[test]
    fn a_record_that_is_cut_short_or_of_another_kind_is_damaged() {
        for text in ["{\"kind\": \"sca", "[]", "{\"kind\": \"overload\"}"] {
            let folder = folder_with(text);
            let found = Record::read(folder.path(), "scale");
            assert!(matches!(found, Err(Unusable::Damaged { .. })), "{text}: {found:?}");
        }
    }

    #[test]
    fn a_figure_that_is_not_there_is_named_and_not_guessed() {
        let folder = folder_with(&json!({"kind": "scale", "results": {"rows": [{"p50": null}]}}).to_string());
        let record = Record::read(folder.path(), "scale").unwrap();
        let row = &record.list("/results/rows").unwrap()[0];
        assert!(record.number(row, "/p50").unwrap_err().to_string().contains("/p50"));
        assert!(record.list("/results/columns").unwrap_err().to_string().contains("/results/columns"));
        assert!(record.source().unwrap_err().to_string().contains("/machine"));
    }

    #[test]
    fn a_whole_record_says_where_it_is_from_and_how_its_bars_stand() {
        let record = json!({
            "kind": "scale", "command": "benches/scale", "at": "2026-01-02T03:04:05Z", "commit": "abc",
            "machine": {"cores": 2, "load_before": "0.10", "load_after": "3.00"},
            "bars": [{"id": "restart", "measured": 1.5, "not_judged": null}, {"id": "large-rate", "not_judged": "small"}],
        });
        let folder = folder_with(&record.to_string());
        let record = Record::read(folder.path(), "scale").unwrap();
        let expected = ["benches/scale", "2 cores, load 0.10 to 3.00, commit abc, 2026-01-02"];
        assert_eq!(record.source().unwrap(), expected);
        let verdicts = record.verdicts().unwrap();
        assert_eq!((verdicts[0].is_met(), verdicts[1].is_met()), (Some(true), None));
    }
}
