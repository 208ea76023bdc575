//! `slotkeeper bench`: measures a cluster under load.
//!
//! Promises: it touches only TaskManagers and jobs of its own and removes them at the end unless `--keep` says
//! otherwise, also after Ctrl-C; every request that was sent in the measured time is in the report, as a success or under the code of its failure. Must
//! not: do in a measured request what a client would not do. `docs/performance.md` says how to read what it prints.

mod caller;
mod fleet;
mod hardware;
mod leader;
mod load;
mod options;
mod report;
mod setup;
mod tally;
mod workload;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use self::fleet::Fleet;
use self::hardware::Hardware;
use self::leader::LeaderWatch;
use self::load::{Load, Window};
pub(super) use self::options::BenchOptions;
use self::report::{Measured, Report};
use self::tally::Progress;
use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;
use super::printer::Printer;
use crate::client::Client;
use crate::clock::{Clock as _, SystemClock};
use crate::server::open_files;
use crate::server::signals::StopSignals;

/// How often the progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// For connecting, before the first request is due.
const CONNECT_PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn run(options: &BenchOptions, context: &Context) -> Result<(), Failure> {
    options.check()?;
    // Each client has a connection of its own.
    open_files::raise();
    if !options.embedded {
        return measure(options, &context.client, context).await;
    }
    let cluster = setup::embedded_cluster().await?;
    let client = setup::client_of_cluster(&cluster, context.deadline)?;
    let measured = measure(options, &client, context).await;
    cluster.stop().await;
    measured
}

/// Sets up, measures, tidies up, and prints.
async fn measure(options: &BenchOptions, client: &Client, context: &Context) -> Result<(), Failure> {
    let mut signals = StopSignals::listen()
        .map_err(|error| Failure::new(Exit::Unavailable, format!("signals can not be received: {error}")))?;
    let run = format!("{:08x}", rand::random::<u32>());
    let hardware = Hardware::read();
    let leader = LeaderWatch::start(client.clone()).await?;
    let begun = tokio::select! {
        report = begin(&run, options, client, (&leader, context, hardware)) => report,
        _ = signals.next() => Err(Failure::new(Exit::Unavailable, "asked to stop before the end")),
    };
    if !options.keep {
        context.printer.talk("bench: removing its TaskManagers and jobs");
        setup::remove(&run, client, options).await?;
    }
    context.printer.data(&begun?, Report::render);
    Ok(())
}

async fn begin(
    run: &str,
    options: &BenchOptions,
    client: &Client,
    (leader, context, hardware): (&LeaderWatch, &Context, Hardware),
) -> Result<Report, Failure> {
    let printer = &context.printer;
    printer.talk(&format!("bench: registering {} TaskManagers", options.task_managers));
    let fleet = Fleet::start(run, &leader.view, options).await?;
    setup::put_jobs(run, client, options).await?;
    setup::fill(run, (client, &leader.view), options).await?;
    let starts = SystemClock.now() + CONNECT_PAUSE;
    let counts = starts + options.warm_up();
    let load = Arc::new(Load {
        run: run.to_owned(),
        options: Arc::new(options.clone()),
        leader: leader.view.clone(),
        fleet: Arc::clone(&fleet.task_managers),
        limit: context.deadline,
        window: Window { starts, counts, ends: counts + options.duration() },
        progress: Arc::new(Progress::new(counts)),
        stop: AtomicBool::new(false),
        tickets: AtomicU64::new(0),
    });
    let _stopped = StopOnDrop(Arc::clone(&load));
    let tally = tokio::select! {
        tally = load.run() => tally?,
        never = tell_progress(&load, printer) => match never {},
    };
    let end = SystemClock.now();
    let measured = Measured {
        hardware,
        servers: if options.embedded { "embedded".to_owned() } else { context.servers.join(",") },
        lasted: end.saturating_duration_since(load.window.counts),
        longest_gap: load.progress.longest_gap(end),
        due: load.due(),
    };
    Ok(Report::new(options, measured, &tally))
}

/// Ends the load when nobody waits for it any more.
struct StopOnDrop(Arc<Load>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

async fn tell_progress(load: &Load, printer: &Printer) -> std::convert::Infallible {
    let (mut before, total) = (0, load.options.duration().as_secs_f64());
    tokio::time::sleep_until(load.window.counts.into()).await;
    loop {
        tokio::time::sleep(PROGRESS_INTERVAL).await;
        let (done, missed) = load.progress.counts();
        let seconds = SystemClock.now().saturating_duration_since(load.window.counts).as_secs_f64();
        let last = done - before;
        before = done;
        printer.talk(&format!("bench: {seconds:.0} s of {total:.0} s, {last} requests/s, {missed} errors"));
    }
}
