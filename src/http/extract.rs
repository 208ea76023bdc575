//! What handlers take out of a request: JSON bodies, names in the path, the query.
//!
//! What it promises: bad input is `400 invalid_request` and names the field; unknown and repeated fields are refused;
//! nothing here allocates more than the body that was already read. What it must not do: check what needs the state.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::refusal::Refusal;
use crate::api::Object;
use crate::domain::RequestKey;

/// A JSON body. No body at all is read as `{}`.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest<super::App> for JsonBody<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &super::App) -> Result<Self, Refusal> {
        // The dispatcher has read the body under its limits already; this only takes it out.
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|_| Refusal::invalid("body", "it can not be read"))?;
        parse_json(&bytes).map(Self)
    }
}

/// The body of a request that has none: nothing, or `{}`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Reads `bytes` as JSON.
pub(super) fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let text = if bytes.iter().all(u8::is_ascii_whitespace) { b"{}" } else { bytes };
    if let Ok(Object(value)) = serde_json::from_slice(text) {
        return Ok(value);
    }
    // Only what is refused is read again, now following where in the body it is.
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let Object(value) = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        json_refusal(&path, error.inner())
    })?;
    deserializer.end().map_err(|error| json_refusal(".", &error))?;
    Ok(value)
}

/// What a request with this body is read as, for `fuzz/`. A refusal must be one that tells the caller what is wrong.
#[cfg(fuzzing)]
pub fn read_body<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let refusal = match parse_json(bytes) {
        Ok(value) => return Some(value),
        Err(refusal) => refusal,
    };
    assert_eq!(refusal.code(), crate::api::ProblemCode::InvalidRequest);
    assert!(refusal.field().is_some_and(|field| !field.is_empty() && field.chars().count() <= 200));
    None
}

fn json_refusal(path: &str, error: &serde_json::Error) -> Refusal {
    let text = error.to_string();
    if !error.is_data() {
        return Refusal::invalid("body", format!("it is not JSON: {text}"));
    }
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    let parent = if path == "." { "" } else { path };
    let named = ["unknown field `", "missing field `", "duplicate field `"]
        .iter()
        .find_map(|prefix| message.strip_prefix(prefix)?.split('`').next())
        // A member without a name is none that could be named.
        .filter(|name| !name.is_empty());
    let field = match named {
        Some(name) if parent.ends_with(name) => parent.to_owned(),
        Some(name) if parent.is_empty() => name.to_owned(),
        Some(name) => format!("{parent}.{name}"),
        None if parent.is_empty() => "body".to_owned(),
        None => parent.to_owned(),
    };
    // Field names come from the client; a long one is cut in the answer.
    Refusal::invalid(
        field.chars().take(200).collect::<String>(),
        message.chars().take(400).collect::<String>(),
    )
}

/// The parameters of the path, by name.
#[derive(Debug)]
pub struct PathParameters(BTreeMap<String, String>);

impl FromRequestParts<super::App> for PathParameters {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &super::App) -> Result<Self, Refusal> {
        let Path(parameters) = Path::from_request_parts(parts, state)
            .await
            .map_err(|_| Refusal::invalid("path", "it is not valid UTF-8"))?;
        Ok(Self(parameters))
    }
}

impl PathParameters {
    /// The parameter `name` as a `T`.
    pub(super) fn get<T>(&self, name: &str) -> Result<T, Refusal>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = self.0.get(name).map_or("", String::as_str);
        text.parse().map_err(|error: T::Err| Refusal::invalid(name, error.to_string()))
    }
}

/// The query, taken apart by name; what nobody takes is refused.
#[derive(Debug)]
pub struct QueryParameters(Vec<(String, String)>);

impl FromRequestParts<super::App> for QueryParameters {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &super::App) -> Result<Self, Refusal> {
        let Query(pairs) = Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|_| Refusal::invalid("query", "it can not be read"))?;
        let common = |name: &str| name == "consistency" || name == "min_revision";
        Ok(Self(pairs.into_iter().filter(|(name, _)| !common(name)).collect()))
    }
}

impl QueryParameters {
    /// Takes all values of `name`.
    pub(super) fn take_all(&mut self, name: &str) -> Vec<String> {
        let (taken, left) = std::mem::take(&mut self.0).into_iter().partition(|(given, _)| given == name);
        self.0 = left;
        Vec::into_iter(taken).map(|(_, value)| value).collect()
    }

    /// Takes the one value of `name`, as a `T`.
    pub(super) fn take<T>(&mut self, name: &str) -> Result<Option<T>, Refusal>
    where
        T: FromStr,
        T::Err: Display,
    {
        let mut values = self.take_all(name);
        match (values.pop(), values.is_empty()) {
            (None, _) => Ok(None),
            (Some(_), false) => Err(Refusal::invalid(name, "it is given more than once")),
            (Some(value), true) => {
                let parsed = value.parse().map_err(|error: T::Err| Refusal::invalid(name, error.to_string()));
                parsed.map(Some)
            }
        }
    }

    /// Takes the one value of `name`, as `read` reads it.
    pub(super) fn take_with<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Refusal> {
        let text = self.take::<String>(name)?;
        text.map(|text| read(&text).map_err(|problem| Refusal::invalid(name, problem))).transpose()
    }

    /// Refuses what nobody took.
    pub(super) fn finish(self) -> Result<(), Refusal> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(100).collect();
                Err(Refusal::invalid(name, "no such parameter"))
            }
        }
    }
}

/// The idempotency key that the dispatcher has read.
#[derive(Debug, Clone, Default)]
pub struct Key(pub(super) Option<RequestKey>);

impl FromRequestParts<super::App> for Key {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &super::App) -> Result<Self, Refusal> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ProblemCode;
    use crate::api::allocations::AllocationRequest;
    use crate::api::requirements::PutRequirements;

    fn field_of<T: DeserializeOwned + std::fmt::Debug>(json: &str) -> Option<String> {
        let refusal = parse_json::<T>(json.as_bytes()).unwrap_err();
        assert_eq!(refusal.code(), ProblemCode::InvalidRequest);
        refusal.field().map(str::to_owned)
    }

    #[test]
    fn the_field_that_is_wrong_is_named_with_its_path() {
        let field = |json: &str| field_of::<AllocationRequest>(json).unwrap();
        assert_eq!(field(r#"{"slots":"two"}"#), "slots");
        assert_eq!(field(r#"{"slots":-1}"#), "slots");
        assert_eq!(field(r#"{}"#), "slots");
        assert_eq!(field(r#"{"slots":1,"speed":2}"#), "speed");
        assert_eq!(field(r#"{"slots":1,"slots":2}"#), "slots");
        assert_eq!(field(r#"{"":1}"#), "body");
        assert_eq!(field(r#"{"slots":1,"profile":{"cpu_cores":1.2345}}"#), "profile.cpu_cores");
        assert_eq!(field(r#"{"slots":1,"constraints":[{"label":"a"}]}"#), "constraints[0]");
        let line = r#"{"version":1,"requirements":[{"name":"a","desired":1},{"name":"a b","desired":1}]}"#;
        assert_eq!(field_of::<PutRequirements>(line).unwrap(), "requirements[1].name");
    }

    #[test]
    fn what_is_not_json_names_the_body() {
        for text in ["{", "nope", "{\"slots\":1}}", "\u{0}", "{\"slots\":1e999}", "{\"slots\":NaN}"] {
            assert_eq!(field_of::<AllocationRequest>(text).as_deref(), Some("body"), "{text}");
        }
        assert!(parse_json::<AllocationRequest>(b"{\"slots\":1,\"strategy\":\"\xff\"}").is_err());
    }

    #[test]
    fn deep_json_is_refused() {
        let deep = format!("{{\"slots\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse_json::<AllocationRequest>(deep.as_bytes()).is_err());
    }

    #[test]
    fn no_body_is_an_empty_object() {
        assert!(parse_json::<crate::api::jobs::PutJob>(b"").is_ok());
        assert!(parse_json::<crate::api::jobs::PutJob>(b" \n").is_ok());
        assert_eq!(field_of::<AllocationRequest>("").unwrap(), "slots");
    }
}
