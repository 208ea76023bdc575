//! The network between the nodes: ordered byte streams over links that delay, break and can be cut, each direction for
//! itself.
//!
//! What is lost on a link arrives late, as TCP sends it again, or breaks the connection. Through a cut nothing arrives;
//! when it heals, a connection goes on or breaks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use slotkeeper::consensus::{BoxedStream, PeerListener, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, oneshot};

use crate::draw::Draw;

/// Clones share the network.
#[derive(Clone)]
pub struct Network {
    state: Arc<Mutex<State>>,
}

struct State {
    draw: Draw,
    now_ms: u64,
    delay_max_ms: u64,
    loss_in_ten_thousand: u64,
    cut: BTreeSet<(usize, usize)>,
    listeners: BTreeMap<usize, mpsc::UnboundedSender<Stream>>,
    dials: Vec<Dial>,
    pipes: BTreeMap<u64, Pipe>,
    next_pipe: u64,
}

struct Dial {
    from: usize,
    to: usize,
    due_ms: u64,
    reply: oneshot::Sender<io::Result<Stream>>,
}

/// One direction of a connection.
struct Pipe {
    from: usize,
    to: usize,
    other: u64,
    on_its_way: VecDeque<(u64, Vec<u8>)>,
    arrived: VecDeque<u8>,
    reader: Option<Waker>,
    /// The writer has gone: after what is on its way comes the end.
    is_closed: bool,
    is_ended: bool,
    breaks_at_ms: Option<u64>,
    was_cut: bool,
}

pub fn peer_addr(place: usize) -> String {
    format!("peer-{place}:7000")
}

fn place_of(address: &str) -> io::Result<usize> {
    let place = address.strip_prefix("peer-").and_then(|rest| rest.strip_suffix(":7000"));
    place.and_then(|place| place.parse().ok()).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

impl Network {
    /// A network with delays up to `delay_max_ms`, of whose writes up to so many are lost.
    pub fn new(mut draw: Draw, delay_max_ms: u64, loss_max_in_ten_thousand: u64) -> Self {
        let state = State {
            now_ms: 0,
            delay_max_ms: draw.within(1..=delay_max_ms),
            loss_in_ten_thousand: draw.within(0..=loss_max_in_ten_thousand),
            cut: BTreeSet::new(),
            listeners: BTreeMap::new(),
            dials: Vec::new(),
            pipes: BTreeMap::new(),
            next_pipe: 0,
            draw,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The network as the node at `place` has it.
    pub fn at(&self, place: usize) -> Arc<dyn Transport> {
        Arc::new(Plug { network: self.clone(), place })
    }

    pub fn listen(&self, place: usize) -> Box<dyn PeerListener> {
        let (sender, incoming) = mpsc::unbounded_channel();
        self.state.lock().unwrap().listeners.insert(place, sender);
        Box::new(Listener { place, incoming })
    }

    /// Cuts what the first of each pair says to the second, and nothing else.
    pub fn cut(&self, pairs: BTreeSet<(usize, usize)>) {
        self.state.lock().unwrap().cut = pairs;
    }

    /// No loss and short delays from now on.
    pub fn calm_down(&self) {
        let mut state = self.state.lock().unwrap();
        (state.loss_in_ten_thousand, state.delay_max_ms) = (0, 4);
        state.cut.clear();
    }

    /// A machine is gone. Its peers notice at once if only its process died, else after a while.
    pub fn crash(&self, place: usize, is_power_cut: bool) {
        let mut state = self.state.lock().unwrap();
        state.listeners.remove(&place);
        let now_ms = state.now_ms;
        let noticed_ms = now_ms + if is_power_cut { state.draw.within(500..=3_000) } else { 1 };
        for pipe in state.pipes.values_mut().filter(|pipe| pipe.from == place || pipe.to == place) {
            pipe.breaks_at_ms.get_or_insert(noticed_ms);
            if pipe.from == place && is_power_cut {
                pipe.on_its_way.clear();
            }
        }
    }

    /// Delivers what is due.
    pub fn tick(&self, now_ms: u64) {
        let mut answers = Vec::new();
        let mut accepted = Vec::new();
        {
            let mut state = self.state.lock().unwrap();
            state.now_ms = now_ms;
            state.deliver();
            for dial in std::mem::take(&mut state.dials) {
                let is_cut =
                    state.cut.contains(&(dial.from, dial.to)) || state.cut.contains(&(dial.to, dial.from));
                if dial.due_ms > now_ms || (is_cut && !dial.reply.is_closed()) {
                    state.dials.push(dial);
                } else if let Some(listener) = state.listeners.get(&dial.to).cloned() {
                    let (near, far) = state.connect(&self.state, dial.from, dial.to);
                    accepted.push((listener, far));
                    answers.push((dial.reply, Ok(near)));
                } else {
                    answers.push((dial.reply, Err(io::ErrorKind::ConnectionRefused.into())));
                }
            }
        }
        // A stream that nobody takes is dropped here, outside the lock.
        for (listener, stream) in accepted {
            let _ = listener.send(stream);
        }
        for (reply, answer) in answers {
            let _ = reply.send(answer);
        }
    }
}

impl State {
    fn delay_ms(&mut self) -> u64 {
        let limit_ms = self.delay_max_ms;
        let usual = self.draw.within(1..=limit_ms);
        if self.draw.in_ten_thousand(self.loss_in_ten_thousand) {
            return usual + self.draw.within(50..=1_000);
        }
        usual
    }

    fn connect(&mut self, shared: &Arc<Mutex<State>>, from: usize, to: usize) -> (Stream, Stream) {
        let (there, back) = (self.next_pipe, self.next_pipe + 1);
        self.next_pipe += 2;
        self.pipes.insert(there, Pipe::new(from, to, back));
        self.pipes.insert(back, Pipe::new(to, from, there));
        let stream = |read, write, remote| Stream { state: Arc::clone(shared), read, write, remote };
        (stream(back, there, to), stream(there, back, from))
    }

    fn deliver(&mut self) {
        let now_ms = self.now_ms;
        let mut broken = Vec::new();
        for (id, pipe) in &mut self.pipes {
            if self.cut.contains(&(pipe.from, pipe.to)) {
                pipe.was_cut |= pipe.on_its_way.front().is_some_and(|(due_ms, _)| *due_ms <= now_ms);
                continue;
            }
            if std::mem::take(&mut pipe.was_cut) && self.draw.percent(50) {
                pipe.breaks_at_ms = Some(now_ms);
            }
            let mut is_news = false;
            while pipe.on_its_way.front().is_some_and(|(due_ms, _)| *due_ms <= now_ms) {
                let (_, bytes) = pipe.on_its_way.pop_front().expect("it was just seen");
                pipe.arrived.extend(bytes);
                is_news = true;
            }
            if pipe.is_closed && pipe.on_its_way.is_empty() && !pipe.is_ended && pipe.breaks_at_ms.is_none() {
                pipe.is_ended = true;
                is_news = true;
            }
            if pipe.breaks_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
                broken.push(*id);
            }
            if is_news && let Some(reader) = pipe.reader.take() {
                reader.wake();
            }
        }
        for id in broken {
            self.break_off(id);
        }
    }

    /// Both directions are gone; whoever still holds an end is told so.
    fn break_off(&mut self, id: u64) {
        let other = self.pipes.get(&id).map(|pipe| pipe.other);
        for id in std::iter::once(id).chain(other) {
            if let Some(Pipe { reader: Some(reader), .. }) = self.pipes.remove(&id) {
                reader.wake();
            }
        }
    }
}

impl Pipe {
    fn new(from: usize, to: usize, other: u64) -> Self {
        Self {
            from,
            to,
            other,
            on_its_way: VecDeque::new(),
            arrived: VecDeque::new(),
            reader: None,
            is_closed: false,
            is_ended: false,
            breaks_at_ms: None,
            was_cut: false,
        }
    }
}

struct Plug {
    network: Network,
    place: usize,
}

impl fmt::Debug for Plug {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "plug {}", self.place)
    }
}

#[async_trait]
impl Transport for Plug {
    async fn connect(&self, address: &str) -> io::Result<BoxedStream> {
        let to = place_of(address)?;
        let (reply, answer) = oneshot::channel();
        {
            let mut state = self.network.state.lock().unwrap();
            let due_ms = state.now_ms + 2 * state.delay_ms();
            state.dials.push(Dial { from: self.place, to, due_ms, reply });
        }
        let stream = answer.await.unwrap_or_else(|_| Err(io::ErrorKind::ConnectionReset.into()))?;
        Ok(Box::new(stream))
    }

    async fn listen(&self, _address: &str) -> io::Result<Box<dyn PeerListener>> {
        Ok(self.network.listen(self.place))
    }
}

struct Listener {
    place: usize,
    incoming: mpsc::UnboundedReceiver<Stream>,
}

#[async_trait]
impl PeerListener for Listener {
    async fn accept(&mut self) -> io::Result<(BoxedStream, String)> {
        match self.incoming.recv().await {
            Some(stream) => {
                let remote = peer_addr(stream.remote);
                Ok((Box::new(stream), remote))
            }
            None => std::future::pending().await,
        }
    }

    fn address(&self) -> io::Result<String> {
        Ok(peer_addr(self.place))
    }
}

/// One end of a connection.
struct Stream {
    state: Arc<Mutex<State>>,
    read: u64,
    write: u64,
    remote: usize,
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.state.lock().unwrap();
        let Some(pipe) = state.pipes.get_mut(&self.read) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        if pipe.arrived.is_empty() && !pipe.is_ended {
            pipe.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = buffer.remaining().min(pipe.arrived.len());
        for byte in pipe.arrived.drain(..count) {
            buffer.put_slice(&[byte]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.state.lock().unwrap();
        let (now_ms, delay_ms) = (state.now_ms, state.delay_ms());
        let breaks_in_ten_thousand = state.loss_in_ten_thousand / 20;
        let breaks = state.draw.in_ten_thousand(breaks_in_ten_thousand);
        let Some(pipe) = state.pipes.get_mut(&self.write) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let before_ms = pipe.on_its_way.back().map_or(0, |(due_ms, _)| *due_ms);
        pipe.on_its_way.push_back((before_ms.max(now_ms + delay_ms), bytes.to_vec()));
        if breaks {
            pipe.breaks_at_ms.get_or_insert(now_ms + delay_ms);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let Ok(mut state) = self.state.lock() else { return };
        if let Some(pipe) = state.pipes.get_mut(&self.write) {
            pipe.is_closed = true;
        }
        // What still comes has no reader, and the writer notices; after a power cut only when the connection breaks.
        if state.pipes.get(&self.read).is_some_and(|pipe| pipe.breaks_at_ms.is_none()) {
            state.pipes.remove(&self.read);
        }
    }
}
