//! The truth: a state and the function that applies commands to it.
