//! Idempotency keys: read from the header, bound to the request they came with.
//!
//! What it promises: two requests have the same fingerprint only if method, path and body are the same bytes. What it must
//! not do: remember anything; the replicated state does.

use axum::http::{HeaderMap, Method};

use super::refusal::Refusal;
use crate::api::headers::IDEMPOTENCY_KEY;
use crate::domain::{IdempotencyKey, RequestKey};

/// The key of a request, if it has one.
///
/// # Errors
/// A key that is not 1 to 128 visible ASCII characters, or more than one.
pub(super) fn request_key(
    headers: &HeaderMap,
    method: &Method,
    path: &str,
    body: &[u8],
) -> Result<Option<RequestKey>, Refusal> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = given.next() else { return Ok(None) };
    let wrong = || Refusal::invalid(IDEMPOTENCY_KEY, "one key of 1 to 128 visible ASCII characters");
    if given.next().is_some() {
        return Err(wrong());
    }
    let key = value.to_str().ok().and_then(IdempotencyKey::new).ok_or_else(wrong)?;
    Ok(Some(RequestKey { key, fingerprint: fingerprint(method, path, body) }))
}

fn fingerprint(method: &Method, path: &str, body: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for part in [method.as_str().as_bytes(), path.as_bytes()] {
        hasher.update(part);
        hasher.update(&[0]);
    }
    hasher.update(body);
    let mut fingerprint = [0; 16];
    hasher.finalize_xof().fill(&mut fingerprint);
    fingerprint
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn key(values: &[&'static str], body: &[u8]) -> Result<Option<RequestKey>, Refusal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_static(value));
        }
        request_key(&headers, &Method::PUT, "/v1/jobs/a", body)
    }

    #[test]
    fn the_fingerprint_tells_requests_apart() {
        let one = key(&["k"], b"{}").unwrap().unwrap();
        assert_eq!(key(&["k"], b"{}").unwrap().unwrap(), one);
        assert_ne!(key(&["k"], b"{ }").unwrap().unwrap(), one);
        assert_ne!(fingerprint(&Method::PUT, "/a", b"b"), fingerprint(&Method::POST, "/a", b"b"));
        assert_ne!(fingerprint(&Method::PUT, "/a", b"b"), fingerprint(&Method::PUT, "/b", b"b"));
    }

    #[test]
    fn a_key_that_is_no_key_is_refused_and_named() {
        for values in [&["a b"][..], &[""], &["a", "b"]] {
            assert_eq!(key(values, b"").unwrap_err().field(), Some(IDEMPOTENCY_KEY));
        }
        assert!(key(&[], b"").unwrap().is_none());
    }
}
