//! The cluster simulation: the Raft engine, our adapters and the leader on simulated machines, networks and disks.
//!
//! Here a cluster is founded, run and observed; what goes wrong is in `trouble.rs`, who changes its members in
//! `operator.rs`, what every node must show in `witness.rs`.

use bytes::Bytes;
use slotkeeper::consensus::{LogRetention, Status, StopReason, Timing};
use slotkeeper::domain::Revision;

use crate::disk::SimulatedDisk;
use crate::network::{Network, peer_addr};
use crate::node::{Booting, Ending, Founding, Place, Running};
use crate::operator::Operator;
use crate::trace;
use crate::trouble::Cut;
use crate::witness::Witness;
use crate::world::World;

const TROUBLE_MS: u64 = 15_000;
/// The kind of an entry that holds a record of the domain, as its first byte says.
const RECORD: u8 = 1;

pub struct Cluster {
    pub network: Network,
    pub operator: Operator,
    pub seats: Vec<Seat>,
    pub cut: Option<Cut>,
    founding: Founding,
    witness: Witness,
    /// The committed log as far as a node has applied it: term and content.
    log: Vec<(u64, Bytes)>,
}

/// A node, in all its lives.
pub struct Seat {
    pub place: Place,
    pub running: Option<Running>,
    /// When it comes back, if it is down.
    pub back_at_ms: Option<u64>,
    /// When its disk has space again, if it has none.
    pub space_at_ms: Option<u64>,
    /// It was removed and has ended.
    pub is_gone: bool,
    booting: Option<Booting>,
    /// Up to where it was compared with the log.
    compared: u64,
    revision: Option<Revision>,
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
        "{size} nodes, {} ms, {} entries, {terms} terms, {} steps of the operator, {} writes acknowledged",
        world.now_ms,
        cluster.log.len(),
        cluster.operator.done,
        world.acknowledged()
    )
}

impl Cluster {
    fn found(world: &mut World, size: usize) -> Self {
        // Few enough for a node that was away to find its place in the log purged.
        let snapshot_after = world.draw.within(5..=60);
        let retention = LogRetention { snapshot_after, keep: world.draw.within(0..=30), purge_batch: 1 };
        let list = (0..size).map(peer_addr).collect();
        // Most clusters are in one room; the others are far apart, and patient.
        let is_far = world.draw.percent(25);
        let (timing, delay_max_ms, loss_max) =
            if is_far { (Timing::WAN, 80, 300) } else { (Timing::LAN, 15, 80) };
        let mut cluster = Self {
            network: Network::new(world.draw.fork(), delay_max_ms, loss_max),
            operator: Operator::new(size, world.draw.fork()),
            seats: Vec::new(),
            cut: None,
            founding: Founding { list, timing, retention },
            witness: Witness::new(),
            log: Vec::new(),
        };
        for _ in 0..size {
            cluster.add_seat(world);
        }
        for place in 0..size {
            cluster.boot(world, place);
        }
        cluster
    }

    fn add_seat(&mut self, world: &mut World) {
        self.seats.push(Seat {
            place: Place::new(self.seats.len(), SimulatedDisk::new(world.draw.fork())),
            running: None,
            back_at_ms: None,
            space_at_ms: None,
            is_gone: false,
            booting: None,
            compared: 0,
            revision: None,
        });
    }

    pub fn boot(&mut self, world: &mut World, place: usize) {
        trace::note(&format!("server {place} starts"));
        let machine = world.switch_on();
        let seat = &mut self.seats[place];
        seat.booting = Some(seat.place.boot(machine, &self.network, &self.founding));
    }

    /// The process at `place` is gone.
    pub fn end(&mut self, world: &mut World, place: usize, is_power_cut: bool) {
        self.network.crash(place, is_power_cut);
        (world.servers[place], world.paused[place]) = (None, None);
        let seat = &mut self.seats[place];
        (seat.running, seat.booting) = (None, None);
        (seat.compared, seat.revision) = (0, None);
        seat.place.disk.crash();
        self.witness.crashed(place, seat.place.disk.promises());
    }

    /// One millisecond of everything.
    fn step(&mut self, world: &mut World) {
        self.network.tick(world.now_ms);
        for seat in &self.seats {
            seat.place.disk.tick(world.now_ms);
        }
        if let Some(place) = self.operator.step(world.now_ms, &mut world.calls) {
            self.add_seat(world);
            world.add_place();
            self.boot(world, place);
        }
        self.step_booting(world);
        world.run_servers();
        for place in 0..self.seats.len() {
            self.observe(world, place);
        }
        world.run_the_others();
    }

    fn step_booting(&mut self, world: &mut World) {
        for (place, seat) in self.seats.iter_mut().enumerate() {
            let Some(booting) = &seat.booting else { continue };
            booting.step(world.now_ms);
            match booting.started() {
                None => {}
                Some(Err(error)) => panic!("server {place} can not start: {error}"),
                Some(Ok(consensus)) => {
                    let booting = seat.booting.take().expect("it was just seen");
                    let (server, running) = booting.serve(consensus, world.leader_options());
                    trace::note(&format!("server {place} runs"));
                    (world.servers[place], seat.running) = (Some(server), Some(running));
                }
            }
        }
    }

    /// Looks at what a node shows, and takes over what it has applied since the last look. Who ends has perhaps applied and
    /// answered something just before.
    fn observe(&mut self, world: &mut World, place: usize) {
        let seat = &mut self.seats[place];
        let Some(running) = &seat.running else { return };
        let ending = running.ending.lock().unwrap().take();
        if ending.is_none() && world.paused[place].is_some() {
            return;
        }
        let status = running.consensus.status();
        self.witness.look(place, &status, &seat.place.disk.promises());
        let revision = world.servers[place].as_ref().map(|server| server.replica.revision());
        if revision != seat.revision {
            seat.revision = revision;
            self.compare(world, place, status.applied_index);
        }
        if let Some(ending) = ending {
            self.ended(world, place, ending);
        }
    }

    /// A node has ended by itself. Only who was removed may, and who can not write.
    fn ended(&mut self, world: &mut World, place: usize, ending: Ending) {
        match ending {
            Ending::Stopped(StopReason::Removed) if self.operator.removes(place) => {
                self.switch_off(world, place, "has learned it");
            }
            Ending::Stopped(StopReason::Storage(error)) if self.seats[place].space_at_ms.is_some() => {
                trace::note(&format!("server {place} ends: {error}"));
                self.end(world, place, false);
                self.seats[place].back_at_ms = Some(world.now_ms);
            }
            Ending::Stopped(reason) => panic!("server {place} ended by itself: {reason:?}"),
            Ending::Fault(fault) => panic!("server {place} ended by itself: {fault:?}"),
        }
    }

    /// A node that was removed is gone for ever.
    fn switch_off(&mut self, world: &mut World, place: usize, why: &str) {
        trace::note(&format!("server {place} was removed and {why}"));
        self.end(world, place, false);
        self.seats[place].is_gone = true;
    }

    /// Holds what a node has applied against what was applied before. Its replica may be ahead of what its status says.
    fn compare(&mut self, world: &mut World, place: usize, applied: u64) {
        let seat = &mut self.seats[place];
        while seat.compared <= applied || seat.revision > Some(world.oracle.state().revision()) {
            let index = seat.compared;
            seat.compared += 1;
            let Some((term, content)) = seat.place.disk.archived(index) else {
                assert!(index <= applied, "server {place} applied {index}, which it does not have");
                continue;
            };
            let at = usize::try_from(index).unwrap();
            match self.log.get(at) {
                // What a snapshot covers may never have been applied here: it took the place of a log that differs.
                Some(_) if index <= seat.place.disk.snapshot_index() => {}
                Some(known) => assert_eq!(
                    (known.0, &known.1),
                    (term, &content),
                    "server {place} applied another entry at {index}"
                ),
                None => {
                    assert_eq!(at, self.log.len(), "server {place} applied {index} before what precedes it");
                    if content.first() == Some(&RECORD) {
                        world.oracle.committed(&content[1..]);
                    }
                    self.log.push((term, content));
                }
            }
        }
    }

    /// Whether one node leads and all others follow it, with the members that the operator wants; else what stands
    /// against it.
    fn agreement(&self) -> Result<(), String> {
        let running = self.seats.iter().filter_map(|seat| seat.running.as_ref());
        let all: Vec<Status> = running.map(|running| running.consensus.status()).collect();
        let mut leaders = all.iter().filter(|status| status.is_leader());
        let (Some(leader), None) = (leaders.next(), leaders.next()) else {
            return Err("there is not exactly one leader".to_owned());
        };
        let agrees = |status: &&Status| {
            let follows = status.leader.as_ref().is_some_and(|member| member.node_id == leader.node_id);
            let is_settled = status.members == leader.members && !status.is_changing_voters;
            status.term == leader.term && follows && is_settled
        };
        if let Some(other) = all.iter().find(|status| !agrees(status)) {
            return Err(format!("{leader:?}\nand {other:?}"));
        }
        let (wanted, voters) = (self.operator.voters(), leader.voters().collect::<Vec<u64>>());
        match wanted.as_ref() == Some(&voters) && voters.len() == leader.members.len() {
            true => Ok(()),
            false => Err(format!("the operator wants {wanted:?} and the members are {:?}", leader.members)),
        }
    }
}
