//! The part of `src/storage` that threads share, with the scheduler's locks, and what must hold of it.

#[path = "../../../src/storage/error.rs"]
#[allow(dead_code)]
mod error;
#[path = "../../../src/storage/mirror.rs"]
#[allow(dead_code)]
mod mirror;
#[path = "../../../src/storage/queue.rs"]
#[allow(dead_code)]
mod queue;
#[path = "../../../src/storage/statistics.rs"]
mod statistics;

mod log_queue;

use error::StorageError;
use slotkeeper::storage::{LogBounds, LogEntry};
use statistics::LogStatistics;

type Done = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

mod sync {
    pub(super) use shuttle::sync::{Condvar, Mutex, MutexGuard};
}
