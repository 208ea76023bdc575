//! Rules of declared requirements.

use slotkeeper::domain::{
    Command, Constraint, Name, Preference, Rejection, Reply, RequirementStatus, RequirementVersion,
    StaleDecision,
};

use crate::support::*;

fn status(reply: &Reply) -> Vec<(String, u32, u32)> {
    let Reply::RequirementsPut { requirements, .. } = reply else { panic!("{reply:?}") };
    let told = |line: &RequirementStatus| (line.name.to_string(), line.granted, line.pending);
    requirements.iter().map(told).collect()
}

/// The pending lines in the order in which they are to be served.
fn pending(ledger: &Ledger) -> Vec<String> {
    let lines = ledger.state.indexes().pending().iter();
    lines.map(|line| format!("{}/{}", line.job, line.requirement)).collect()
}

#[test]
fn a_declaration_waits_until_it_is_served() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 4);
    ledger.job("job");
    let reply = ledger.declare("job", 1, &[("a", 1, 2), ("b", 0, 1)]);
    assert_eq!(status(&reply), [("a".to_owned(), 0, 2), ("b".to_owned(), 0, 1)]);
    ledger.fulfil("job", "a", &["tm", "tm"]);
    assert_eq!(pending(&ledger), ["job/b"]);
    assert_eq!(
        status(&ledger.declare("job", 1, &[("b", 0, 1), ("a", 1, 2)])),
        [("a".to_owned(), 2, 0), ("b".to_owned(), 0, 1)]
    );
}

#[test]
fn a_lower_version_never_stands() {
    let mut ledger = Ledger::new();
    ledger.job("job");
    ledger.declare("job", 5, &[("a", 0, 1)]);
    let (given, current) = (RequirementVersion(4), RequirementVersion(5));
    assert_eq!(ledger.refusal(declaration("job", 4, vec![])), Rejection::StaleVersion { given, current });
    assert_eq!(ledger.refusal(declaration("job", 5, vec![])), Rejection::VersionReused(current));
    ledger.declare("job", 5, &[("a", 0, 1)]);
}

#[test]
fn what_exceeds_the_new_declaration_ends_newest_first() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 4);
    ledger.job("job");
    ledger.declare("job", 1, &[("a", 0, 4)]);
    let held = ledger.fulfil("job", "a", &["tm", "tm", "tm", "tm"]);
    ledger.declare("job", 2, &[("a", 0, 1)]);
    assert_eq!(ledger.grant(held[0]).id, held[0], "the oldest stays");
    assert!(held[1..].iter().all(|id| ledger.end_of(*id) == Some("requirement_lowered")));
    let ended: Vec<_> = ledger.state.ended_allocations().iter().map(|ended| ended.id).collect();
    assert_eq!(ended, [held[3], held[2], held[1]]);
    assert_eq!(pending(&ledger), [""; 0]);
}

#[test]
fn an_empty_declaration_clears_and_leaves_imperative_allocations_alone() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 2);
    ledger.job("job");
    ledger.declare("job", 1, &[("a", 0, 1)]);
    let declared = ledger.fulfil("job", "a", &["tm"])[0];
    let imperative = ledger.allocate("job", &["tm"])[0];
    ledger.declare("job", 2, &[]);
    assert_eq!(ledger.end_of(declared), Some("requirement_lowered"));
    assert_eq!(ledger.grant(imperative).requirement, None);
}

#[test]
fn slots_serve_a_line_that_keeps_its_profile_and_constraints() {
    let mut ledger = Ledger::new();
    ledger.dynamic_task_manager("tm", 8);
    ledger.job("job");
    ledger.declare(
        "job",
        1,
        &[("same", 0, 1), ("preference", 0, 1), ("profile", 0, 1), ("constraint", 0, 1)],
    );
    let names = ["same", "preference", "profile", "constraint"];
    let held: Vec<_> = names.iter().map(|name| ledger.fulfil("job", name, &["tm"])[0]).collect();
    let mut lines: Vec<_> = names.iter().map(|name| requirement(name, 0, 2)).collect();
    lines[1].rules.prefer = Preference { task_managers: vec![task_manager("tm")], ..Default::default() };
    lines[2].profile = Some(profile(500, 1));
    let label = Name::new("zone").unwrap();
    lines[3].rules.constraints = vec![Constraint::SpreadBy { label, per_value_max: 1 }];
    ledger.reply(declaration("job", 2, lines));
    let ends: Vec<_> = held.iter().map(|id| ledger.end_of(*id)).collect();
    assert_eq!(ends, [None, None, Some("requirement_lowered"), Some("requirement_lowered")]);
}

#[test]
fn lines_are_served_by_priority_then_by_how_long_they_wait() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 4);
    for (id, priority) in [("low", 0), ("high", 10), ("early", 0)] {
        let queue = queue("default");
        ledger.reply(Command::PutJob { id: job(id), queue, priority, job_master_id: None, lease_ms: None });
    }
    ledger.declare("early", 1, &[("a", 0, 1)]);
    ledger.wait_ms(10);
    ledger.declare("low", 1, &[("b", 0, 1), ("a", 0, 1)]);
    ledger.declare("high", 1, &[("a", 0, 2)]);
    assert_eq!(pending(&ledger), ["high/a", "early/a", "low/a", "low/b"]);
    let held = ledger.fulfil("early", "a", &["tm"]);
    ledger.wait_ms(10);
    ledger.reply(release("early", &held));
    assert_eq!(
        pending(&ledger),
        ["high/a", "low/a", "low/b", "early/a"],
        "served once, it waits from now on"
    );
}

#[test]
fn a_line_keeps_its_age_while_it_waits_and_a_changed_line_starts_anew() {
    let mut ledger = Ledger::new();
    ledger.job("job");
    ledger.declare("job", 1, &[("kept", 0, 1), ("changed", 0, 1)]);
    ledger.wait_ms(100);
    let mut lines = vec![requirement("kept", 0, 9), requirement("changed", 0, 1)];
    lines[1].profile = Some(profile(1, 1));
    ledger.reply(declaration("job", 2, lines));
    let since = |name: &str| ledger.find_job("job").requirements[&requirement_name(name)].pending_since.0;
    assert_eq!((since("kept"), since("changed")), (START_MS, START_MS + 100));
}

#[test]
fn a_fulfilment_must_reach_the_least_and_not_exceed_the_most() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 9);
    ledger.job("job");
    ledger.declare("job", 1, &[("a", 2, 3)]);
    let places = ["tm"; 4];
    for (count, decision) in [(1, StaleDecision::TooFew), (4, StaleDecision::TooMany)] {
        let fulfilment = ledger.fulfilment("job", "a", &places[..count]);
        assert_eq!(ledger.refusal(Command::Fulfil(fulfilment)), Rejection::StaleDecision(decision));
    }
    ledger.fulfil("job", "a", &places[..2]);
    ledger.fulfil("job", "a", &places[..1]);
    let one_more = ledger.fulfilment("job", "a", &places[..1]);
    assert_eq!(ledger.refusal(Command::Fulfil(one_more)), Rejection::StaleDecision(StaleDecision::TooMany));
}

#[test]
fn a_fulfilment_of_another_version_or_line_is_refused() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 1);
    ledger.job("job");
    ledger.declare("job", 1, &[("a", 0, 1)]);
    let old = ledger.fulfilment("job", "a", &["tm"]);
    ledger.declare("job", 2, &[("b", 0, 1)]);
    let (given, current) = (RequirementVersion(1), RequirementVersion(2));
    assert_eq!(ledger.refusal(Command::Fulfil(old)), Rejection::StaleVersion { given, current });
    let gone = ledger.fulfilment("job", "a", &["tm"]);
    assert_eq!(ledger.refusal(Command::Fulfil(gone)), Rejection::StaleDecision(StaleDecision::TooMany));
}

#[test]
fn a_lost_slot_of_a_line_is_wanted_again() {
    let mut ledger = Ledger::new();
    let epoch = ledger.static_task_manager("tm", 2);
    ledger.job("job");
    ledger.declare("job", 1, &[("a", 0, 2)]);
    ledger.fulfil("job", "a", &["tm", "tm"]);
    assert_eq!(pending(&ledger), [""; 0]);
    ledger.reply(expire("tm", epoch));
    assert_eq!(pending(&ledger), ["job/a"]);
}

#[test]
fn lines_that_nobody_can_mean_are_refused() {
    let mut ledger = Ledger::new();
    ledger.job("job");
    let too_many = (0..257).map(|line| requirement(&format!("line-{line}"), 0, 1)).collect();
    for lines in [
        vec![requirement("a", 2, 1)],
        vec![requirement("a", 0, 1), requirement("a", 0, 1)],
        vec![requirement("a", 0, 100_001)],
        too_many,
    ] {
        let refusal = ledger.refusal(declaration("job", 1, lines));
        assert!(matches!(refusal, Rejection::InvalidCommand { .. }), "{refusal:?}");
    }
}
