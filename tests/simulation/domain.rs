//! The domain simulation: state, scheduler and leader over an ideal log.

use slotkeeper::leader::{Leader, LeaderSeams};
use slotkeeper::replica::Replica;
use slotkeeper::scheduler::Registry;
use slotkeeper::telemetry::Metrics;

use crate::calls::Server;
use crate::ideal_log::IdealLog;
use crate::trace;
use crate::world::World;

const PLACES: usize = 3;
const TROUBLE_MS: u64 = 20_000;

struct Domain {
    world: World,
    log: IdealLog,
    /// When a node that is down comes back, and when somebody is elected.
    back_at_ms: [Option<u64>; PLACES],
    elect_at_ms: Option<u64>,
}

pub fn run(seed: u64) -> String {
    let mut world = World::new(seed, PLACES);
    let log = IdealLog::new(PLACES, world.draw.fork());
    let mut domain = Domain { world, log, back_at_ms: [None; PLACES], elect_at_ms: Some(5) };
    for place in 0..PLACES {
        domain.boot(place);
    }
    while domain.world.now_ms < TROUBLE_MS {
        domain.trouble();
        domain.step();
    }
    domain.calm_down();
    let Domain { mut world, log, mut elect_at_ms, .. } = domain;
    world.heal(|world| {
        step(world, &log, &mut elect_at_ms);
        Ok(())
    });
    format!(
        "{} ms, {} records, {} writes acknowledged",
        world.now_ms,
        world.oracle.records,
        world.acknowledged()
    )
}

fn step(world: &mut World, log: &IdealLog, elect_at_ms: &mut Option<u64>) {
    if elect_at_ms.take_if(|at_ms| *at_ms <= world.now_ms).is_some() {
        let running: Vec<usize> = (0..PLACES).filter(|place| world.servers[*place].is_some()).collect();
        match running.is_empty() {
            true => *elect_at_ms = Some(world.now_ms + 100),
            false => log.elect(*world.draw.one_of(&running)),
        }
    }
    log.tick(world.now_ms, &mut world.oracle);
    world.run_servers();
    world.run_the_others();
}

impl Domain {
    fn step(&mut self) {
        step(&mut self.world, &self.log, &mut self.elect_at_ms);
    }

    /// A node begins from the log, or from a snapshot of what the log led to.
    fn boot(&mut self, place: usize) {
        let world = &mut self.world;
        let replica = Replica::new();
        let applied = world.draw.index(self.log.committed() + 1);
        for payload in self.log.records(applied) {
            replica.apply(&payload).unwrap();
        }
        let replica = if world.draw.percent(50) {
            let restored = Replica::new();
            restored.install(&replica.snapshot().encode().unwrap()).expect("a snapshot can be read back");
            restored
        } else {
            replica
        };
        trace::note(&format!("server {place} begins with {applied} records"));
        let machine = world.switch_on();
        let log = self.log.boot(place, replica.clone(), applied);
        let seams = LeaderSeams {
            log: log.clone(),
            replica: replica.clone(),
            clock: machine.clock(),
            strategies: Registry::default(),
            metrics: Metrics::new(),
        };
        let options = world.leader_options();
        let (leader, _task) = machine.within(|| Leader::start(seams, options));
        world.servers[place] = Some(Server { machine, leader, replica, log, consensus: None });
    }

    fn crash(&mut self, place: usize) {
        trace::note(&format!("server {place} crashes"));
        if self.log.leader() == Some(place) {
            self.elect_at_ms = Some(self.world.now_ms + self.world.draw.within(150..=1_500));
        }
        self.log.crash(place);
        self.world.servers[place] = None;
        self.world.paused[place] = None;
        self.back_at_ms[place] = Some(self.world.now_ms + self.world.draw.within(5..=3_000));
    }

    fn trouble(&mut self) {
        self.world.trouble_outside();
        self.come_back();
        let draw = &mut self.world.draw;
        if draw.in_ten_thousand(3) {
            self.elect_at_ms = Some(self.world.now_ms);
        }
        if draw.in_ten_thousand(4) {
            let place = draw.index(PLACES);
            if self.world.servers[place].is_some() {
                self.crash(place);
            }
        }
        if self.world.draw.in_ten_thousand(4) {
            let (place, for_ms) = (self.world.draw.index(PLACES), self.world.draw_pause_ms());
            self.world.pause(place, for_ms);
        }
    }

    fn come_back(&mut self) {
        for place in 0..PLACES {
            if self.back_at_ms[place].take_if(|at_ms| *at_ms <= self.world.now_ms).is_some() {
                self.boot(place);
            }
        }
    }

    fn calm_down(&mut self) {
        for place in 0..PLACES {
            if self.back_at_ms[place].take().is_some() {
                self.boot(place);
            }
        }
        self.world.calm_down();
        self.elect_at_ms =
            self.elect_at_ms.or_else(|| self.log.leader().is_none().then_some(self.world.now_ms));
    }
}
