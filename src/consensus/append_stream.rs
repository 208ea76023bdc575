//! A stream of entries or heartbeats to one peer, many under way at once.
//!
//! What it promises: answers come in the order of the requests; at most [`IN_FLIGHT_MAX`] are owed; a peer that owes
//! an answer for too long ends the stream with an error; a connection is kept for reuse only if no answer is lost by
//! it; a follower that has lost what it acknowledged ends it too. What it must not do: interpret answers beyond that. Tested
//! through `tests/consensus`.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Sink, Stream};
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use tokio::time::{Instant, Sleep};

use super::connection::{Connection, ConnectionError, open_reply, seal_request};
use super::messages::{Addresses, Reply, Request};
use super::peers::{CallError, Peers, Purpose, Target};
use super::types::TypeConfig;

/// Requests that may be unanswered.
const IN_FLIGHT_MAX: usize = 64;
/// Answers of given-up heartbeats that a connection may owe and still be used.
const OWED_MAX: usize = 16;

type Answer = Result<StreamAppendResult<TypeConfig>, CallError>;

/// Requests in, answers out.
pub(super) struct AppendStream<S> {
    peers: Peers,
    target: Target,
    purpose: Purpose,
    addresses: Addresses,
    connection: Option<Connection>,
    /// The requests; `None` once they have ended.
    input: Option<S>,
    /// The term of the leader that sends; it is the same for the whole stream.
    term: u64,
    /// Unanswered requests of this stream.
    in_flight: usize,
    /// Runs while an answer is owed.
    deadline: Pin<Box<Sleep>>,
}

impl<S> AppendStream<S> {
    pub(super) fn new(
        peers: Peers,
        target: Target,
        purpose: Purpose,
        connection: Connection,
        input: S,
    ) -> Self {
        let addresses = peers.addresses_to(&target);
        let deadline = Box::pin(tokio::time::sleep(peers.timing().answer_timeout()));
        let (connection, input) = (Some(connection), Some(input));
        Self { peers, target, purpose, addresses, connection, input, term: 0, in_flight: 0, deadline }
    }

    fn restart_deadline(&mut self) {
        let at = Instant::now() + self.peers.timing().answer_timeout();
        self.deadline.as_mut().reset(at);
    }

    /// Ends the stream; the connection is dropped with it.
    fn fail(&mut self, error: CallError) -> Poll<Option<Answer>> {
        self.connection = None;
        self.input = None;
        Poll::Ready(Some(Err(error)))
    }
}

impl<S> AppendStream<S>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Unpin,
{
    /// Moves requests from the input to the connection, as far as both allow.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Result<(), ConnectionError> {
        while self.in_flight < IN_FLIGHT_MAX {
            let (Some(connection), Some(input)) = (&mut self.connection, &mut self.input) else { break };
            let mut frames = Pin::new(&mut connection.frames);
            match Sink::<Bytes>::poll_ready(frames.as_mut(), context) {
                Poll::Pending => break,
                Poll::Ready(ready) => ready?,
            }
            match Pin::new(input).poll_next(context) {
                Poll::Pending => break,
                Poll::Ready(None) => self.input = None,
                Poll::Ready(Some(request)) => {
                    self.term = request.vote.leader_id.term;
                    let request = match self.purpose {
                        Purpose::Heartbeat => Request::Heartbeat(request),
                        _ => Request::Append(request),
                    };
                    frames.as_mut().start_send(seal_request(self.addresses, &request))?;
                    if self.in_flight == 0 {
                        self.restart_deadline();
                    }
                    self.in_flight += 1;
                }
            }
        }
        if let Some(connection) = &mut self.connection {
            // Pending only means that some bytes still wait; the next poll goes on.
            let frames = Pin::new(&mut connection.frames);
            if let Poll::Ready(flushed) = Sink::<Bytes>::poll_flush(frames, context) {
                flushed?;
            }
        }
        Ok(())
    }

    /// The next answer to a request of this stream.
    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Result<Reply, ConnectionError>> {
        loop {
            let Some(connection) = &mut self.connection else {
                return Poll::Ready(Err(ConnectionError::Closed));
            };
            let message = match ready!(Pin::new(&mut connection.frames).poll_next(context)) {
                Some(message) => message?,
                None => return Poll::Ready(Err(ConnectionError::Closed)),
            };
            if connection.owed_answers > 0 {
                connection.owed_answers -= 1;
                continue;
            }
            return Poll::Ready(open_reply(&message));
        }
    }
}

impl<S> Stream for AppendStream<S>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Unpin,
{
    type Item = Answer;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Answer>> {
        let this = self.get_mut();
        if this.connection.is_none() {
            return Poll::Ready(None);
        }
        if let Err(error) = this.poll_send(context) {
            return this.fail(error.into());
        }
        if this.input.is_none() && this.in_flight == 0 {
            return Poll::Ready(None);
        }
        match this.poll_answer(context) {
            Poll::Ready(Ok(reply)) => match this.peers.checked(&this.target, reply) {
                Ok(Reply::Append(reply)) if this.in_flight > 0 => {
                    this.in_flight -= 1;
                    this.restart_deadline();
                    match this.peers.acknowledged(&this.target, this.term, &reply) {
                        Ok(()) => Poll::Ready(Some(Ok(reply.into()))),
                        Err(error) => this.fail(error),
                    }
                }
                Ok(_) => this.fail(CallError::Unexpected),
                Err(error) => this.fail(error),
            },
            Poll::Ready(Err(error)) => this.fail(error.into()),
            Poll::Pending if this.in_flight > 0 => {
                ready!(this.deadline.as_mut().poll(context));
                let waited = this.peers.timing().answer_timeout();
                this.fail(CallError::Timeout(waited))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S> Drop for AppendStream<S> {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let is_finished = self.input.is_none() && self.in_flight == 0;
        // A heartbeat that is given up after its interval leaves its answer owed; tearing the connection down for it
        // would make a slow follower slower.
        let is_heartbeat =
            self.purpose == Purpose::Heartbeat && connection.owed_answers + self.in_flight <= OWED_MAX;
        if is_finished || is_heartbeat {
            connection.owed_answers += self.in_flight;
            self.peers.keep(&self.target, self.purpose, connection);
        }
    }
}
