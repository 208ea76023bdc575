//! What a server says to a configuration that it can not use.

use std::net::TcpListener;

use super::program;

#[test]
fn an_unknown_key_in_the_file_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("slotkeeper.toml");
    std::fs::write(&file, "data_dir = \"data\"\napi_addr = \"127.0.0.1:0\"\nqueue_size = 3\n").unwrap();
    let ended = program::run(folder.path(), &["server", "--config", file.to_str().unwrap()]);
    assert_eq!(ended.status, Some(2), "{}", ended.said);
    for part in ["line 3", "queue_size", file.to_str().unwrap()] {
        assert!(ended.said.contains(part), "`{part}` is not in:\n{}", ended.said);
    }
}

#[test]
fn a_port_in_use_is_named_and_may_be_tried_again_later() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for addresses in [
        ["--api-addr", &taken, "--peer-addr", "127.0.0.1:0"],
        ["--api-addr", "127.0.0.1:0", "--peer-addr", &taken],
    ] {
        let arguments = [&["server", "--data-dir", data][..], &addresses[..]].concat();
        let ended = program::run(folder.path(), &arguments);
        assert_eq!(ended.status, Some(3), "{}", ended.said);
        assert!(ended.said.contains(&taken) && ended.said.contains("in use"), "{}", ended.said);
    }
    assert!(!std::path::Path::new(data).exists(), "a server that can not listen leaves no data directory");
}

#[test]
fn a_data_directory_that_is_a_file_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::write(&data, "not a directory").unwrap();
    let data = data.to_str().unwrap();
    let arguments = ["server", "--data-dir", data, "--api-addr", "127.0.0.1:0", "--peer-addr", "127.0.0.1:0"];
    let ended = program::run(folder.path(), &arguments);
    assert_eq!(ended.status, Some(74), "{}", ended.said);
    assert!(ended.said.contains(data) && !ended.said.contains("panicked"), "{}", ended.said);
}
