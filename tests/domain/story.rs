//! One fixed run of a cluster that does every kind of command, from which the golden log was recorded.
//!
//! What it must not do: change. A later release that has more to tell writes another story and another log.

use std::sync::Arc;

use slotkeeper::domain::{
    Allocate, AllocationMode, Command, QueuePhase, RefusalCount, RefusalReason, SettingsPatch,
};
use uuid::Uuid;

use crate::support::*;

/// The whole story.
pub fn told() -> Ledger {
    let mut ledger = Ledger::new();
    beginning(&mut ledger);
    work(&mut ledger);
    trouble(&mut ledger);
    end(&mut ledger);
    ledger
}

fn beginning(ledger: &mut Ledger) {
    ledger.reply(Command::MintNodeId { peer_addr: Arc::from("b:7401"), incarnation: Uuid::from_u128(2) });
    ledger.static_task_manager("rack-1", 4);
    ledger.dynamic_task_manager("rack-2", 8);
    ledger.static_task_manager("rack-3", 2);
    ledger.reply(put_queue("team", Some(6), QueuePhase::Running));
    ledger.run(Some(request_key("first", 1)), put_job("stream", "team"));
    ledger.job("batch");
    ledger.patch(SettingsPatch { confirm_timeout_ms: Some(Some(10_000)), ..Default::default() });
}

fn work(ledger: &mut Ledger) {
    ledger.wait_ms(250);
    let held = ledger.allocate("stream", &["rack-1", "rack-1", "rack-2"]);
    let epoch = ledger.find("rack-1").epoch;
    ledger.reply(confirm("rack-1", epoch, &held[..2]));
    ledger.declare("batch", 1, &[("map", 2, 4), ("reduce", 0, 1)]);
    ledger.fulfil("batch", "map", &["rack-2", "rack-3", "rack-3"]);
    let wide =
        Allocate { profile: Some(profile(2_000, 1 << 30)), ..ledger.allocation("stream", &["rack-2"]) };
    ledger.run(Some(request_key("wide", 1)), Command::Allocate(wide.clone()));
    ledger.run(Some(request_key("wide", 1)), Command::Allocate(wide));
    let reasons = vec![RefusalCount { reason: RefusalReason::TooSmall, task_managers: 3 }];
    let hopeless = Allocate { slots: 2, reasons, ..ledger.allocation("stream", &[]) };
    ledger.run(Some(request_key("hopeless", 1)), Command::Allocate(hopeless.clone()));
    let modest = Allocate { mode: AllocationMode::BestEffort, ..hopeless };
    ledger.reply(Command::Allocate(modest));
    ledger.reply(release("stream", &held[2..]));
    ledger.declare("batch", 2, &[("map", 1, 2), ("sink", 1, 1)]);
}

fn trouble(ledger: &mut Ledger) {
    ledger.begin(2);
    ledger.wait_ms(20_000);
    ledger.reply(Command::ExpireDue);
    let epoch = ledger.find("rack-3").epoch;
    ledger.reply(expire("rack-3", epoch));
    ledger.fulfil("batch", "map", &["rack-2", "rack-1"]);
    let held: Vec<_> = ledger.find_job("batch").allocations.iter().copied().collect();
    let epoch = ledger.find("rack-2").epoch;
    ledger.reply(fail("rack-2", epoch, &held, "no disk"));
    ledger.reply(Command::Cordon { id: task_manager("rack-3") });
    ledger.static_task_manager("rack-3", 2);
    ledger.reply(Command::Drain { id: task_manager("rack-1"), deadline_ms: Some(1_000) });
    ledger.wait_ms(1_000);
    ledger.reply(Command::ExpireDue);
    ledger.reply(Command::Uncordon { id: task_manager("rack-1") });
    ledger.register("rack-2", "second", ledger.find("rack-2").offer.clone());
    ledger.fulfil("batch", "sink", &["rack-1"]);
}

fn end(ledger: &mut Ledger) {
    ledger.begin(3);
    let epoch = ledger.find_job("stream").epoch;
    ledger.reply(Command::ExpireJob { id: job("stream"), epoch });
    ledger.reply(Command::DeleteQueue { name: queue("team") });
    ledger.reply(Command::DeregisterTaskManager { id: task_manager("rack-3") });
    ledger.job("last");
    ledger.allocate("last", &["rack-1", "rack-2", "rack-2"]);
    ledger.reply(Command::DeleteJob { id: job("batch") });
    ledger.refusal(put_job("nowhere", "team"));
}
