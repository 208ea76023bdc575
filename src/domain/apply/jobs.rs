//! Jobs: putting and ending them.
//!
//! What it promises: every put is a new epoch, so a verdict on an older one is refused; a job that holds slots stays in
//! its queue; a job that ends gives everything back in the same command; the versions of its declarations go on growing
//! when it is put again while it is remembered. What it must not do: judge liveness.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Transaction;
use super::shape::check_room;
use crate::domain::allocation::EndReason;
use crate::domain::event::Event;
use crate::domain::ids::{Epoch, JobId, JobMasterId, QueueName};
use crate::domain::job::{Job, JobEnd, JobPhase};
use crate::domain::limits;
use crate::domain::outcome::{Rejection, Reply};
use crate::domain::queue::Queue;
use crate::domain::resources::Usage;

/// What a put says of a job.
pub(super) struct JobPut<'a> {
    pub(super) queue: &'a QueueName,
    pub(super) priority: i32,
    pub(super) job_master_id: Option<JobMasterId>,
    pub(super) lease_ms: Option<u64>,
}

impl Transaction<'_> {
    pub(super) fn put_job(&mut self, id: &JobId, put: JobPut<'_>) -> Result<Reply, Rejection> {
        if !self.state.queues.contains_key(put.queue) {
            return Err(Rejection::UnknownQueue(put.queue.clone()));
        }
        let known = self.state.jobs.get(id).cloned();
        let created = !known.as_ref().is_some_and(|known| known.is_running());
        match &known {
            None => check_room("jobs", self.state.jobs.len(), limits::JOBS_MAX)?,
            Some(known) if known.queue != *put.queue && known.usage.slots > 0 => {
                return Err(Rejection::JobHoldsSlots(id.clone()));
            }
            Some(_) => {}
        }
        let epoch = self.state.counters.epoch.next();
        self.state.counters.epoch = epoch;
        if let Some(known) = &known {
            self.state.indexes.remove_job(id, known);
            if known.is_running() {
                self.count_job(&known.queue, |jobs| jobs.checked_sub(1));
            }
        }
        self.count_job(put.queue, |jobs| jobs.checked_add(1));
        let job = self.job_put(put, epoch, known);
        self.state.indexes.add_job(id, &job);
        let summary = job.summary();
        self.state.jobs.insert(id.clone(), Arc::new(job));
        self.events.push(Event::JobPut { id: id.clone() });
        Ok(Reply::JobPut { created, job: Box::new(summary) })
    }

    /// The record after a put: what the put says, on top of what a running job already has. Of one that has ended only
    /// the version is kept: what its old leader still sends must not pass for a declaration of the new one.
    fn job_put(&self, put: JobPut<'_>, epoch: Epoch, known: Option<Arc<Job>>) -> Job {
        let requirements_version = known.as_ref().map(|known| known.requirements_version).unwrap_or_default();
        let mut job = known.filter(|known| known.is_running()).map_or_else(
            || Job {
                queue: put.queue.clone(),
                priority: 0,
                job_master_id: None,
                lease_ms: None,
                epoch,
                phase: JobPhase::Running,
                requirements_version,
                requirements: BTreeMap::new(),
                allocations: BTreeSet::new(),
                usage: Usage::default(),
                created_at: self.state.now,
            },
            Arc::unwrap_or_clone,
        );
        job.queue = put.queue.clone();
        job.priority = put.priority;
        job.job_master_id = put.job_master_id;
        job.lease_ms = put.lease_ms;
        job.epoch = epoch;
        job
    }

    /// Deleting what is finished already is done already.
    pub(super) fn delete_job(&mut self, id: &JobId) -> Result<Reply, Rejection> {
        let job = self.state.jobs.get(id).ok_or_else(|| Rejection::UnknownJob(id.clone()))?;
        if job.is_running() {
            self.finish_job(id, JobEnd::Deleted);
        }
        Ok(Reply::Done)
    }

    pub(super) fn expire_job(&mut self, id: &JobId, epoch: Epoch) -> Result<Reply, Rejection> {
        let current = self.job_of(id, None)?.epoch;
        if current != epoch {
            return Err(Rejection::StaleEpoch { given: epoch, current });
        }
        self.finish_job(id, JobEnd::LeaseExpired);
        Ok(Reply::Done)
    }

    fn finish_job(&mut self, id: &JobId, reason: JobEnd) {
        let record = self.state.jobs.get_mut(id).expect("only a known job is finished");
        let held: Vec<_> = record.allocations.iter().copied().collect();
        // Without its lines the job waits for nothing while its slots end.
        self.state.indexes.remove_job(id, record);
        let job = Arc::make_mut(record);
        job.requirements.clear();
        let queue = job.queue.clone();
        self.end_allocations(held, &EndReason::JobFinished);
        self.count_job(&queue, |jobs| jobs.checked_sub(1));
        let at = self.state.now;
        let job = Arc::make_mut(self.state.jobs.get_mut(id).expect("it was there a moment ago"));
        job.phase = JobPhase::Finished { at, reason };
        self.state.indexes.add_job(id, job);
        self.events.push(Event::JobFinished { id: id.clone(), reason });
    }

    /// Removes a finished job.
    pub(super) fn forget_job(&mut self, id: &JobId) {
        let job = self.state.jobs.remove(id).expect("only a known job is forgotten");
        self.state.indexes.remove_job(id, &job);
        self.events.push(Event::JobForgotten { id: id.clone() });
    }

    /// A running job, if `speaker` may speak for it; who does not say who it is may.
    pub(super) fn job_of(&self, id: &JobId, speaker: Option<&JobMasterId>) -> Result<&Job, Rejection> {
        let job = self.state.jobs.get(id).filter(|job| job.is_running());
        let job = job.ok_or_else(|| Rejection::UnknownJob(id.clone()))?;
        if speaker.is_some() && speaker != job.job_master_id.as_ref() {
            return Err(Rejection::StaleJobMaster(id.clone()));
        }
        Ok(job)
    }

    fn count_job(&mut self, queue: &QueueName, change: impl FnOnce(u64) -> Option<u64>) {
        let queue: &mut Queue = self.state.queues.get_mut(queue).expect("a running job's queue exists");
        queue.jobs = change(queue.jobs).expect("running jobs are counted in and out once");
    }
}
