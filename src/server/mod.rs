//! Configuration, wiring and the order of shutting down.
