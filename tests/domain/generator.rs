//! Random runs of a cluster over small pools of ids.
//!
//! A run is a list of steps of small numbers; each step becomes commands only when it is played, so that many commands
//! fit the state at hand (current epochs, living allocations) and many just miss it. What it promises: the same steps
//! give the same log. `play` checks every invariant after every command, and that what is refused or answered again
//! changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use slotkeeper::domain::{
    Allocate, AllocationId, AllocationMode, Applied, Batch, Command, Constraint, Epoch, FailedWork,
    FailureCause, Fulfil, KeyedCommand, LabelOperator, LogicalTime, Name, Offer, Placement, PutRequirements,
    QueuePhase, Record, RequestKey, Requirement, RequirementVersion, ResourceProfile, RoundAfter,
    SessionNumber, SessionStart, SettingsPatch, State, TaskManagerSession,
};
use uuid::Uuid;

use crate::support::*;

/// One command to come: what kind, and numbers from which the rest is chosen.
#[derive(Debug, Clone)]
pub struct Choice {
    kind: u8,
    who: u8,
    what: u8,
    amount: u8,
    places: Vec<u8>,
    key: Option<u8>,
}

/// One record to come.
#[derive(Debug, Clone)]
pub struct Step {
    waits: u8,
    session: u8,
    choices: Vec<Choice>,
}

/// A random run of up to `steps` records.
pub fn run(steps: usize) -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..steps)
}

fn step() -> impl Strategy<Value = Step> {
    (any::<u8>(), any::<u8>(), vec(choice(), 0..5)).prop_map(|(waits, session, choices)| Step {
        waits,
        session,
        choices,
    })
}

fn choice() -> impl Strategy<Value = Choice> {
    let key = prop_oneof![4 => Just(None), 1 => (0_u8..12).prop_map(Some)];
    (any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>(), vec(any::<u8>(), 0..5), key)
        .prop_map(|(kind, who, what, amount, places, key)| Choice { kind, who, what, amount, places, key })
}

/// What a run led to.
#[derive(Debug)]
pub struct Played {
    /// Every record.
    pub log: Vec<Record>,
    /// What each gave.
    pub applied: Vec<Applied>,
    /// The state at the end.
    pub state: State,
}

/// Plays a run as a leader does: command by command on its own copy.
pub fn play(steps: &[Step]) -> Result<Played, TestCaseError> {
    let mut player = Player {
        played: Played { log: Vec::new(), applied: Vec::new(), state: State::new() },
        wall_ms: START_MS,
        history: Vec::new(),
    };
    player.begin(1)?;
    player.step(&furnished())?;
    for step in steps {
        player.step(step)?;
    }
    Ok(player.played)
}

/// The step that every run begins with: all TaskManagers, a second queue and most jobs, so that runs have something to disturb.
fn furnished() -> Step {
    let choice = |kind, who, what, amount| Choice { kind, who, what, amount, places: Vec::new(), key: None };
    let mut choices: Vec<_> = (0..5).map(|who| choice(0, who, 100, 100)).collect();
    choices.push(choice(220, 1, 50, 100));
    choices.extend([choice(70, 0, 100, 100), choice(70, 1, 100, 100), choice(70, 2, 100, 200)]);
    Step { waits: 100, session: 255, choices }
}

struct Player {
    played: Played,
    wall_ms: u64,
    history: Vec<KeyedCommand>,
}

impl Player {
    fn begin(&mut self, node_id: u64) -> Result<(), TestCaseError> {
        let at = LogicalTime(self.wall_ms);
        let record = Record::Begin(SessionStart { cluster: cluster(), node_id, at });
        let before = self.played.state.clone();
        let applied = self.played.state.apply(&record);
        self.check(&before)?;
        self.played.log.push(record);
        self.played.applied.push(applied);
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        self.wall_ms = match step.waits {
            0..=9 => self.wall_ms - 1_000,
            10..=29 => self.wall_ms + 1_200_000,
            waits => self.wall_ms + u64::from(waits) * 10,
        };
        let session = match step.session {
            0..=7 => return self.begin(u64::from(step.session % 3) + 1),
            8..=11 => SessionNumber(self.played.state.session().0.saturating_sub(1)),
            _ => self.played.state.session(),
        };
        let at = LogicalTime(self.wall_ms);
        let mut commands = Vec::new();
        let before = self.played.state.clone();
        let mut round = self.played.state.begin_round(session, at);
        for choice in &step.choices {
            let keyed = self.keyed(choice);
            let before = self.played.state.clone();
            let told = round.events().len();
            let outcome = self.played.state.apply_command(&mut round, &keyed);
            self.check(&before)?;
            if outcome.result.is_err() || outcome.replayed {
                prop_assert_eq!(
                    difference(&before, &self.played.state),
                    None,
                    "{:?} gave {:?}",
                    keyed,
                    outcome
                );
                prop_assert_eq!(round.events().len(), told, "{:?} gave {:?}", keyed, outcome);
            }
            commands.push(keyed.clone());
            self.history.push(keyed);
        }
        let applied = self.played.state.end_round(round);
        prop_assert_eq!(self.played.state.violations_since(&before), []);
        let batch = Batch { session, at, commands };
        self.played.log.push(Record::RoundAfter(RoundAfter { after: before.revision(), batch }));
        self.played.applied.push(applied);
        Ok(())
    }

    fn check(&self, before: &State) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.played.state.violations(), []);
        prop_assert_eq!(self.played.state.violations_since(before), []);
        Ok(())
    }

    /// The command of a choice, or a retry of an earlier one.
    fn keyed(&self, choice: &Choice) -> KeyedCommand {
        if choice.kind >= 250 && !self.history.is_empty() {
            return self.history[usize::from(choice.who) % self.history.len()].clone();
        }
        let key = choice.key.map(|key| RequestKey { ..request_key(&format!("key-{key}"), choice.what % 2) });
        KeyedCommand { key, command: self.command(choice) }
    }

    fn command(&self, choice: &Choice) -> Command {
        let id = task_manager(&task_manager_name(choice.who));
        match choice.kind {
            0..=19 => register_choice(choice),
            20 => Command::DeregisterTaskManager { id },
            21 => Command::LeaveTaskManager { epoch: self.epoch(choice), id },
            22..=26 => Command::ExpireTaskManager { epoch: self.epoch(choice), id },
            27..=30 => Command::Cordon { id },
            31..=39 => Command::Uncordon { id },
            40..=44 => {
                Command::Drain { id, deadline_ms: (choice.what > 80).then_some(u64::from(choice.what) * 20) }
            }
            45..=64 => self.confirm_choice(choice),
            65..=69 => self.not_held_choice(choice),
            70..=89 => put_job_choice(choice),
            90..=93 => Command::DeleteJob { id: job(&job_name(choice.who)) },
            94..=96 => Command::ExpireJob { id: job(&job_name(choice.who)), epoch: self.job_epoch(choice) },
            97..=144 => self.allocate_choice(choice),
            145..=164 => self.release_choice(choice),
            165..=189 => self.declare_choice(choice),
            190..=219 => self.fulfil_choice(choice),
            220..=228 => put_queue_choice(choice),
            229..=232 => Command::DeleteQueue { name: queue(queue_name(choice.who)) },
            233..=234 => Command::PatchSettings(patch_choice(choice)),
            235..=236 => Command::ChangeSettings(patch_choice(choice)),
            237..=247 => Command::ExpireDue,
            _ => Command::MintNodeId {
                peer_addr: Arc::from(task_manager_name(choice.who)),
                incarnation: Uuid::from_u128(u128::from(choice.what % 2)),
            },
        }
    }

    /// Mostly the epoch in force.
    fn epoch(&self, choice: &Choice) -> Epoch {
        let known = self.played.state.task_managers().get(&task_manager(&task_manager_name(choice.who)));
        let current = known.map_or(0, |known| known.epoch.0);
        Epoch(if choice.amount < 40 { current.saturating_sub(1) } else { current })
    }

    fn job_epoch(&self, choice: &Choice) -> Epoch {
        let current =
            self.played.state.jobs().get(&job(&job_name(choice.who))).map_or(0, |known| known.epoch.0);
        Epoch(if choice.amount < 40 { current.saturating_sub(1) } else { current })
    }

    /// Mostly TaskManagers that take slots in their current registration; at times any, or an older registration.
    fn placements(&self, choice: &Choice) -> Vec<Placement> {
        let known = self.played.state.task_managers();
        let accepting: Vec<_> =
            known.iter().filter(|(_, record)| record.is_accepting()).map(|(id, _)| id).collect();
        let place = |place: &u8| {
            let any = task_manager(&task_manager_name(*place));
            let is_any = *place > 245 || accepting.is_empty();
            let id = if is_any { any } else { accepting[usize::from(*place) % accepting.len()].clone() };
            let current = known.get(&id).map_or(0, |record| record.epoch.0);
            let epoch = Epoch(if *place > 250 { current.saturating_sub(1) } else { current });
            Placement { task_manager: id, epoch }
        };
        choice.places.iter().map(place).collect()
    }

    /// Living and ended allocations, and one that never was.
    fn allocation(&self, pick: u8) -> AllocationId {
        let counter = self.played.state.counters().allocation;
        AllocationId::minted(cluster(), counter.saturating_sub(u64::from(pick % 12)) + u64::from(pick == 255))
    }

    fn confirm_choice(&self, choice: &Choice) -> Command {
        let id = task_manager(&task_manager_name(choice.who));
        let held = self.played.state.assigned(&id);
        let (mut started, mut failed) = (Vec::new(), Vec::new());
        for (place, grant) in choice.places.iter().zip(&held) {
            match place % 4 {
                0 => failed.push((grant.id, Arc::from("it did not start"))),
                _ => started.push(grant.id),
            }
        }
        started
            .extend(choice.places.iter().filter(|place| **place > 240).map(|place| self.allocation(*place)));
        let epoch = self.epoch(choice);
        if choice.what < 100 {
            return Command::Confirm { id, epoch, started, failed };
        }
        let causes = [FailureCause::StartFailed, FailureCause::LeaseExpired, FailureCause::Leaving];
        let cause = causes[usize::from(choice.what % 3)];
        let failed =
            failed.into_iter().map(|(allocation, detail)| FailedWork { allocation, cause, detail }).collect();
        Command::Report { id, epoch, started, failed }
    }

    fn not_held_choice(&self, choice: &Choice) -> Command {
        let id = task_manager(&task_manager_name(choice.who));
        let held = self.played.state.assigned(&id);
        let mut allocations: Vec<_> = held.iter().map(|grant| grant.id).take(choice.places.len()).collect();
        allocations
            .extend(choice.places.iter().filter(|place| **place > 200).map(|place| self.allocation(*place)));
        Command::EndNotHeld { id, epoch: self.epoch(choice), allocations }
    }

    fn allocate_choice(&self, choice: &Choice) -> Command {
        let placements = self.placements(choice);
        let slots = u32::try_from(placements.len()).unwrap().max(1) + u32::from(choice.amount > 210);
        let mode = if choice.what < 128 { AllocationMode::AllOrNothing } else { AllocationMode::BestEffort };
        Command::Allocate(Allocate {
            job: job(&job_name(choice.who)),
            job_master_id: (choice.amount < 20).then(|| job_master("leader-0")),
            slots,
            profile: wanted(choice.what),
            mode,
            placements,
            reasons: Vec::new(),
        })
    }

    fn release_choice(&self, choice: &Choice) -> Command {
        let id = job(&job_name(choice.who));
        let held = self.played.state.jobs().get(&id).map(|job| job.allocations.clone()).unwrap_or_default();
        let mut allocations: Vec<_> = held.into_iter().take(usize::from(choice.amount % 3)).collect();
        allocations.extend(choice.places.iter().map(|place| self.allocation(*place)));
        Command::Release { job: id, allocations }
    }

    fn declare_choice(&self, choice: &Choice) -> Command {
        let id = job(&job_name(choice.who));
        let current = self.played.state.jobs().get(&id).map_or(0, |job| job.requirements_version.0);
        let version = RequirementVersion(match choice.amount {
            0..=19 => current.saturating_sub(1),
            20..=39 => current,
            _ => current + 1,
        });
        let mut lines = BTreeMap::new();
        for place in &choice.places {
            let line = line_choice(*place, choice.what);
            lines.insert(line.name.clone(), line);
        }
        let requirements = lines.into_values().collect();
        let job_master_id = (choice.amount > 240).then(|| job_master("leader-1"));
        Command::PutRequirements(PutRequirements { job: id, job_master_id, version, requirements })
    }

    fn fulfil_choice(&self, choice: &Choice) -> Command {
        let pending: Vec<_> = self.played.state.indexes().pending().iter().collect();
        let line = pending.get(usize::from(choice.who) % pending.len().max(1));
        let (id, name) = match line {
            Some(line) => (line.job.clone(), line.requirement.clone()),
            None if choice.amount < 250 => return self.allocate_choice(choice),
            None => (job(&job_name(choice.who)), requirement_name("line-0")),
        };
        let current = self.played.state.jobs().get(&id).map_or(0, |job| job.requirements_version.0);
        let version = RequirementVersion(current.saturating_sub(u64::from(choice.amount < 20)));
        let mut placements = self.placements(choice);
        if choice.amount < 230 {
            let known = self.played.state.jobs().get(&id);
            let lacking = known.and_then(|job| job.requirements.get(&name)).map_or(0, |line| line.pending());
            placements.truncate(usize::try_from(lacking).unwrap());
        }
        Command::Fulfil(Fulfil { job: id, version, requirement: name, placements })
    }
}

fn task_manager_name(who: u8) -> String {
    format!("tm-{}", who % 5)
}

fn job_name(who: u8) -> String {
    format!("job-{}", who % 4)
}

fn queue_name(who: u8) -> &'static str {
    ["default", "team", "small"][usize::from(who % 3)]
}

fn wanted(what: u8) -> Option<ResourceProfile> {
    match what % 8 {
        0..=4 => None,
        5 => Some(profile(500, 1)),
        6 => Some(profile(1_500, 1).with_extended(Name::new("gpu").unwrap(), 1)),
        _ => Some(profile(9_000, 1)),
    }
}

fn register_choice(choice: &Choice) -> Command {
    let slot_profile = profile(1_000, 1 << 20);
    let gpu = Name::new("gpu").unwrap();
    // The kind of offer goes with the id, so that the same session mostly offers the same again.
    let offer = match (choice.who % 5, choice.what) {
        (_, 0..=9) => Offer::Static { slots: u32::from(choice.what % 2), slot_profile },
        (0 | 1, _) => Offer::Dynamic { total: profile(4_000, 4 << 20).with_extended(gpu, 2), slot_profile },
        (2, _) => Offer::Static { slots: 2, slot_profile: ResourceProfile::default() },
        _ => Offer::Static { slots: 3, slot_profile },
    };
    let zone = BTreeMap::from([(Name::new("zone").unwrap(), format!("zone-{}", choice.amount % 2))]);
    Command::RegisterTaskManager {
        id: task_manager(&task_manager_name(choice.who)),
        session: TaskManagerSession::new(&format!("session-{}", choice.amount % 8 / 5)).unwrap(),
        address: Arc::from(format!("host-{}", choice.what % 3)),
        offer,
        labels: zone,
    }
}

fn put_job_choice(choice: &Choice) -> Command {
    let (priority, leader) = (i32::from(choice.what % 3) - 1, choice.amount % 4);
    Command::PutJob {
        id: job(&job_name(choice.who)),
        queue: queue(if choice.amount > 140 { queue_name(choice.what) } else { "default" }),
        priority,
        job_master_id: (leader < 2).then(|| job_master(&format!("leader-{leader}"))),
        lease_ms: (choice.what > 128).then_some(30_000),
    }
}

fn line_choice(place: u8, what: u8) -> Requirement {
    let desired = u32::from(place / 4 % 5);
    let min = u32::from(place / 32 % 3).min(desired);
    let mut line = requirement(&format!("line-{}", place % 4), min, desired);
    line.profile = wanted(if what < 100 { 0 } else { what });
    if what > 200 {
        let (label, values) = (Name::new("zone").unwrap(), vec!["zone-0".to_owned()]);
        line.rules.constraints = vec![Constraint::Label { label, operator: LabelOperator::Equal, values }];
    }
    line
}

fn put_queue_choice(choice: &Choice) -> Command {
    let slots = (choice.what > 60).then_some(u64::from(choice.what % 8));
    let phase = if choice.amount < 60 { QueuePhase::Stopped } else { QueuePhase::Running };
    put_queue(queue_name(choice.who), slots, phase)
}

fn patch_choice(choice: &Choice) -> SettingsPatch {
    SettingsPatch {
        confirm_timeout_ms: (choice.what < 128)
            .then(|| (choice.what < 90).then_some(1_000 + u64::from(choice.what) * 50)),
        tombstone_retention_ms: (choice.amount < 128).then(|| u64::from(choice.amount) * 100),
        mass_loss_share_percent: (choice.what > 240).then_some(0),
        idempotency_keys_max: (choice.amount > 200).then_some(1_000),
        ..Default::default()
    }
}
