//! Encoding and decoding with fixed options, inside a versioned and checksummed envelope.
//!
//! The room has two layers. [`encode`] and [`decode`] turn a value into bytes and back with one fixed set of
//! options; [`seal`] and [`open`] put such bytes into an envelope that names its kind, its version, its length
//! and its checksum, so that a reader can say what is wrong with bytes that it must not use.
//!
//! It promises that the options never change for a given release line, that decoding never accepts trailing
//! bytes, never allocates more than a small multiple of its input and never panics on any input. It must not know
//! any stored kind: the [`Format`] of a kind is a constant beside the type that owns it. This is the only room
//! that names the encoding crate. The layout is positional, therefore enum variants are only ever appended and
//! the serde attributes `flatten`, `untagged`, `tag` and `skip*` are not usable in encoded types.
//!
//! Tested beside the code: golden bytes, and mutation of sealed records.

mod envelope;
mod error;
mod pieces;
mod plain;

pub use envelope::{ENVELOPE_BYTES, Format, open, open_bytes, open_known, seal, seal_bytes, sealed_bytes};
pub use error::CodecError;
pub use pieces::seal_into;
pub use plain::{LARGEST_DECODABLE_BYTES, decode, encode, encode_onto, encoded_bytes};
