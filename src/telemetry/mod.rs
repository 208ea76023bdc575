//! Log format and the metrics registry.
