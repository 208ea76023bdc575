//! The faults of the cluster simulation: crashes, power cuts, pauses, slow disks, cut networks.

use crate::calls::Server;
use crate::cluster::Cluster;
use crate::trace;
use crate::world::World;

impl Cluster {
    /// What may go wrong in this millisecond.
    pub fn trouble(&mut self, world: &mut World) {
        self.come_back(world, false);
        if self.heal_at_ms.take_if(|at_ms| *at_ms <= world.now_ms).is_some() {
            trace::note("the network is whole");
            self.network.heal();
        }
        for place in 0..self.seats.len() {
            let crash_percent = self.seats[place].place.disk.take_crash_percent();
            if crash_percent > 0 && world.draw.percent(crash_percent) {
                self.crash_for_a_while(world, place);
            }
        }
        match world.draw.within(0..=9_999) {
            0..=2 => {
                let place = self.somebody(world);
                self.crash_for_a_while(world, place);
            }
            3 => {
                for place in 0..self.seats.len() {
                    if self.seats[place].running.is_some() {
                        let back_in_ms = world.draw.within(1..=1_500);
                        self.crash(world, place, back_in_ms);
                    }
                }
            }
            4..=6 if self.heal_at_ms.is_none() => self.cut(world),
            7..=8 => {
                let (place, for_ms) = (self.somebody(world), world.draw.within(100..=4_000));
                if self.seats[place].running.is_some() {
                    world.pause(place, for_ms);
                }
            }
            9 => {
                let (place, sync_max_ms) = (self.somebody(world), world.draw.within(1..=250));
                trace::note(&format!("the disk of server {place} takes up to {sync_max_ms} ms"));
                self.seats[place].place.disk.slow_down(sync_max_ms);
            }
            _ => {}
        }
    }

    /// No fault from now on; who is down comes back.
    pub fn calm_down(&mut self, world: &mut World) {
        self.heal_at_ms = None;
        self.network.calm_down();
        self.operator.is_active = false;
        for seat in &self.seats {
            seat.place.disk.slow_down(4);
        }
        self.come_back(world, true);
    }

    /// One of those that take part.
    fn somebody(&self, world: &mut World) -> usize {
        let present: Vec<usize> = (0..self.seats.len()).filter(|place| !self.seats[*place].is_gone).collect();
        *world.draw.one_of(&present)
    }

    fn come_back(&mut self, world: &mut World, all: bool) {
        for place in 0..self.seats.len() {
            if self.seats[place].back_at_ms.take_if(|at_ms| all || *at_ms <= world.now_ms).is_some() {
                self.boot(world, place);
            }
        }
    }

    fn crash(&mut self, world: &mut World, place: usize, back_in_ms: u64) {
        let is_power_cut = world.draw.percent(30);
        let how = if is_power_cut { "loses power" } else { "crashes" };
        trace::note(&format!("server {place} {how}, back in {back_in_ms} ms"));
        self.end(world, place, is_power_cut);
        self.seats[place].back_at_ms = Some(world.now_ms + back_in_ms);
    }

    fn crash_for_a_while(&mut self, world: &mut World, place: usize) {
        if self.seats[place].running.is_none() {
            return;
        }
        // Some are back before anybody stands for election.
        let back_in_ms =
            if world.draw.percent(40) { world.draw.within(1..=80) } else { world.draw.within(100..=4_000) };
        self.crash(world, place, back_in_ms);
    }

    /// Cuts the network in one of the ways that networks break.
    fn cut(&mut self, world: &mut World) {
        let size = self.seats.len();
        let (mut one, other) = (self.somebody(world), self.somebody(world));
        let serves =
            |server: &Option<Server>| server.as_ref().is_some_and(|server| server.leader.is_serving());
        if world.draw.percent(70) {
            // Only around a leader tails grow that are never committed.
            one = world.servers.iter().position(serves).unwrap_or(one);
        }
        let kind = world.draw.within(0..=4);
        let is_cut = |from: usize, to: usize| match kind {
            // One alone; one that is not heard; one that does not hear; a link; a bridge that only `one` stands on.
            0 => from == one || to == one,
            1 => from == one,
            2 => to == one,
            3 => (from == one && to == other) || (from == other && to == one),
            _ => from != one && to != one && (from < one) != (to < one),
        };
        for from in 0..size {
            for to in (0..size).filter(|to| *to != from && is_cut(from, *to)) {
                self.network.cut(from, to);
            }
        }
        let for_ms = world.draw.within(100..=4_000);
        trace::note(&format!("a cut of kind {kind} around {one} and {other} for {for_ms} ms"));
        self.heal_at_ms = Some(world.now_ms + for_ms);
    }
}
