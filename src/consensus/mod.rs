//! The openraft adapter: the only asynchronous gate to the log.
