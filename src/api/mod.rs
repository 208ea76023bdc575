//! The JSON shapes of the HTTP API, its problem codes and its OpenAPI schema.
