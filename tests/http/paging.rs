//! Lists: whole, in order, each item once, also while the state changes.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::api::Api;
use crate::cluster::Cluster;

/// Lists everything under `path` in pages of `limit`, calling `between` after each page.
async fn list(api: &Api, path: &str, limit: usize, mut between: impl AsyncFnMut(usize)) -> Vec<Value> {
    let (mut items, mut cursor, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let after = cursor.as_ref().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let separator = if path.contains('?') { '&' } else { '?' };
        let page = api.get(&format!("{path}{separator}limit={limit}{after}")).await.expect(200).json();
        let page_items = page["items"].as_array().unwrap();
        assert!(page_items.len() <= limit);
        items.extend(page_items.iter().cloned());
        pages += 1;
        between(pages).await;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return items,
        }
    }
}

fn names(items: &[Value], member: &str) -> Vec<String> {
    items.iter().map(|item| item[member].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_list_is_whole_in_order_and_without_repetition() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    for index in 0..12 {
        api.register(&format!("tm-{index:02}"), 2).await;
        api.job(&format!("job-{index:02}")).await;
        api.put(&format!("/v1/queues/queue-{index:02}"), json!({})).await.expect(201);
        api.allocate(&format!("job-{index:02}"), 2).await;
    }
    for (path, member, count) in [
        ("/v1/task-managers", "task_manager_id", 12),
        ("/v1/task-managers?state=active&label=zone=a", "task_manager_id", 12),
        ("/v1/jobs", "job_id", 12),
        ("/v1/queues", "name", 13),
        ("/v1/allocations", "allocation_id", 24),
        ("/v1/allocations?task_manager=tm-03", "allocation_id", 2),
        ("/v1/jobs/job-05/allocations", "allocation_id", 2),
    ] {
        for limit in [1, 5, 12, 1000] {
            let listed = names(&list(&api, path, limit, async |_| {}).await, member);
            let unique: BTreeSet<_> = listed.iter().cloned().collect();
            assert_eq!((listed.len(), unique.len()), (count, count), "{path} in pages of {limit}");
            assert!(listed.is_sorted(), "{path} in pages of {limit}");
        }
    }
}

#[tokio::test]
async fn what_exists_all_the_time_is_listed_once_while_others_come_and_go() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    let stays: BTreeSet<String> = (0..20).map(|index| format!("stays-{index:02}")).collect();
    for name in &stays {
        api.job(name).await;
        api.register(name, 1).await;
    }
    for index in 0..20 {
        api.register(&format!("goes-{index:02}"), 1).await;
        api.register(&format!("t-goes-{index:02}"), 1).await;
    }
    let listed = list(&api, "/v1/task-managers", 3, async |page| {
        // Before and behind the cursor.
        for name in [format!("goes-{page:02}"), format!("t-goes-{page:02}")] {
            if page < 20 {
                api.delete(&format!("/v1/task-managers/{name}")).await.expect(200);
            }
        }
        for name in
            [format!("a-comes-{page:02}"), format!("z-comes-{page:02}"), format!("stays-05-{page:02}")]
        {
            api.register(&name, 1).await;
        }
    });
    let listed = names(&listed.await, "task_manager_id");
    let unique: BTreeSet<_> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), unique.len(), "an item is listed twice: {listed:?}");
    assert!(stays.is_subset(&unique), "an item that was there all the time is missing: {listed:?}");
}

#[tokio::test]
async fn a_cursor_stays_good_when_its_item_is_gone() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    for name in ["a", "b", "c"] {
        api.register(name, 1).await;
    }
    let page = api.get("/v1/task-managers?limit=2").await.expect(200).json();
    api.delete("/v1/task-managers/b").await.expect(200);
    let path = format!("/v1/task-managers?cursor={}", page["next_cursor"].as_str().unwrap());
    let rest = api.get(&path).await.expect(200).json();
    assert_eq!(names(rest["items"].as_array().unwrap(), "task_manager_id"), ["c"]);
}
