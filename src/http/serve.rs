//! The accept loop.
//!
//! What it promises: connections are bounded and watched (`guests.rs`, `connection.rs`); when the server
//! stops it takes no new connection, lets requests that are being served end for a bounded time, and returns. What it
//! must not do: end the process; a listener that fails is tried again.

use std::net::IpAddr;
use std::sync::Arc;
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

use super::connection::{Activity, Watched};
use super::guests::{Admitted, Guests};
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
    let overdue = (server.guests.clone(), server.app.options.clone());
    // Ends with this set.
    let mut upkeep = JoinSet::new();
    upkeep.spawn(server.app.long_polls.clone().follow(server.app.services.replica.clone()));
    upkeep.spawn(async move { overdue.0.close_the_overdue(&overdue.1).await });
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
        let metrics = &self.app.services.metrics.http;
        let clock = &self.app.services.clock;
        let activity = Activity::new(Arc::clone(clock));
        let guest = match self.guests.admit(address, &activity, (clock.now(), &self.app.options)) {
            Admitted::Welcome(guest) => guest,
            Admitted::InPlaceOf(guest, told_to_go) => {
                metrics.connections_told_to_go.inc_by(told_to_go as u64);
                guest
            }
            Admitted::Full => {
                metrics.connections_refused.inc();
                return;
            }
        };
        // Answers are small and whole; waiting for more of them would only delay.
        let _ = stream.set_nodelay(true);
        let (app, router) = (self.app.clone(), self.router.clone());
        connections.spawn(async move {
            app.services.metrics.http.connections.inc();
            serve_connection(&app, router, stream, activity).await;
            app.services.metrics.http.connections.dec();
            drop(guest);
        });
    }
}

async fn serve_connection(app: &App, router: Router, stream: TcpStream, activity: Arc<Activity>) {
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
    let (mut is_told_to_stop, mut is_told_to_go) = (false, false);
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
            () = activity.told_to_go(), if !is_told_to_go => {
                if activity.is_idle() {
                    return;
                }
                connection.as_mut().graceful_shutdown();
                is_told_to_go = true;
            }
            () = activity.closed() => return,
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
