//! Disks that are slow and work: each sync takes longer than a follower waits for a leader, and neither an election comes of it
//! nor a leader that may not lead, because heartbeats are answered before anything is written.

use super::drill::{Drill, cluster_document};
use super::http::Caller;
use super::strace::{self, Strace};

/// In microseconds; elections are due after 200 to 300 ms of silence.
const SLOW_SYNC: &str = "inject=fdatasync:delay_enter=350000";
/// Acknowledgements of one look, which take some ten syncs after one another.
const LOOK: usize = 60;
/// Other work on the machine may cost a leader its lease now and then; slow syncs would cost it in every look.
const LOOKS_MAX: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn no_leader_and_no_session_changes_while_every_sync_takes_longer_than_an_election() {
    if !strace::is_here() {
        return;
    }
    let drill = Drill::begin(&[]).await;
    let pids: Vec<u32> = (0..3).map(|number| drill.cluster.pid(number)).collect();
    let trace = drill.cluster.folder().join("slow-syncs");
    let options = ["-o", trace.to_str().unwrap(), "-e", "trace=fdatasync", "-e", SLOW_SYNC];
    let tracer = Strace::attach(&pids, &options, drill.cluster.folder());
    let mut caller = Caller::new(&drill.cluster.api_addrs(), 0);
    let mut look = async || {
        let logs = (0..3).map(|number| drill.cluster.log(number));
        let sessions: usize = logs.map(|log| log.matches("a leadership session begins").count()).sum();
        (cluster_document(&mut caller).await["term"].as_u64(), sessions)
    };
    let mut looks = vec![look().await];
    loop {
        drill.wait_for_acknowledgements(LOOK).await;
        looks.push(look().await);
        if looks[looks.len() - 2] == looks[looks.len() - 1] && looks[looks.len() - 1].0.is_some() {
            break;
        }
        assert!(looks.len() <= LOOKS_MAX, "the leader, or its session, changes all the time: {looks:?}");
    }
    tracer.detach();
    let delayed = std::fs::read_to_string(trace).unwrap().matches("(DELAYED)").count();
    assert!(delayed >= 20, "only {delayed} syncs were slow: this proves nothing");
    println!("{delayed} slow syncs, terms and sessions {looks:?}");
    drill.end().await;
}
