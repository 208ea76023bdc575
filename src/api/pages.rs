//! Pages of lists.
//!
//! What it promises: a cursor is the last key of a page, so an item that exists during the whole listing is listed
//! exactly once, whatever comes and goes meanwhile. What clients must not do: look into a cursor.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Items of a page when `limit` is not given.
pub const PAGE_LIMIT_DEFAULT: u32 = 100;
/// The largest `limit`.
pub const PAGE_LIMIT_MAX: u32 = 1000;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items, in a stable order. A page may hold fewer than `limit` although there are more.
    pub items: Vec<T>,
    /// Where the next page begins; missing on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
