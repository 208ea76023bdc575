//! Whether a member of a cluster that is to be recovered still runs.
//!
//! What it promises: asks over the API, because that is what clients would reach; a bounded time for each address. What it
//! must not do: take a silent address for a proof; a member behind a partition can not be asked.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use uuid::Uuid;

/// How long a member may take to take a connection, if it runs.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// How long it may be silent before it says which cluster it is of; it asks the other members first.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// More than a description of a cluster has.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Whether a member of the cluster listens at the address: it says so, or it takes a connection and says nothing, as a
/// process that is stopped does. Somebody else who has the address now answers something else. Blocks.
pub(super) fn still_runs(api_addr: &str, cluster_id: Uuid) -> bool {
    let mut addresses = api_addr.to_socket_addrs().into_iter().flatten();
    let connected = addresses.find_map(|address| TcpStream::connect_timeout(&address, CONNECT_WITHIN).ok());
    let Some(mut stream) = connected else { return false };
    let request = format!(
        "GET /v1/cluster?consistency=stale HTTP/1.1\r\nhost: {api_addr}\r\nconnection: close\r\n\r\n"
    );
    let mut answer = Vec::new();
    let asked = stream
        .set_read_timeout(Some(ANSWER_WITHIN))
        .and_then(|()| stream.write_all(request.as_bytes()))
        .and_then(|()| stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer));
    match asked {
        Ok(_) => String::from_utf8_lossy(&answer).contains(&cluster_id.to_string()),
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers one connection with `text`, and gives the address.
    fn answering(text: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            stream.write_all(text.as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn only_a_member_of_the_same_cluster_stands_against_a_recovery() {
        let (ours, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let answer = |id: Uuid| answering(format!("HTTP/1.1 200 OK\r\n\r\n{{\"cluster_id\":\"{id}\"}}"));
        assert!(still_runs(&answer(ours), ours));
        assert!(!still_runs(&answer(other), ours));
        assert!(!still_runs(&answering("SSH-2.0\r\n".to_owned()), ours));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let gone = listener.local_addr().unwrap().to_string();
        drop(listener);
        assert!(!still_runs(&gone, ours));
    }
}
