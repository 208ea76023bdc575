//! Bytes on disk: the log in sled under a guard, the snapshots in plain files.
