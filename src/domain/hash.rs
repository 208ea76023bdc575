//! Hashes over values of the domain: what the chain over everything applied and the hash of a whole state are made with.
//!
//! What it promises: equal values give equal hashes in every process and release that has the same types; the bytes
//! are written straight into the hash, never collected. Integers are fixed-width little endian; every length,
//! variant and absence is written too, so different values never give the same bytes. What it must not do: skip a
//! field, or depend on anything but the value. Tested below and by the golden log in `tests/domain`.

use std::fmt;

use serde::{Serialize, ser};

/// Hashes any number of values, one after the other.
#[derive(Debug, Clone)]
pub(super) struct ValueHasher {
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
    filled: usize,
}

/// The hash is fastest on whole blocks; this many bytes are collected first.
const BUFFER_BYTES: usize = 1024;

impl Default for ValueHasher {
    fn default() -> Self {
        Self::with_buffer(BUFFER_BYTES)
    }
}

impl ValueHasher {
    /// Collects so many bytes before it hashes them.
    pub(super) fn with_buffer(bytes: usize) -> Self {
        Self { hasher: blake3::Hasher::new(), buffer: vec![0; bytes], filled: 0 }
    }

    /// Adds `value`.
    pub(super) fn write<T: Serialize + ?Sized>(&mut self, value: &T) {
        value.serialize(self).expect("values of the domain serialize: lengths are known and no type refuses");
    }

    /// The hash of all that was written.
    pub(super) fn finish(mut self) -> [u8; 32] {
        self.flush();
        *self.hasher.finalize().as_bytes()
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let end = self.filled.saturating_add(bytes.len());
        if let Some(room) = self.buffer.get_mut(self.filled..end) {
            room.copy_from_slice(bytes);
            self.filled = end;
            return;
        }
        self.flush();
        match self.buffer.get_mut(..bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.filled = bytes.len();
            }
            None => {
                self.hasher.update(bytes);
            }
        }
    }

    fn flush(&mut self) {
        let filled = self.buffer.get(..self.filled).expect("no more is filled than the buffer holds");
        self.hasher.update(filled);
        self.filled = 0;
    }

    fn length(&mut self, length: usize) {
        let length = u64::try_from(length).expect("a length in memory fits 64 bits");
        self.bytes(&length.to_le_bytes());
    }
}

/// Why a value can not be hashed; no type of the domain gives a reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unhashable(String);

impl ser::Error for Unhashable {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

macro_rules! write_integers {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(fn $method(self, value: $type) -> Result<(), Unhashable> {
            self.bytes(&value.to_le_bytes());
            Ok(())
        })*
    };
}

impl ser::Serializer for &mut ValueHasher {
    type Ok = ();
    type Error = Unhashable;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    write_integers! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128,
    }

    fn serialize_bool(self, value: bool) -> Result<(), Unhashable> {
        self.serialize_u8(u8::from(value))
    }

    fn serialize_f32(self, _value: f32) -> Result<(), Unhashable> {
        Err(Unhashable("the domain has no floats".to_owned()))
    }

    fn serialize_f64(self, _value: f64) -> Result<(), Unhashable> {
        Err(Unhashable("the domain has no floats".to_owned()))
    }

    fn serialize_char(self, value: char) -> Result<(), Unhashable> {
        self.serialize_u32(u32::from(value))
    }

    fn serialize_str(self, value: &str) -> Result<(), Unhashable> {
        self.serialize_bytes(value.as_bytes())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Unhashable> {
        self.length(value.len());
        self.bytes(value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Unhashable> {
        self.serialize_u8(0)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unhashable> {
        self.bytes(&[1]);
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Unhashable> {
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Unhashable> {
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
    ) -> Result<(), Unhashable> {
        self.serialize_u32(index)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), Unhashable> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        value: &T,
    ) -> Result<(), Unhashable> {
        self.bytes(&index.to_le_bytes());
        value.serialize(self)
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Self, Unhashable> {
        let length = length.ok_or_else(|| Unhashable("a length must be known beforehand".to_owned()))?;
        self.length(length);
        Ok(self)
    }

    fn serialize_tuple(self, _length: usize) -> Result<Self, Unhashable> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _name: &'static str, _length: usize) -> Result<Self, Unhashable> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Self, Unhashable> {
        self.bytes(&index.to_le_bytes());
        Ok(self)
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Self, Unhashable> {
        self.serialize_seq(length)
    }

    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<Self, Unhashable> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Self, Unhashable> {
        self.bytes(&index.to_le_bytes());
        Ok(self)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

macro_rules! write_elements {
    ($($trait:ident: $method:ident),* $(,)?) => {
        $(impl ser::$trait for &mut ValueHasher {
            type Ok = ();
            type Error = Unhashable;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unhashable> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), Unhashable> {
                Ok(())
            }
        })*
    };
}

write_elements! {
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field,
}

macro_rules! write_fields {
    ($($trait:ident),* $(,)?) => {
        $(impl ser::$trait for &mut ValueHasher {
            type Ok = ();
            type Error = Unhashable;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                _name: &'static str,
                value: &T,
            ) -> Result<(), Unhashable> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), Unhashable> {
                Ok(())
            }
        })*
    };
}

write_fields! { SerializeStruct, SerializeStructVariant }

impl ser::SerializeMap for &mut ValueHasher {
    type Ok = ();
    type Error = Unhashable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unhashable> {
        key.serialize(&mut **self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unhashable> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), Unhashable> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn hash<T: Serialize>(value: &T) -> [u8; 32] {
        let mut hasher = ValueHasher::default();
        hasher.write(value);
        hasher.finish()
    }

    #[test]
    fn neighbours_can_not_trade_bytes() {
        assert_ne!(hash(&("ab", "c")), hash(&("a", "bc")));
        assert_ne!(hash(&(vec![1_u8], vec![2_u8, 3])), hash(&(vec![1_u8, 2], vec![3_u8])));
        assert_ne!(hash(&Some(0_u8)), hash(&None::<u8>));
        assert_ne!(hash(&BTreeMap::from([(1_u8, 2_u8)])), hash(&BTreeMap::from([(2_u8, 1_u8)])));
    }

    #[test]
    fn the_size_of_a_write_does_not_matter() {
        let text = "x".repeat(5 * BUFFER_BYTES + 7);
        let mut split = ValueHasher::default();
        split.bytes(&u64::try_from(text.len()).unwrap().to_le_bytes());
        for part in text.as_bytes().chunks(333) {
            split.bytes(part);
        }
        assert_eq!(hash(&text), split.finish());
    }
}
