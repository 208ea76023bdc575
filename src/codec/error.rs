//! What can be wrong with bytes that are to be encoded or decoded.
//!
//! Each variant carries what a person needs in order to decide what to do next; the caller adds where the bytes
//! came from. It must not carry the bytes themselves: they may hold secrets and may be large. Tested through
//! `plain.rs` and `envelope.rs`.

use thiserror::Error;

/// Why a value could not be turned into bytes, or bytes could not be turned into a value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CodecError {
    /// The value has no encoded form, for example because one of its maps has an unknown length.
    #[error("the value cannot be encoded: {reason}")]
    Unencodable {
        /// The encoder's own words.
        reason: String,
    },
    /// The input is longer than the caller allows, so it was not looked at.
    #[error("{found_bytes} bytes are more than the {limit_bytes} bytes allowed here")]
    TooLarge {
        /// Length of the input.
        found_bytes: usize,
        /// The caller's limit.
        limit_bytes: usize,
    },
    /// The bytes are not a value of the expected type.
    #[error("the bytes are not a value of the expected type: {reason}")]
    Malformed {
        /// The decoder's own words.
        reason: String,
    },
    /// A value was read, but bytes are left behind it.
    #[error("{trailing_bytes} bytes follow the end of the value")]
    TrailingBytes {
        /// How many bytes are left.
        trailing_bytes: u64,
    },
    /// The envelope announces more bytes than there are.
    #[error("the record is cut off: {found_bytes} of {expected_bytes} bytes are there")]
    Truncated {
        /// Bytes that are there, header included.
        found_bytes: u64,
        /// Bytes that the header announces, header included; the header's own size if not even that is there.
        expected_bytes: u64,
    },
    /// The record is of another kind, or its first bytes are damaged.
    #[error(
        "the record starts with {found:02x?} instead of {expected:02x?}: another kind of record, or damage"
    )]
    WrongMagic {
        /// The first four bytes.
        found: [u8; 4],
        /// The four bytes that name the expected kind.
        expected: [u8; 4],
    },
    /// The checksum does not match header and body: the record is damaged.
    #[error("the checksum is {found:08x} but the content gives {expected:08x}: the record is damaged")]
    WrongChecksum {
        /// The stored checksum.
        found: u32,
        /// The checksum of what is there.
        expected: u32,
    },
    /// The record is undamaged but was written by a newer release.
    #[error("the record has version {found}, this release reads up to {supported}: use a newer release")]
    NewerVersion {
        /// The record's version.
        found: u16,
        /// The newest version that this release reads.
        supported: u16,
    },
    /// The record is undamaged but older than the one version that the caller reads.
    #[error(
        "the record has version {found}, this release reads {supported}: use an older release to upgrade it"
    )]
    OlderVersion {
        /// The record's version.
        found: u16,
        /// The version that the caller reads.
        supported: u16,
    },
}
