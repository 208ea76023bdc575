//! How `slotkeeper server` ends, and what it says.

use std::net::TcpListener;
use std::path::Path;

use rustix::process::Signal;

use crate::process::{Running, run};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn failure(arguments: &[&str]) -> (i32, String) {
    let output = run(arguments);
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// A server that founds a cluster of its own on free ports.
fn alone(data_dir: &Path, peer_addr: &str) -> Running {
    let arguments =
        ["server", "--data-dir", text(data_dir), "--api-addr", "127.0.0.1:0", "--peer-addr", peer_addr];
    let founding = ["--initial-cluster", peer_addr, "--free-space-floor", "1MiB"];
    Running::start(&[arguments.as_slice(), founding.as_slice()].concat())
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn a_configuration_that_can_not_be_used_ends_with_2_and_names_the_option() {
    let (status, errors) = failure(&["server"]);
    assert_eq!(status, 2);
    assert!(errors.contains("--data-dir: is missing"), "{errors}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("slotkeeper.toml");
    std::fs::write(&file, "data_dir = 'x'\nqueue_size = 1\n").unwrap();
    let (status, errors) = failure(&["server", "--config", text(&file)]);
    assert_eq!(status, 2);
    assert!(errors.contains("line 2") && errors.contains("queue_size"), "{errors}");
}

#[test]
fn an_empty_data_directory_without_a_cluster_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let addresses = ["--api-addr", "127.0.0.1:0", "--peer-addr", "127.0.0.1:0", "--free-space-floor", "1MiB"];
    let (status, errors) =
        failure(&[["server", "--data-dir", text(&data_dir)].as_slice(), &addresses].concat());
    assert_eq!(status, 2);
    assert!(errors.contains("--initial-cluster") && errors.contains("--join"), "{errors}");
}

#[test]
fn a_port_that_is_taken_ends_with_3_and_names_the_address() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (status, errors) = failure(&[
        "server",
        "--data-dir",
        text(folder.path()),
        "--api-addr",
        &address,
        "--peer-addr",
        "127.0.0.1:0",
    ]);
    assert_eq!(status, 3);
    assert!(errors.contains(&address), "{errors}");
}

#[test]
fn a_data_directory_in_use_ends_with_3_and_a_signal_ends_the_first_server_with_0() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let mut first = alone(&data_dir, &free_address());
    let lock = data_dir.join("lock");
    crate::dev::eventually("the first server has locked its directory", || lock.exists());
    let mut second = alone(&data_dir, &free_address());
    assert_eq!(second.status(), Some(3));
    first.signal(Signal::TERM);
    assert_eq!(first.status(), Some(0));
}

#[test]
fn a_directory_that_is_started_somewhere_else_ends_with_2_and_says_where_its_node_is() {
    let folder = tempfile::tempdir().unwrap();
    let (data_dir, moved, own) = (folder.path().join("data"), folder.path().join("moved"), free_address());
    let mut server = alone(&data_dir, &own);
    crate::dev::eventually("the server has an identity", || data_dir.join("identity").exists());
    server.signal(Signal::KILL);
    assert_eq!(server.status(), None);
    std::fs::rename(&data_dir, &moved).unwrap();
    let other = free_address();
    let arguments =
        ["server", "--data-dir", text(&moved), "--api-addr", "127.0.0.1:0", "--peer-addr", &other];
    let (status, errors) = failure(&[arguments.as_slice(), &["--free-space-floor", "1MiB"]].concat());
    assert_eq!(status, 2, "{errors}");
    assert!(errors.contains("--peer-addr") && errors.contains(&format!("knows at {own}")), "{errors}");
}
