//! Everything outside the servers: clients, TaskManagers, their network, and the oracle that watches.
//!
//! The two simulations differ in what is below the leader: an ideal log, or the Raft engine on simulated networks and
//! disks. What they have in common is here.

use slotkeeper::domain::TaskManagerId;
use slotkeeper::leader::LeaderOptions;
use slotkeeper::replica::Replica;

use crate::agents::Agent;
use crate::calls::{Calls, Server, Weather};
use crate::clients::Client;
use crate::draw::Draw;
use crate::losses::Losses;
use crate::machine::Machine;
use crate::oracle::{Fate, Oracle};
use crate::trace;

/// How long everything may take to be well again after the last fault.
const HEALING_MS: u64 = 30_000;
/// By how much the clocks of machines go wrong in some runs.
const RATE_OFF_PERCENT: u64 = 5;
/// How far wall clocks may be off: far beyond the retention of idempotency keys.
const WALL_OFFSET_MAX_MS: u64 = 3_600_000;

pub struct World {
    pub now_ms: u64,
    pub draw: Draw,
    pub servers: Vec<Option<Server>>,
    /// Until when a machine stands still, and since when it does.
    pub paused: Vec<Option<(u64, u64)>>,
    pub calls: Calls,
    pub oracle: Oracle,
    rounds_in_flight_max: usize,
    /// Changes after which a leader takes its copy anew: from each command to one in a hundred.
    copy_changes_max: u64,
    rate_off_percent: u64,
    losses: Losses,
    clients: Vec<Client>,
    agents: Vec<Agent>,
}

impl World {
    pub fn new(seed: u64, places: usize) -> Self {
        let mut draw = Draw::new(seed);
        let (delay_max_ms, loss_max_percent, double_max_percent) =
            if draw.percent(25) { (100, 30, 50) } else { (30, 10, 20) };
        let weather = Weather {
            delay_max_ms: draw.within(1..=delay_max_ms),
            loss_percent: draw.within(0..=loss_max_percent),
            double_percent: draw.within(0..=double_max_percent),
        };
        let rate_off_percent = if draw.percent(30) { RATE_OFF_PERCENT } else { 0 };
        let rounds_in_flight_max = draw.index(6) + 1;
        let clients = 0..draw.index(4) + 3;
        let agents = 0..draw.index(4) + 3;
        Self {
            now_ms: 0,
            servers: (0..places).map(|_| None).collect(),
            paused: vec![None; places],
            calls: Calls::new(draw.fork(), (0..places).collect(), weather),
            oracle: Oracle::new(),
            rounds_in_flight_max,
            copy_changes_max: 1 << (seed % 8),
            rate_off_percent,
            losses: Losses::new(rate_off_percent),
            clients: clients.map(|number| Client::new(number, places, draw.fork())).collect(),
            agents: agents.map(|number| Agent::new(number, places, draw.fork())).collect(),
            draw,
        }
    }

    /// Room for one more server.
    pub fn add_place(&mut self) {
        self.servers.push(None);
        self.paused.push(None);
    }

    /// What leaders are started with.
    pub fn leader_options(&self) -> LeaderOptions {
        LeaderOptions {
            rounds_in_flight_max: self.rounds_in_flight_max,
            copy_changes_max: self.copy_changes_max,
            ..LeaderOptions::default()
        }
    }

    /// A machine that is switched on now.
    pub fn switch_on(&mut self) -> Machine {
        let offset_ms = i64::try_from(self.draw.within(0..=4_000)).unwrap() - 2_000;
        let off = self.rate_off_percent;
        let rate_percent = 100 - off + self.draw.within(0..=2 * off);
        Machine::boot(self.now_ms, offset_ms, rate_percent)
    }

    /// The servers run for a millisecond, those that are not stopped.
    pub fn run_servers(&mut self) {
        trace::at(self.now_ms);
        self.calls.deliver(self.now_ms, &self.servers);
        for place in 0..self.servers.len() {
            if let Some((until_ms, since_ms)) = self.paused[place] {
                if self.now_ms < until_ms {
                    continue;
                }
                self.paused[place] = None;
                if let Some(server) = &self.servers[place] {
                    trace::note(&format!("server {place} goes on"));
                    server.machine.jump(self.now_ms - since_ms);
                    self.losses.stood_still(self.now_ms);
                }
            }
            if let Some(server) = &self.servers[place] {
                server.machine.step(self.now_ms);
            }
        }
    }

    /// Everybody outside does what is due, then time goes on.
    pub fn run_the_others(&mut self) {
        self.check_losses();
        for (place, server) in self.servers.iter().enumerate() {
            if let Some(server) = server {
                self.oracle.check_replica(&format!("server {place}"), &server.replica);
            }
        }
        self.oracle.check_time(self.now_ms * (100 + self.rate_off_percent) / 100);
        self.calls.collect(self.now_ms);
        for client in &mut self.clients {
            client.step(self.now_ms, &mut self.calls, &mut self.oracle);
        }
        for agent in &mut self.agents {
            agent.step(self.now_ms, &mut self.calls, &mut self.oracle);
        }
        self.now_ms += 1;
    }

    /// Holds every verdict on a TaskManager against what it was told and what was known of the others.
    fn check_losses(&mut self) {
        self.losses.follow(self.now_ms, self.oracle.state());
        let delay_max_ms = self.calls.weather.delay_max_ms;
        let find = |id: &TaskManagerId| self.agents.iter().find(|agent| agent.id == *id);
        for fate in self.oracle.take_fates() {
            match fate {
                Fate::Touched(id) => self.losses.touched(self.now_ms, id),
                Fate::Lost(loss) => {
                    trace::note(&format!("{} is lost", loss.id));
                    let agent = find(&loss.id).expect("it once registered");
                    let deadline_ms = agent.check_lost(self.now_ms, self.rate_off_percent);
                    let heard_at_ms =
                        |id: &TaskManagerId| find(id).map_or(0, |agent| agent.last_sent_ms + delay_max_ms);
                    self.losses.check(self.now_ms, &loss, deadline_ms, heard_at_ms);
                }
            }
        }
    }

    /// Something happens to the people outside now and then.
    pub fn trouble_outside(&mut self) {
        if self.draw.in_ten_thousand(4) {
            let (agent, stops_ms) = (self.draw.index(self.agents.len()), self.draw.within(100..=4_000));
            trace::note(&format!("{} stands still for {stops_ms} ms", self.agents[agent].id));
            self.agents[agent].stop_until(self.now_ms + stops_ms);
        }
        if self.draw.in_ten_thousand(2) {
            let (share_percent, stops_ms) = (self.draw.within(40..=100), self.draw.within(1_000..=8_000));
            trace::note(&format!("{share_percent} % of the TaskManagers stand still for {stops_ms} ms"));
            for agent in &mut self.agents {
                if self.draw.percent(share_percent) {
                    agent.stop_until(self.now_ms + stops_ms);
                }
            }
        }
        if self.draw.in_ten_thousand(2) {
            let agent = self.draw.index(self.agents.len());
            self.agents[agent].restart();
        }
        if self.draw.in_ten_thousand(3) {
            let running: Vec<usize> =
                (0..self.servers.len()).filter(|place| self.servers[*place].is_some()).collect();
            if !running.is_empty() {
                let place = *self.draw.one_of(&running);
                let offset_ms = i64::try_from(self.draw.within(0..=2 * WALL_OFFSET_MAX_MS)).unwrap()
                    - WALL_OFFSET_MAX_MS.cast_signed();
                trace::note(&format!("the wall clock of server {place} is off by {offset_ms} ms"));
                self.servers[place].as_ref().expect("it runs").machine.set_wall_offset_ms(offset_ms);
            }
        }
    }

    /// How long a machine may stand still: most of the time long enough for a successor, sometimes for many.
    pub fn draw_pause_ms(&mut self) -> u64 {
        let max_ms = if self.draw.percent(10) { 20_000 } else { 4_000 };
        self.draw.within(50..=max_ms)
    }

    /// Stops a machine; it does not know.
    pub fn pause(&mut self, place: usize, for_ms: u64) {
        if self.paused[place].is_none() {
            trace::note(&format!("server {place} stands still for {for_ms} ms"));
            self.paused[place] = Some((self.now_ms + for_ms, self.now_ms));
        }
    }

    /// No new trouble from outside; what is begun is finished, who stands still goes on.
    pub fn calm_down(&mut self) {
        trace::note("all faults are over");
        for (until_ms, _) in self.paused.iter_mut().flatten() {
            *until_ms = self.now_ms;
        }
        self.calls.unreachable.clear();
        self.calls.weather = Weather { loss_percent: 0, double_percent: 0, delay_max_ms: 5 };
        for client in &mut self.clients {
            client.is_active = false;
        }
        for agent in &mut self.agents {
            agent.stop_until(0);
        }
    }

    /// Every write is known, every TaskManager is registered, every replica is where the log is.
    pub fn is_well(&self) -> bool {
        let revision = self.oracle.state().revision();
        self.clients.iter().all(|client| !client.is_waiting())
            && self.agents.iter().all(Agent::is_registered)
            && self.servers.iter().flatten().all(|server| server.replica.revision() == revision)
            && self.servers.iter().flatten().any(|server| server.leader.is_serving())
    }

    /// Runs `step` until all is well; it says what is not in what it ran below the servers.
    pub fn heal(&mut self, mut step: impl FnMut(&mut Self) -> Result<(), String>) {
        let until_ms = self.now_ms + HEALING_MS;
        // A fresh write must pass after the last fault.
        for client in &mut self.clients {
            client.is_active = true;
        }
        let before = self.acknowledged();
        while self.acknowledged() < before + 3 {
            assert!(self.now_ms < until_ms, "no write passes after the last fault\n{}", self.describe());
            let _ = step(self);
        }
        for client in &mut self.clients {
            client.is_active = false;
        }
        let mut agreed = step(self);
        while agreed.is_err() || !self.is_well() {
            assert!(
                self.now_ms < until_ms,
                "it is not well after the last fault: {agreed:?}\n{}",
                self.describe()
            );
            agreed = step(self);
        }
        for (place, server) in self.servers.iter().enumerate() {
            if let Some(Server { replica, .. }) = server {
                self.oracle.check_final(&format!("server {place}"), replica);
            }
        }
    }

    pub fn acknowledged(&self) -> u64 {
        self.clients.iter().map(|client| client.acknowledged).sum()
    }

    fn describe(&self) -> String {
        let mut lines: Vec<String> = self.clients.iter().map(Client::describe).collect();
        let silent = self.agents.iter().filter(|agent| !agent.is_registered());
        lines.extend(silent.map(|agent| format!("{} is not registered", agent.id)));
        let revision = |replica: &Replica| replica.revision();
        for (place, server) in self.servers.iter().enumerate() {
            lines.push(match server {
                Some(server) => format!(
                    "server {place} at {} of {}, serving {}",
                    revision(&server.replica),
                    self.oracle.state().revision(),
                    server.leader.is_serving()
                ),
                None => format!("server {place} is down"),
            });
        }
        lines.join("\n")
    }
}
