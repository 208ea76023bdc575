//! Rules of sessions, time and node ids.

use std::sync::Arc;

use slotkeeper::domain::{
    Batch, ClusterId, Command, Event, KeyedCommand, LogicalTime, Record, Rejection, Reply, Revision,
    RoundAfter, SessionNumber, SessionStart, State,
};
use uuid::Uuid;

use crate::support::*;

fn mint(peer_addr: &str, incarnation: u128) -> Command {
    Command::MintNodeId { peer_addr: Arc::from(peer_addr), incarnation: Uuid::from_u128(incarnation) }
}

#[test]
fn a_session_is_named_after_the_revision_at_which_it_begins() {
    let mut ledger = Ledger::new();
    ledger.job("job");
    let applied = ledger.begin(2);
    assert_eq!(applied.revision, Revision(3));
    assert_eq!((ledger.state.session(), ledger.state.session_node()), (SessionNumber(3), 2));
    assert_eq!(applied.events, [Event::SessionBegan { session: SessionNumber(3), node_id: 2 }]);
}

#[test]
fn a_deposed_leader_decides_nothing_and_moves_no_clock() {
    let mut ledger = Ledger::new();
    let old = ledger.state.session();
    ledger.begin(2);
    let before = ledger.state.clone();
    let key = Some(request_key("key", 1));
    let commands = vec![KeyedCommand { key, command: put_job("job", "default") }];
    let at = LogicalTime(START_MS + 30_000);
    let applied = ledger.apply(Record::Round(Batch { session: old, at, commands }));
    assert_eq!(*applied.outcomes[0].result, Err(Rejection::StaleSession));
    assert_eq!(difference(&before, &ledger.state), None);
    assert_eq!(ledger.state.now(), before.now());
    assert!(ledger.state.idempotency().is_empty(), "the key is free for the new leader");
    assert_eq!(ledger.state.revision(), before.revision().next());
}

#[test]
fn nothing_is_decided_before_the_first_session() {
    let mut state = State::new();
    let commands = vec![KeyedCommand { key: None, command: put_job("job", "default") }];
    let batch = Batch { session: SessionNumber(0), at: LogicalTime(START_MS), commands };
    let applied = state.apply(&Record::Round(batch));
    assert_eq!(*applied.outcomes[0].result, Err(Rejection::StaleSession));
}

#[test]
fn a_log_of_another_cluster_is_refused() {
    let mut ledger = Ledger::new();
    let before = ledger.state.clone();
    let other = ClusterId(Uuid::from_u128(99));
    let at = LogicalTime(START_MS + 1);
    let applied = ledger.apply(Record::Begin(SessionStart { cluster: other, node_id: 9, at }));
    assert_eq!(*applied.outcomes[0].result, Err(Rejection::WrongCluster));
    assert_eq!(difference(&before, &ledger.state), None);
}

#[test]
fn time_never_falls_and_never_leaps() {
    let mut ledger = Ledger::new();
    assert_eq!(ledger.state.now(), LogicalTime(START_MS), "the first record sets it");
    ledger.wall_ms -= 5_000;
    ledger.round(Vec::new());
    assert_eq!(ledger.state.now(), LogicalTime(START_MS));
    ledger.wall_ms = START_MS + 3_600_000;
    ledger.round(Vec::new());
    assert_eq!(ledger.state.now(), LogicalTime(START_MS + 60_000));
    ledger.begin(2);
    assert_eq!(ledger.state.now(), LogicalTime(START_MS + 120_000));
}

#[test]
fn a_node_id_is_minted_once_for_one_data_directory() {
    let mut ledger = Ledger::new();
    assert_eq!(ledger.reply(mint("a:1", 1)), Reply::NodeId(1));
    assert_eq!(ledger.reply(mint("a:1", 2)), Reply::NodeId(2), "a wiped directory is a new node");
    assert_eq!(ledger.reply(mint("a:1", 1)), Reply::NodeId(1), "a retry is not");
    assert_eq!(ledger.state.minted_nodes().len(), 2);
}

#[test]
fn the_leaders_copy_and_a_replica_take_different_ways_to_the_same_state() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 2);
    ledger.job("job");
    let mut replica = ledger.state.clone();
    let mut copy = ledger.state.clone();
    let (session, at) = (copy.session(), LogicalTime(START_MS + 7));
    let commands: Vec<_> =
        [Command::Allocate(ledger.allocation("job", &["tm"])), put_job("other", "default")]
            .map(|command| KeyedCommand { key: None, command })
            .into();
    let mut round = copy.begin_round(session, at);
    for command in &commands {
        copy.apply_command(&mut round, command);
    }
    let led = copy.end_round(round);
    let followed = replica.apply(&Record::Round(Batch { session, at, commands }));
    assert_eq!(led, followed);
    assert_eq!(copy.hash(), replica.hash());
}

#[test]
fn a_round_does_nothing_on_another_state_than_the_one_it_was_decided_on() {
    let mut ledger = Ledger::new();
    let (session, after) = (ledger.state.session(), ledger.state.revision());
    let round = |id: &str| {
        let commands = vec![KeyedCommand { key: Some(request_key(id, 1)), command: put_job(id, "default") }];
        Record::RoundAfter(RoundAfter {
            after,
            batch: Batch { session, at: LogicalTime(START_MS), commands },
        })
    };
    let first = ledger.apply(round("first"));
    assert!(first.outcomes[0].result.is_ok());
    let before = ledger.state.clone();
    let second = ledger.apply(round("second"));
    assert_eq!(*second.outcomes[0].result, Err(Rejection::StaleSession));
    assert_eq!(difference(&before, &ledger.state), None);
    assert!(ledger.state.idempotency().replay(&request_key("second", 1)).is_none(), "the key is free");
    assert_eq!(ledger.state.revision(), before.revision().next());
}
