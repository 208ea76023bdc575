//! `slotkeeper dev`: ready, used, ended, and started again on the same folder.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::process::{DEADLINE, Running, run};

/// Waits until `holds`.
pub fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "still not so: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn start(arguments: &[&str]) -> (Running, Value) {
    let options = ["--output", "json", "dev", "--port", "0"];
    let mut dev = Running::start(&[options.as_slice(), arguments].concat());
    let ready = dev.lines_until("}");
    (dev, serde_json::from_str(&ready).unwrap())
}

fn servers(ready: &Value) -> String {
    let servers = ready["servers"].as_array().unwrap().iter();
    servers.map(|server| server.as_str().unwrap()).collect::<Vec<_>>().join(",")
}

fn ask(servers: &str, arguments: &[&str]) -> Value {
    let output = run(&[["--servers", servers, "--output", "json"].as_slice(), arguments].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn end(mut dev: Running) {
    dev.signal(Signal::INT);
    assert_eq!(dev.status(), Some(0));
}

#[test]
fn a_development_cluster_serves_and_leaves_nothing_behind() {
    let (dev, ready) = start(&[]);
    let servers = servers(&ready);
    assert_eq!(ready["servers"].as_array().unwrap().len(), 3);
    assert_eq!(ready["task_managers"].as_array().unwrap().len(), 4);
    let data_dir = Path::new(ready["data_dir"].as_str().unwrap()).to_owned();
    assert!(data_dir.join("server-3").exists());
    ask(&servers, &["jobs", "put", "demo"]);
    let granted = ask(&servers, &["alloc", "demo", "--slots", "3"]);
    assert_eq!(granted["allocations"].as_array().unwrap().len(), 3);
    end(dev);
    assert!(!data_dir.exists());
}

#[test]
fn a_folder_keeps_the_cluster_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().to_str().unwrap();
    let arguments = ["--data-dir", data_dir, "--task-managers", "1", "--slots", "2"];
    let (dev, ready) = start(&arguments);
    let addresses = servers(&ready);
    ask(&addresses, &["jobs", "put", "kept"]);
    end(dev);
    let (dev, ready) = start(&arguments);
    assert_eq!(servers(&ready), addresses);
    assert_eq!(ask(&addresses, &["jobs", "get", "kept"])["state"], "running");
    let listed = ask(&addresses, &["task-managers", "list"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    end(dev);
}
