//! The server side of the HTTP API.
