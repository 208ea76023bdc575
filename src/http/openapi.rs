//! The OpenAPI document, made from the descriptions of the very handlers.
//!
//! What it promises: what all endpoints have in common (freshness of reads, idempotency keys, problems) is added here
//! once, by the place where a route is served; `docs/openapi.json` is this document, and `tests/openapi.rs` compares.

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi as _;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, Required, ResponseBuilder};

use super::routes::{Described, Place, ROUTES};
use crate::api::headers;
use crate::api::problem::PROBLEM_MEDIA_TYPE;

/// The document as JSON, made once.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let mut text = document().to_pretty_json().expect("the document is plain data");
    text.push('\n');
    text
});

/// The OpenAPI document of this server, as it is in `docs/openapi.json`.
pub fn openapi_json() -> &'static str {
    &DOCUMENT
}

/// The OpenAPI document of this server.
#[utoipa::path(get, path = "/openapi.json", tag = "Node", responses((status = 200, description = "This document")))]
pub(super) async fn get_openapi() -> Response {
    let mut response = Body::from(openapi_json()).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn document() -> OpenApi {
    let mut document = Described::openapi();
    document.info.title = "Slotkeeper".to_owned();
    document.info.description = Some(
        "A highly available resource manager: TaskManagers offer slots, jobs hold them. Any replica takes any request; \
         every answer carries `slotkeeper-revision`, `slotkeeper-leader` and `slotkeeper-node`."
            .to_owned(),
    );
    for route in ROUTES {
        let item = document.paths.paths.get_mut(route.path);
        let operation = item.and_then(|item| operation(item, route.method));
        let operation = operation.expect("every route is described under its own path and method");
        complete(operation, route.place);
    }
    document
}

fn operation<'a>(item: &'a mut PathItem, method: &str) -> Option<&'a mut Operation> {
    match method {
        "get" => item.get.as_mut(),
        "put" => item.put.as_mut(),
        "post" => item.post.as_mut(),
        "patch" => item.patch.as_mut(),
        "delete" => item.delete.as_mut(),
        _ => None,
    }
}

/// Adds what all operations of a place have in common.
fn complete(operation: &mut Operation, place: Place) {
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            let description = if status == "201" { "It is created" } else { "It is done" };
            response.description = description.to_owned();
        }
    }
    let parameters = operation.parameters.get_or_insert_with(Vec::new);
    match place {
        Place::Here => return,
        Place::Read => parameters.extend([
            parameter("consistency", ParameterIn::Query, text(), CONSISTENCY),
            parameter("min_revision", ParameterIn::Query, number(), MIN_REVISION),
        ]),
        Place::Leader => {
            parameters.push(parameter("Idempotency-Key", ParameterIn::Header, text(), IDEMPOTENCY_KEY));
        }
    }
    parameters.push(parameter(headers::FORWARD, ParameterIn::Header, text(), FORWARD));
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let response =
        ResponseBuilder::new().description("A problem").content(PROBLEM_MEDIA_TYPE, problem).build();
    operation.responses.responses.insert("default".to_owned(), RefOr::T(response));
}

const CONSISTENCY: &str = "`linearizable` (default) or `stale`: this replica's applied state, at once";
const MIN_REVISION: &str = "Waits until the replica has applied this revision; 504 after 10 s";
const IDEMPOTENCY_KEY: &str = "1 to 128 visible ASCII characters, the same for every try of one write";
const FORWARD: &str = "`never`: 307 with `Location` instead of being sent on to the leader";

fn parameter(name: &str, location: ParameterIn, schema: ObjectBuilder, description: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(location)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema.build()))
        .build()
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn number() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
}
