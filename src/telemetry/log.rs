//! The log: where it goes, in which form, and what it lets through.
//!
//! What it promises: log lines go to standard error, because standard output is for data; a bad filter is an error with
//! the reason, never a silent default; colours are only for a terminal. What it must not do: print secrets or request
//! bodies; nobody hands it any.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// What is let through unless the operator says otherwise: our own lines from `info`, the libraries' from `warn`.
pub const DEFAULT_FILTER: &str = "warn,slotkeeper=info";
/// The Raft engine repeats itself many times a second while a peer is away, and this program says what matters of it in
/// its own lines. So it is let through only from `error`, unless the filter names it.
const ENGINE_FILTER: (&str, &str) = ("openraft", "openraft=error");

/// How a line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line, for log collectors.
    Json,
}

impl FromStr for LogFormat {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        match text {
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            other => Err(LogError::Format(other.to_owned())),
        }
    }
}

/// Why the log can not be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The filter does not parse.
    #[error("the log filter `{filter}` is not valid: {reason}")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The format has no such name.
    #[error("the log format `{0}` is not known; use `human` or `json`")]
    Format(String),
    /// The process has a log already.
    #[error("the log of this process is set up already")]
    AlreadySet,
}

/// Sets up the log of this process. `filter` is a list such as `info,slotkeeper::consensus=debug`; empty is
/// [`DEFAULT_FILTER`].
///
/// # Errors
/// A filter that does not parse, or a process that has a log already.
pub fn init(format: LogFormat, filter: &str) -> Result<(), LogError> {
    let filter = parse_filter(filter)?;
    // A file or a collector would keep the colours' control characters as text.
    let colours =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // A line that can not be written is lost, never a panic: a full disk under the log must not end the service.
    let lines = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .log_internal_errors(false);
    let set = match format {
        LogFormat::Human => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    set.map_err(|_| LogError::AlreadySet)
}

fn parse_filter(filter: &str) -> Result<EnvFilter, LogError> {
    let text = if filter.is_empty() { DEFAULT_FILTER } else { filter };
    let (engine, quiet) = ENGINE_FILTER;
    let quieted = if text.contains(engine) { text.to_owned() } else { format!("{text},{quiet}") };
    EnvFilter::try_new(quieted)
        .map_err(|error| LogError::Filter { filter: text.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_does_not_parse_is_refused_with_its_text() {
        let error = parse_filter("slotkeeper=loudly").unwrap_err();
        assert!(matches!(error, LogError::Filter { filter, .. } if filter == "slotkeeper=loudly"));
    }

    #[test]
    fn an_empty_filter_means_the_default() {
        assert_eq!(parse_filter("").unwrap().to_string(), parse_filter(DEFAULT_FILTER).unwrap().to_string());
    }

    #[test]
    fn formats_have_names() {
        assert_eq!("json".parse(), Ok(LogFormat::Json));
        assert_eq!("human".parse(), Ok(LogFormat::Human));
        assert_eq!("xml".parse::<LogFormat>(), Err(LogError::Format("xml".to_owned())));
    }
}
