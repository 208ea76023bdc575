//! The addresses of the servers of `slotkeeper dev`.
//!
//! What it promises: a folder that is used again gets the addresses that it had, because a cluster knows its members
//! by them; without a folder the usual ports are taken where they are free. What it must not do: leave loopback.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::exit::ServerError;

/// Where the addresses are written down, in the folder of all servers.
const FILE_NAME: &str = "addresses.toml";

/// The addresses of one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevServer {
    /// Where clients reach it, as `HOST:PORT`.
    pub api_addr: String,
    /// Where the other servers reach it, as `HOST:PORT`.
    pub peer_addr: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct AddressFile {
    server: Vec<DevServer>,
}

/// The addresses of `count` servers whose folders lie in `folder`: those written down there, or else the usual ones from
/// `first_port` on, or else free ones. They are written down for the next time.
///
/// # Errors
/// `Unavailable` if the addresses can not be read, written or had.
pub(super) fn addresses(folder: &Path, count: u16, first_port: u16) -> Result<Vec<DevServer>, ServerError> {
    let path = folder.join(FILE_NAME);
    let refused = |problem: String| ServerError::Unavailable(format!("{}: {problem}", path.display()));
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let file: AddressFile = toml::from_str(&text).map_err(|error| refused(error.to_string()))?;
            Ok(file.server)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let server = usual(count, first_port).map_or_else(|| free(count), Ok);
            let file = AddressFile { server: server.map_err(|error| refused(error.to_string()))? };
            let text = toml::to_string(&file).map_err(|error| refused(error.to_string()))?;
            std::fs::write(&path, text).map_err(|error| refused(error.to_string()))?;
            Ok(file.server)
        }
        Err(error) => Err(refused(error.to_string())),
    }
}

/// The usual ports, if there are such and all of them are free: API and peer port of the first server, then ten further on those of the next.
fn usual(count: u16, first_port: u16) -> Option<Vec<DevServer>> {
    if first_port == 0 {
        return None;
    }
    let ports = |number: u16| {
        let api = first_port.checked_add(number.checked_mul(10)?)?;
        Some((api, api.checked_add(1)?))
    };
    let ports: Vec<(u16, u16)> = (0..count).map(ports).collect::<Option<_>>()?;
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let all_free = ports.iter().all(|(api, peer)| is_free(*api) && is_free(*peer));
    all_free.then(|| ports.into_iter().map(|(api, peer)| server(api, peer)).collect())
}

/// Ports below those that systems give to outgoing connections: one of these would be taken by a connection of somebody
/// else sooner or later, and a cluster that starts again needs the ports that it had.
const FREE_PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Free ports, from a place on that differs from process to process. All are held until the last is found, so that no two
/// are the same.
fn free(count: u16) -> io::Result<Vec<DevServer>> {
    let span = u32::from(FREE_PORTS.end - FREE_PORTS.start);
    let from =
        FREE_PORTS.start + u16::try_from(std::process::id().wrapping_mul(61) % span).unwrap_or_default();
    let mut ports = (from..FREE_PORTS.end).chain(FREE_PORTS.start..from);
    let mut bind = || {
        let bound = ports.find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
        bound.ok_or_else(|| io::Error::new(io::ErrorKind::AddrInUse, "no port from 20000 to 31999 is free"))
    };
    let held: Vec<(TcpListener, TcpListener)> =
        (0..count).map(|_| Ok((bind()?, bind()?))).collect::<io::Result<_>>()?;
    held.iter().map(|(api, peer)| Ok(server(api.local_addr()?.port(), peer.local_addr()?.port()))).collect()
}

fn server(api_port: u16, peer_port: u16) -> DevServer {
    DevServer { api_addr: format!("127.0.0.1:{api_port}"), peer_addr: format!("127.0.0.1:{peer_port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_used_again_keeps_its_addresses() {
        let folder = tempfile::tempdir().unwrap();
        let first = addresses(folder.path(), 3, 0).unwrap();
        assert_eq!(addresses(folder.path(), 3, 0).unwrap(), first);
        let port = |address: &str| address.rsplit(':').next().unwrap().parse::<u16>().unwrap();
        let none_is_lent = |server: &DevServer| {
            FREE_PORTS.contains(&port(&server.api_addr)) && FREE_PORTS.contains(&port(&server.peer_addr))
        };
        assert!(first.iter().all(none_is_lent), "an outgoing connection may take such a port: {first:?}");
    }

    #[test]
    fn a_port_that_is_taken_moves_all_servers_to_free_ports() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let servers = addresses(folder.path(), 3, port).unwrap();
        let taken = format!("127.0.0.1:{port}");
        assert_eq!(servers.len(), 3);
        assert!(servers.iter().all(|server| server.api_addr != taken && server.api_addr != server.peer_addr));
    }
}
