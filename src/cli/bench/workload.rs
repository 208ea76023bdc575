//! What one client asks for, request after request.
//!
//! Promises: making a request costs no more than writing a few short texts; the same options give the same sequence of
//! requests. Must not: send anything or know the time.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::Deserialize;

use super::fleet::Registered;
use super::options::{BenchOptions, Workload};
use super::tally::Operation;
use crate::client::LaneRequest;

/// What is read of a grant, where it is given back later.
#[derive(Debug, Deserialize)]
struct Grant {
    allocations: Vec<GrantedSlot>,
}

#[derive(Debug, Deserialize)]
struct GrantedSlot {
    allocation_id: String,
}

/// The requests of one client.
#[derive(Debug)]
pub(super) struct Script {
    kind: Kind,
    /// A text that no other client has, for keys.
    name: String,
    with_keys: bool,
    made: u64,
    key: String,
    body: String,
    operation: Operation,
}

#[derive(Debug)]
enum Kind {
    Allocate(Allocating),
    Requirements { target: String, slots: u32, version: u64 },
    Heartbeats(Arc<Vec<Registered>>),
}

#[derive(Debug)]
struct Allocating {
    allocate: String,
    release: String,
    slots: u32,
    releases: u32,
    /// How much of a release is owed, in hundredths.
    owed: u32,
    held: VecDeque<Vec<String>>,
}

impl Script {
    /// The requests of client `number` of the run `run`.
    pub(super) fn new(run: &str, number: u32, options: &BenchOptions, fleet: &Arc<Vec<Registered>>) -> Self {
        let job = job_id(run, number % jobs(options));
        let kind = match options.workload {
            Workload::Allocate => Kind::Allocate(Allocating {
                allocate: format!("/v1/jobs/{job}/allocations"),
                release: format!("/v1/jobs/{job}/release"),
                slots: options.slots,
                releases: options.releases,
                owed: 0,
                held: VecDeque::new(),
            }),
            Workload::Requirements => Kind::Requirements {
                target: format!("/v1/jobs/{job}/requirements"),
                slots: options.slots,
                version: 0,
            },
            Workload::Heartbeats => Kind::Heartbeats(Arc::clone(fleet)),
        };
        Self {
            kind,
            name: format!("bench-{run}-{number}"),
            with_keys: !options.without_keys && options.workload != Workload::Heartbeats,
            made: 0,
            key: String::new(),
            body: String::new(),
            operation: Operation::Allocate,
        }
    }

    /// Makes the next request. `ticket` is its number among those of all clients.
    pub(super) fn prepare(&mut self, ticket: u64) {
        self.made += 1;
        self.key.clear();
        self.body.clear();
        let infallible = "writing to memory does not fail";
        if self.with_keys {
            write!(self.key, "{}-{}", self.name, self.made).expect(infallible);
        }
        self.operation = match &mut self.kind {
            Kind::Allocate(allocating) => allocating.prepare(&mut self.body),
            Kind::Requirements { slots, version, .. } => {
                *version += 1;
                let lines = match *version % 2 {
                    1 => format!("[{{\"name\":\"bench\",\"desired\":{slots}}}]"),
                    _ => "[]".to_owned(),
                };
                write!(self.body, "{{\"version\":{version},\"requirements\":{lines}}}").expect(infallible);
                Operation::Declare
            }
            Kind::Heartbeats(fleet) => {
                self.body = turn(fleet, ticket).heartbeat_body();
                Operation::Heartbeat
            }
        };
    }

    /// The request that was prepared last. `target` is where a target is written that differs each time.
    pub(super) fn request<'a>(&'a self, ticket: u64, target: &'a mut String) -> LaneRequest<'a> {
        let (method, target) = match &self.kind {
            Kind::Allocate(allocating) if self.operation == Operation::Release => {
                ("POST", allocating.release.as_str())
            }
            Kind::Allocate(allocating) => ("POST", allocating.allocate.as_str()),
            Kind::Requirements { target, .. } => ("PUT", target.as_str()),
            Kind::Heartbeats(fleet) => {
                *target = turn(fleet, ticket).heartbeat_target();
                ("POST", target.as_str())
            }
        };
        let key = self.with_keys.then_some(self.key.as_str());
        LaneRequest { method, target, key, body: self.body.as_bytes() }
    }

    /// What the request that was prepared last does.
    pub(super) fn operation(&self) -> Operation {
        self.operation
    }

    /// Takes in the answer to the request that was prepared last.
    pub(super) fn answered(&mut self, body: &[u8]) {
        let Kind::Allocate(allocating) = &mut self.kind else { return };
        if allocating.releases == 0 || self.operation != Operation::Allocate {
            return;
        }
        if let Ok(grant) = serde_json::from_slice::<Grant>(body) {
            let ids = grant.allocations.into_iter().map(|slot| slot.allocation_id);
            allocating.held.push_back(ids.collect());
        }
    }
}

impl Allocating {
    fn prepare(&mut self, body: &mut String) -> Operation {
        self.owed += self.releases;
        if self.owed >= 100
            && let Some(ids) = self.held.pop_front()
        {
            self.owed -= 100;
            *body = serde_json::json!({ "allocation_ids": ids }).to_string();
            return Operation::Release;
        }
        write!(body, "{{\"slots\":{}}}", self.slots).expect("writing to memory does not fail");
        Operation::Allocate
    }
}

/// The TaskManager whose turn it is.
fn turn(fleet: &[Registered], ticket: u64) -> &Registered {
    let count = u64::try_from(fleet.len()).unwrap_or(u64::MAX);
    &fleet[usize::try_from(ticket % count).unwrap_or_default()]
}

/// How many jobs a run has.
pub(super) fn jobs(options: &BenchOptions) -> u32 {
    match options.workload {
        Workload::Allocate => options.jobs,
        // A version belongs to one declarer.
        Workload::Requirements => options.clients,
        Workload::Heartbeats => 0,
    }
    .max(1)
}

/// The id of one of the jobs.
pub(super) fn job_id(run: &str, number: u32) -> String {
    format!("bench-{run}-job-{number}")
}
