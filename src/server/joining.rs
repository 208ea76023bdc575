//! How a server with an empty data directory asks a running cluster to take it in.
//!
//! What it promises: the request goes to the API of the cluster as any client's would, and may be repeated. What it
//! must not do: decide whether the server is taken in; the leader does.

use std::sync::Arc;

use futures::future::FutureExt;

use super::config::ConfigError;
use super::exit::ServerError;
use super::node::NodeSeams;
use crate::api::cluster::AddMember;
use crate::client::{Client, ClientOptions, Seams};
use crate::consensus::RequestMembership;

/// The request to the cluster at `server` to take in the node at these addresses, API first.
///
/// # Errors
/// `server` is not an address.
pub(super) fn request(
    server: &str,
    seams: &NodeSeams,
    (api_addr, peer_addr): (&str, &str),
) -> Result<RequestMembership, ServerError> {
    let (clock, random) = (seams.clock.clone(), seams.random.clone());
    let client_seams = Seams::new(move || clock.now(), move || random());
    let client = Client::new(ClientOptions::new([server]), client_seams)
        .map_err(|error| ConfigError::Option { option: "--join", problem: error.to_string() })?;
    let member = AddMember { api_addr: api_addr.to_owned(), peer_addr: peer_addr.to_owned() };
    Ok(Arc::new(move || {
        let (client, member) = (client.clone(), member.clone());
        async move {
            client.add_member(&member).await.map(drop).map_err(|error| format!("{error}: {}", error.cause()))
        }
        .boxed()
    }))
}
