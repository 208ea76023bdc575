//! Rules of jobs: putting, taking over, ending.

use slotkeeper::domain::{
    Command, JobEnd, JobPhase, LogicalTime, QueuePhase, Rejection, Reply, RequirementVersion,
};

use crate::support::*;

fn put_with_leader(id: &str, leader: &str) -> Command {
    let job_master_id = Some(job_master(leader));
    Command::PutJob {
        id: job(id),
        queue: queue("default"),
        priority: 3,
        job_master_id,
        lease_ms: Some(30_000),
    }
}

fn delete(id: &str) -> Command {
    Command::DeleteJob { id: job(id) }
}

#[test]
fn a_job_is_created_once_and_updated_after() {
    let mut ledger = Ledger::new();
    let Reply::JobPut { created: true, job: first } = ledger.reply(put_job("job", "default")) else {
        panic!()
    };
    ledger.wait_ms(5);
    let Reply::JobPut { created: false, job: second } = ledger.reply(put_with_leader("job", "leader")) else {
        panic!()
    };
    assert!(second.epoch > first.epoch, "every put is a new epoch");
    assert_eq!(second.created_at, LogicalTime(START_MS));
    assert_eq!((second.priority, second.lease_ms), (3, Some(30_000)));
    assert_eq!(ledger.find_queue("default").jobs, 1);
}

#[test]
fn a_job_needs_a_queue_that_exists() {
    let mut ledger = Ledger::new();
    assert_eq!(ledger.refusal(put_job("job", "nowhere")), Rejection::UnknownQueue(queue("nowhere")));
}

#[test]
fn a_job_that_holds_slots_stays_in_its_queue() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 1);
    ledger.reply(put_queue("other", None, QueuePhase::Running));
    ledger.job("job");
    let held = ledger.allocate("job", &["tm"]);
    assert_eq!(ledger.refusal(put_job("job", "other")), Rejection::JobHoldsSlots(job("job")));
    ledger.reply(release("job", &held));
    ledger.reply(put_job("job", "other"));
    assert_eq!((ledger.find_queue("default").jobs, ledger.find_queue("other").jobs), (0, 1));
}

#[test]
fn a_put_keeps_slots_and_declaration() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 1);
    ledger.job("job");
    ledger.declare("job", 7, &[("line", 0, 2)]);
    let held = ledger.fulfil("job", "line", &["tm"]);
    ledger.reply(put_with_leader("job", "leader"));
    assert_eq!(ledger.grant(held[0]).job, job("job"));
    let line = ledger.state.indexes().pending().first().unwrap();
    assert_eq!(line.priority.0, 3, "the new priority orders the line");
    assert_eq!(ledger.state.indexes().pending().len(), 1);
}

#[test]
fn only_the_current_job_leader_speaks_for_a_job() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 1);
    ledger.reply(put_with_leader("job", "old"));
    ledger.reply(put_with_leader("job", "new"));
    let mut request = ledger.allocation("job", &["tm"]);
    request.job_master_id = Some(job_master("old"));
    assert_eq!(ledger.refusal(Command::Allocate(request.clone())), Rejection::StaleJobMaster(job("job")));
    request.job_master_id = Some(job_master("new"));
    ledger.reply(Command::Allocate(request));
}

#[test]
fn a_deleted_job_gives_everything_back() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 2);
    ledger.job("job");
    ledger.declare("job", 1, &[("line", 0, 5)]);
    let mut held = ledger.fulfil("job", "line", &["tm"]);
    held.extend(ledger.allocate("job", &["tm"]));
    ledger.reply(delete("job"));
    assert!(held.iter().all(|id| ledger.end_of(*id) == Some("job_finished")));
    assert!(ledger.state.indexes().pending().is_empty());
    assert_eq!(ledger.find_queue("default").jobs, 0);
    let phase = JobPhase::Finished { at: LogicalTime(START_MS), reason: JobEnd::Deleted };
    assert_eq!(ledger.find_job("job").phase, phase);
    assert_eq!(ledger.reply(delete("job")), Reply::Done, "deleting again is done already");
    assert_eq!(ledger.refusal(delete("never")), Rejection::UnknownJob(job("never")));
}

#[test]
fn a_finished_job_gets_nothing_and_can_be_put_anew() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 1);
    ledger.job("job");
    ledger.declare("job", 9, &[("line", 0, 1)]);
    ledger.reply(delete("job"));
    let request = ledger.allocation("job", &["tm"]);
    assert_eq!(ledger.refusal(Command::Allocate(request)), Rejection::UnknownJob(job("job")));
    let Reply::JobPut { created, job: summary } = ledger.reply(put_job("job", "default")) else { panic!() };
    assert!(created);
    assert_eq!(
        (summary.requirements_version.0, summary.pending),
        (9, 0),
        "its versions go on where they were"
    );
    assert_eq!(ledger.state.due_at(), None, "its tombstone is gone");
}

#[test]
fn a_late_declaration_of_a_job_that_ended_is_refused_after_it_is_put_again() {
    let mut ledger = Ledger::new();
    ledger.job("job");
    let late = |version| declaration("job", version, vec![requirement("line", 1, 1)]);
    ledger.reply(late(7));
    ledger.reply(delete("job"));
    ledger.job("job");
    let current = RequirementVersion(7);
    let given = RequirementVersion(6);
    assert_eq!(ledger.refusal(late(6)), Rejection::StaleVersion { given, current });
    assert_eq!(ledger.refusal(late(7)), Rejection::VersionReused(current));
    ledger.reply(late(8));
}

#[test]
fn a_job_that_is_forgotten_begins_its_versions_anew() {
    let mut ledger = Ledger::new();
    ledger.job("job");
    ledger.declare("job", 7, &[("line", 0, 1)]);
    ledger.reply(delete("job"));
    while ledger.state.jobs().contains_key(&job("job")) {
        ledger.wait_ms(60_000);
        ledger.reply(Command::ExpireDue);
    }
    ledger.job("job");
    assert_eq!(ledger.find_job("job").requirements_version, RequirementVersion(0));
}

#[test]
fn a_verdict_on_an_older_declaration_of_a_job_is_refused() {
    let mut ledger = Ledger::new();
    ledger.reply(put_with_leader("job", "leader"));
    let first = ledger.find_job("job").epoch;
    ledger.reply(put_with_leader("job", "leader"));
    let current = ledger.find_job("job").epoch;
    let verdict = |epoch| Command::ExpireJob { id: job("job"), epoch };
    assert_eq!(ledger.refusal(verdict(first)), Rejection::StaleEpoch { given: first, current });
    ledger.reply(verdict(current));
    assert!(!ledger.find_job("job").is_running());
    assert_eq!(ledger.refusal(verdict(current)), Rejection::UnknownJob(job("job")));
}
