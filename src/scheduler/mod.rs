//! The opinion: which TaskManager serves which request.
