//! JSON objects of requests, read strictly.
//!
//! What it promises: a key that comes twice is refused instead of silently replaced, and an array is never taken for an
//! object (serde's derived readers would take its items as the members in their order); so what was meant is what is done.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Reads a map and refuses a repeated key; for `#[serde(deserialize_with)]`.
///
/// # Errors
/// As the keys and values do, and for a key that comes twice.
pub fn unique_map<'de, D, K, V>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord + Display,
    V: Deserialize<'de>,
{
    deserializer.deserialize_map(UniqueMap(PhantomData))
}

struct UniqueMap<K, V>(PhantomData<(K, V)>);

impl<'de, K, V> Visitor<'de> for UniqueMap<K, V>
where
    K: Deserialize<'de> + Ord + Display,
    V: Deserialize<'de>,
{
    type Value = BTreeMap<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = access.next_entry::<K, V>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("`{key}` comes twice")));
            }
            map.insert(key, value);
        }
        Ok(map)
    }
}

/// A value that is read from an object only, for the outermost value of a request.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(access)).map(Object)
    }
}

/// A shape whose derived reader is kept beside the trait (`#[serde(remote = "Self")]`), so that the trait can be
/// strict.
pub(super) trait Members<'de>: Sized {
    /// Reads the members of an object.
    fn from_members<A: MapAccess<'de>>(access: A) -> Result<Self, A::Error>;
}

pub(super) struct MembersVisitor<T>(pub(super) PhantomData<T>);

impl<'de, T: Members<'de>> Visitor<'de> for MembersVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<T, A::Error> {
        T::from_members(access)
    }
}

/// Makes shapes with `#[serde(remote = "Self")]` read from objects only, wherever they stand in a request.
macro_rules! object_only {
    ($($shape:ty)*) => {$(
        impl<'de> super::objects::Members<'de> for $shape {
            fn from_members<A: serde::de::MapAccess<'de>>(access: A) -> Result<Self, A::Error> {
                // The reader that the derive has put beside the trait.
                <$shape>::deserialize(serde::de::value::MapAccessDeserializer::new(access))
            }
        }

        impl<'de> serde::Deserialize<'de> for $shape {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_map(super::objects::MembersVisitor(std::marker::PhantomData))
            }
        }

        impl serde::Serialize for $shape {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                <$shape>::serialize(self, serializer)
            }
        }
    )*};
}

pub(super) use object_only;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::allocations::AllocationRequest;
    use crate::api::jobs::PutJob;
    use crate::api::requirements::PutRequirements;

    fn is_read<T: for<'de> Deserialize<'de>>(json: &str) -> bool {
        serde_json::from_str::<Object<T>>(json).is_ok()
    }

    #[test]
    fn an_array_is_never_taken_for_an_object() {
        assert!(!is_read::<PutJob>("[]"));
        assert!(!is_read::<AllocationRequest>(r#"{"slots":1,"profile":[]}"#));
        assert!(!is_read::<AllocationRequest>(r#"{"slots":1,"prefer":[["tm-1"]]}"#));
        assert!(!is_read::<AllocationRequest>(r#"{"slots":1,"constraints":[["zone","exists"]]}"#));
        assert!(!is_read::<PutRequirements>(r#"{"version":1,"requirements":[["a",null,0,1]]}"#));
        assert!(is_read::<AllocationRequest>(r#"{"slots":1,"profile":{},"prefer":{},"constraints":[]}"#));
    }

    #[test]
    fn what_is_strict_to_read_is_written_as_ever() {
        let json = r#"{"version":1,"requirements":[{"name":"a","min":0,"desired":1,"prefer":{}}]}"#;
        let put: PutRequirements = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&put).unwrap(), json);
    }
}
