//! The state as one replica hosts it: applied position, read views, snapshots.
