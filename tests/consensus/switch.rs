//! A network whose links can be cut, each direction for itself: bytes vanish and nothing is reset, as behind a dead
//! switch. What a node is answered can be late, too.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use slotkeeper::consensus::{BoxedStream, PeerListener, TcpTransport, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// The links that are cut, from one peer address to another, and the nodes whose answers are late.
#[derive(Debug, Clone, Default)]
pub struct Switch {
    cut: Arc<Mutex<BTreeSet<(String, String)>>>,
    late: Arc<Mutex<BTreeMap<String, Duration>>>,
}

impl Switch {
    /// The network as the node at this address has it.
    pub fn transport(&self, own: &str) -> Arc<dyn Transport> {
        Arc::new(SwitchedTransport { switch: self.clone(), own: own.to_owned() })
    }

    /// Cuts what `from` says to `to`.
    pub fn cut(&self, from: &str, to: &str) {
        self.cut.lock().unwrap().insert((from.to_owned(), to.to_owned()));
    }

    /// Cuts a node from all the others, in both directions.
    pub fn isolate(&self, node: &str, others: &[String]) {
        for other in others.iter().filter(|other| *other != node) {
            self.cut(node, other);
            self.cut(other, node);
        }
    }

    /// From now on, what others answer to `node` comes so much later; what it says comes in time.
    pub fn delay_answers(&self, node: &str, late: Duration) {
        self.late.lock().unwrap().insert(node.to_owned(), late);
    }

    pub fn heal(&self) {
        self.cut.lock().unwrap().clear();
        self.late.lock().unwrap().clear();
    }

    fn lateness(&self, node: &str) -> Duration {
        self.late.lock().unwrap().get(node).copied().unwrap_or_default()
    }

    fn is_cut(&self, from: &str, to: &str) -> bool {
        self.cut.lock().unwrap().contains(&(from.to_owned(), to.to_owned()))
    }
}

#[derive(Debug)]
struct SwitchedTransport {
    switch: Switch,
    own: String,
}

#[async_trait]
impl Transport for SwitchedTransport {
    async fn connect(&self, address: &str) -> io::Result<BoxedStream> {
        if self.switch.is_cut(&self.own, address) || self.switch.is_cut(address, &self.own) {
            return std::future::pending().await;
        }
        let stream = TcpTransport.connect(address).await?;
        let (own, peer) = (self.own.clone(), address.to_owned());
        Ok(Box::new(Link {
            switch: self.switch.clone(),
            own,
            peer,
            stream,
            lost_bytes: false,
            held: VecDeque::new(),
            is_at_end: false,
            waking: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }))
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn PeerListener>> {
        TcpTransport.listen(address).await
    }
}

/// A connection through the switch, on the side that opened it.
struct Link {
    switch: Switch,
    own: String,
    peer: String,
    stream: BoxedStream,
    /// Bytes have vanished, so what follows would make no sense: after healing the connection is reset.
    lost_bytes: bool,
    /// What has arrived late, and when it may be read; nothing stands for the end.
    held: VecDeque<(Instant, Vec<u8>)>,
    is_at_end: bool,
    waking: Pin<Box<Sleep>>,
}

impl Link {
    fn poll_late(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        late: Duration,
    ) -> Poll<io::Result<()>> {
        let mut chunk = [0; 4_096];
        while !self.is_at_end {
            let mut into = ReadBuf::new(&mut chunk);
            if Pin::new(&mut self.stream).poll_read(context, &mut into)?.is_pending() {
                break;
            }
            self.is_at_end = into.filled().is_empty();
            self.held.push_back((Instant::now() + late, into.filled().to_vec()));
        }
        let Some((due, bytes)) = self.held.front_mut() else { return Poll::Pending };
        self.waking.as_mut().reset(*due);
        ready!(self.waking.as_mut().poll(context));
        let count = bytes.len().min(buffer.remaining());
        buffer.put_slice(&bytes[..count]);
        bytes.drain(..count);
        if bytes.is_empty() {
            self.held.pop_front();
        }
        Poll::Ready(Ok(()))
    }

    fn reset_if_lost(&self) -> io::Result<()> {
        if self.lost_bytes { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.switch.is_cut(&self.peer, &self.own) {
            self.lost_bytes = true;
            // Deadlines look again.
            return Poll::Pending;
        }
        self.reset_if_lost()?;
        let late = self.switch.lateness(&self.own);
        if late.is_zero() && self.held.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        self.get_mut().poll_late(context, buffer, late)
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.switch.is_cut(&self.own, &self.peer) {
            self.lost_bytes = true;
            return Poll::Ready(Ok(bytes.len()));
        }
        self.reset_if_lost()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
