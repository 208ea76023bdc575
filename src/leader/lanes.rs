//! The two lanes that feed the round loop: the leader's own duties, and clients' work.
//!
//! What it promises: duties first; both bounded; whatever is refused is answered. What it must not do: look into what it
//! carries.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use super::duties::DUTIES_MAX;
use super::intent::SubmitError;
use super::queue::Work;

/// The receiving ends.
#[derive(Debug)]
pub(super) struct Lanes {
    work: mpsc::Receiver<Work>,
    duties: mpsc::Receiver<Work>,
    /// What was taken from a lane and put back, the next first.
    carried: VecDeque<Work>,
}

/// The sending ends.
#[derive(Debug, Clone)]
pub(super) struct LaneEnds {
    pub(super) work: mpsc::Sender<Work>,
    pub(super) duties: mpsc::Sender<Work>,
}

impl Lanes {
    /// Lanes on which `queue_length` pieces of clients' work may wait.
    pub(super) fn new(queue_length: usize) -> (Self, LaneEnds) {
        let (work_end, work) = mpsc::channel(queue_length);
        let (duties_end, duties) = mpsc::channel(DUTIES_MAX);
        (Self { work, duties, carried: VecDeque::new() }, LaneEnds { work: work_end, duties: duties_end })
    }

    /// Waits until there is something to take; never resolves once both lanes are closed and empty.
    pub(super) async fn arrival(&mut self) {
        if !self.carried.is_empty() {
            return;
        }
        let next = tokio::select! {
            biased;
            Some(next) = self.duties.recv() => next,
            Some(next) = self.work.recv() => next,
            else => std::future::pending().await,
        };
        self.carried.push_back(next);
    }

    /// The next piece of work, if there is one now.
    pub(super) fn take(&mut self) -> Option<Work> {
        let carried = self.carried.pop_front();
        carried.or_else(|| self.duties.try_recv().ok()).or_else(|| self.work.try_recv().ok())
    }

    /// Puts back what was taken last; it is the next again.
    pub(super) fn put_back(&mut self, work: Work) {
        self.carried.push_front(work);
    }

    /// How much of the clients' work waits.
    pub(super) fn waiting(&self) -> usize {
        self.work.len() + self.carried.len()
    }

    /// Answers everything that waits with `error`.
    pub(super) fn refuse_all(&mut self, error: &SubmitError) {
        while let Some(work) = self.take() {
            work.refuse(error.clone());
        }
    }

    /// Takes nothing more.
    pub(super) fn close(&mut self) {
        self.work.close();
        self.duties.close();
    }
}
