//! Resource profiles and ceilings as the HTTP API writes them.
//!
//! What it promises: missing amounts of a profile are zero and missing amounts of a ceiling are unlimited; a profile
//! becomes the domain's profile without loss. What it must not do: compare or add; the domain does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};

use super::objects::{object_only, unique_map};
use super::units::{CpuCores, MemorySize};
use crate::domain::ids::Name;
use crate::domain::resources::{ResourceLimit, ResourceProfile, Usage};

/// Memory in requests: bytes, or a text with a unit. Answers always use bytes.
fn memory_schema() -> impl Into<RefOr<Schema>> {
    let bytes = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
    let text = ObjectBuilder::new().schema_type(Type::String).examples(["1GiB", "512m"]);
    OneOfBuilder::new().item(bytes).item(text)
}

/// What a slot or a TaskManager has. Missing amounts are zero.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({
    "cpu_cores": 1.5, "task_heap_memory": "1GiB", "task_off_heap_memory": 0, "managed_memory": "512MiB",
    "network_memory": "64MiB", "extended_resources": {"gpu": 1}
}))]
pub struct Profile {
    /// CPU cores, a decimal with at most three places.
    #[schema(value_type = f64, minimum = 0)]
    pub cpu_cores: CpuCores,
    /// Heap for tasks: bytes, or in requests also a text such as `1GiB` or `512m`.
    #[schema(schema_with = memory_schema)]
    pub task_heap_memory: MemorySize,
    /// Off-heap memory for tasks, written like the heap.
    #[schema(schema_with = memory_schema)]
    pub task_off_heap_memory: MemorySize,
    /// Managed memory, written like the heap.
    #[schema(schema_with = memory_schema)]
    pub managed_memory: MemorySize,
    /// Network memory, written like the heap.
    #[schema(schema_with = memory_schema)]
    pub network_memory: MemorySize,
    /// Named amounts, for example `gpu`.
    #[serde(deserialize_with = "unique_map")]
    #[schema(value_type = BTreeMap<String, u64>)]
    pub extended_resources: BTreeMap<Name, u64>,
}

object_only! { Profile }

impl From<&ResourceProfile> for Profile {
    fn from(profile: &ResourceProfile) -> Self {
        let memory = |bytes| MemorySize { bytes };
        Self {
            cpu_cores: CpuCores { millis: profile.cpu_millis },
            task_heap_memory: memory(profile.task_heap_bytes),
            task_off_heap_memory: memory(profile.task_off_heap_bytes),
            managed_memory: memory(profile.managed_bytes),
            network_memory: memory(profile.network_bytes),
            extended_resources: profile.extended().clone(),
        }
    }
}

impl From<&Profile> for ResourceProfile {
    fn from(profile: &Profile) -> Self {
        let mut plain = Self::default();
        plain.cpu_millis = profile.cpu_cores.millis;
        plain.task_heap_bytes = profile.task_heap_memory.bytes;
        plain.task_off_heap_bytes = profile.task_off_heap_memory.bytes;
        plain.managed_bytes = profile.managed_memory.bytes;
        plain.network_bytes = profile.network_memory.bytes;
        let extended = &profile.extended_resources;
        extended.iter().fold(plain, |sum, (name, amount)| sum.with_extended(name.clone(), *amount))
    }
}

/// A ceiling: only what is named is limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"slots": 100, "cpu_cores": 64}))]
pub struct Ceiling {
    /// Slots at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<u64>,
    /// CPU cores, a decimal with at most three places.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, minimum = 0)]
    pub cpu_cores: Option<CpuCores>,
    /// Heap for tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = memory_schema)]
    pub task_heap_memory: Option<MemorySize>,
    /// Off-heap memory for tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = memory_schema)]
    pub task_off_heap_memory: Option<MemorySize>,
    /// Managed memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = memory_schema)]
    pub managed_memory: Option<MemorySize>,
    /// Network memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = memory_schema)]
    pub network_memory: Option<MemorySize>,
    /// Named amounts.
    #[serde(deserialize_with = "unique_map", skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, u64>)]
    pub extended_resources: BTreeMap<Name, u64>,
}

object_only! { Ceiling }

impl From<&ResourceLimit> for Ceiling {
    fn from(limit: &ResourceLimit) -> Self {
        let [cpu, heap, off_heap, managed, network] = limit.plain;
        let memory = |bytes: Option<u64>| bytes.map(|bytes| MemorySize { bytes });
        Self {
            slots: limit.slots,
            cpu_cores: cpu.map(|millis| CpuCores { millis }),
            task_heap_memory: memory(heap),
            task_off_heap_memory: memory(off_heap),
            managed_memory: memory(managed),
            network_memory: memory(network),
            extended_resources: limit.extended.clone(),
        }
    }
}

impl From<&Ceiling> for ResourceLimit {
    fn from(ceiling: &Ceiling) -> Self {
        let memory = |size: Option<MemorySize>| size.map(|size| size.bytes);
        Self {
            slots: ceiling.slots,
            plain: [
                ceiling.cpu_cores.map(|cpu| cpu.millis),
                memory(ceiling.task_heap_memory),
                memory(ceiling.task_off_heap_memory),
                memory(ceiling.managed_memory),
                memory(ceiling.network_memory),
            ],
            extended: ceiling.extended_resources.clone(),
        }
    }
}

/// What is held: slots and the sum of their profiles.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Used {
    /// Slots held.
    pub slots: u64,
    /// The sum of their profiles, member by member.
    #[serde(flatten)]
    pub profile: UsedProfile,
}

/// The sum of profiles: like [`Profile`], for answers only and without its bounds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsedProfile {
    /// CPU cores.
    #[schema(value_type = f64)]
    pub cpu_cores: CpuCores,
    /// Heap for tasks, in bytes.
    pub task_heap_memory: u64,
    /// Off-heap memory for tasks, in bytes.
    pub task_off_heap_memory: u64,
    /// Managed memory, in bytes.
    pub managed_memory: u64,
    /// Network memory, in bytes.
    pub network_memory: u64,
    /// Named amounts.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub extended_resources: BTreeMap<Name, u64>,
}

impl From<&Usage> for Used {
    fn from(usage: &Usage) -> Self {
        let profile = &usage.profile;
        Self {
            slots: usage.slots,
            profile: UsedProfile {
                cpu_cores: CpuCores { millis: profile.cpu_millis },
                task_heap_memory: profile.task_heap_bytes,
                task_off_heap_memory: profile.task_off_heap_bytes,
                managed_memory: profile.managed_bytes,
                network_memory: profile.network_bytes,
                extended_resources: profile.extended().clone(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_survives_the_way_into_the_domain_and_back() {
        let json = r#"{"cpu_cores":1.5,"task_heap_memory":"1GiB","extended_resources":{"gpu":1}}"#;
        let profile: Profile = serde_json::from_str(json).unwrap();
        let domain = ResourceProfile::from(&profile);
        assert_eq!((domain.cpu_millis, domain.task_heap_bytes), (1500, 1 << 30));
        assert_eq!(Profile::from(&domain), profile);
    }

    #[test]
    fn a_ceiling_limits_only_what_it_names() {
        let ceiling: Ceiling = serde_json::from_str(r#"{"slots":3}"#).unwrap();
        let limit = ResourceLimit::from(&ceiling);
        assert_eq!((limit.slots, limit.plain), (Some(3), [None; 5]));
        assert_eq!(serde_json::to_string(&Ceiling::from(&limit)).unwrap(), r#"{"slots":3}"#);
    }

    #[test]
    fn unknown_and_repeated_members_are_refused() {
        for json in
            [r#"{"cpu":1}"#, r#"{"cpu_cores":1,"cpu_cores":2}"#, r#"{"extended_resources":{"a":1,"a":2}}"#]
        {
            assert!(serde_json::from_str::<Profile>(json).is_err(), "{json} is taken");
        }
    }
}
