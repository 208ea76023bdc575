//! The changes of a storm that an operator asks for: leadership is handed over, a member is replaced.
//!
//! What it promises: `Ok` means that the change was seen to have happened. What it must not do: take an answer for it.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::faults::{Evidence, Scene};
use crate::cluster::SETTLE;
use crate::http::{Answer, Caller};

impl Scene {
    pub(super) async fn hand_over(&mut self, leader: usize) -> Evidence {
        let mut caller = Caller::new(&self.cluster.api_addrs(), 0);
        self.must(&mut caller, "POST", "/v1/cluster/transfer-leadership", &serde_json::json!({})).await?;
        let next = self.cluster.leader().await;
        if next == leader {
            return Err(format!("server {leader} handed over and leads"));
        }
        Ok(format!("{leader} handed over to {next}"))
    }

    pub(super) async fn replace(&mut self, leader: usize, old: usize) -> Evidence {
        self.spares = self.spares.checked_sub(1).ok_or("there is no namespace left for another server")?;
        let join = self.cluster.servers[leader].api_addr.clone();
        let new = self.cluster.add(&["--join", &join]);
        let mut caller = Caller::new(&self.cluster.api_addrs(), 0);
        let new_id = self.member(&mut caller, new, "learner").await?;
        self.must(&mut caller, "POST", &format!("/v1/cluster/members/{new_id}/promote"), &Value::Null)
            .await?;
        self.member(&mut caller, new, "voter").await?;
        let old_id = self.member(&mut caller, old, "voter").await?;
        self.remove(&mut caller, old_id).await?;
        self.cluster.kill(old);
        Ok(format!("replaced {old} (node {old_id}) by {new} (node {new_id})"))
    }

    async fn remove(&self, caller: &mut Caller, node_id: u64) -> Result<(), String> {
        let path = format!("/v1/cluster/members/{node_id}");
        let answer = caller.unkeyed("DELETE", &path, &Value::Null, SETTLE).await;
        let answer = answer.ok_or_else(|| format!("no answer to DELETE {path}"))?;
        // A try whose answer was lost, as by the removed server itself, has done it.
        let is_done_before = answer.tries > 1 && answer.code() == "unknown_member";
        if answer.is_done() || is_done_before {
            Ok(())
        } else {
            Err(format!("DELETE {path}: {}", answer.body))
        }
    }

    async fn must(
        &self,
        caller: &mut Caller,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Result<Answer, String> {
        let answer = caller.unkeyed(method, path, body, SETTLE).await;
        let answer = answer.ok_or_else(|| format!("no answer to {method} {path}"))?;
        if answer.is_done() { Ok(answer) } else { Err(format!("{method} {path}: {}", answer.body)) }
    }

    /// The id of server `number` once it has this role.
    async fn member(&self, caller: &mut Caller, number: usize, role: &str) -> Result<u64, String> {
        let api_addr = self.cluster.servers[number].api_addr.as_str();
        let deadline = Instant::now() + SETTLE;
        while Instant::now() < deadline {
            let answer = caller.read("/v1/cluster", SETTLE).await;
            let id = answer.and_then(|answer| {
                let members = answer.body["members"].as_array()?.clone();
                let member = members
                    .into_iter()
                    .find(|member| member["api_addr"] == api_addr && member["role"] == role)?;
                member["node_id"].as_u64()
            });
            if let Some(id) = id {
                return Ok(id);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(format!("server {number} does not become a {role}"))
    }
}
