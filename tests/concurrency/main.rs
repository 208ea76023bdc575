//! Threads that meet in memory, under a scheduler that tries thousands of interleavings (shuttle).
//!
//! What it promises: the code under test is the product's own file, included here with the scheduler's locks in place
//! of the system's; a failure prints a schedule that repeats it. The queue between the callers of the log, its writer and
//! its watchdog is the only place where the program waits and locks by itself for what it acknowledges; everything else
//! of that kind is a task that owns its data, and channels of tokio. What it must not do: look at weak memory orders.

mod storage;
