//! Amounts of resources as people read them.

use crate::api::resources::{Ceiling, Profile, Used};
use crate::api::units::{CpuCores, MemorySize};

/// `cpu=1.5 heap=1GiB gpu=1`; only what is not zero. `-` if everything is.
pub(super) fn amounts(profile: &Profile) -> String {
    let memory = |size: MemorySize| (size.bytes > 0).then(|| memory(size));
    let mut parts: Vec<(String, String)> = [
        ("cpu", (profile.cpu_cores.millis > 0).then(|| cores(profile.cpu_cores))),
        ("heap", memory(profile.task_heap_memory)),
        ("off_heap", memory(profile.task_off_heap_memory)),
        ("managed", memory(profile.managed_memory)),
        ("network", memory(profile.network_memory)),
    ]
    .into_iter()
    .filter_map(|(name, amount)| Some((name.to_owned(), amount?)))
    .collect();
    parts.extend(
        profile.extended_resources.iter().map(|(name, amount)| (name.to_string(), amount.to_string())),
    );
    joined(parts)
}

/// `slots=10 cpu=4`; only what is limited. `-` if nothing is.
pub(super) fn limits(ceiling: &Ceiling) -> String {
    let mut parts: Vec<(String, String)> = [
        ("slots", ceiling.slots.map(|slots| slots.to_string())),
        ("cpu", ceiling.cpu_cores.map(cores)),
        ("heap", ceiling.task_heap_memory.map(memory)),
        ("off_heap", ceiling.task_off_heap_memory.map(memory)),
        ("managed", ceiling.managed_memory.map(memory)),
        ("network", ceiling.network_memory.map(memory)),
    ]
    .into_iter()
    .filter_map(|(name, amount)| Some((name.to_owned(), amount?)))
    .collect();
    parts.extend(
        ceiling.extended_resources.iter().map(|(name, amount)| (name.to_string(), amount.to_string())),
    );
    joined(parts)
}

/// `slots=3 cpu=1.5`: what is held.
pub(super) fn held(used: &Used) -> String {
    let plain = &used.profile;
    let profile = Profile {
        cpu_cores: plain.cpu_cores,
        task_heap_memory: MemorySize { bytes: plain.task_heap_memory },
        task_off_heap_memory: MemorySize { bytes: plain.task_off_heap_memory },
        managed_memory: MemorySize { bytes: plain.managed_memory },
        network_memory: MemorySize { bytes: plain.network_memory },
        extended_resources: plain.extended_resources.clone(),
    };
    match amounts(&profile).as_str() {
        "-" => format!("slots={}", used.slots),
        amounts => format!("slots={} {amounts}", used.slots),
    }
}

fn joined(parts: Vec<(String, String)>) -> String {
    if parts.is_empty() {
        return "-".to_owned();
    }
    let parts: Vec<String> = parts.into_iter().map(|(name, amount)| format!("{name}={amount}")).collect();
    parts.join(" ")
}

fn cores(cpu: CpuCores) -> String {
    let (whole, rest) = (cpu.millis / 1000, cpu.millis % 1000);
    if rest == 0 {
        return whole.to_string();
    }
    format!("{whole}.{rest:03}").trim_end_matches('0').to_owned()
}

/// The largest unit that says it exactly.
fn memory(size: MemorySize) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let exact = units.into_iter().find(|(_, shift)| size.bytes > 0 && size.bytes.is_multiple_of(1 << shift));
    match exact {
        Some((unit, shift)) => format!("{}{unit}", size.bytes >> shift),
        None => format!("{}B", size.bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_they_are_read() {
        let text = "cpu=1.05 heap=1GiB network=1000B gpu=2";
        let read = crate::cli::values::profile(&text.replace(' ', ",")).unwrap();
        assert_eq!(amounts(&read), text);
        assert_eq!(amounts(&Profile::default()), "-");
        let ceiling = crate::cli::values::ceiling("slots=0,cpu=4").unwrap();
        assert_eq!(limits(&ceiling), "slots=0 cpu=4");
    }
}
