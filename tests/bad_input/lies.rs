//! Messages between peers that are whole, in the name of the real leader, and can not be true.
//!
//! Each is written in the layout of `src/consensus/messages.rs`, by hand. What is asserted: none is agreed to, no state
//! changes, no node ends, and what is written next gets the next revision.

use std::time::Duration;

use slotkeeper::codec;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::consensus_cluster::{Cluster, record};
use crate::peers::{ADDRESSES_BYTES, ListeningTransport, REQUEST_FORMAT, honest_messages, listened_cluster};

/// A request for appending begins so.
const APPEND: u8 = 0;
/// One for a heartbeat, which is an append without entries.
const HEARTBEAT: u8 = 11;
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// What the leader could truly say to one follower.
pub struct Truth {
    address: String,
    /// Cluster, sender and receiver.
    head: Vec<u8>,
    pub leader: u64,
    pub term: u64,
    pub last: u64,
}

type LogId = (u64, u64);

fn number(value: u64) -> Vec<u8> {
    codec::encode(&value).unwrap()
}

fn log_id((term, index): LogId) -> Vec<u8> {
    [number(term), number(index)].concat()
}

pub fn vote(term: u64, node: u64, is_committed: bool) -> Vec<u8> {
    [number(term), vec![1], number(node), vec![u8::from(is_committed)]].concat()
}

fn entry(id: LogId, content: &[u8]) -> Vec<u8> {
    [log_id(id), vec![1], number(content.len() as u64), content.to_vec()].concat()
}

fn append(vote: &[u8], before: LogId, entries: &[Vec<u8>]) -> Vec<u8> {
    let count = number(entries.len() as u64);
    [&[APPEND][..], vote, &[1], &log_id(before), &count, &entries.concat(), &[0]].concat()
}

fn heartbeat(vote: &[u8], before: LogId, entries: &[Vec<u8>]) -> Vec<u8> {
    let mut message = append(vote, before, entries);
    message[0] = HEARTBEAT;
    message
}

/// A snapshot: what it claims to hold up to, the length that is announced, its only piece, and the checksum.
pub fn snapshot(vote: &[u8], last: LogId, announced: u64, (piece, checksum): (&[u8], u32)) -> Vec<Vec<u8>> {
    let no_members = [0, 0, 0, 0];
    let begin = [&[4][..], vote, &[1], &log_id(last), &no_members, &number(announced)].concat();
    let piece = [&[5][..], &number(piece.len() as u64), piece].concat();
    vec![begin, piece, [&[6][..], &codec::encode(&checksum).unwrap()].concat()]
}

impl Truth {
    pub async fn told(cluster: &Cluster, transport: &ListeningTransport, follower: usize) -> Self {
        let leader = cluster.node(cluster.leader().await).id();
        let status = cluster.node(follower).consensus.status();
        let address = cluster.places[follower].peer_addr.clone();
        let is_from_leader =
            |body: &[u8]| body[ADDRESSES_BYTES] == APPEND && body[17] == leader.to_le_bytes()[0];
        let heard = honest_messages(transport).into_iter().filter(|(to, _)| *to == address);
        let mut bodies =
            heard.map(|(_, message)| codec::open_bytes(REQUEST_FORMAT, &message).unwrap().to_vec());
        let body = bodies.find(|body| is_from_leader(body)).expect("the leader has spoken to this follower");
        let head = body[..ADDRESSES_BYTES].to_vec();
        Self { address, head, leader, term: status.term, last: status.last_log_index }
    }

    /// Entries that no leader can send.
    fn appends(&self) -> Vec<(&'static str, Vec<Vec<u8>>)> {
        let Self { leader, term, last, .. } = *self;
        let (before, record) = ((term, last), record(7_000));
        let now = vote(term, leader, true);
        let of = |ids: &[LogId]| {
            append(&now, before, &ids.iter().map(|id| entry(*id, &record)).collect::<Vec<_>>())
        };
        let holding = |content: &[u8]| append(&now, before, &[entry((term, last + 1), content)]);
        let under = |vote: &[u8]| append(vote, before, &[entry((term - 1, last + 1), &record)]);
        let beyond = append(&now, (term, last + 10), &[entry((term, last + 11), &record)]);
        [
            ("of an old term", under(&vote(term - 1, leader, true))),
            ("of another leader in the term", under(&vote(term, leader % 3 + 1, true))),
            ("after a hole", of(&[(term, last + 2)])),
            ("with a hole", of(&[(term, last + 1), (term, last + 3)])),
            ("in reverse", of(&[(term, last + 2), (term, last + 1)])),
            ("of which one is the one before", of(&[(term, last)])),
            ("of a term above the leader's", of(&[(term + 1, last + 1)])),
            ("whose terms fall", of(&[(term - 1, last + 1)])),
            ("after one that is not there", beyond),
            ("of which one is empty", holding(&[])),
            ("of which one is no record", holding(&[1; 100])),
            ("of which one is cut", holding(&record[..record.len() - 1])),
            ("of which one has 8 MiB", holding(&codec::seal_bytes(REQUEST_FORMAT, &vec![0; 8 << 20]))),
        ]
        .map(|(name, message)| (name, vec![message]))
        .into()
    }

    fn heartbeats(&self) -> Vec<(&'static str, Vec<Vec<u8>>)> {
        let Self { leader, term, last, .. } = *self;
        let now = vote(term, leader, true);
        let entries = [entry((term, last + 1), &record(7_000))];
        let old = vote(term - 1, leader, true);
        vec![
            ("a heartbeat of an old term", vec![heartbeat(&old, (term - 1, last), &[])]),
            ("a heartbeat after an entry that is not there", vec![heartbeat(&now, (term, last + 10), &[])]),
            ("a heartbeat with an entry", vec![heartbeat(&now, (term, last), &entries)]),
        ]
    }

    fn votes(&self) -> Vec<(&'static str, Vec<Vec<u8>>)> {
        let Self { leader, term, last, .. } = *self;
        let ask = |kind: u8, term: u64, last: LogId| {
            vec![[&[kind][..], &vote(term, leader, false), &[1], &log_id(last), &[0]].concat()]
        };
        vec![
            ("a vote in an old term", ask(1, term - 1, (term, last))),
            ("a vote below what is there", ask(1, term + 1, (term, last - 1))),
            ("a vote with a log of old terms", ask(1, term + 1, (term - 1, last + 100))),
            ("a pre-vote in an old term", ask(2, term - 1, (term, last))),
            ("a pre-vote below what is there", ask(2, term + 1, (term, last - 1))),
        ]
    }

    fn snapshots(&self) -> Vec<(&'static str, Vec<Vec<u8>>)> {
        let Self { leader, term, last, .. } = *self;
        let (now, ahead, body) = (vote(term, leader, true), (term, last + 100), &b"no state"[..]);
        let (bytes, right) = (body.len() as u64, crc32c::crc32c(body));
        vec![
            ("a snapshot with a wrong checksum", snapshot(&now, ahead, bytes, (body, right ^ 1))),
            ("a snapshot shorter than announced", snapshot(&now, ahead, bytes + 1, (body, right))),
            ("a snapshot longer than announced", snapshot(&now, ahead, bytes - 1, (body, right))),
            ("a snapshot of a term to come", snapshot(&now, (term + 1, last + 100), bytes, (body, right))),
            (
                "a snapshot of an old leader",
                snapshot(&vote(term - 1, leader, true), (term - 1, last + 100), bytes, (body, right)),
            ),
            ("a snapshot of what is applied", snapshot(&now, (term, last - 1), bytes, (body, right))),
        ]
    }

    /// Says these messages on one connection; gives the contents of the answers.
    pub async fn say(&self, messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut stream = TcpStream::connect(&self.address).await.expect("the node listens");
        for message in messages {
            let sealed = codec::seal_bytes(REQUEST_FORMAT, &[&self.head[..], message].concat());
            let length = u32::try_from(sealed.len()).unwrap().to_le_bytes();
            // The receiver may close while bytes are still on their way: that is a refusal too.
            let _ = stream.write_all(&[&length[..], &sealed].concat()).await;
        }
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(ANSWER_WITHIN, stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "neither an answer nor an end");
        let contents = |message: &Vec<u8>| message[codec::ENVELOPE_BYTES..].to_vec();
        crate::peers::messages(&answer).iter().map(contents).collect()
    }
}

/// Whether this is a yes: the log agrees, or a vote is granted.
fn is_agreement(answer: &[u8]) -> bool {
    match answer {
        [0, 0, ..] => true,
        // A vote, its term, its node and whether it is committed come first.
        [1, _, 1, _, _, is_granted, ..] => *is_granted != 0,
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_leader_can_mean_is_agreed_to_by_nobody() {
    let (cluster, transport) = listened_cluster(20).await;
    let leader = cluster.leader().await;
    let (revision, hash) = cluster.node(leader).replica.state_hash();
    for follower in (0..3).filter(|place| *place != leader) {
        let truth = Truth::told(&cluster, &transport, follower).await;
        let honest = heartbeat(&vote(truth.term, truth.leader, true), (truth.term, truth.last), &[]);
        assert!(is_agreement(&truth.say(&[honest]).await[0]), "the leader itself is agreed with");
        let lies = [truth.appends(), truth.heartbeats(), truth.votes(), truth.snapshots()].concat();
        for (name, messages) in lies {
            let answers = truth.say(&messages).await;
            assert!(answers.iter().all(|answer| !is_agreement(answer)), "{name}: {answers:?}");
            for node in cluster.running() {
                assert_eq!(
                    node.replica.state_hash(),
                    (revision, hash),
                    "{name}: node {} has changed",
                    node.id()
                );
            }
        }
    }
    let applied = cluster.apply(record(9_000)).await;
    assert_eq!(applied.revision, revision.next(), "something else was applied before it");
    cluster.agree().await;
}
