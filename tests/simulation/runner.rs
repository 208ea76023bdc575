//! Running seeds: each in a process of its own, some twice, and what to say about one that failed.
//!
//! `SLOTKEEPER_SEED` runs one seed and prints its whole trace; `SLOTKEEPER_SEEDS` says how many seeds are run, from 1;
//! with `SLOTKEEPER_STOP_AT_FIRST` no seed is begun after one that failed. Every
//! 25th, the first among them, is run a second time and must leave the same trace.

use std::env;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::{entropy, trace};

/// Says to a process that it is the run of this seed.
const CHILD: &str = "SLOTKEEPER_SIMULATED_SEED";
const REPEATED_EVERY: u64 = 25;
const PASSED: &str = "simulation passed:";

/// What a run came to, in words.
pub type Run = fn(seed: u64) -> String;

/// Runs `usual` seeds of the test that is called `test`, or those that the environment asks for.
pub fn run_seeds(test: &str, usual: u64, run: Run) {
    if let Some(seed) = number("SLOTKEEPER_SIMULATED_SEED") {
        return run_here(seed, run);
    }
    let (first, last) = match number("SLOTKEEPER_SEED") {
        Some(seed) => (seed, seed),
        None => (1, number("SLOTKEEPER_SEEDS").unwrap_or(usual)),
    };
    let next = AtomicU64::new(first);
    let (failures, passed) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > last {
                        break;
                    }
                    match run_seed(test, seed) {
                        Ok(line) => passed.lock().unwrap().push((seed, line)),
                        Err(failure) => {
                            println!("seed {seed} failed: {}", last_words(&failure));
                            failures.lock().unwrap().push((seed, failure));
                            if env::var_os("SLOTKEEPER_STOP_AT_FIRST").is_some() {
                                next.store(last + 1, Ordering::Relaxed);
                            }
                        }
                    }
                }
            });
        }
    });
    let (mut failures, mut passed) = (failures.into_inner().unwrap(), passed.into_inner().unwrap());
    failures.sort();
    passed.sort();
    for (seed, line) in &passed {
        println!("seed {seed}: {line}");
    }
    if let Some((_, failure)) = failures.first() {
        panic!("{failure}\n{} of {} seeds failed", failures.len(), last + 1 - first);
    }
    println!("{} seeds passed", passed.len());
}

fn run_seed(test: &str, seed: u64) -> Result<String, String> {
    let first = run_in_a_process(test, seed)?;
    let is_repeated = seed % REPEATED_EVERY == 1 || number("SLOTKEEPER_SEED").is_some();
    if is_repeated {
        let second = run_in_a_process(test, seed)?;
        if first != second {
            return Err(format!("seed {seed} of {test} is not repeatable:\n  {first}\n  {second}"));
        }
        return Ok(format!("{first}, twice"));
    }
    Ok(first)
}

fn run_in_a_process(test: &str, seed: u64) -> Result<String, String> {
    let program = env::current_exe().unwrap();
    let mut command = Command::new(program);
    command.args(["--exact", test, "--nocapture", "--test-threads", "1"]).env(CHILD, seed.to_string());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    if number("SLOTKEEPER_SEED").is_some() {
        print!("{text}");
    }
    match text.lines().find_map(|line| line.split_once(PASSED)) {
        Some((_, line)) if output.status.success() => Ok(line.trim().to_owned()),
        _ => Err(failure(test, seed, &output)),
    }
}

fn failure(test: &str, seed: u64, output: &Output) -> String {
    let commit = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let commit = commit.ok().filter(|output| output.status.success());
    let commit = commit
        .map_or("unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let words = String::from_utf8_lossy(&output.stderr);
    format!(
        "seed {seed} failed at commit {commit} ({}); repeat it with\n  SLOTKEEPER_SEED={seed} cargo test --test \
         simulation {test} -- --exact --nocapture\n{words}",
        output.status
    )
}

/// What the panic said, without the trace before it, in one line.
fn last_words(failure: &str) -> String {
    let words = failure.rsplit_once("panicked at").map_or(failure, |(_, words)| words.trim());
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(300).collect()
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}

/// Runs one seed on a fresh thread, whose hash seeds nobody has drawn yet.
fn run_here(seed: u64, run: Run) {
    std::panic::set_hook(Box::new(|panic| {
        // A panic on any task ends the run, as it ends the program.
        eprintln!("{}\n{panic}", trace::tail());
        std::process::exit(101);
    }));
    let running = thread::Builder::new().stack_size(16 << 20).spawn(move || {
        entropy::seed_this_thread(seed);
        if number("SLOTKEEPER_SEED").is_some() {
            trace::print_all();
        }
        let line = run(seed);
        let (lines, hash) = trace::summary();
        println!("{PASSED} {line}, {lines} lines of trace {hash:016x}");
    });
    running.unwrap().join().unwrap();
}
