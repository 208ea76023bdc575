//! The typed client of the HTTP API: leader discovery, and retries under the same idempotency key.
