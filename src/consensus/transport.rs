//! How bytes get from one node to another: a seam, so that a simulated network can take the place of TCP.
//!
//! What it promises: connections are ordered and reliable byte streams that end when the other side ends. What it must
//! not do: know frames, nodes or the engine. Tested through `tests/consensus`.

use std::fmt;
use std::io;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// Both directions of a connection.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// A connection of any transport.
pub type BoxedStream = Box<dyn ByteStream>;

/// Opens connections and listens for them.
#[async_trait]
pub trait Transport: Send + Sync + fmt::Debug {
    /// Connects to `address`. The caller brings the deadline.
    async fn connect(&self, address: &str) -> io::Result<BoxedStream>;

    /// Listens on `address`; port 0 takes a free one.
    async fn listen(&self, address: &str) -> io::Result<Box<dyn PeerListener>>;
}

/// Takes connections in.
#[async_trait]
pub trait PeerListener: Send {
    /// The next connection, and where it comes from.
    async fn accept(&mut self) -> io::Result<(BoxedStream, String)>;

    /// The address that others connect to, with the port that was taken.
    fn address(&self) -> io::Result<String>;
}

/// TCP without delays.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpTransport;

#[async_trait]
impl Transport for TcpTransport {
    async fn connect(&self, address: &str) -> io::Result<BoxedStream> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn PeerListener>> {
        Ok(Box::new(TcpListener::bind(address).await?))
    }
}

#[async_trait]
impl PeerListener for TcpListener {
    async fn accept(&mut self) -> io::Result<(BoxedStream, String)> {
        let (stream, remote) = TcpListener::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok((Box::new(stream), remote.to_string()))
    }

    fn address(&self) -> io::Result<String> {
        Ok(self.local_addr()?.to_string())
    }
}
