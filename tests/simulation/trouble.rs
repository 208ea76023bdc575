//! The faults of the cluster simulation: crashes, power cuts, pauses, slow and full disks, cut networks.

use std::collections::BTreeSet;

use crate::cluster::Cluster;
use crate::trace;
use crate::world::World;

/// A network that is cut.
pub struct Cut {
    /// Who is not heard by whom.
    pairs: BTreeSet<(usize, usize)>,
    /// Who is not reached by clients.
    unreachable: Option<usize>,
    begun_at_ms: u64,
    until_ms: u64,
    /// It comes and goes so often.
    flaps_every_ms: Option<u64>,
}

impl Cluster {
    /// What may go wrong in this millisecond.
    pub fn trouble(&mut self, world: &mut World) {
        self.free_space(world, false);
        self.come_back(world, false);
        self.tend_cut(world);
        for place in 0..self.seats.len() {
            let crash_percent = self.seats[place].place.disk.take_crash_percent();
            if crash_percent > 0 && world.draw.percent(crash_percent) {
                self.crash_for_a_while(world, place);
            }
        }
        match world.draw.within(0..=9_999) {
            0..=2 => {
                let place = self.somebody_or_the_leader(world, 30);
                self.crash_for_a_while(world, place);
            }
            3 => self.crash_all(world),
            4..=6 if self.cut.is_none() => self.begin_cut(world),
            7..=8 => {
                let (place, for_ms) = (self.somebody(world), world.draw_pause_ms());
                if self.seats[place].running.is_some() {
                    world.pause(place, for_ms);
                }
            }
            9 => {
                let (place, sync_max_ms) = (self.somebody(world), world.draw.within(1..=250));
                trace::note(&format!("the disk of server {place} takes up to {sync_max_ms} ms"));
                self.seats[place].place.disk.slow_down(sync_max_ms);
            }
            10 => {
                let place = self.somebody_or_the_leader(world, 50);
                self.fill_disk(world, place);
            }
            11 => self.restart_the_leader(world),
            _ => {}
        }
    }

    /// No fault from now on; who is down comes back.
    pub fn calm_down(&mut self, world: &mut World) {
        self.cut = None;
        self.network.calm_down();
        self.operator.is_active = false;
        for seat in &self.seats {
            seat.place.disk.slow_down(4);
        }
        self.free_space(world, true);
        self.come_back(world, true);
    }

    /// One of those that take part.
    fn somebody(&self, world: &mut World) -> usize {
        *world.draw.one_of(&self.present())
    }

    /// Around a leader most happens that is not committed yet.
    fn somebody_or_the_leader(&self, world: &mut World, leader_percent: u64) -> usize {
        let somebody = self.somebody(world);
        let serves =
            |place: &usize| world.servers[*place].as_ref().is_some_and(|server| server.leader.is_serving());
        let leader = (0..self.seats.len()).find(serves);
        leader.filter(|_| world.draw.percent(leader_percent)).unwrap_or(somebody)
    }

    fn present(&self) -> Vec<usize> {
        (0..self.seats.len()).filter(|place| !self.seats[*place].is_gone).collect()
    }

    /// Whoever is due starts again; on a full disk nobody can.
    fn come_back(&mut self, world: &mut World, all: bool) {
        for place in 0..self.seats.len() {
            let seat = &mut self.seats[place];
            let has_space = seat.space_at_ms.is_none();
            if seat.back_at_ms.take_if(|at_ms| has_space && (all || *at_ms <= world.now_ms)).is_some() {
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

    /// It is back before anybody stands for election.
    fn restart_the_leader(&mut self, world: &mut World) {
        let (place, back_in_ms) = (self.somebody_or_the_leader(world, 100), world.draw.within(1..=80));
        if self.seats[place].running.is_some() {
            self.crash(world, place, back_in_ms);
        }
    }

    fn crash_all(&mut self, world: &mut World) {
        for place in 0..self.seats.len() {
            if self.seats[place].running.is_some() {
                let back_in_ms = world.draw.within(1..=1_500);
                self.crash(world, place, back_in_ms);
            }
        }
    }

    /// A disk runs out of space. Most nodes notice in time and take no writes of clients; some write until it fails.
    fn fill_disk(&mut self, world: &mut World, place: usize) {
        let Some(server) = &world.servers[place] else { return };
        let (for_ms, is_noticed) = (world.draw.within(200..=4_000), world.draw.percent(50));
        trace::note(&format!("the disk of server {place} is full for {for_ms} ms, noticed: {is_noticed}"));
        server.leader.note_disk_full(true);
        self.seats[place].place.disk.set_full(!is_noticed);
        self.seats[place].space_at_ms = Some(world.now_ms + for_ms);
    }

    fn free_space(&mut self, world: &World, all: bool) {
        for (place, seat) in self.seats.iter_mut().enumerate() {
            if seat.space_at_ms.take_if(|at_ms| all || *at_ms <= world.now_ms).is_some() {
                trace::note(&format!("the disk of server {place} has space"));
                seat.place.disk.set_full(false);
                if let Some(server) = &world.servers[place] {
                    server.leader.note_disk_full(false);
                }
            }
        }
    }

    /// Cuts the network in one of the ways that networks break.
    fn begin_cut(&mut self, world: &mut World) {
        let (one, other) = (self.somebody_or_the_leader(world, 70), self.somebody(world));
        let present = self.present();
        // A ring of three is no cut.
        let ring = if present.len() > 3 { 7 } else { 0 };
        let kind = [0, 1, 2, 3, 4, 5, 6, ring, 8][world.draw.index(9)];
        let at = |place: usize| present.iter().position(|present| *present == place);
        let are_neighbours = |from: usize, to: usize| match (at(from), at(to)) {
            (Some(from), Some(to)) => [1, present.len() - 1].contains(&from.abs_diff(to)),
            _ => false,
        };
        let is_minor = |place: usize| place == one || place == other;
        let is_cut = |from: usize, to: usize| match kind {
            // One alone, all the time or on and off; one that is not heard; one that does not hear; a link; a bridge that
            // only `one` stands on; two apart from the rest; a ring.
            0 | 1 => from == one || to == one,
            2 => from == one,
            3 => to == one,
            4 => is_minor(from) && is_minor(to),
            5 => from != one && to != one && (from < one) != (to < one),
            6 => is_minor(from) != is_minor(to),
            7 => !are_neighbours(from, to),
            // Only clients are cut off.
            _ => false,
        };
        let all = 0..self.seats.len();
        let pairs = all.clone().flat_map(|from| all.clone().map(move |to| (from, to)));
        let for_ms = world.draw.within(100..=4_000);
        trace::note(&format!("a cut of kind {kind} around {one} and {other} for {for_ms} ms"));
        self.cut = Some(Cut {
            pairs: pairs.filter(|(from, to)| from != to && is_cut(*from, *to)).collect(),
            unreachable: (kind == 8).then_some(one),
            begun_at_ms: world.now_ms,
            until_ms: world.now_ms + for_ms,
            flaps_every_ms: (kind == 1).then(|| world.draw.within(50..=800)),
        });
    }

    /// Keeps the network as the cut says, until it is over.
    fn tend_cut(&mut self, world: &mut World) {
        if self.cut.take_if(|cut| cut.until_ms <= world.now_ms).is_some() {
            trace::note("the network is whole");
            self.network.cut(BTreeSet::new());
            world.calls.unreachable.clear();
        }
        let Some(cut) = &self.cut else { return };
        let gone_ms = world.now_ms - cut.begun_at_ms;
        let is_on = cut.flaps_every_ms.is_none_or(|every_ms| (gone_ms / every_ms).is_multiple_of(2));
        self.network.cut(if is_on { cut.pairs.clone() } else { BTreeSet::new() });
        world.calls.unreachable = cut.unreachable.into_iter().collect();
    }
}
