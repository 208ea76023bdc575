//! The headers of the API, in lower case as HTTP/2 sends them.

/// In answers: the state revision that the answer reflects.
pub const REVISION: &str = "slotkeeper-revision";
/// In answers: the leader's node id, when it is known.
pub const LEADER: &str = "slotkeeper-leader";
/// In answers: the node that answered.
pub const NODE: &str = "slotkeeper-node";
/// In answers: `true` if this is the first answer to the idempotency key given again.
pub const REPLAYED: &str = "slotkeeper-replayed";
/// In requests: `never` asks for 307 instead of forwarding.
pub const FORWARD: &str = "slotkeeper-forward";
/// The value of [`FORWARD`] that asks for 307.
pub const FORWARD_NEVER: &str = "never";
/// In forwarded requests: the node that forwarded. A request that has it is never forwarded again.
pub const FORWARDED_BY: &str = "slotkeeper-forwarded-by";
/// In writes: 1 to 128 visible ASCII characters, the same for every try of one write.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
