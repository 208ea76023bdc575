//! Simulations: clusters in one thread, on a clock, a network and disks that a seed decides about.
mod draw;
mod entropy;

#[test]
fn probe() {
    std::thread::spawn(|| {
        entropy::seed_this_thread(1);
        let id = uuid::Uuid::new_v4();
        let mut map = std::collections::HashMap::new();
        for i in 0..10 { map.insert(i, i); }
        println!("{id} {:?}", map.keys().collect::<Vec<_>>());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let mut counts = [0; 2];
        runtime.block_on(async { for _ in 0..20 { tokio::select! { _ = std::future::ready(()) => counts[0] += 1, _ = std::future::ready(()) => counts[1] += 1 } } });
        println!("{counts:?} {}", rand::random::<u64>());
        let t = std::time::Instant::now();
        for _ in 0..100_000 { runtime.block_on(tokio::time::sleep(std::time::Duration::from_millis(1))); }
        println!("100k steps {:?}", t.elapsed());
    }).join().unwrap();
}
