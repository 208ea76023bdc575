//! Values to bytes and back, with one fixed set of options and no envelope.
//!
//! The options are: little endian, variable-length integers, fields in order of declaration. They are part of
//! every stored and sent format and must not change. Decoding works on a slice of known length only, because a
//! forged length in a stream could claim any amount of memory. Tested below with golden bytes.

use std::io;

use bincode::config::{self, Configuration, Limit, LittleEndian, Varint};
use bincode::de::read::{BorrowReader, Reader};
use bincode::de::{BorrowDecode, Decoder, DecoderImpl};
use bincode::error::{DecodeError, EncodeError};
use bincode::serde::BorrowCompat;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::CodecError;

/// The longest input that [`decode`] accepts, whatever limit its caller gives: 2 GiB, more than
/// a state takes that is as large as its limits allow in practice.
pub const LARGEST_DECODABLE_BYTES: usize = 2 << 30;

/// The decoder counts the width of an integer, not the bytes it takes in the input: for a `u128` sixteen, of which one byte
/// may be there. With less, a value of such integers would not be readable; with this, a text or a byte string may be
/// allocated at sixteen times the length of the input before it is found to be cut.
const CLAIMED_PER_BYTE: usize = 16;
const DECODER_CLAIM_LIMIT_BYTES: usize = LARGEST_DECODABLE_BYTES * CLAIMED_PER_BYTE;

fn options() -> Configuration<LittleEndian, Varint, Limit<DECODER_CLAIM_LIMIT_BYTES>> {
    config::standard().with_limit::<DECODER_CLAIM_LIMIT_BYTES>()
}

/// The bytes of `value`.
///
/// # Errors
/// [`CodecError::Unencodable`] if the type's own serialization refuses.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    bincode::serde::encode_to_vec(value, options())
        .map_err(|error| CodecError::Unencodable { reason: error.to_string() })
}

/// Appends the bytes of `value` to `bytes`.
///
/// # Errors
/// [`CodecError::Unencodable`] if the type's own serialization refuses; `bytes` may have grown.
pub fn encode_onto<T: Serialize + ?Sized>(bytes: &mut Vec<u8>, value: &T) -> Result<(), CodecError> {
    bincode::serde::encode_into_std_write(value, bytes, options())
        .map(drop)
        .map_err(|error| CodecError::Unencodable { reason: error.to_string() })
}

/// How many bytes [`encode`] gives for `value`.
///
/// # Errors
/// [`CodecError::Unencodable`] if the type's own serialization refuses.
pub fn encoded_bytes<T: Serialize + ?Sized>(value: &T) -> Result<usize, CodecError> {
    bincode::serde::encode_into_std_write(value, &mut io::sink(), options())
        .map_err(|error| CodecError::Unencodable { reason: error.to_string() })
}

/// Writes the bytes of `value` in many small pieces.
///
/// # Errors
/// Those of `writer`, and [`CodecError::Unencodable`] in the error if the type's own serialization refuses.
pub(super) fn encode_into<T: Serialize + ?Sized>(writer: &mut impl io::Write, value: &T) -> io::Result<()> {
    match bincode::serde::encode_into_std_write(value, writer, options()) {
        Ok(_) => Ok(()),
        Err(EncodeError::Io { inner, .. }) => Err(inner),
        Err(error) => Err(io::Error::other(CodecError::Unencodable { reason: error.to_string() })),
    }
}

/// The value whose bytes are exactly `bytes`, of which there may be at most `limit_bytes`.
///
/// # Errors
/// [`CodecError::TooLarge`] before anything is read, [`CodecError::Malformed`] for bytes that are not such a value,
/// [`CodecError::TrailingBytes`] if the value ends before the bytes do.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], limit_bytes: usize) -> Result<T, CodecError> {
    let limit_bytes = limit_bytes.min(LARGEST_DECODABLE_BYTES);
    if bytes.len() > limit_bytes {
        return Err(CodecError::TooLarge { found_bytes: bytes.len(), limit_bytes });
    }
    let (value, left) =
        read_value(bytes).map_err(|error| CodecError::Malformed { reason: error.to_string() })?;
    match left {
        0 => Ok(value),
        left => Err(CodecError::TrailingBytes { trailing_bytes: left as u64 }),
    }
}

/// The value at the beginning of `bytes`, and how many bytes follow it.
fn read_value<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), DecodeError> {
    let mut decoder = DecoderImpl::new(Rest(bytes), options(), ());
    // The decoder's own limit is fixed when it is compiled. A text or a byte string is allocated at the length that it
    // announces, so this input may announce no more than it could hold of the densest integers: the rest of the limit
    // counts as used.
    decoder.claim_bytes_read(DECODER_CLAIM_LIMIT_BYTES - bytes.len() * CLAIMED_PER_BYTE)?;
    let BorrowCompat(value) = BorrowCompat::borrow_decode(&mut decoder)?;
    Ok((value, decoder.reader().0.len()))
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl Reader for Rest<'_> {
    #[inline]
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), DecodeError> {
        bytes.copy_from_slice(self.take_bytes(bytes.len())?);
        Ok(())
    }

    #[inline]
    fn peek_read(&mut self, count: usize) -> Option<&[u8]> {
        self.0.get(..count)
    }

    #[inline]
    fn consume(&mut self, count: usize) {
        self.0 = self.0.get(count..).unwrap_or_default();
    }
}

impl<'a> BorrowReader<'a> for Rest<'a> {
    #[inline]
    fn take_bytes(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let missing = length.saturating_sub(self.0.len());
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or(DecodeError::UnexpectedEnd { additional: missing })?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Empty,
        Point(u8, i64),
        Named { text: String, parts: Vec<Option<u64>> },
    }

    #[test]
    fn the_layout_of_values_does_not_change() {
        let value =
            (Shape::Named { text: "ab".into(), parts: vec![None, Some(7), Some(300)] }, 70_000_u32, true);
        let golden = [2, 2, b'a', b'b', 3, 0, 1, 7, 1, 251, 44, 1, 252, 112, 17, 1, 0, 1];
        assert_eq!(encode(&value).unwrap(), golden);
        assert_eq!(encode(&Shape::Point(200, -2)).unwrap(), [1, 200, 3]);
        assert_eq!(encode(&Shape::Empty).unwrap(), [0]);
        let map: BTreeMap<u16, bytes::Bytes> = [(1, bytes::Bytes::from_static(b"xy"))].into();
        assert_eq!(encode(&map).unwrap(), [1, 1, 2, b'x', b'y']);
        assert_eq!(encode(&uuid::Uuid::from_u128(1)).unwrap().len(), 17);
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut bytes = encode(&Shape::Point(1, 2)).unwrap();
        bytes.extend_from_slice(&[0, 0]);
        assert_eq!(decode::<Shape>(&bytes, 100), Err(CodecError::TrailingBytes { trailing_bytes: 2 }));
    }

    #[test]
    fn more_bytes_than_the_limit_are_refused_unread() {
        let bytes = encode(&vec![0_u8; 10]).unwrap();
        let refusal = Err(CodecError::TooLarge { found_bytes: 11, limit_bytes: 10 });
        assert_eq!(decode::<Vec<u8>>(&bytes, 10), refusal);
        assert!(decode::<Vec<u8>>(&bytes, 11).is_ok());
    }

    #[test]
    fn a_forged_length_claims_no_memory() {
        // More than there is in the world, and more than this input can hold although the decoder may read as much.
        for length in [i64::MAX as u64, 30 << 30, 1 << 20] {
            let forged = [&[253][..], &length.to_le_bytes()].concat();
            assert!(matches!(decode::<Vec<u64>>(&forged, 100), Err(CodecError::Malformed { .. })));
            for reason in [
                decode::<String>(&forged, 100).map(drop),
                decode::<bytes::Bytes>(&forged, 100).map(drop),
                decode::<Option<Vec<String>>>(&[&[1, 1][..], &forged].concat(), 100).map(drop),
            ] {
                let Err(CodecError::Malformed { reason }) = reason else { panic!("{length}: {reason:?}") };
                assert!(reason.contains("Limit"), "{length} bytes were asked for: {reason}");
            }
        }
    }

    #[test]
    fn a_large_vector_of_wide_integers_is_decodable() {
        let values = vec![1_u128; 2_000_000];
        let bytes = encode(&values).unwrap();
        assert_eq!(decode::<Vec<u128>>(&bytes, LARGEST_DECODABLE_BYTES).unwrap(), values);
    }

    fn shapes() -> impl Strategy<Value = Shape> {
        prop_oneof![
            Just(Shape::Empty),
            (any::<u8>(), any::<i64>()).prop_map(|(x, y)| Shape::Point(x, y)),
            (".{0,20}", prop::collection::vec(any::<Option<u64>>(), 0..10))
                .prop_map(|(text, parts)| Shape::Named { text, parts }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(value in prop::collection::vec(shapes(), 0..8)) {
            let bytes = encode(&value).unwrap();
            prop_assert_eq!(decode::<Vec<Shape>>(&bytes, bytes.len()).unwrap(), value);
        }

        #[test]
        fn no_input_makes_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<Vec<Shape>>(&bytes, 200);
        }
    }
}
