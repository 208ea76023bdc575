//! The local socket of an agent: one JSON document on one line for each connection.
//!
//! Promises: a socket file that a dead agent left behind is taken over; one that another agent serves is not. The file is
//! for its owner and group only and goes when the agent ends. Must not: take commands. Tested in `tests/agent/`.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tracing::warn;

use super::view::AgentView;
use crate::clock::Clock;

/// How long one reader may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// A bound socket; its file is removed when it is dropped.
#[derive(Debug)]
pub(super) struct ViewSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ViewSocket {
    /// Binds `path`.
    pub(super) async fn bind(path: &Path) -> io::Result<Self> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if UnixStream::connect(path).await.is_ok() {
                    return Err(io::Error::new(error.kind(), "another agent serves this socket"));
                }
                std::fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            other => other?,
        };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves the view until the task is dropped.
    pub(super) async fn serve(self, view: watch::Receiver<AgentView>, clock: Arc<dyn Clock>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let document = view.borrow().document(clock.now());
                    tokio::spawn(tokio::time::timeout(WRITE_TIMEOUT, write(stream, document)));
                }
                Err(error) => {
                    // For example too many open files: not for ever, so not a reason to end.
                    warn!(%error, "a connection to the local socket was not taken");
                    tokio::time::sleep(WRITE_TIMEOUT).await;
                }
            }
        }
    }
}

impl Drop for ViewSocket {
    fn drop(&mut self) {
        // It may be gone already; then somebody else removed it.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn write(mut stream: UnixStream, document: String) {
    // A reader that has gone needs no answer.
    let _ = stream.write_all(document.as_bytes()).await;
    let _ = stream.write_all(b"\n").await;
    let _ = stream.shutdown().await;
}
