//! The only calls to now().
