//! Bodies of requests: each is refused with the field that is wrong, or it is a request that reads the same after it was
//! written again. The first byte says which request it is the body of.
#![no_main]

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use slotkeeper::api::allocations::{AllocationRequest, Release};
use slotkeeper::api::cluster::{AddMember, TransferLeadership};
use slotkeeper::api::jobs::{JobHeartbeat, PutJob};
use slotkeeper::api::plan::PlanRequest;
use slotkeeper::api::queues::PutQueue;
use slotkeeper::api::requirements::PutRequirements;
use slotkeeper::api::settings::PatchSettings;
use slotkeeper::api::task_managers::{Confirm, Drain, Heartbeat, RegisterTaskManager};
use slotkeeper::http::read_body;

/// One reader for each request that has a body.
const READERS: [fn(&[u8]); 13] = [
    reads::<AllocationRequest>,
    reads::<Release>,
    reads::<AddMember>,
    reads::<TransferLeadership>,
    reads::<JobHeartbeat>,
    reads::<PutJob>,
    reads::<PlanRequest>,
    reads::<PutQueue>,
    reads::<PutRequirements>,
    reads::<PatchSettings>,
    reads::<Confirm>,
    reads::<Drain>,
    reads::<Heartbeat>,
];

fn reads<T: DeserializeOwned + Serialize + PartialEq + Debug>(body: &[u8]) {
    let Some(request) = read_body::<T>(body) else { return };
    let written = serde_json::to_vec(&request).expect("a request has a JSON form");
    assert_eq!(
        read_body::<T>(&written),
        Some(request),
        "a request reads otherwise after it was written again"
    );
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((which, body)) = input.split_first() else { return };
    match READERS.get(usize::from(*which)) {
        Some(reader) => reader(body),
        None => reads::<RegisterTaskManager>(body),
    }
});
