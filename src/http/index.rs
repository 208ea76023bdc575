//! `/` and the pages of the problem codes.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::extract::PathParameters;
use super::refusal::Refusal;
use crate::api::ProblemCode;

/// Where to go from here.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Index {
    name: &'static str,
    version: &'static str,
    /// Paths worth a visit.
    links: Vec<&'static str>,
}

/// Where to go from here.
#[utoipa::path(get, path = "/", tag = "Node", responses((status = 200, body = Index)))]
pub(super) async fn get_index() -> Answer<Index> {
    let links = vec!["/v1/overview", "/v1/cluster", "/openapi.json", "/metrics", "/readyz"];
    Answer::local(StatusCode::OK, Index { name: "slotkeeper", version: env!("CARGO_PKG_VERSION"), links })
}

/// The page about a problem code: what happened, why, what to do.
#[utoipa::path(get, path = "/errors/{code}", tag = "Node",
    params(("code" = String, Path, description = "The code of a problem")),
    responses((status = 200, content_type = "text/markdown", body = String)))]
pub(super) async fn get_error_page(path: PathParameters) -> Result<Response, Refusal> {
    let code: String = path.get("code")?;
    let page =
        page(&code).ok_or_else(|| Refusal::new(ProblemCode::NotFound, "there is no such problem code"))?;
    let mut response = Body::from(page).into_response();
    let media_type = HeaderValue::from_static("text/markdown; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    Ok(response)
}

macro_rules! pages {
    ($($code:literal)*) => {
        /// The page about `code`.
        fn page(code: &str) -> Option<&'static str> {
            match code {
                $($code => Some(include_str!(concat!("../../docs/errors/", $code, ".md"))),)*
                _ => None,
            }
        }
    };
}

pages! {
    "invalid_request" "cross_site_request" "not_found" "unknown_task_manager" "unknown_job" "unknown_allocation"
    "unknown_queue" "unknown_member" "method_not_allowed" "request_timeout" "stale_epoch" "stale_version"
    "version_reused" "stale_job_master" "job_holds_slots" "insufficient_resources" "queue_in_use"
    "queue_above_maximum" "queue_protected" "limit_reached" "membership_conflict" "body_too_large"
    "idempotency_key_reused" "overloaded" "idempotency_table_full" "internal_error" "no_leader" "leadership_lost"
    "disk_full" "shutting_down" "outcome_unknown" "revision_timeout"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_code_has_a_page() {
        for code in ProblemCode::ALL {
            assert!(page(code.as_str()).is_some(), "{code} has no page");
        }
    }
}
