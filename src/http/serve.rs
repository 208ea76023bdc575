//! The accept loop.
//!
//! What it promises: connections are bounded, in all and per address; each is watched (`connection.rs`); when the server
//! stops it takes no new connection, lets requests that are being served end for a bounded time, and returns. What it
//! must not do: end the process; a listener that fails is tried again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::connection::{Activity, LOOK_INTERVAL, Watched};
use super::options::HttpOptions;
use super::{App, Services, routes};

/// How long to wait after the listener failed, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the API on `listener` until `stopping` is cancelled, then ends gracefully.
pub async fn serve(
    listener: TcpListener,
    services: Services,
    options: HttpOptions,
    stopping: CancellationToken,
) {
    let app = App::new(services, options, stopping.clone());
    let server = Server { router: routes::router(app.clone()), app, guests: Guests::default() };
    let mut connections = JoinSet::new();
    // Ends with this set.
    let mut upkeep = JoinSet::new();
    upkeep.spawn(server.app.long_polls.clone().follow(server.app.services.replica.clone()));
    loop {
        tokio::select! {
            () = stopping.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => server.admit(stream, peer.ip(), &mut connections),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let grace = server.app.options.shutdown_grace;
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, ended).await.is_err() {
        tracing::info!("connections are cut because their requests did not end in time");
        connections.shutdown().await;
    }
}

/// What all connections share.
struct Server {
    app: App,
    router: Router,
    guests: Guests,
}

impl Server {
    /// Serves a connection in a task of its own, or closes it at a limit.
    fn admit(&self, stream: TcpStream, address: IpAddr, connections: &mut JoinSet<()>) {
        let Some(guest) = self.guests.admit(address, &self.app.options) else {
            self.app.services.metrics.http.connections_refused.inc();
            return;
        };
        // Answers are small and whole; waiting for more of them would only delay.
        let _ = stream.set_nodelay(true);
        let (app, router) = (self.app.clone(), self.router.clone());
        connections.spawn(async move {
            app.services.metrics.http.connections.inc();
            serve_connection(&app, router, stream).await;
            app.services.metrics.http.connections.dec();
            drop(guest);
        });
    }
}

async fn serve_connection(app: &App, router: Router, stream: TcpStream) {
    let activity = Activity::new(Arc::clone(&app.services.clock));
    let stream = TokioIo::new(Watched::new(stream, Arc::clone(&activity)));
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (router, serving) = (router.clone(), activity.serve());
        async move {
            let answered = router.oneshot(request.map(Body::new)).await;
            drop(serving);
            answered
        }
    });
    let builder = builder(&app.options);
    let connection = builder.serve_connection(stream, service);
    tokio::pin!(connection);
    let mut is_told_to_stop = false;
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection failed");
                }
                return;
            }
            () = app.stopping.cancelled(), if !is_told_to_stop => {
                connection.as_mut().graceful_shutdown();
                is_told_to_stop = true;
            }
            _ = looks.tick() => {
                if let Some(reason) = activity.overdue(&app.options) {
                    tracing::debug!(reason, "a connection is closed");
                    return;
                }
            }
        }
    }
}

/// HTTP/1.1 and HTTP/2 under the limits. The timeouts of heads and of silence are `connection.rs`'s.
fn builder(options: &HttpOptions) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    let head_bytes_max = options.head_bytes_max.max(8 * 1024);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_headers(options.headers_max)
        .max_buf_size(head_bytes_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.streams_max)
        .max_header_list_size(u32::try_from(head_bytes_max).unwrap_or(u32::MAX))
        .keep_alive_interval(options.idle_timeout / 3)
        .keep_alive_timeout(options.idle_timeout / 3);
    builder
}

/// Who is connected, counted by address.
#[derive(Debug, Clone, Default)]
struct Guests(Arc<Mutex<GuestCounts>>);

#[derive(Debug, Default)]
struct GuestCounts {
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

impl Guests {
    /// Counts a connection in until the guard is dropped; `None` at a limit.
    fn admit(&self, address: IpAddr, options: &HttpOptions) -> Option<Guest> {
        let mut counts = self.counts();
        let here = counts.by_address.get(&address).copied().unwrap_or(0);
        if counts.all >= options.connections_max || here >= options.connections_per_address_max {
            return None;
        }
        counts.all += 1;
        counts.by_address.insert(address, here + 1);
        Some(Guest { guests: self.clone(), address })
    }

    fn counts(&self) -> MutexGuard<'_, GuestCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection, counted in.
#[derive(Debug)]
struct Guest {
    guests: Guests,
    address: IpAddr,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counts = self.guests.counts();
        counts.all = counts.all.saturating_sub(1);
        if let Some(here) = counts.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_bounded_in_all_and_per_address() {
        let options =
            HttpOptions { connections_max: 3, connections_per_address_max: 2, ..HttpOptions::default() };
        let (one, other): (IpAddr, IpAddr) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let guests = Guests::default();
        let first = guests.admit(one, &options).unwrap();
        let _second = guests.admit(one, &options).unwrap();
        assert!(guests.admit(one, &options).is_none(), "a third connection of one address");
        let _third = guests.admit(other, &options).unwrap();
        assert!(guests.admit(other, &options).is_none(), "a fourth connection in all");
        drop(first);
        assert!(guests.admit(one, &options).is_some());
    }
}
