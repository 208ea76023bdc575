//! Values of the configuration that people write with units, and addresses.
//!
//! What it promises: the same text means the same on the command line, in the environment and in the file; what does
//! not parse is refused with an example of what would. What it must not do: know any option by name.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// A duration as people write it: `500ms`, `10s`, `1m 30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurationText(pub Duration);

impl FromStr for DurationText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|error| format!("`{text}` is not a duration such as `500ms` or `10s`: {error}"))
    }
}

/// A number of bytes: an integer, or an integer with `B`, `KiB`, `MiB`, `GiB` or `TiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSizeText(pub u64);

impl FromStr for ByteSizeText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|character: char| !character.is_ascii_digit());
        let shift = match text[digits.len()..].trim() {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            "TiB" => 40,
            _ => return Err(not_a_size(text)),
        };
        let count: u64 = digits.parse().map_err(|_| not_a_size(text))?;
        count.checked_mul(1 << shift).map(Self).ok_or_else(|| not_a_size(text))
    }
}

fn not_a_size(text: &str) -> String {
    format!("`{text}` is not a size such as `1048576` or `256MiB`")
}

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for ByteSizeText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Splits `address` into host and port.
///
/// # Errors
/// The reason, if it is not `HOST:PORT` (an IPv6 host stands in brackets).
pub fn host_and_port(address: &str) -> Result<(&str, u16), String> {
    let refusal = || format!("`{address}` is not HOST:PORT, for example 127.0.0.1:7400");
    let (host, port) = address.rsplit_once(':').ok_or_else(refusal)?;
    let port = port.parse().map_err(|_| refusal())?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let strange =
        host.contains(|c: char| c.is_whitespace() || c == '/') || (host.contains(':') && !bracketed);
    if host.is_empty() || strange { Err(refusal()) } else { Ok((host, port)) }
}

/// Whether a listener on `host` listens on every interface, so that the address says nothing to others.
pub fn is_wildcard(host: &str) -> bool {
    matches!(host, "0.0.0.0" | "[::]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_need_units_that_people_know() {
        assert_eq!("500ms".parse(), Ok(DurationText(Duration::from_millis(500))));
        assert!("fast".parse::<DurationText>().unwrap_err().contains("500ms"));
        assert_eq!("256MiB".parse(), Ok(ByteSizeText(256 << 20)));
        assert_eq!("17".parse(), Ok(ByteSizeText(17)));
        assert!("1.5GiB".parse::<ByteSizeText>().is_err());
        assert!("MiB".parse::<ByteSizeText>().is_err());
        assert!("99999999TiB".parse::<ByteSizeText>().is_err());
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        assert_eq!(host_and_port("server-1:7400"), Ok(("server-1", 7400)));
        assert_eq!(host_and_port("[::1]:7400"), Ok(("[::1]", 7400)));
        for wrong in ["server-1", ":7400", "server-1:http", "::1:7400", "http://server-1:7400", "a b:1"] {
            assert!(host_and_port(wrong).is_err(), "{wrong} must be refused");
        }
    }
}
