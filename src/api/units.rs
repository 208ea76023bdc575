//! Amounts, durations and times as the HTTP API writes them.
//!
//! What it promises: reading is exact (CPU in whole millicores, memory in whole bytes, durations in whole milliseconds)
//! and refuses what it can not hold; every amount stays below 2^53, so that no JSON reader rounds it. What it must not
//! do: read a clock; times come from the state.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::{self, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The largest integer of the API in a request: 2^53 - 1, which every JSON reader holds exactly.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;
/// The most CPU cores of one profile.
pub const CPU_CORES_MAX: u64 = 1_000_000_000;
/// The longest duration in a request, in milliseconds: ten years of 365 days.
pub const DURATION_MS_MAX: u64 = 10 * 365 * 86_400_000;

/// CPU in thousandths of a core; in JSON a decimal number of cores with at most three places.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CpuCores {
    /// Thousandths of a core.
    pub millis: u64,
}

impl Serialize for CpuCores {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.millis.is_multiple_of(1000) {
            return serializer.serialize_u64(self.millis / 1000);
        }
        serializer.serialize_f64(self.millis as f64 / 1000.0)
    }
}

impl<'de> Deserialize<'de> for CpuCores {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CpuCoresVisitor)
    }
}

struct CpuCoresVisitor;

impl Visitor<'_> for CpuCoresVisitor {
    type Value = CpuCores;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a number of CPU cores from 0 to {CPU_CORES_MAX} with at most three decimal places")
    }

    fn visit_u64<E: de::Error>(self, cores: u64) -> Result<CpuCores, E> {
        if cores > CPU_CORES_MAX {
            return Err(E::invalid_value(Unexpected::Unsigned(cores), &self));
        }
        Ok(CpuCores { millis: cores * 1000 })
    }

    fn visit_i64<E: de::Error>(self, cores: i64) -> Result<CpuCores, E> {
        match u64::try_from(cores) {
            Ok(cores) => self.visit_u64(cores),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(cores), &self)),
        }
    }

    /// A decimal with three places is the only one that reads as the quotient of its thousandths and 1000: both are
    /// the float nearest to the same number. So no amount is ever rounded to another one.
    fn visit_f64<E: de::Error>(self, cores: f64) -> Result<CpuCores, E> {
        let millis = (cores * 1000.0).round();
        let exact = cores >= 0.0 && cores <= CPU_CORES_MAX as f64 && millis / 1000.0 == cores;
        if !exact {
            return Err(E::invalid_value(Unexpected::Float(cores), &self));
        }
        Ok(CpuCores { millis: millis as u64 })
    }
}

/// Memory in bytes; in JSON an integer, or in requests also a string such as `"1GiB"` or `"512m"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct MemorySize {
    /// Bytes.
    pub bytes: u64,
}

/// The units of memory: the short ones are Flink's, and all are powers of 1024.
const MEMORY_UNITS: [(&str, u32); 10] = [
    ("", 0),
    ("B", 0),
    ("KiB", 10),
    ("MiB", 20),
    ("GiB", 30),
    ("TiB", 40),
    ("k", 10),
    ("m", 20),
    ("g", 30),
    ("t", 40),
];

impl MemorySize {
    /// Reads `"1GiB"`, `"512m"` or `"1024"`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{}` is not an amount of memory; write an integer of bytes, or a whole number and one of \
                 B KiB MiB GiB TiB k m g t, at most {INTEGER_MAX} bytes",
                shortened(text)
            )
        };
        let (number, unit) = split_number(text).ok_or_else(wrong)?;
        let (_, shift) = MEMORY_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let bytes = number.checked_mul(1 << shift).filter(|bytes| *bytes <= INTEGER_MAX).ok_or_else(wrong)?;
        Ok(Self { bytes })
    }
}

impl<'de> Deserialize<'de> for MemorySize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MemorySizeVisitor)
    }
}

struct MemorySizeVisitor;

impl Visitor<'_> for MemorySizeVisitor {
    type Value = MemorySize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes as an integer up to {INTEGER_MAX}, or a text such as \"1GiB\" or \"512m\"")
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<MemorySize, E> {
        if bytes > INTEGER_MAX {
            return Err(E::invalid_value(Unexpected::Unsigned(bytes), &self));
        }
        Ok(MemorySize { bytes })
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<MemorySize, E> {
        match u64::try_from(bytes) {
            Ok(bytes) => self.visit_u64(bytes),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(bytes), &self)),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<MemorySize, E> {
        MemorySize::parse(text).map_err(E::custom)
    }
}

/// A duration in milliseconds; in JSON a string such as `"500ms"`, `"30s"`, `"10m"`, `"2h"`, `"1d"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DurationText {
    /// Milliseconds.
    pub ms: u64,
}

const DURATION_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl DurationText {
    /// Reads a whole number and one of `ms s m h d`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{}` is not a duration; write a whole number and one of ms s m h d, at most 3650d",
                shortened(text)
            )
        };
        let (number, unit) = split_number(text).ok_or_else(wrong)?;
        let (_, unit_ms) = DURATION_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let ms = number.checked_mul(*unit_ms).filter(|ms| *ms <= DURATION_MS_MAX).ok_or_else(wrong)?;
        Ok(Self { ms })
    }
}

impl fmt::Display for DurationText {
    /// The largest unit that says it exactly.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ms == 0 {
            return f.write_str("0s");
        }
        let exact = DURATION_UNITS.iter().rev().find(|(_, unit_ms)| self.ms.is_multiple_of(*unit_ms));
        let (unit, unit_ms) = exact.expect("every duration is a whole number of milliseconds");
        write!(f, "{}{unit}", self.ms / unit_ms)
    }
}

impl From<Duration> for DurationText {
    fn from(duration: Duration) -> Self {
        Self { ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX) }
    }
}

impl Serialize for DurationText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl Visitor<'_> for TextVisitor {
            type Value = DurationText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"500ms\", \"30s\" or \"10m\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<DurationText, E> {
                DurationText::parse(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

/// A point in time in milliseconds since the Unix epoch; in JSON RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

/// The last millisecond of the year 9999, where RFC 3339 ends; later times are written as this one.
const LAST_RFC3339_MS: u64 = 253_402_300_799_999;

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = UNIX_EPOCH + Duration::from_millis(self.unix_ms.min(LAST_RFC3339_MS));
        humantime::format_rfc3339_millis(time).fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time: SystemTime = humantime::parse_rfc3339(&text).map_err(de::Error::custom)?;
        let since = time.duration_since(UNIX_EPOCH).map_err(de::Error::custom)?;
        Ok(Self { unix_ms: u64::try_from(since.as_millis()).map_err(de::Error::custom)? })
    }
}

/// Splits `"512m"` into 512 and `m`; `None` without digits or beyond 64 bits.
fn split_number(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit))
}

/// The first characters of a text that is quoted in a message.
fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(json: &str) -> Result<u64, String> {
        serde_json::from_str::<CpuCores>(json).map(|cpu| cpu.millis).map_err(|error| error.to_string())
    }

    fn memory(json: &str) -> Result<u64, String> {
        serde_json::from_str::<MemorySize>(json).map(|size| size.bytes).map_err(|error| error.to_string())
    }

    #[test]
    fn cpu_is_read_to_the_millicore_or_refused() {
        assert_eq!(cpu("1.5"), Ok(1500));
        assert_eq!(cpu("2"), Ok(2000));
        assert_eq!(cpu("0.001"), Ok(1));
        assert_eq!(cpu("999999999.999"), Ok(999_999_999_999));
        for refused in ["1.2345", "0.0001", "-1", "-0.5", "1e300", "\"1.5\"", "null", "true", "1000000001"] {
            assert!(cpu(refused).is_err(), "{refused} is taken");
        }
    }

    #[test]
    fn every_millicore_comes_back_as_it_was_written() {
        for millis in (0..2_000_000).chain([999_999_999_999, 123_456_789_001]) {
            let text = format!("{}.{:03}", millis / 1000, millis % 1000);
            assert_eq!(cpu(&text), Ok(millis), "{text}");
        }
        let written = serde_json::to_string(&CpuCores { millis: 1500 }).unwrap();
        assert_eq!(written, "1.5");
        assert_eq!(serde_json::to_string(&CpuCores { millis: 3000 }).unwrap(), "3");
    }

    #[test]
    fn memory_is_bytes_or_a_number_with_a_unit() {
        assert_eq!(memory("1024"), Ok(1024));
        assert_eq!(memory("\"1GiB\""), Ok(1 << 30));
        assert_eq!(memory("\"512m\""), Ok(512 << 20));
        assert_eq!(memory("\"64KiB\""), Ok(64 << 10));
        assert_eq!(memory("\"7B\""), Ok(7));
        assert_eq!(memory("\"2t\""), Ok(2 << 40));
        for refused in
            ["-1", "1.5", "\"1.5GiB\"", "\"GiB\"", "\"1 GB\"", "\"\"", "\"99999999TiB\"", "9007199254740992"]
        {
            assert!(memory(refused).is_err(), "{refused} is taken");
        }
    }

    #[test]
    fn durations_are_whole_numbers_with_a_unit() {
        for (text, ms) in [("500ms", 500), ("30s", 30_000), ("10m", 600_000), ("2h", 7_200_000), ("0s", 0)] {
            let read = DurationText::parse(text).unwrap();
            assert_eq!(read.ms, ms);
            assert_eq!(read.to_string(), text);
        }
        for refused in ["", "10", "s", "-1s", "1.5s", "1 s", "1S", "4000d", "99999999999999999999s"] {
            assert!(DurationText::parse(refused).is_err(), "{refused} is taken");
        }
    }

    #[test]
    fn times_are_written_in_utc_and_read_again() {
        let time = Timestamp { unix_ms: 1_700_000_000_123 };
        assert_eq!(time.to_string(), "2023-11-14T22:13:20.123Z");
        let json = serde_json::to_string(&time).unwrap();
        assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), time);
        assert_eq!(Timestamp { unix_ms: u64::MAX }.to_string(), "9999-12-31T23:59:59.999Z");
    }
}
