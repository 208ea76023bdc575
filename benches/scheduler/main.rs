//! How long decisions take, without consensus. Prints figures and asserts nothing.
//!
//! `cargo bench --bench scheduler` for 100, 1,000, 10,000 and 100,000 TaskManagers of 16 slots, or for the numbers given:
//! `cargo bench --bench scheduler -- 10000`. Each figure is over decisions that are planned and then applied.
//! `-- --memory 1000000` prints what so many slots take in memory instead; `-- --record FILE` also writes the figures as JSON.

// The laboratory uses more of both, and runs their tests.
#[allow(dead_code, unused_imports)]
#[path = "../lab/src/bars.rs"]
mod bars;
mod fleet;
mod found;
mod memory;
#[allow(dead_code, unused_imports)]
#[path = "../lab/src/record.rs"]
mod record;

use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::json;
use slotkeeper::domain::*;
use slotkeeper::scheduler::{
    AllocationRequest, Avoidance, Planner, Registry, RequirementWalk, WalkBudget, plan_allocation,
};

use self::fleet::{Mix, SLOTS, allocate, apply, cpu, declare, fleet, name, put_job, request};
use self::found::{Decision, Found};
use self::record::Recording;

const FLEETS: [u32; 4] = [100, 1_000, 10_000, 100_000];
const STRATEGIES: [&str; 3] = ["any_fit", "least_utilization", "most_utilization"];
const NO_LIMIT: WalkBudget = WalkBudget { slots: u32::MAX, lines: u32::MAX };

/// As the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the command line says.
#[derive(Default)]
struct Line {
    sizes: Vec<u32>,
    memory: Option<u32>,
    record: Option<PathBuf>,
}

impl Line {
    fn read(mut words: impl Iterator<Item = String>) -> Self {
        let mut line = Self::default();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--memory" => line.memory = words.next().and_then(|text| text.parse().ok()),
                "--record" => line.record = words.next().map(PathBuf::from),
                // `--bench` comes from cargo.
                text => line.sizes.extend(text.parse::<u32>()),
            }
        }
        line
    }
}

fn main() -> std::io::Result<()> {
    let line = Line::read(std::env::args().skip(1));
    if let Some(slots) = line.memory {
        let recording = Recording::begin("memory", line.record.as_deref(), None);
        let (results, verdict) = memory::measure(slots);
        return recording.end(&json!({ "states": 1 }), &results, &[verdict]);
    }
    let recording = Recording::begin("scheduler", line.record.as_deref(), None);
    let sizes = if line.sizes.is_empty() { FLEETS.to_vec() } else { line.sizes };
    let mut found = Found::default();
    for_all(&sizes, &mut found);
    recording.end(&found.samples(), &found.json(), &found.verdicts())
}

fn for_all(sizes: &[u32], found: &mut Found) {
    println!(
        "{:>7}  {:44} {:>10} {:>10} {:>10} {:>10}",
        "fleet", "decision", "plan p50", "p99", "mean", "apply mean"
    );
    for size in sizes.iter().copied() {
        let state = fleet(size, Mix::Zones);
        for strategy in STRATEGIES {
            decisions(size, strategy, &state, found);
        }
        constraint_heavy(size, &fleet(size, Mix::OwnLabels), found);
        misfit_heavy(size, &fleet(size, Mix::Fragmented), found);
        found.replans.push((size, replan(size, &state)));
        lost_task_manager(size, &state);
        hopeless(size, &state);
    }
}

/// Plans and applies `request` as often as `times` says, as long as there is room.
fn decide(size: u32, case: &str, state: &State, request: &AllocationRequest, times: u32) -> Decision {
    let (mut state, registry) = (state.clone(), Registry::default());
    let mut planning_ns = Histogram::<u64>::new(3).unwrap();
    let mut applying = Duration::ZERO;
    for _ in 0..times {
        let begin = Instant::now();
        let plan = plan_allocation(&state, request, &registry, &Avoidance::default()).unwrap();
        planning_ns.record(u64::try_from(begin.elapsed().as_nanos()).unwrap()).unwrap();
        let command = allocate(request, plan.placements, plan.reasons);
        let begin = Instant::now();
        black_box(apply(&mut state, command));
        applying += begin.elapsed();
    }
    let at = |quantile| Duration::from_nanos(planning_ns.value_at_quantile(quantile));
    let mean = Duration::from_nanos(planning_ns.mean() as u64);
    println!(
        "{size:>7}  {case:44} {:>10.1?} {:>10.1?} {mean:>10.1?} {:>10.1?}",
        at(0.5),
        at(0.99),
        applying / times
    );
    Decision {
        task_managers: size,
        case: case.to_owned(),
        times,
        p50: at(0.5),
        p99: at(0.99),
        apply: applying / times,
    }
}

fn decisions(size: u32, strategy: &str, state: &State, found: &mut Found) {
    let slots = size * SLOTS;
    // At most half of the fleet is taken, so that every decision finds room.
    let times = |of: u32, most: u32| (slots / 2 / of).clamp(1, most);
    let one = format!("1 slot, {strategy}");
    found.decisions.push(decide(size, &one, state, &request(1, strategy), times(1, 2_000)));
    if slots >= 2_000 {
        let many = format!("1,000 slots, {strategy}");
        found.decisions.push(decide(size, &many, state, &request(1_000, strategy), times(1_000, 20)));
    }
    let mut gang = request(60, strategy);
    gang.rules.constraints = vec![Constraint::SpreadBy { label: name("zone"), per_value_max: 1_000_000 }];
    let case = format!("gang of 60 over zones, {strategy}");
    found.decisions.push(decide(size, &case, state, &gang, times(60, 100)));
}

/// Every request names labels: one value of many, several of few, and what must not be.
fn constraint_heavy(size: u32, state: &State, found: &mut Found) {
    let label = |text: &str, operator, values: &[&str]| Constraint::Label {
        label: name(text),
        operator,
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    let mut zone = request(1, "least_utilization");
    zone.rules.constraints = vec![label("zone", LabelOperator::Equal, &["z1"])];
    found.decisions.push(decide(size, "1 slot, one zone, own labels", state, &zone, 200));
    let mut rack = request(1, "least_utilization");
    rack.rules.constraints = vec![
        label("zone", LabelOperator::In, &["z0", "z1"]),
        label("rack", LabelOperator::In, &["rack-0", "rack-1"]),
        label("host", LabelOperator::NotIn, &["host-1", "host-2"]),
    ];
    found.decisions.push(decide(size, "1 slot, zone and rack and not host", state, &rack, 200));
}

/// Most TaskManagers do not fit: sizes of all kinds are taken and asked for.
fn misfit_heavy(size: u32, state: &State, found: &mut Found) {
    for strategy in STRATEGIES {
        let large = AllocationRequest { profile: Some(cpu(15_500)), ..request(1, strategy) };
        let case = format!("1 large slot, fragmented, {strategy}");
        found.decisions.push(decide(size, &case, state, &large, (size / 4).min(200)));
    }
    let too_large = AllocationRequest { profile: Some(cpu(900_000)), ..request(1, "least_utilization") };
    let mut times = Vec::new();
    for _ in 0..20 {
        let begin = Instant::now();
        black_box(plan_allocation(state, &too_large, &Registry::default(), &Avoidance::default())).unwrap();
        times.push(begin.elapsed());
    }
    times.sort();
    println!(
        "{size:>7}  {:44} {:>10.1?} {:>10.1?}",
        "refusal with reasons, fragmented", times[10], times[19]
    );
}

/// Serves all lines that wait, and says how fast, in slots a second.
fn serve_all(size: u32, case: &str, state: &mut State) -> f64 {
    let (mut walk, registry) = (RequirementWalk::default(), Registry::default());
    let (begin, mut slots) = (Instant::now(), 0);
    loop {
        walk.begin_round(NO_LIMIT);
        while let Some(fulfil) = walk.next(state, &registry, &Avoidance::default()) {
            slots += fulfil.placements.len();
            assert!(apply(state, Command::Fulfil(fulfil)).result.is_ok());
        }
        if walk.is_finished() {
            break;
        }
    }
    let took = begin.elapsed();
    let rate = slots as f64 / took.as_secs_f64();
    println!("{size:>7}  {case:44} {took:>10.1?} for {slots} slots, {rate:.0} slots/s, decided and applied");
    rate
}

/// Every slot of the fleet is wanted at once.
fn replan(size: u32, state: &State) -> f64 {
    let mut state = state.clone();
    let wanted = size * SLOTS;
    let lines: Vec<_> =
        (0..wanted.div_ceil(100_000)).map(|line| ((wanted - line * 100_000).min(100_000), None)).collect();
    declare(&mut state, "job", &lines);
    serve_all(size, "full replan", &mut state)
}

/// A TaskManager with 16 declared slots dies, and they go elsewhere.
fn lost_task_manager(size: u32, state: &State) {
    let mut state = state.clone();
    declare(&mut state, "job", &[((size * SLOTS / 2).min(100_000), None)]);
    let (mut walk, registry) = (RequirementWalk::default(), Registry::default());
    walk.begin_round(NO_LIMIT);
    while let Some(fulfil) = walk.next(&state, &registry, &Avoidance::default()) {
        apply(&mut state, Command::Fulfil(fulfil));
    }
    let holder = state.allocations().iter().next().map(|(_, allocation)| allocation.task_manager.clone());
    let id = holder.expect("half of the fleet is taken");
    let epoch = state.task_managers().get(&id).expect("it holds a slot").epoch;
    let begin = Instant::now();
    assert!(apply(&mut state, Command::ExpireTaskManager { id, epoch }).result.is_ok());
    println!("{size:>7}  {:44} {:>10.1?}", "lost TaskManager, applied", begin.elapsed());
    serve_all(size, "lost TaskManager, replaced", &mut state);
}

/// Many lines that wait for what there is not: what one round spends on them.
fn hopeless(size: u32, state: &State) {
    let mut state = state.clone();
    for number in 0..10_000 {
        let id = format!("waiting-{number}");
        put_job(&mut state, &id);
        declare(&mut state, &id, &[(4, Some(cpu(900_000)))]);
    }
    serve_all(size, "10,000 hopeless lines walked", &mut state);
    let mut planner = Planner::new(Registry::default());
    let refused = AllocationRequest { profile: Some(cpu(900_000)), ..request(1, "least_utilization") };
    let begin = Instant::now();
    for _ in 0..1_000 {
        black_box(planner.plan(&state, &refused, &Avoidance::default())).unwrap();
    }
    println!("{size:>7}  {:44} {:>10.1?}", "1,000 like refusals", begin.elapsed());
}
