//! The table of routes: the one list from which router, OpenAPI document and dispatching are made.
//!
//! What it promises: a route that is not in this table does not exist, and one that is has a handler, a description and a
//! place where it is served. What it must not do: hold behaviour.

use std::time::Duration;

use axum::Router;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing;
use utoipa::OpenApi;

use super::App;
use super::dispatch::{dispatch, method_not_allowed, not_found};
use super::{
    allocations, cluster, health, heartbeats, index, job_allocations, jobs, members, metrics, openapi,
    overview, plan, queues, requirements, settings, task_managers,
};
use crate::api::Problem;
use crate::api::allocations::ALLOCATION_WAIT_MS_MAX;
use crate::api::task_managers::LONG_POLL_WAIT_MS_MAX;

/// Where a request is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// By the node that was asked.
    Here,
    /// By the leader behind a read barrier, or here if the client says `consistency=stale`.
    Read,
    /// By the leader.
    Leader,
}

/// One route.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) place: Place,
}

macro_rules! routes {
    ($($method:ident $path:literal $place:ident $module:ident::$handler:ident;)*) => {
        /// Every route.
        pub(super) const ROUTES: &[Route] = &[
            $(Route { method: stringify!($method), path: $path, place: Place::$place },)*
        ];

        /// The handlers under their paths.
        fn handlers() -> Router<App> {
            Router::new()$(.route($path, routing::$method($module::$handler)))*
        }

        /// The descriptions of the handlers.
        #[derive(OpenApi)]
        #[openapi(paths($($module::$handler,)*), components(schemas(Problem)))]
        pub(super) struct Described;
    };
}

routes! {
    post "/v1/task-managers" Leader task_managers::register_task_manager;
    get "/v1/task-managers" Read task_managers::list_task_managers;
    get "/v1/task-managers/{id}" Read task_managers::get_task_manager;
    delete "/v1/task-managers/{id}" Leader task_managers::delete_task_manager;
    post "/v1/task-managers/{id}/cordon" Leader task_managers::cordon_task_manager;
    post "/v1/task-managers/{id}/uncordon" Leader task_managers::uncordon_task_manager;
    post "/v1/task-managers/{id}/drain" Leader task_managers::drain_task_manager;
    post "/v1/task-managers/{id}/heartbeat" Leader heartbeats::heartbeat_task_manager;
    get "/v1/task-managers/{id}/allocations" Read heartbeats::get_assigned_allocations;
    post "/v1/task-managers/{id}/confirm" Leader heartbeats::confirm_allocations;
    get "/v1/jobs" Read jobs::list_jobs;
    get "/v1/jobs/{job_id}" Read jobs::get_job;
    put "/v1/jobs/{job_id}" Leader jobs::put_job;
    delete "/v1/jobs/{job_id}" Leader jobs::delete_job;
    post "/v1/jobs/{job_id}/heartbeat" Leader jobs::heartbeat_job;
    post "/v1/jobs/{job_id}/allocations" Leader job_allocations::allocate;
    get "/v1/jobs/{job_id}/allocations" Read job_allocations::list_job_allocations;
    delete "/v1/jobs/{job_id}/allocations/{allocation_id}" Leader job_allocations::release_allocation;
    post "/v1/jobs/{job_id}/release" Leader job_allocations::release_allocations;
    put "/v1/jobs/{job_id}/requirements" Leader requirements::put_requirements;
    get "/v1/jobs/{job_id}/requirements" Read requirements::get_requirements;
    get "/v1/allocations" Read allocations::list_allocations;
    get "/v1/allocations/{id}" Read allocations::get_allocation;
    post "/v1/plan" Leader plan::plan;
    get "/v1/queues" Read queues::list_queues;
    get "/v1/queues/{name}" Read queues::get_queue;
    put "/v1/queues/{name}" Leader queues::put_queue;
    delete "/v1/queues/{name}" Leader queues::delete_queue;
    get "/v1/settings" Read settings::get_settings;
    patch "/v1/settings" Leader settings::patch_settings;
    get "/v1/overview" Read overview::get_overview;
    get "/v1/cluster" Read cluster::get_cluster;
    post "/v1/cluster/members" Leader members::add_member;
    post "/v1/cluster/members/{id}/promote" Leader members::promote_member;
    delete "/v1/cluster/members/{id}" Leader members::remove_member;
    post "/v1/cluster/transfer-leadership" Leader members::transfer_leadership;
    get "/livez" Here health::livez;
    get "/readyz" Here health::readyz;
    get "/metrics" Here metrics::get_metrics;
    get "/openapi.json" Here openapi::get_openapi;
    get "/errors/{code}" Here index::get_error_page;
    get "/" Here index::get_index;
}

/// The router with everything around it.
pub fn router(app: App) -> Router {
    handlers()
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(app.clone(), dispatch))
        .with_state(app)
}

/// Where a request for the pattern `path` is served; what is in no table is refused by the node that was asked.
pub(super) fn place(method: &Method, path: Option<&str>) -> Place {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    let known = path.and_then(|path| {
        ROUTES.iter().find(|route| route.path == path && route.method.eq_ignore_ascii_case(method))
    });
    known.map_or(Place::Here, |route| route.place)
}

/// Whether a read of `path` is about the replicas themselves, each with how far it is, rather than about what they hold.
/// People need it most where nobody leads.
pub(super) fn is_about_replicas(path: &str) -> bool {
    path == "/v1/cluster"
}

/// The longest time that a request to `path` may ask to wait.
pub(super) fn longest_wait(method: &Method, path: &str) -> Duration {
    let waits_ms = match *method {
        Method::POST if path.ends_with("/allocations") => ALLOCATION_WAIT_MS_MAX,
        Method::GET if path.ends_with("/allocations") => LONG_POLL_WAIT_MS_MAX,
        _ => 0,
    };
    Duration::from_millis(waits_ms)
}

/// Whether a write takes parameters in its query.
pub(super) fn takes_parameters(method: &Method, path: &str) -> bool {
    *method == Method::DELETE && path.starts_with("/v1/task-managers/")
}

/// The name of a method as metrics show it; one name for all that are not used here.
pub(super) fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "OTHER",
    }
}
