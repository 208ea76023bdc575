//! Words on the peer port that no honest node would say.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use slotkeeper::codec::{self, Format};
use slotkeeper::consensus::{BoxedStream, PeerListener, TcpTransport, Transport};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::consensus_cluster::{Cluster, Settings, record, session};
use crate::mutation::{Dice, cases, mutated};

/// The envelope of requests between peers.
pub const REQUEST_FORMAT: Format = Format { magic: *b"SKpq", version: 1 };
/// Cluster, sender and receiver at the head of every request, as long as ids are small.
pub const ADDRESSES_BYTES: usize = 17 + 18 + 18;
/// What is kept of a conversation.
const KEPT_BYTES: usize = 256 << 10;

type Heard = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// TCP that writes down what is said, and to whom.
#[derive(Debug, Clone, Default)]
pub struct ListeningTransport {
    heard: Heard,
}

struct Tapped {
    stream: BoxedStream,
    heard: Heard,
    place: usize,
}

#[async_trait]
impl Transport for ListeningTransport {
    async fn connect(&self, address: &str) -> io::Result<BoxedStream> {
        let stream = TcpTransport.connect(address).await?;
        let mut heard = self.heard.lock().unwrap();
        heard.push((address.to_owned(), Vec::new()));
        Ok(Box::new(Tapped { stream, heard: self.heard.clone(), place: heard.len() - 1 }))
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn PeerListener>> {
        TcpTransport.listen(address).await
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        let written = std::task::ready!(std::pin::Pin::new(&mut self.stream).poll_write(context, bytes))?;
        let mut heard = self.heard.lock().unwrap();
        let said = &mut heard[self.place].1;
        if said.len() < KEPT_BYTES {
            said.extend_from_slice(&bytes[..written]);
        }
        std::task::Poll::Ready(Ok(written))
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl tokio::io::AsyncRead for Tapped {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

/// The whole messages of a conversation.
pub fn messages(said: &[u8]) -> Vec<Vec<u8>> {
    let (mut messages, mut rest) = (Vec::new(), said);
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap();
        if after.len() < length {
            break;
        }
        messages.push(after[..length].to_vec());
        rest = &after[length..];
    }
    messages
}

/// What was said so far, and to whom.
pub fn honest_messages(transport: &ListeningTransport) -> Vec<(String, Vec<u8>)> {
    let heard = transport.heard.lock().unwrap().clone();
    heard
        .iter()
        .flat_map(|(address, said)| messages(said).into_iter().map(|message| (address.clone(), message)))
        .filter(|(_, message)| {
            codec::open_bytes(REQUEST_FORMAT, message).is_ok_and(|body| body.len() > ADDRESSES_BYTES)
        })
        .collect()
}

/// A message that no honest node sends: damaged on its way, of another cluster or node, cut, or with too much in it.
fn dishonest(message: &[u8], dice: &mut Dice) -> Vec<u8> {
    let reseal = |body: &[u8]| codec::seal_bytes(REQUEST_FORMAT, body).to_vec();
    let body = codec::open_bytes(REQUEST_FORMAT, message).unwrap();
    let framed = |message: &[u8]| {
        let length = u32::try_from(message.len()).unwrap();
        [&length.to_le_bytes()[..], message].concat()
    };
    match dice.below(6) {
        0 => framed(&mutated(message, dice)),
        1 => {
            // The cluster, or the receiver: the sender's own words about itself are checked by the receiver's answer.
            let at = *dice.pick(&[dice.clone().below(17), 35 + dice.clone().below(18)]);
            let mut body = body.to_vec();
            body[at] ^= 1 << dice.below(8);
            framed(&reseal(&body))
        }
        2 => framed(&reseal(&body[..dice.below(body.len())])),
        3 => framed(&reseal(&[body, &[0]].concat())),
        4 => {
            let mut body = body.to_vec();
            body[ADDRESSES_BYTES] = 60 + u8::try_from(dice.below(100)).unwrap();
            framed(&reseal(&body))
        }
        _ => [&u32::MAX.to_le_bytes()[..], message].concat(),
    }
}

/// Sends `bytes` and gives the connection a moment to be answered or closed.
async fn say(address: &str, bytes: &[u8]) {
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    // The receiver may close while bytes are still on their way: that is a refusal too.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
}

/// Three nodes whose words are listened to, with a session and so many records that all of them have applied.
pub async fn listened_cluster(records: u64) -> (Cluster, ListeningTransport) {
    let transport = ListeningTransport::default();
    let settings = Settings { transport: Arc::new(transport.clone()), ..Settings::default() };
    let cluster = Cluster::of_three(settings).await;
    cluster.apply(session(1)).await;
    for at in 0..records {
        cluster.apply(record(2_000 + at)).await;
    }
    cluster.agree().await;
    (cluster, transport)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_honest_node_says_changes_nothing() {
    let (cluster, transport) = listened_cluster(50).await;
    let leader = cluster.leader().await;
    let (revision, hash) = cluster.node(leader).replica.state_hash();
    let honest = honest_messages(&transport);
    assert!(honest.len() > 50, "only {} messages were heard", honest.len());
    let mut dice = Dice::new(3);
    for _ in 0..cases(600) {
        let (address, message) = dice.pick(&honest).clone();
        say(&address, &dishonest(&message, &mut dice)).await;
    }
    cluster.agree().await;
    for node in cluster.running() {
        assert_eq!(node.replica.state_hash(), (revision, hash), "node {} has changed", node.id());
    }
    cluster.apply(record(9_000)).await;
    cluster.agree().await;
}
