//! The envelope around everything that is stored or handed between processes.
//!
//! Layout, integers little endian: magic (4 bytes), version (2), length of the body (8), CRC32C (4), body. The
//! checksum covers every other byte of the envelope, so that a damaged version is reported as damage and not as
//! a record of a newer release. The layout of the envelope itself must never change; the version is the body's.
//! Tested below: golden bytes, and no mutation of a sealed record is accepted.

use bytes::{BufMut, Bytes};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{CodecError, decode, encode_onto};

/// Bytes that the envelope adds to a body.
pub const ENVELOPE_BYTES: usize = 18;

const CHECKSUM_OFFSET: usize = 14;

/// The name and version of one stored or sent kind; the constant lives beside the type that owns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// Four bytes that no other kind uses.
    pub magic: [u8; 4],
    /// The version that this release writes, from 1.
    pub version: u16,
}

/// Encodes `value` and seals it.
///
/// # Errors
/// [`CodecError::Unencodable`] if the type's own serialization refuses.
pub fn seal<T: Serialize + ?Sized>(format: Format, value: &T) -> Result<Bytes, CodecError> {
    let mut sealed = vec![0; ENVELOPE_BYTES];
    encode_onto(&mut sealed, value)?;
    // What is sealed is often kept for long.
    sealed.shrink_to_fit();
    Ok(closed(format, sealed))
}

/// Puts a body that is already bytes into an envelope.
pub fn seal_bytes(format: Format, body: &[u8]) -> Bytes {
    let mut sealed = Vec::with_capacity(ENVELOPE_BYTES + body.len());
    sealed.resize(ENVELOPE_BYTES, 0);
    sealed.extend_from_slice(body);
    closed(format, sealed)
}

/// Writes the header over the room that was left for it.
fn closed(format: Format, mut sealed: Vec<u8>) -> Bytes {
    let (room, body) =
        sealed.split_first_chunk_mut::<ENVELOPE_BYTES>().expect("room was left for the header");
    *room = header(format, body.len() as u64, |before| crc32c::crc32c_append(before, body));
    sealed.into()
}

/// The header of a body of this length. `checksum` goes on over the body from the CRC32C of what is before it.
pub(super) fn header(
    format: Format,
    body_bytes: u64,
    checksum: impl FnOnce(u32) -> u32,
) -> [u8; ENVELOPE_BYTES] {
    let mut header = [0; ENVELOPE_BYTES];
    let mut fields = &mut header[..];
    fields.put_slice(&format.magic);
    fields.put_u16_le(format.version);
    fields.put_u64_le(body_bytes);
    let checksum = checksum(crc32c::crc32c(&header[..CHECKSUM_OFFSET]));
    header[CHECKSUM_OFFSET..].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// Opens an envelope of exactly this format and decodes its body.
///
/// # Errors
/// What [`open_bytes`] and [`decode`] report.
pub fn open<T: DeserializeOwned>(format: Format, sealed: &[u8]) -> Result<T, CodecError> {
    let body = open_bytes(format, sealed)?;
    decode(body, body.len())
}

/// Opens an envelope of exactly this format and gives its body as it is.
///
/// # Errors
/// Names the first thing that is wrong: too short, another magic, cut off, trailing bytes, checksum, version.
pub fn open_bytes(format: Format, sealed: &[u8]) -> Result<&[u8], CodecError> {
    let (version, body) = open_known(format, sealed)?;
    if version < format.version {
        return Err(CodecError::OlderVersion { found: version, supported: format.version });
    }
    Ok(body)
}

/// Opens an envelope of this magic and of any version up to `format.version`; gives the version and the body.
///
/// For readers that still read the versions of earlier releases.
///
/// # Errors
/// As [`open_bytes`], except that older versions are accepted.
pub fn open_known(format: Format, sealed: &[u8]) -> Result<(u16, &[u8]), CodecError> {
    let found_bytes = sealed.len() as u64;
    let Some((header, body)) = sealed.split_first_chunk::<ENVELOPE_BYTES>() else {
        return Err(CodecError::Truncated { found_bytes, expected_bytes: ENVELOPE_BYTES as u64 });
    };
    let header = Header::parse(header);
    if header.magic != format.magic {
        return Err(CodecError::WrongMagic { found: header.magic, expected: format.magic });
    }
    let expected_bytes = header.body_bytes.saturating_add(ENVELOPE_BYTES as u64);
    if found_bytes < expected_bytes {
        return Err(CodecError::Truncated { found_bytes, expected_bytes });
    }
    if found_bytes > expected_bytes {
        return Err(CodecError::TrailingBytes { trailing_bytes: found_bytes - expected_bytes });
    }
    let expected = crc32c::crc32c_append(crc32c::crc32c(&sealed[..CHECKSUM_OFFSET]), body);
    if header.checksum != expected {
        return Err(CodecError::WrongChecksum { found: header.checksum, expected });
    }
    if header.version > format.version {
        return Err(CodecError::NewerVersion { found: header.version, supported: format.version });
    }
    Ok((header.version, body))
}

/// How long the envelope at the start of `bytes` says it is, header included; nothing if there is not even a header
/// or the length is beyond what this machine can address. The length is not checked, [`open`] does that.
pub fn sealed_bytes(bytes: &[u8]) -> Option<usize> {
    let (header, _) = bytes.split_first_chunk::<ENVELOPE_BYTES>()?;
    usize::try_from(Header::parse(header).body_bytes).ok()?.checked_add(ENVELOPE_BYTES)
}

struct Header {
    magic: [u8; 4],
    version: u16,
    body_bytes: u64,
    checksum: u32,
}

impl Header {
    fn parse(bytes: &[u8; ENVELOPE_BYTES]) -> Header {
        let [m0, m1, m2, m3, v0, v1, l0, l1, l2, l3, l4, l5, l6, l7, c0, c1, c2, c3] = *bytes;
        Header {
            magic: [m0, m1, m2, m3],
            version: u16::from_le_bytes([v0, v1]),
            body_bytes: u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]),
            checksum: u32::from_le_bytes([c0, c1, c2, c3]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXAMPLE: Format = Format { magic: *b"SKex", version: 2 };

    #[test]
    fn the_layout_of_the_envelope_does_not_change() {
        let sealed = seal(EXAMPLE, &("ab", 300_u16)).unwrap();
        let golden = [
            b'S', b'K', b'e', b'x', 2, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0x55, 0xb4, 0x93, 2, b'a', b'b', 251,
            44, 1,
        ];
        assert_eq!(sealed.as_ref(), golden);
        assert_eq!(open::<(String, u16)>(EXAMPLE, &golden).unwrap(), ("ab".to_owned(), 300));
    }

    #[test]
    fn the_reader_names_what_is_wrong() {
        let sealed = seal_bytes(EXAMPLE, b"body");
        let other = Format { magic: *b"SKot", version: 2 };
        assert!(matches!(open_bytes(other, &sealed), Err(CodecError::WrongMagic { .. })));
        assert!(matches!(
            open_bytes(EXAMPLE, &sealed[..5]),
            Err(CodecError::Truncated { expected_bytes: 18, .. })
        ));
        assert!(matches!(
            open_bytes(EXAMPLE, &sealed[..20]),
            Err(CodecError::Truncated { expected_bytes: 22, .. })
        ));
        let mut longer = sealed.to_vec();
        longer.push(0);
        assert_eq!(open_bytes(EXAMPLE, &longer), Err(CodecError::TrailingBytes { trailing_bytes: 1 }));
        let mut damaged = sealed.to_vec();
        damaged[20] ^= 1;
        assert!(matches!(open_bytes(EXAMPLE, &damaged), Err(CodecError::WrongChecksum { .. })));
    }

    #[test]
    fn the_announced_length_is_read_without_trust() {
        let sealed = seal_bytes(EXAMPLE, b"body");
        assert_eq!(sealed_bytes(&[&sealed[..], b"more"].concat()), Some(sealed.len()));
        assert_eq!(sealed_bytes(&sealed[..17]), None);
        let mut forged = sealed.to_vec();
        forged[6..14].fill(0xff);
        assert_eq!(sealed_bytes(&forged), None);
    }

    #[test]
    fn a_newer_version_asks_for_a_newer_release_but_a_damaged_version_is_damage() {
        let newer = seal_bytes(Format { version: 3, ..EXAMPLE }, b"body");
        assert_eq!(open_bytes(EXAMPLE, &newer), Err(CodecError::NewerVersion { found: 3, supported: 2 }));
        let mut damaged = seal_bytes(EXAMPLE, b"body").to_vec();
        damaged[4] = 3;
        assert!(matches!(open_bytes(EXAMPLE, &damaged), Err(CodecError::WrongChecksum { .. })));
    }

    #[test]
    fn an_older_version_is_read_only_by_those_who_ask_for_it() {
        let older = seal_bytes(Format { version: 1, ..EXAMPLE }, b"body");
        assert_eq!(open_bytes(EXAMPLE, &older), Err(CodecError::OlderVersion { found: 1, supported: 2 }));
        assert_eq!(open_known(EXAMPLE, &older), Ok((1, b"body".as_slice())));
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let sealed = seal_bytes(EXAMPLE, &body);
            prop_assert_eq!(open_bytes(EXAMPLE, &sealed).unwrap(), body.as_slice());
        }

        #[test]
        fn no_single_byte_change_is_accepted(
            body in prop::collection::vec(any::<u8>(), 0..100),
            place in any::<prop::sample::Index>(),
            change in 1_u8..,
        ) {
            let mut sealed = seal_bytes(EXAMPLE, &body).to_vec();
            let place = place.index(sealed.len());
            sealed[place] ^= change;
            prop_assert!(open_bytes(EXAMPLE, &sealed).is_err());
        }

        #[test]
        fn no_cut_and_no_shift_is_accepted(
            body in prop::collection::vec(any::<u8>(), 0..100),
            place in any::<prop::sample::Index>(),
        ) {
            let sealed = seal_bytes(EXAMPLE, &body);
            prop_assert!(open_bytes(EXAMPLE, &sealed[..place.index(sealed.len())]).is_err());
            prop_assert!(open_bytes(EXAMPLE, &sealed[1..]).is_err());
        }

        #[test]
        fn no_overwritten_stretch_is_accepted(
            body in prop::collection::vec(any::<u8>(), 1..100),
            patch in prop::collection::vec(any::<u8>(), 1..20),
            place in any::<prop::sample::Index>(),
        ) {
            let sealed = seal_bytes(EXAMPLE, &body);
            let mut damaged = sealed.to_vec();
            let place = place.index(damaged.len());
            let end = (place + patch.len()).min(damaged.len());
            damaged[place..end].copy_from_slice(&patch[..end - place]);
            prop_assert_eq!(open_bytes(EXAMPLE, &damaged).is_err(), damaged != sealed);
        }

        #[test]
        fn no_input_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = open::<Vec<String>>(EXAMPLE, &bytes);
        }
    }
}
