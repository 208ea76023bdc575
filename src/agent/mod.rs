//! A TaskManager's side: register, heartbeat, reconcile, fence, and run the hooks that start the real work.
