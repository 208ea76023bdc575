//! One simulated machine: a runtime of one thread whose clock moves when the driver says so.
//!
//! A crash is the end of the runtime: every task of the node is gone at that moment, as after kill -9. A pause is time in
//! which the driver does not step the machine; afterwards its clock jumps, as after SIGSTOP and SIGCONT.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use slotkeeper::clock::Clock;
use tokio::runtime::{Builder, Runtime};

/// The wall clock at the beginning of every run.
pub const START_WALL_MS: u64 = 1_700_000_000_000;

pub struct Machine {
    runtime: Runtime,
    clock: Arc<MachineClock>,
}

/// The clocks of one machine.
#[derive(Debug)]
pub struct MachineClock {
    boot: Instant,
    boot_ms: u64,
    /// How fast its clocks go, in percent of real time.
    rate_percent: u64,
    wall_offset_ms: AtomicI64,
}

impl Clock for MachineClock {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn wall_ms(&self) -> u64 {
        let since_boot = u64::try_from(self.now().duration_since(self.boot).as_millis()).unwrap_or(0);
        (START_WALL_MS + self.boot_ms + since_boot)
            .saturating_add_signed(self.wall_offset_ms.load(Ordering::Relaxed))
    }
}

impl Machine {
    /// A machine that is switched on at `now_ms` with a wall clock that is off by `wall_offset_ms`, and clocks that go at
    /// `rate_percent` of real time.
    pub fn boot(now_ms: u64, wall_offset_ms: i64, rate_percent: u64) -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let boot = runtime.block_on(async { tokio::time::Instant::now().into_std() });
        let wall_offset_ms = AtomicI64::new(wall_offset_ms);
        Self {
            runtime,
            clock: Arc::new(MachineClock { boot, boot_ms: now_ms, rate_percent, wall_offset_ms }),
        }
    }

    pub fn clock(&self) -> Arc<MachineClock> {
        Arc::clone(&self.clock)
    }

    pub fn set_wall_offset_ms(&self, offset_ms: i64) {
        self.clock.wall_offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    /// Lets the machine run for the millisecond that begins at `now_ms`; by its own clock that may be none or two.
    pub fn step(&self, now_ms: u64) {
        for _ in self.local_ms(now_ms)..self.local_ms(now_ms + 1) {
            self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
        }
    }

    fn local_ms(&self, ms: u64) -> u64 {
        ms * self.clock.rate_percent / 100
    }

    /// The clock goes on, but nothing ran.
    pub fn jump(&self, by_ms: u64) {
        self.runtime.block_on(tokio::time::advance(Duration::from_millis(self.local_ms(by_ms))));
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// Runs `begin` where tasks can be spawned.
    pub fn within<T>(&self, begin: impl FnOnce() -> T) -> T {
        let _entered = self.runtime.enter();
        begin()
    }
}
