//! On what it was measured.

use serde::Serialize;

/// The machine of the load generator; with a cluster elsewhere the servers' machines are others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Hardware {
    pub(super) cores: usize,
    pub(super) cpu: String,
    pub(super) kernel: String,
    /// Programs that wanted a core in the last minute, before the run.
    pub(super) load_average: String,
}

impl Hardware {
    /// What this machine says about itself; `unknown` for what it does not say.
    pub(super) fn read() -> Self {
        let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let or_unknown = |text: &str| match text.trim() {
            "" => "unknown".to_owned(),
            text => text.to_owned(),
        };
        let cpus = file("/proc/cpuinfo");
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: or_unknown(model.map_or("", |(_, model)| model)),
            kernel: or_unknown(&file("/proc/sys/kernel/osrelease")),
            load_average: or_unknown(file("/proc/loadavg").split(' ').next().unwrap_or_default()),
        }
    }
}
