//! Hooks that are commands: what they are told, how they fail, and that nothing of a failed one is left.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use slotkeeper::agent::{CommandHooks, Hooks, StopReason, Work};

use crate::stage::{allocation, until};

fn work() -> Work {
    Work::from(&serde_json::from_value(allocation(9, 3)).unwrap())
}

fn hooks(on_start: &str, on_stop: &str, time_limit: Duration) -> CommandHooks {
    CommandHooks {
        task_manager_id: "tm-1".to_owned(),
        on_start: Some(on_start.to_owned()),
        on_stop: Some(on_stop.to_owned()),
        time_limit,
    }
}

const PATIENT: Duration = Duration::from_secs(20);

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test]
async fn a_command_gets_the_work_in_its_environment_and_on_its_input() {
    let folder = tempfile::tempdir().unwrap();
    let (told, document) = (folder.path().join("told"), folder.path().join("document"));
    let command = format!(
        "echo \"$SLOTKEEPER_ALLOCATION_ID $SLOTKEEPER_JOB_ID $SLOTKEEPER_SLOT_INDEX $SLOTKEEPER_FENCING_TOKEN \
         $SLOTKEEPER_TASK_MANAGER_ID $SLOTKEEPER_REASON $SLOTKEEPER_PROFILE\" >> {}; cat > {}",
        told.display(),
        document.display()
    );
    let hooks = hooks(&command, &command, PATIENT);
    hooks.start(&work()).await.unwrap();
    hooks.stop(&work(), StopReason::LeaseExpired).await.unwrap();
    let lines = read(&told);
    let (start, stop) = lines.trim().split_once('\n').unwrap();
    assert!(start.starts_with("00000000-0000-0000-0000-000000000009 job 3 9 tm-1 granted {"), "{start}");
    assert!(start.contains("\"cpu_cores\":1.5"), "{start}");
    assert!(stop.contains(" tm-1 lease_expired {"), "{stop}");
    let document: Value = serde_json::from_str(&read(&document)).unwrap();
    assert_eq!(document["fencing_token"], 9);
    assert_eq!(document["address"], "here:1");
}

#[tokio::test]
async fn the_exit_status_is_the_answer() {
    let failing = hooks("exit 3", "kill -9 $$", PATIENT);
    let failure = failing.start(&work()).await.unwrap_err();
    assert_eq!(failure.to_string(), "the on-start command ended with status 3");
    let failure = failing.stop(&work(), StopReason::Withdrawn).await.unwrap_err();
    assert_eq!(failure.to_string(), "the on-stop command was killed by a signal");
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_killed_with_everything_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let alive = folder.path().join("alive");
    let command = format!("while :; do echo x >> {}; sleep 0.02; done & wait", alive.display());
    let hooks = hooks(&command, "true", Duration::from_millis(300));
    let failure = hooks.start(&work()).await.unwrap_err();
    assert!(failure.to_string().contains("took longer than 300ms and was killed"), "{failure}");
    assert_nothing_writes(&alive).await;
}

#[tokio::test]
async fn a_start_that_is_broken_off_is_killed_with_everything_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let alive = folder.path().join("alive");
    let command = format!("while :; do echo x >> {}; sleep 0.02; done & wait", alive.display());
    let hooks = Arc::new(hooks(&command, "true", PATIENT));
    let start = tokio::spawn(async move { hooks.start(&work()).await });
    until("it writes", || !read(&alive).is_empty()).await;
    start.abort();
    assert!(start.await.unwrap_err().is_cancelled());
    assert_nothing_writes(&alive).await;
}

#[tokio::test]
async fn work_that_a_good_command_leaves_running_goes_on_until_it_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let (alive, pid) = (folder.path().join("alive"), folder.path().join("pid"));
    let start = format!(
        "(while :; do echo x >> {}; sleep 0.02; done) & echo $! > {}",
        alive.display(),
        pid.display()
    );
    let stop = format!("kill $(cat {})", pid.display());
    let hooks = hooks(&start, &stop, PATIENT);
    hooks.start(&work()).await.unwrap();
    let seen = read(&alive).len();
    until("it goes on", || read(&alive).len() > seen + 4).await;
    hooks.stop(&work(), StopReason::Withdrawn).await.unwrap();
    assert_nothing_writes(&alive).await;
}

#[tokio::test]
async fn a_command_that_ignores_its_input_or_prints_without_end_is_no_failure() {
    let hooks = hooks("exec 0<&-; head -c 3000000 /dev/zero; echo done", "true", PATIENT);
    hooks.start(&work()).await.unwrap();
}

async fn assert_nothing_writes(path: &Path) {
    // A process that is being killed may finish one more line.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let seen = read(path).len();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(read(path).len(), seen, "something still writes");
}
