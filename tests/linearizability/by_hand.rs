//! Histories written by hand: one small story each, legal or not, alone and among operations that do not matter to it.

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::linear::check::check;
use super::linear::model::Part;
use super::linear::operation::{Action, Held, Operation, Outcome, Place, Setting};
use super::linear::search::{Finding, Limit, search};

/// Two jobs, four slots, a maximum of three.
const SETTING: Setting = Setting { parts: 1, jobs: 2, slots: 4, maximum: 3 };

fn id(number: u16) -> Uuid {
    Uuid::from_u128(u128::from(number))
}

/// Allocation `number` on slot `slot`; its token is its number.
fn on(number: u16, slot: u16) -> Held {
    let place = Place { task_manager: 0, slot_index: slot };
    Held { id: id(number), place, fencing_token: u64::from(number) }
}

fn held(numbers: &[u16]) -> Vec<Held> {
    numbers.iter().map(|number| on(*number, *number)).collect()
}

fn operation((began_ns, ended_ns): (u64, u64), action: Action, outcome: Outcome) -> Operation {
    let ended_ns = (outcome != Outcome::Unknown).then_some(ended_ns);
    Operation {
        part: 0,
        client: 0,
        began_ns,
        ended_ns,
        tries: 1,
        revision: ended_ns,
        in_fault: false,
        action,
        outcome,
    }
}

fn alloc(at: (u64, u64), job: u8, slots: u32, got: &[u16]) -> Operation {
    operation(at, Action::Allocate { job, slots, all: true }, Outcome::Granted { slots: held(got) })
}

fn some(at: (u64, u64), job: u8, slots: u32, got: &[u16]) -> Operation {
    operation(at, Action::Allocate { job, slots, all: false }, Outcome::Granted { slots: held(got) })
}

fn refused(at: (u64, u64), job: u8, slots: u32) -> Operation {
    operation(at, Action::Allocate { job, slots, all: true }, Outcome::Refused)
}

fn lost(began: u64, job: u8, slots: u32, all: bool) -> Operation {
    operation((began, 0), Action::Allocate { job, slots, all }, Outcome::Unknown)
}

fn release(at: (u64, u64), job: u8, numbers: &[u16]) -> Operation {
    let ids = numbers.iter().map(|number| id(*number)).collect();
    operation(at, Action::Release { job, ids }, Outcome::Done)
}

fn lost_release(began: u64, job: u8, number: u16) -> Operation {
    operation((began, 0), Action::Release { job, ids: vec![id(number)] }, Outcome::Unknown)
}

fn read(at: (u64, u64), job: u8, shown: &[u16]) -> Operation {
    operation(at, Action::ReadJob { job }, Outcome::Shown { slots: held(shown) })
}

fn queue(at: (u64, u64), maximum: u32, used: u32) -> Operation {
    operation(at, Action::ReadQueue, Outcome::Queue { maximum, used })
}

fn put(at: (u64, u64), maximum: u32, used: u32) -> Operation {
    operation(at, Action::PutMaximum { maximum }, Outcome::Queue { maximum, used })
}

fn put_refused(at: (u64, u64), maximum: u32) -> Operation {
    operation(at, Action::PutMaximum { maximum }, Outcome::Refused)
}

fn lost_put(began: u64, maximum: u32) -> Operation {
    operation((began, 0), Action::PutMaximum { maximum }, Outcome::Unknown)
}

fn master(at: (u64, u64), job: u8, master: u32, slots: u32) -> Operation {
    operation(at, Action::PutMaster { job, master }, Outcome::Job { slots })
}

fn renew(at: (u64, u64), job: u8, master: u32, is_master: bool) -> Operation {
    let outcome = if is_master { Outcome::Done } else { Outcome::Refused };
    operation(at, Action::Renew { job, master }, outcome)
}

type Story = (&'static str, Vec<Operation>);

fn legal() -> Vec<Story> {
    [legal_grants(), legal_losses_and_limits()].concat()
}

fn legal_grants() -> Vec<Story> {
    vec![
        ("nothing", vec![]),
        ("grant, then seen", vec![alloc((1, 2), 0, 2, &[1, 2]), read((3, 4), 0, &[1, 2])]),
        ("a read during a grant shows it", vec![alloc((1, 9), 0, 1, &[1]), read((2, 3), 0, &[1])]),
        ("a read during a grant does not show it", vec![alloc((1, 9), 0, 1, &[1]), read((2, 3), 0, &[])]),
        (
            "two reads during a grant, the later shows it",
            vec![alloc((1, 9), 0, 1, &[1]), read((2, 3), 0, &[]), read((4, 5), 0, &[1])],
        ),
        ("more than the maximum is refused", vec![refused((1, 2), 0, 4)]),
        ("refused while a grant is under way", vec![alloc((1, 9), 0, 2, &[1, 2]), refused((2, 3), 1, 2)]),
        (
            "granted while a release is under way",
            vec![alloc((1, 2), 0, 3, &[1, 2, 3]), release((3, 9), 0, &[1]), alloc((4, 5), 1, 1, &[4])],
        ),
        (
            "best effort gets what is left",
            vec![alloc((1, 2), 0, 2, &[1, 2]), some((3, 4), 1, 3, &[3]), some((5, 6), 1, 1, &[])],
        ),
    ]
}

fn legal_losses_and_limits() -> Vec<Story> {
    vec![
        ("a lost grant never was", vec![lost(1, 0, 1, true), read((3, 4), 0, &[]), queue((5, 6), 3, 0)]),
        (
            "a lost grant is seen later",
            vec![lost(1, 0, 1, true), read((3, 4), 0, &[]), read((5, 6), 0, &[7])],
        ),
        (
            "a lost grant holds slots before it is seen",
            vec![lost(1, 0, 2, true), refused((3, 4), 1, 2), read((5, 6), 0, &[7, 8])],
        ),
        (
            "a lost best effort gets what is left",
            vec![alloc((1, 2), 1, 2, &[1, 2]), lost(3, 0, 3, false), read((5, 6), 0, &[7])],
        ),
        (
            "a lost release takes effect late",
            vec![
                alloc((1, 2), 0, 3, &[1, 2, 3]),
                lost_release(3, 0, 1),
                refused((4, 5), 1, 1),
                alloc((6, 7), 1, 1, &[4]),
                read((8, 9), 0, &[2, 3]),
            ],
        ),
        (
            "released twice",
            vec![alloc((1, 2), 0, 1, &[1]), release((3, 4), 0, &[1]), release((5, 6), 0, &[1])],
        ),
        (
            "a lower maximum is refused while more is held",
            vec![
                alloc((1, 2), 0, 2, &[1, 2]),
                put_refused((3, 4), 1),
                put((5, 6), 2, 2),
                refused((7, 8), 0, 1),
            ],
        ),
        ("a lost maximum is seen", vec![lost_put(1, 1), queue((3, 4), 3, 0), queue((5, 6), 1, 0)]),
        ("the pool ends before the maximum", vec![put((1, 2), 9, 0), refused((3, 4), 0, 5)]),
        (
            "the old master is refused",
            vec![master((1, 2), 0, 1, 0), renew((3, 4), 0, 1, true), renew((5, 6), 0, 0, false)],
        ),
        (
            "both masters during a change",
            vec![master((1, 9), 0, 1, 0), renew((2, 3), 0, 0, true), renew((4, 5), 0, 1, true)],
        ),
        (
            "a slot is used again",
            vec![alloc((1, 2), 0, 1, &[1]), release((3, 4), 0, &[1]), {
                let again = Outcome::Granted { slots: vec![on(2, 1)] };
                operation((5, 6), Action::Allocate { job: 1, slots: 1, all: true }, again)
            }],
        ),
        ("operations at one instant overlap", vec![alloc((1, 2), 0, 1, &[1]), read((2, 3), 0, &[])]),
        (
            "an order that the beginnings do not give",
            vec![alloc((1, 20), 0, 3, &[1, 2, 3]), refused((2, 5), 1, 1), release((6, 7), 0, &[1])],
        ),
        ("grants to two jobs overlap", vec![alloc((1, 9), 0, 2, &[1, 2]), alloc((2, 8), 1, 1, &[3])]),
        (
            "two lost grants share the names",
            vec![lost(1, 0, 1, true), lost(2, 0, 2, true), read((5, 6), 0, &[7, 8, 9])],
        ),
    ]
}

fn illegal() -> Vec<Story> {
    [illegal_grants(), illegal_losses_and_limits()].concat()
}

fn illegal_grants() -> Vec<Story> {
    vec![
        ("an acknowledged grant is not shown", vec![alloc((1, 2), 0, 1, &[1]), read((3, 4), 0, &[])]),
        ("only a part of a grant is shown", vec![alloc((1, 2), 0, 2, &[1, 2]), read((3, 4), 0, &[1])]),
        ("seen, then not seen", vec![alloc((1, 9), 0, 1, &[1]), read((2, 3), 0, &[1]), read((4, 5), 0, &[])]),
        ("what nobody asked for", vec![read((1, 2), 0, &[1])]),
        ("shown before it was asked for", vec![read((1, 2), 0, &[1]), alloc((3, 4), 0, 1, &[1])]),
        ("in the wrong job", vec![alloc((1, 2), 0, 1, &[1]), read((3, 4), 1, &[1])]),
        (
            "a release that did nothing",
            vec![alloc((1, 2), 0, 1, &[1]), release((3, 4), 0, &[1]), read((5, 6), 0, &[1])],
        ),
        (
            "half of a release",
            vec![alloc((1, 2), 0, 2, &[1, 2]), release((3, 4), 0, &[1, 2]), read((5, 6), 0, &[2])],
        ),
        ("more than the maximum", vec![alloc((1, 2), 0, 2, &[1, 2]), alloc((3, 4), 1, 2, &[3, 4])]),
        (
            "more than the maximum by two at once",
            vec![alloc((1, 9), 0, 2, &[1, 2]), alloc((2, 8), 1, 2, &[3, 4])],
        ),
        ("refused although there is enough", vec![refused((1, 2), 0, 3)]),
        (
            "refused after the release was acknowledged",
            vec![alloc((1, 2), 0, 3, &[1, 2, 3]), release((3, 4), 0, &[1]), refused((5, 6), 1, 1)],
        ),
        ("refused for a grant that began later", vec![refused((1, 2), 1, 2), alloc((3, 4), 0, 2, &[1, 2])]),
        ("best effort gets less than there is", vec![some((1, 2), 0, 2, &[1])]),
        ("all or nothing gets some", vec![alloc((1, 2), 0, 3, &[1, 2])]),
        ("all or nothing gets none", vec![alloc((1, 2), 0, 4, &[])]),
        (
            "best effort is refused",
            vec![alloc((1, 2), 0, 3, &[1, 2, 3]), {
                operation((3, 4), Action::Allocate { job: 0, slots: 1, all: false }, Outcome::Refused)
            }],
        ),
        (
            "one slot twice",
            vec![alloc((1, 2), 0, 1, &[1]), {
                let again = Outcome::Granted { slots: vec![on(2, 1)] };
                operation((3, 4), Action::Allocate { job: 1, slots: 1, all: true }, again)
            }],
        ),
        (
            "one allocation twice",
            vec![alloc((1, 2), 0, 1, &[1]), {
                let again = Outcome::Granted { slots: vec![on(1, 2)] };
                operation((3, 4), Action::Allocate { job: 0, slots: 1, all: true }, again)
            }],
        ),
    ]
}

fn illegal_losses_and_limits() -> Vec<Story> {
    vec![
        ("a lost all-or-nothing request got a part", vec![lost(1, 0, 2, true), read((3, 4), 0, &[7])]),
        ("a lost request got too much", vec![lost(1, 0, 1, true), read((3, 4), 0, &[7, 8])]),
        (
            "a lost grant is seen and gone",
            vec![lost(1, 0, 1, true), read((3, 4), 0, &[7]), read((5, 6), 0, &[])],
        ),
        ("a lost grant in effect before it began", vec![read((1, 2), 0, &[7]), lost(3, 0, 1, true)]),
        (
            "a lost release took effect and did not",
            vec![
                alloc((1, 2), 0, 3, &[1, 2, 3]),
                lost_release(3, 0, 1),
                alloc((4, 5), 1, 1, &[4]),
                read((6, 7), 0, &[1, 2, 3]),
            ],
        ),
        ("a lower maximum was taken", vec![alloc((1, 2), 0, 2, &[1, 2]), put((3, 4), 1, 2)]),
        ("a possible maximum was refused", vec![put_refused((1, 2), 1)]),
        ("a maximum is not shown", vec![put((1, 2), 2, 0), queue((3, 4), 3, 0)]),
        ("a lost maximum goes back", vec![lost_put(1, 1), queue((3, 4), 1, 0), queue((5, 6), 3, 0)]),
        ("used does not count a grant", vec![alloc((1, 2), 0, 2, &[1, 2]), queue((3, 4), 3, 1)]),
        (
            "used counts what was released",
            vec![alloc((1, 2), 0, 2, &[1, 2]), release((3, 4), 0, &[1]), queue((5, 6), 3, 2)],
        ),
        ("the old master is heard", vec![master((1, 2), 0, 1, 0), renew((3, 4), 0, 0, true)]),
        ("the master is refused", vec![master((1, 2), 0, 1, 0), renew((3, 4), 0, 1, false)]),
        ("a job shows fewer slots", vec![alloc((1, 2), 0, 2, &[1, 2]), master((3, 4), 0, 1, 1)]),
        (
            "the master goes back",
            vec![master((1, 9), 0, 1, 0), renew((2, 3), 0, 1, true), renew((4, 5), 0, 0, true)],
        ),
    ]
}

/// What goes on beside a story, without a bearing on it: nothing; heartbeats of the other job; a master that is named again
/// and again; requests whose answers are lost and that ask for too much.
fn beside(kind: usize) -> Vec<Operation> {
    let span = |number: u64| (number * 2, number * 2 + 7);
    match kind {
        0 => Vec::new(),
        1 => (0..4).map(|number| renew(span(number), 1, 0, true)).collect(),
        2 => (0..4)
            .map(|number| operation((number, 0), Action::PutMaster { job: 1, master: 5 }, Outcome::Unknown))
            .collect(),
        _ => (0..4).map(|number| lost(number, 1, 5, true)).collect(),
    }
}

fn find(history: &[Operation]) -> Finding {
    let limit = Limit { configurations: 1_000_000, deadline: Instant::now() + Duration::from_secs(60) };
    search(&Part::new(&SETTING, history), history, limit)
}

#[test]
fn a_legal_story_passes() {
    let mut looked_at = 0;
    for (name, story) in legal() {
        for kind in 0..4 {
            let history = [story.clone(), beside(kind)].concat();
            assert_eq!(find(&history), Finding::Linearizable, "{name}, beside {kind}");
            looked_at += 1;
        }
    }
    assert!(looked_at >= 100, "{looked_at}");
}

#[test]
fn an_illegal_story_is_found() {
    let mut looked_at = 0;
    for (name, story) in illegal() {
        for kind in 0..4 {
            let history = [story.clone(), beside(kind)].concat();
            assert!(matches!(find(&history), Finding::Violation(_)), "{name}, beside {kind}");
            looked_at += 1;
        }
    }
    assert!(looked_at >= 100, "{looked_at}");
}

/// Whether the check of everything finds something in `history`, whose revisions are `revisions`.
fn alarms(mut history: Vec<Operation>, revisions: &[u64]) -> Vec<String> {
    for (operation, revision) in history.iter_mut().zip(revisions) {
        operation.revision = Some(*revision);
    }
    super::linear::invariants::broken(&history)
}

#[test]
fn the_linear_checks_find_what_they_are_for() {
    let grant = |at, slots| {
        operation(at, Action::Allocate { job: 0, slots: 1, all: true }, Outcome::Granted { slots })
    };
    let once = || grant((1, 2), vec![on(1, 1)]);
    let released = || release((3, 4), 0, &[1]);
    let sound = alarms(vec![once(), released(), grant((5, 6), vec![on(2, 1)])], &[1, 2, 3]);
    assert!(sound.is_empty(), "{sound:?}");
    let cases: [(&str, Vec<Operation>, &[u64]); 7] = [
        ("granted twice", vec![once(), grant((3, 4), vec![on(1, 2)])], &[1, 2]),
        ("token", vec![once(), released(), grant((5, 6), vec![Held { id: id(9), ..on(1, 1) }])], &[1, 2, 3]),
        ("tokens fell", vec![grant((1, 2), vec![on(2, 1)]), grant((3, 4), vec![on(1, 1)])], &[1, 2]),
        ("nobody released", vec![once(), grant((3, 4), vec![on(2, 1)])], &[1, 2]),
        ("at one revision", vec![once(), released(), grant((5, 6), vec![on(2, 1)])], &[1, 4, 3]),
        ("is gone", vec![once(), read((3, 4), 0, &[])], &[1, 1]),
        ("after an answer of revision", vec![once(), read((3, 4), 0, &[1])], &[5, 4]),
    ];
    for (what, history, revisions) in cases {
        let found = alarms(history, revisions);
        assert!(found.iter().any(|text| text.contains(what)), "`{what}` is not in {found:?}");
    }
    let above = alarms(vec![queue((1, 2), 3, 4)], &[1]);
    assert!(above.iter().any(|text| text.contains("held 4 of 3")), "{above:?}");
}

#[test]
fn a_violation_in_one_part_of_many_fails_the_check() {
    let setting = Setting { parts: 3, ..SETTING };
    let mut history: Vec<Operation> = Vec::new();
    for (_, story) in legal().into_iter().take(3) {
        history.extend(story);
    }
    let mut broken = refused((1, 2), 0, 3);
    broken.part = 2;
    history.retain(|operation| operation.began_ns < 3 && operation.ended_ns.is_some_and(|end| end < 3));
    history.push(broken);
    let report = check(&setting, history);
    assert!(report.violations.iter().any(|text| text.contains("part 2")), "{:?}", report.violations);
}
