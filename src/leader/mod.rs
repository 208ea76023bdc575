//! What only a leader does: the round loop, leases and expiry.
