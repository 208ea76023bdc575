//! Reading request bodies under limits.
//!
//! What it promises: a body is read once, whole, within its size and its time, before anything is decided; a client that
//! announces too much is refused before it sends it. What it must not do: look into the body.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::options::HttpOptions;
use super::refusal::Refusal;
use crate::api::{Problem, ProblemCode};

/// Reads the whole body.
///
/// # Errors
/// 413 beyond the limit, 408 after the time, 400 if the client breaks off.
pub(super) async fn read(headers: &HeaderMap, body: Body, options: &HttpOptions) -> Result<Bytes, Refusal> {
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let limit = options.body_bytes_max;
    if announced.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > limit)) {
        return Err(too_large(limit));
    }
    match tokio::time::timeout(options.body_timeout, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limit)),
        Ok(Err(_)) => Err(Refusal::invalid("body", "it did not arrive whole")),
        Err(_) => Err(too_slow(options.body_timeout)),
    }
}

fn too_large(limit: usize) -> Refusal {
    Refusal::new(ProblemCode::BodyTooLarge, format!("a body has at most {limit} bytes"))
}

fn too_slow(timeout: Duration) -> Refusal {
    let detail = format!("the body did not arrive within {} ms", timeout.as_millis());
    Problem::new(ProblemCode::RequestTimeout, detail).with_retry_after_ms(1_000).into()
}
