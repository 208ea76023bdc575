//! The cluster simulation: the Raft engine, our adapters and the leader on simulated machines, networks and disks.

use bytes::Bytes;
use slotkeeper::consensus::{LogRetention, Status};
use slotkeeper::domain::Revision;

use crate::calls::Server;
use crate::disk::SimulatedDisk;
use crate::machine::Machine;
use crate::network::{Network, peer_addr};
use crate::node::{Booting, Founding, Place, Running};
use crate::trace;
use crate::witness::Witness;
use crate::world::World;

const TROUBLE_MS: u64 = 12_000;
/// The kind of an entry that holds a record of the domain, as its first byte says.
const RECORD: u8 = 1;

struct Cluster {
    network: Network,
    founding: Founding,
    places: Vec<Place>,
    booting: Vec<Option<Booting>>,
    running: Vec<Option<Running>>,
    /// The committed log as far as a node has applied it: term and content.
    log: Vec<(u64, Bytes)>,
    /// Up to where each node was compared with it.
    compared: Vec<u64>,
    revisions: Vec<Option<Revision>>,
    witness: Witness,
    back_at_ms: Vec<Option<u64>>,
    heal_at_ms: Option<u64>,
}

pub fn run(seed: u64) -> String {
    let size = if seed.is_multiple_of(3) { 5 } else { 3 };
    let mut world = World::new(seed, size);
    let mut cluster = Cluster::found(&mut world, size);
    while world.now_ms < TROUBLE_MS {
        if !cluster.log.is_empty() {
            world.trouble_outside();
            cluster.trouble(&mut world);
        }
        cluster.step(&mut world);
    }
    world.calm_down();
    cluster.calm_down(&mut world);
    world.heal(|world| {
        cluster.step(world);
        cluster.agreement()
    });
    let terms = cluster.log.last().map_or(0, |(term, _)| *term);
    format!(
        "{size} nodes, {} ms, {} entries, {terms} terms, {} writes acknowledged",
        world.now_ms,
        cluster.log.len(),
        world.acknowledged()
    )
}

impl Cluster {
    fn found(world: &mut World, size: usize) -> Self {
        let snapshot_after = world.draw.within(20..=200);
        let retention = LogRetention { snapshot_after, keep: world.draw.within(0..=30), purge_batch: 1 };
        let list = (0..size).map(peer_addr).collect();
        let mut cluster = Self {
            network: Network::new(world.draw.fork()),
            founding: Founding { list, retention },
            places: (0..size)
                .map(|number| Place::new(number, SimulatedDisk::new(world.draw.fork())))
                .collect(),
            booting: (0..size).map(|_| None).collect(),
            running: (0..size).map(|_| None).collect(),
            log: Vec::new(),
            compared: vec![0; size],
            revisions: vec![None; size],
            witness: Witness::new(),
            back_at_ms: vec![None; size],
            heal_at_ms: None,
        };
        for place in 0..size {
            cluster.boot(world, place);
        }
        cluster
    }

    fn boot(&mut self, world: &mut World, place: usize) {
        let offset_ms = i64::try_from(world.draw.within(0..=4_000)).unwrap() - 2_000;
        trace::note(&format!("server {place} starts"));
        let machine = Machine::boot(world.now_ms, offset_ms);
        self.booting[place] = Some(self.places[place].boot(machine, &self.network, &self.founding));
    }

    /// One millisecond of everything.
    fn step(&mut self, world: &mut World) {
        self.network.tick(world.now_ms);
        for place in &self.places {
            place.disk.tick(world.now_ms);
        }
        self.step_booting(world);
        world.run_servers();
        self.observe(world);
        world.run_the_others();
    }

    fn step_booting(&mut self, world: &mut World) {
        for place in 0..self.places.len() {
            let Some(booting) = &self.booting[place] else { continue };
            booting.step();
            match booting.started() {
                None => {}
                Some(Err(error)) => panic!("server {place} can not start: {error}"),
                Some(Ok(consensus)) => {
                    let booting = self.booting[place].take().expect("it was just seen");
                    let (server, running) = booting.serve(consensus, world.leader_options());
                    trace::note(&format!("server {place} runs"));
                    (world.servers[place], self.running[place]) = (Some(server), Some(running));
                }
            }
        }
    }

    /// Takes over what the nodes have applied since the last look, and compares it.
    fn observe(&mut self, world: &mut World) {
        for place in 0..self.places.len() {
            let Some(running) = &self.running[place] else { continue };
            if let Some(ending) = running.ending.lock().unwrap().take() {
                panic!("server {place} ended by itself: {ending}");
            }
            if world.paused[place].is_some() {
                continue;
            }
            let status = running.consensus.status();
            self.witness.look(place, &status, &self.places[place].disk.promises());
            let revision = world.servers[place].as_ref().map(|server| server.replica.revision());
            if revision == self.revisions[place] {
                continue;
            }
            self.revisions[place] = revision;
            let applied = status.applied_index;
            for index in self.compared[place]..=applied {
                let Some((term, content)) = self.places[place].disk.archived(index) else { continue };
                let at = usize::try_from(index).unwrap();
                match self.log.get(at) {
                    // What a snapshot covers may never have been applied here: it took the place of a log that differs.
                    Some(_) if index <= self.places[place].disk.snapshot_index() => {}
                    Some(known) => assert_eq!(
                        (known.0, &known.1),
                        (term, &content),
                        "server {place} applied another entry at {index}"
                    ),
                    None => {
                        assert_eq!(
                            at,
                            self.log.len(),
                            "server {place} applied {index} before what precedes it"
                        );
                        if content.first() == Some(&RECORD) {
                            world.oracle.committed(&content[1..]);
                        }
                        self.log.push((term, content));
                    }
                }
            }
            self.compared[place] = applied + 1;
        }
    }

    /// Whether one node leads and all others follow it with the same members; else what stands against it.
    fn agreement(&self) -> Result<(), String> {
        let all: Vec<Status> =
            self.running.iter().flatten().map(|running| running.consensus.status()).collect();
        let mut leaders = all.iter().filter(|status| status.is_leader());
        let (Some(leader), None) = (leaders.next(), leaders.next()) else {
            return Err("there is not exactly one leader".to_owned());
        };
        let agrees = |status: &&Status| {
            let follows = status.leader.as_ref().is_some_and(|member| member.node_id == leader.node_id);
            let is_settled = status.members == leader.members && !status.is_changing_voters;
            status.term == leader.term && follows && is_settled
        };
        match all.iter().find(|status| !agrees(status)) {
            Some(other) => Err(format!("{leader:?}\nand {other:?}")),
            None => Ok(()),
        }
    }

    fn crash(&mut self, world: &mut World, place: usize, back_in_ms: u64) {
        let is_power_cut = world.draw.percent(30);
        let how = if is_power_cut { "loses power" } else { "crashes" };
        trace::note(&format!("server {place} {how}, back in {back_in_ms} ms"));
        self.network.crash(place, is_power_cut);
        self.running[place] = None;
        (world.servers[place], world.paused[place]) = (None, None);
        self.booting[place] = None;
        self.places[place].disk.crash();
        self.witness.crashed(place, self.places[place].disk.promises());
        (self.compared[place], self.revisions[place]) = (0, None);
        self.back_at_ms[place] = Some(world.now_ms + back_in_ms);
    }

    fn crash_for_a_while(&mut self, world: &mut World, place: usize) {
        if self.running[place].is_none() {
            return;
        }
        // Some are back before anybody stands for election.
        let back_in_ms =
            if world.draw.percent(40) { world.draw.within(1..=80) } else { world.draw.within(100..=4_000) };
        self.crash(world, place, back_in_ms);
    }

    fn come_back(&mut self, world: &mut World, all: bool) {
        for place in 0..self.places.len() {
            if self.back_at_ms[place].take_if(|at_ms| all || *at_ms <= world.now_ms).is_some() {
                self.boot(world, place);
            }
        }
    }

    fn trouble(&mut self, world: &mut World) {
        self.come_back(world, false);
        if self.heal_at_ms.take_if(|at_ms| *at_ms <= world.now_ms).is_some() {
            trace::note("the network is whole");
            self.network.heal();
        }
        let size = self.places.len();
        for place in 0..size {
            let crash_percent = self.places[place].disk.take_crash_percent();
            if crash_percent > 0 && world.draw.percent(crash_percent) {
                self.crash_for_a_while(world, place);
            }
        }
        match world.draw.within(0..=9_999) {
            0..=2 => {
                let place = world.draw.index(size);
                self.crash_for_a_while(world, place);
            }
            3 => {
                for place in 0..size {
                    if self.running[place].is_some() {
                        let back_in_ms = world.draw.within(1..=1_500);
                        self.crash(world, place, back_in_ms);
                    }
                }
            }
            4..=6 if self.heal_at_ms.is_none() => self.cut(world),
            7..=8 => {
                let (place, for_ms) = (world.draw.index(size), world.draw.within(100..=4_000));
                if self.running[place].is_some() {
                    world.pause(place, for_ms);
                }
            }
            9 => {
                let (place, sync_max_ms) = (world.draw.index(size), world.draw.within(1..=250));
                trace::note(&format!("the disk of server {place} takes up to {sync_max_ms} ms"));
                self.places[place].disk.slow_down(sync_max_ms);
            }
            _ => {}
        }
    }

    /// Cuts the network in one of the ways that networks break.
    fn cut(&mut self, world: &mut World) {
        let size = self.places.len();
        let (mut one, other) = (world.draw.index(size), world.draw.index(size));
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

    fn calm_down(&mut self, world: &mut World) {
        self.heal_at_ms = None;
        self.network.calm_down();
        for place in &self.places {
            place.disk.slow_down(4);
        }
        self.come_back(world, true);
    }
}
