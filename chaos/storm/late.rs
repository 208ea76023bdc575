//! Frames that are late, out of order or doubled: what a bad link does to them, without the link and without a clock.
//!
//! What it promises: the same weather, seed, arrivals and times give the same departures; a frame leaves when it is due and
//! never before; where order is kept, no frame passes another one of its direction; memory is bounded, and what does not
//! fit is dropped and counted. What it must not do: read a clock, or look into a frame. Tested in `tests/linearizability`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Frames that are held at once: beyond it they are dropped, as in any queue. Six megabytes.
pub const FRAMES_MAX: usize = 4_096;

/// What is done to the frames of both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// How late a frame is, on average.
    pub delay: Duration,
    /// How much later or sooner than that, at most; never more than the delay.
    pub jitter: Duration,
    /// A frame that is less late than the one before it waits for it.
    pub in_order: bool,
    /// This share of frames comes a second time, in percent. The second one is late once more and passes whom it likes.
    pub doubled_percent: u32,
}

impl Weather {
    /// How late every frame is at least.
    pub fn least(&self) -> Duration {
        self.delay.saturating_sub(self.jitter)
    }

    fn draw(&self, random: &mut StdRng) -> Duration {
        random.random_range(self.least()..=self.delay + self.jitter)
    }
}

/// Which way a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the others to the server with the bad link.
    ToServer,
    /// From it to the others.
    FromServer,
}

/// What the link was seen to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Frames that left at least as late as the weather promises.
    pub delayed: u64,
    /// Frames that left after one that had arrived later.
    pub overtaken: u64,
    /// Frames that left twice.
    pub doubled: u64,
    /// Frames for which there was no room.
    pub dropped: u64,
}

struct Held {
    arrived: Instant,
    direction: Direction,
    is_copy: bool,
    frame: Vec<u8>,
}

/// The frames under way on one link.
pub struct LateFrames {
    weather: Weather,
    random: StdRng,
    /// By the time when it is due; what is due at one time leaves as it arrived.
    held: BTreeMap<(Instant, u64), Held>,
    arrivals: u64,
    /// By direction: when the last one of those that keep their order is due.
    last_due: [Option<Instant>; 2],
    /// By direction: the newest arrival that has left.
    newest_left: [u64; 2],
    seen: Seen,
}

impl LateFrames {
    /// An empty link.
    pub fn new(weather: Weather, seed: u64) -> Self {
        Self {
            weather,
            random: StdRng::seed_from_u64(seed),
            held: BTreeMap::new(),
            arrivals: 0,
            last_due: [None; 2],
            newest_left: [0; 2],
            seen: Seen::default(),
        }
    }

    /// A frame arrives.
    pub fn take(&mut self, now: Instant, direction: Direction, frame: Vec<u8>) {
        let mut due = now + self.weather.draw(&mut self.random);
        if self.weather.in_order {
            let last = &mut self.last_due[direction as usize];
            due = last.map_or(due, |last| due.max(last));
            *last = Some(due);
        }
        if self.random.random_ratio(self.weather.doubled_percent.min(100), 100) {
            let due_again = due + self.weather.draw(&mut self.random);
            self.hold(due, Held { arrived: now, direction, is_copy: false, frame: frame.clone() });
            self.hold(due_again, Held { arrived: now, direction, is_copy: true, frame });
        } else {
            self.hold(due, Held { arrived: now, direction, is_copy: false, frame });
        }
    }

    fn hold(&mut self, due: Instant, held: Held) {
        if self.held.len() >= FRAMES_MAX {
            self.seen.dropped += 1;
            return;
        }
        self.arrivals += 1;
        self.held.insert((due, self.arrivals), held);
    }

    /// When the next frame is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.held.first_key_value().map(|((due, _), _)| *due)
    }

    /// The next frame that is due by now.
    pub fn give(&mut self, now: Instant) -> Option<(Direction, Vec<u8>)> {
        let next = self.held.first_entry().filter(|next| next.key().0 <= now)?;
        let ((_, arrival), held) = next.remove_entry();
        if held.is_copy {
            self.seen.doubled += 1;
        } else {
            let newest = &mut self.newest_left[held.direction as usize];
            self.seen.overtaken += u64::from(arrival < *newest);
            *newest = arrival.max(*newest);
            self.seen.delayed += u64::from(now - held.arrived >= self.weather.least());
        }
        Some((held.direction, held.frame))
    }

    /// What it did so far.
    pub fn seen(&self) -> Seen {
        self.seen
    }
}
