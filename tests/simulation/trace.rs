//! What happened in a run: a hash over every line, and the last lines for whoever has to understand a failure.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Write;

/// Lines that are kept.
const KEPT: usize = 60;

#[derive(Default)]
struct Trace {
    now_ms: u64,
    hash: u64,
    lines: u64,
    last: VecDeque<String>,
    is_printed: bool,
}

thread_local! {
    static TRACE: RefCell<Trace> = RefCell::default();
}

/// Prints every line from now on.
pub fn print_all() {
    TRACE.with_borrow_mut(|trace| trace.is_printed = true);
}

/// The virtual time of the lines that follow.
pub fn at(now_ms: u64) {
    TRACE.with_borrow_mut(|trace| trace.now_ms = now_ms);
}

/// Adds a line.
pub fn note(line: &str) {
    TRACE.with_borrow_mut(|trace| {
        let line = format!("{:>7} {line}", trace.now_ms);
        for byte in line.bytes() {
            trace.hash = (trace.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        trace.lines += 1;
        if trace.is_printed {
            println!("{line}");
        }
        if trace.last.len() == KEPT {
            trace.last.pop_front();
        }
        trace.last.push_back(line);
    });
}

/// How many lines there were, and their hash.
pub fn summary() -> (u64, u64) {
    TRACE.with_borrow(|trace| (trace.lines, trace.hash))
}

/// The last lines; nothing if the thread did not trace.
pub fn tail() -> String {
    TRACE.with(|trace| {
        let Ok(trace) = trace.try_borrow() else { return String::new() };
        trace.last.iter().fold(String::new(), |mut all, line| {
            let _ = writeln!(all, "{line}");
            all
        })
    })
}
