//! A network whose links can be cut, each direction for itself: bytes vanish and nothing is reset, as behind a dead
//! switch.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use async_trait::async_trait;
use slotkeeper::consensus::{BoxedStream, PeerListener, TcpTransport, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The links that are cut, from one peer address to another.
#[derive(Debug, Clone, Default)]
pub struct Switch {
    cut: Arc<Mutex<BTreeSet<(String, String)>>>,
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

    pub fn heal(&self) {
        self.cut.lock().unwrap().clear();
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
        Ok(Box::new(Link { switch: self.switch.clone(), own, peer, stream, lost_bytes: false }))
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
}

impl Link {
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
        Pin::new(&mut self.stream).poll_read(context, buffer)
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
