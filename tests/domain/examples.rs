//! One example of every variant of everything that is stored, and what makes sure that none is missing.
//!
//! What it promises: `all` fails if a variant has no example. To add a variant: append it to its enum, add an example
//! here at the end of its list, and run the golden test, which prints the line to append to `tests/golden/values.txt`.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::Arc;

use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde::{Serialize, forward_to_deserialize_any};
use slotkeeper::codec;
use slotkeeper::domain::*;
use uuid::Uuid;

use crate::support::*;

/// The bytes of one example under a stable label.
pub struct Example {
    /// Type, variant and which example of it.
    pub label: String,
    /// The encoded value.
    pub bytes: Vec<u8>,
    /// Decodes such bytes and encodes the value again.
    pub again: fn(&[u8]) -> Result<Vec<u8>, String>,
}

/// The name of a value's variant.
pub fn variant_of<T: Debug>(value: &T) -> String {
    format!("{value:?}").chars().take_while(|c| c.is_ascii_alphanumeric()).collect()
}

/// The names of all variants of an enum, as its own deserialization lists them.
pub fn variants_of<T: DeserializeOwned>() -> &'static [&'static str] {
    match T::deserialize(VariantNames) {
        Err(Names(names)) => names,
        Ok(_) => unreachable!("the deserializer gives no value"),
    }
}

struct VariantNames;

/// An error only in form: it carries the names out.
#[derive(Debug)]
struct Names(&'static [&'static str]);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(self, f)
    }
}

impl std::error::Error for Names {}

impl serde::de::Error for Names {
    fn custom<T: fmt::Display>(message: T) -> Self {
        panic!("not an enum: {message}")
    }
}

impl<'de> Deserializer<'de> for VariantNames {
    type Error = Names;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Names> {
        panic!("not an enum")
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Names> {
        Err(Names(variants))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// Every example, each type with every variant.
pub fn all() -> Vec<Example> {
    let mut examples = Vec::new();
    add(&mut examples, "Command", commands());
    add(&mut examples, "Record", records());
    add(&mut examples, "Reply", replies());
    add(&mut examples, "Rejection", rejections());
    add(&mut examples, "Event", events());
    add(&mut examples, "StaleDecision", stale_decisions());
    add(&mut examples, "RefusalReason", refusal_reasons());
    add(&mut examples, "Condition", conditions());
    add(&mut examples, "EndReason", end_reasons());
    let causes = [FailureCause::StartFailed, FailureCause::LeaseExpired, FailureCause::Leaving];
    add(&mut examples, "FailureCause", causes.to_vec());
    add(&mut examples, "JobPhase", vec![JobPhase::Running, finished()]);
    add(&mut examples, "JobEnd", vec![JobEnd::Deleted, JobEnd::LeaseExpired]);
    add(&mut examples, "QueuePhase", vec![QueuePhase::Running, QueuePhase::Stopped]);
    add(&mut examples, "AllocationMode", vec![AllocationMode::AllOrNothing, AllocationMode::BestEffort]);
    add(&mut examples, "AllocationPhase", vec![AllocationPhase::Pending, AllocationPhase::Active]);
    add(&mut examples, "Offer", vec![static_offer(), dynamic_offer()]);
    add(&mut examples, "LabelOperator", label_operators());
    add(&mut examples, "Constraint", rules().constraints);
    examples
}

fn add<T>(examples: &mut Vec<Example>, name: &str, values: Vec<T>)
where
    T: Debug + PartialEq + Serialize + DeserializeOwned + 'static,
{
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for value in &values {
        let variant = variant_of(value);
        let count = counts.entry(variant.clone()).or_default();
        *count += 1;
        let bytes = codec::encode(value).unwrap();
        let decoded: T = codec::decode(&bytes, bytes.len()).unwrap();
        assert_eq!(decoded, *value, "decode(encode(x)) is x");
        examples.push(Example { label: format!("{name}/{variant}/{count}"), bytes, again: again::<T> });
    }
    for variant in variants_of::<T>() {
        assert!(
            counts.contains_key(*variant),
            "{name}::{variant} has no example in tests/domain/examples.rs"
        );
    }
}

fn again<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let value: T = codec::decode(bytes, bytes.len()).map_err(|error| error.to_string())?;
    codec::encode(&value).map_err(|error| error.to_string())
}

fn gpu() -> Name {
    Name::new("gpu").unwrap()
}

fn full_profile() -> ResourceProfile {
    ResourceProfile::from_plain([1_500, 1 << 30, 2, 3, 4]).with_extended(gpu(), 1)
}

fn static_offer() -> Offer {
    Offer::Static { slots: 4, slot_profile: full_profile() }
}

fn dynamic_offer() -> Offer {
    Offer::Dynamic { total: full_profile(), slot_profile: profile(500, 1 << 20) }
}

fn labels() -> Labels {
    BTreeMap::from([(Name::new("zone").unwrap(), "eu-1".to_owned())])
}

fn allocation(counter: u64) -> AllocationId {
    AllocationId::minted(cluster(), counter)
}

fn finished() -> JobPhase {
    JobPhase::Finished { at: LogicalTime(9), reason: JobEnd::Deleted }
}

fn placements() -> Vec<Placement> {
    vec![Placement { task_manager: task_manager("tm"), epoch: Epoch(7) }]
}

fn reasons() -> Vec<RefusalCount> {
    vec![RefusalCount { reason: RefusalReason::NotEnoughFree, task_managers: 3 }]
}

fn label_operators() -> Vec<LabelOperator> {
    use LabelOperator::*;
    vec![Equal, NotEqual, In, NotIn, Exists, NotExists]
}

fn rules() -> PlacementRules {
    let (label, values) = (Name::new("zone").unwrap(), vec!["eu-1".to_owned()]);
    PlacementRules {
        constraints: vec![
            Constraint::Label { label: label.clone(), operator: LabelOperator::In, values },
            Constraint::SpreadBy { label, per_value_max: 2 },
            Constraint::TaskManager(task_manager("tm")),
        ],
        prefer: Preference { task_managers: vec![task_manager("tm")], labels: labels() },
        strategy: Some(StrategyName::new("spread").unwrap()),
    }
}

fn line() -> Requirement {
    Requirement { profile: Some(full_profile()), rules: rules(), ..requirement("line", 1, 3) }
}

fn limit() -> ResourceLimit {
    let plain = [Some(1), None, Some(3), None, None];
    ResourceLimit { slots: Some(10), plain, extended: BTreeMap::from([(gpu(), 2)]) }
}

fn usage() -> Usage {
    Usage { slots: 2, profile: full_profile() }
}

fn patch() -> SettingsPatch {
    SettingsPatch {
        strategy: Some(StrategyName::new("spread").unwrap()),
        heartbeat_interval_ms: Some(1),
        heartbeat_timeout_ms: Some(2),
        lease_grace_ms: Some(3),
        expiries_per_second_max: Some(4),
        mass_loss_share_percent: Some(5),
        confirm_timeout_ms: Some(Some(6)),
        tombstone_retention_ms: Some(7),
        idempotency_retention_ms: Some(8),
        idempotency_keys_max: Some(9),
    }
}

fn setting_changes() -> SettingChanges {
    let mut ledger = Ledger::new();
    ledger.reply(Command::ChangeSettings(SettingsPatch { lease_grace_ms: Some(1), ..Default::default() }));
    ledger.state.setting_changes().clone()
}

fn commands() -> Vec<Command> {
    let id = task_manager("tm");
    let allocate = Allocate {
        job: job("job"),
        job_master_id: Some(job_master("leader")),
        slots: 2,
        profile: Some(full_profile()),
        mode: AllocationMode::BestEffort,
        placements: placements(),
        reasons: reasons(),
    };
    let version = RequirementVersion(5);
    let put = PutRequirements { job: job("job"), job_master_id: None, version, requirements: vec![line()] };
    let requirement = requirement_name("line");
    let fulfil = Fulfil { job: job("job"), version, requirement, placements: placements() };
    vec![
        Command::RegisterTaskManager {
            id: id.clone(),
            session: TaskManagerSession::new("session").unwrap(),
            address: Arc::from("host:6122"),
            offer: dynamic_offer(),
            labels: labels(),
        },
        Command::DeregisterTaskManager { id: id.clone() },
        expire("tm", Epoch(7)),
        Command::Cordon { id: id.clone() },
        Command::Uncordon { id: id.clone() },
        Command::Drain { id: id.clone(), deadline_ms: None },
        Command::Drain { id: id.clone(), deadline_ms: Some(60_000) },
        Command::Confirm {
            id,
            epoch: Epoch(7),
            started: vec![allocation(1)],
            failed: vec![(allocation(2), Arc::from("no disk"))],
        },
        Command::PutJob {
            id: job("job"),
            queue: queue("default"),
            priority: -3,
            job_master_id: Some(job_master("leader")),
            lease_ms: Some(30_000),
        },
        Command::DeleteJob { id: job("job") },
        Command::ExpireJob { id: job("job"), epoch: Epoch(8) },
        Command::Allocate(allocate),
        release("job", &[allocation(1)]),
        Command::PutRequirements(put),
        Command::Fulfil(fulfil),
        Command::PutQueue { name: queue("team"), maximum: limit(), phase: QueuePhase::Stopped },
        Command::DeleteQueue { name: queue("team") },
        Command::PatchSettings(patch()),
        Command::ExpireDue,
        Command::MintNodeId { peer_addr: Arc::from("host:7401"), incarnation: Uuid::from_u128(42) },
        Command::LeaveTaskManager { id: task_manager("tm"), epoch: Epoch(7) },
        Command::Report {
            id: task_manager("tm"),
            epoch: Epoch(7),
            started: vec![allocation(1)],
            failed: vec![FailedWork {
                allocation: allocation(2),
                cause: FailureCause::LeaseExpired,
                detail: Arc::from("its lease ran out"),
            }],
        },
        Command::EndNotHeld { id: task_manager("tm"), epoch: Epoch(7), allocations: vec![allocation(1)] },
        Command::ChangeSettings(patch()),
    ]
}

fn records() -> Vec<Record> {
    let commands = vec![
        KeyedCommand { key: Some(request_key("key", 3)), command: Command::ExpireDue },
        KeyedCommand { key: None, command: Command::ExpireDue },
    ];
    vec![
        Record::Begin(SessionStart { cluster: cluster(), node_id: 1, at: LogicalTime(START_MS) }),
        Record::Round(Batch {
            session: SessionNumber(1),
            at: LogicalTime(START_MS),
            commands: commands.clone(),
        }),
        Record::RoundAfter(RoundAfter {
            after: Revision(7),
            batch: Batch { session: SessionNumber(1), at: LogicalTime(START_MS), commands },
        }),
    ]
}

fn grant() -> Grant {
    Grant {
        id: allocation(1),
        job: job("job"),
        task_manager: task_manager("tm"),
        address: Arc::from("host:6122"),
        slot_index: 3,
        profile: Arc::new(full_profile()),
        fencing_token: FencingToken(11),
        phase: AllocationPhase::Pending,
        requirement: Some(requirement_name("line")),
    }
}

fn summary() -> JobSummary {
    JobSummary {
        queue: queue("default"),
        priority: -3,
        job_master_id: Some(job_master("leader")),
        lease_ms: Some(30_000),
        epoch: Epoch(8),
        phase: finished(),
        requirements_version: RequirementVersion(5),
        usage: usage(),
        pending: 4,
        created_at: LogicalTime(START_MS),
    }
}

fn replies() -> Vec<Reply> {
    let status = RequirementStatus { name: requirement_name("line"), granted: 1, pending: 2 };
    let queue = Queue {
        maximum: limit(),
        phase: QueuePhase::Stopped,
        used: usage(),
        jobs: 2,
        changed_in: Revision(3),
    };
    vec![
        Reply::Done,
        Reply::TaskManagerRegistered {
            created: true,
            epoch: Epoch(7),
            generation: Generation(8),
            allocations: vec![grant()],
        },
        Reply::Confirmed { active: 1, failed: 2, unknown: 3 },
        Reply::JobPut { created: false, job: Box::new(summary()) },
        Reply::Allocated { allocations: vec![grant()], missing: 1, reasons: reasons() },
        Reply::Released { released: vec![allocation(1)], unknown: vec![allocation(2)] },
        Reply::RequirementsPut { version: RequirementVersion(5), requirements: vec![status] },
        Reply::Fulfilled { allocations: vec![allocation(1)] },
        Reply::QueuePut { created: true, queue: Box::new(queue) },
        Reply::SettingsPatched(Box::default()),
        Reply::Expired { count: 9 },
        Reply::NodeId(4),
        Reply::SettingsChanged { settings: Box::default(), changes: Box::new(setting_changes()) },
    ]
}

fn rejections() -> Vec<Rejection> {
    vec![
        Rejection::StaleSession,
        Rejection::IdempotencyKeyReused,
        Rejection::IdempotencyTableFull,
        Rejection::UnknownTaskManager(task_manager("tm")),
        Rejection::StaleEpoch { given: Epoch(1), current: Epoch(2) },
        Rejection::UnknownJob(job("job")),
        Rejection::StaleJobMaster(job("job")),
        Rejection::JobHoldsSlots(job("job")),
        Rejection::UnknownQueue(queue("team")),
        Rejection::QueueInUse(queue("team")),
        Rejection::QueueAboveMaximum(queue("team")),
        Rejection::QueueProtected(queue("default")),
        Rejection::InsufficientResources { reasons: reasons() },
        Rejection::StaleDecision(StaleDecision::Slot),
        Rejection::StaleVersion { given: RequirementVersion(1), current: RequirementVersion(2) },
        Rejection::VersionReused(RequirementVersion(2)),
        Rejection::UnknownAllocation(allocation(1)),
        Rejection::LimitReached { what: "jobs".to_owned(), limit: 5 },
        Rejection::InvalidSetting(SettingError {
            setting: "lease_grace".to_owned(),
            range: "at most 10m".to_owned(),
        }),
        Rejection::InvalidCommand { field: "slots".to_owned(), problem: "1 to 10000".to_owned() },
        Rejection::WrongCluster,
    ]
}

fn stale_decisions() -> Vec<StaleDecision> {
    use StaleDecision::*;
    vec![TaskManager, Slot, Resources, QueueMaximum, QueueStopped, TooMany, TooFew]
}

fn refusal_reasons() -> Vec<RefusalReason> {
    use RefusalReason::*;
    vec![
        NoFreeSlot,
        NotEnoughFree,
        TooSmall,
        Constraint,
        Spread,
        NotAccepting,
        Lost,
        QueueMaximum,
        QueueStopped,
        NotEnoughInAll,
        StartFailures,
    ]
}

fn conditions() -> Vec<Condition> {
    vec![
        Condition::Active,
        Condition::Cordoned,
        Condition::Draining { deadline: Some(LogicalTime(START_MS)) },
        Condition::Draining { deadline: None },
        Condition::Drained,
        Condition::Lost { since: LogicalTime(START_MS) },
    ]
}

fn end_reasons() -> Vec<EndReason> {
    vec![
        EndReason::Released,
        EndReason::JobFinished,
        EndReason::RequirementLowered,
        EndReason::TaskManagerLost,
        EndReason::TaskManagerLeft,
        EndReason::TaskManagerRestarted,
        EndReason::DrainDeadline,
        EndReason::StartFailed(Arc::from("no disk")),
        EndReason::ConfirmTimeout,
        EndReason::TaskManagerFenced,
        EndReason::NotHeld,
    ]
}

fn events() -> Vec<Event> {
    let (id, job_id) = (task_manager("tm"), job("job"));
    vec![
        Event::SessionBegan { session: SessionNumber(3), node_id: 1 },
        Event::TaskManagerRegistered { id: id.clone(), epoch: Epoch(7) },
        Event::TaskManagerChanged { id: id.clone(), condition: Condition::Drained },
        Event::TaskManagerRemoved { id: id.clone() },
        Event::JobPut { id: job_id.clone() },
        Event::JobFinished { id: job_id.clone(), reason: JobEnd::LeaseExpired },
        Event::JobForgotten { id: job_id.clone() },
        Event::AllocationGranted {
            id: allocation(1),
            job: job_id.clone(),
            task_manager: id.clone(),
            slot_index: 3,
            fencing_token: FencingToken(11),
        },
        Event::AllocationActive { id: allocation(1) },
        Event::AllocationEnded {
            id: allocation(1),
            job: job_id.clone(),
            task_manager: id,
            reason: EndReason::StartFailed(Arc::from("no disk")),
        },
        Event::RequirementsPut { job: job_id, version: RequirementVersion(5) },
        Event::QueuePut { name: queue("team") },
        Event::QueueDeleted { name: queue("team") },
        Event::SettingsChanged,
        Event::NodeIdMinted { node_id: 4 },
    ]
}
