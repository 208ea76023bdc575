//! `--watch`: the same data again and again.

use std::future::Future;
use std::time::Duration;

use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;
use crate::api::units::DurationText;

/// The option of verbs whose data a person would watch.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct WatchOption {
    /// Show it again and again, every 2s or as often as given; Ctrl-C ends it
    #[arg(
        long,
        value_name = "INTERVAL",
        value_parser = DurationText::parse,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2s"
    )]
    watch: Option<DurationText>,
}

/// Shows something once, or until Ctrl-C. While it is watched, servers that can not be reached are only mentioned.
pub(super) async fn show<Shown>(
    context: &Context,
    option: WatchOption,
    show: impl Fn(Context) -> Shown,
) -> Result<(), Failure>
where
    Shown: Future<Output = Result<(), Failure>>,
{
    let Some(interval) = option.watch else { return show(context.clone()).await };
    let pause = Duration::from_millis(interval.ms.max(10));
    let repeating = Context { printer: context.printer.repeating(), ..context.clone() };
    let watching = async {
        loop {
            match show(repeating.clone()).await {
                Err(failure) if failure.exit == Exit::Unavailable => repeating.printer.failure(&failure),
                Err(failure) => return Err(failure),
                Ok(()) => {}
            }
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        ended = watching => ended,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}
