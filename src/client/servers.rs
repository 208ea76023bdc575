//! The list of servers and which of them to ask next.
//!
//! Promises: a call starts at the server that answered well last; a failure moves to the next one, and after as many
//! failures as there are servers all have been asked. What answers tell about the leader is used: once the server with
//! the leader's node id is known, calls start there and save the hop. Must not: do any I/O. Tested below.

/// Which server to ask, by its place in the list.
pub(super) type ServerIndex = usize;

/// The servers in the order in which they were given, then those that a redirection named.
#[derive(Debug)]
pub(super) struct Servers {
    addresses: Vec<String>,
    /// The node id that each server last said it has.
    nodes: Vec<Option<u64>>,
    preferred: ServerIndex,
}

/// Addresses kept beyond the configured ones; a redirection beyond it is followed by nobody.
const LEARNED_MAX: usize = 16;

impl Servers {
    /// `addresses` must not be empty; calls start at `first`, counted around the list.
    pub(super) fn new(addresses: Vec<String>, first: u64) -> Self {
        assert!(!addresses.is_empty(), "a client has at least one server");
        let count = u64::try_from(addresses.len()).expect("a list in memory has fewer than 2^64 entries");
        let preferred = usize::try_from(first % count).expect("it is below the length of the list");
        Self { nodes: vec![None; addresses.len()], addresses, preferred }
    }

    pub(super) fn count(&self) -> usize {
        self.addresses.len()
    }

    pub(super) fn preferred(&self) -> ServerIndex {
        self.preferred
    }

    pub(super) fn address(&self, server: ServerIndex) -> &str {
        &self.addresses[server]
    }

    pub(super) fn after(&self, server: ServerIndex) -> ServerIndex {
        (server + 1) % self.addresses.len()
    }

    /// Takes what an answer of `server` told: the node that answered and the leader. A follower passes the leader's
    /// answer on as it is, so a server may seem to be the leader and is not; that costs a hop, so such a server is as good
    /// a start as any that serves.
    pub(super) fn answered(&mut self, server: ServerIndex, node: Option<u64>, leader: Option<u64>) {
        if node.is_some() {
            self.nodes[server] = node;
        }
        let known = self.nodes.iter().position(|node| node.is_some() && *node == leader);
        self.preferred = match known {
            Some(leading) if node != leader => leading,
            _ => server,
        };
    }

    /// `server` failed: what it told is forgotten, and calls that would start there start at the next one.
    pub(super) fn failed(&mut self, server: ServerIndex) {
        self.nodes[server] = None;
        if self.preferred == server {
            self.preferred = self.after(server);
        }
    }

    /// The place of `address`, which a redirection named; `None` if too many were named already.
    pub(super) fn redirected(&mut self, address: &str, configured: usize) -> Option<ServerIndex> {
        if let Some(known) = self.addresses.iter().position(|known| known == address) {
            return Some(known);
        }
        if self.addresses.len() >= configured + LEARNED_MAX {
            return None;
        }
        self.addresses.push(address.to_owned());
        self.nodes.push(None);
        Some(self.addresses.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Servers {
        Servers::new(vec!["http://a:1".into(), "http://b:1".into(), "http://c:1".into()], 4)
    }

    #[test]
    fn a_failed_server_is_left_and_all_servers_are_asked_in_turn() {
        let mut servers = three();
        assert_eq!(servers.address(servers.preferred()), "http://b:1");
        servers.failed(1);
        assert_eq!(servers.preferred(), 2);
        servers.failed(1);
        assert_eq!(servers.preferred(), 2, "the failure of another server changes nothing");
        assert_eq!(servers.after(2), 0);
    }

    #[test]
    fn calls_start_at_the_leader_once_its_server_is_known() {
        let mut servers = three();
        servers.answered(1, Some(12), Some(13));
        assert_eq!(servers.preferred(), 1, "the server of node 13 is not known yet");
        servers.answered(2, Some(13), Some(13));
        servers.answered(1, Some(12), Some(13));
        assert_eq!(servers.preferred(), 2);
    }

    #[test]
    fn a_server_that_failed_is_not_where_calls_start_because_of_what_it_told_before() {
        let mut servers = three();
        // Servers 0 and 1 both pass on what leader 13 answers.
        servers.answered(0, Some(13), Some(13));
        servers.answered(1, Some(13), Some(13));
        assert_eq!(servers.preferred(), 1, "both serve; the last one that did is the start");
        servers.answered(0, Some(13), Some(13));
        servers.failed(0);
        servers.answered(2, Some(14), Some(13));
        assert_eq!(servers.preferred(), 1);
    }

    #[test]
    fn a_redirection_adds_an_address_once_and_only_so_many() {
        let mut servers = three();
        assert_eq!(servers.redirected("http://b:1", 3), Some(1));
        assert_eq!(servers.redirected("http://d:1", 3), Some(3));
        assert_eq!(servers.redirected("http://d:1", 3), Some(3));
        for port in 0..20 {
            servers.redirected(&format!("http://e:{port}"), 3);
        }
        assert_eq!(servers.count(), 3 + LEARNED_MAX);
    }
}
