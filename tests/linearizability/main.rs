//! The linearizability checker of `chaos/`, itself under test: it must find what is wrong and nothing else; and the storms'
//! bad link, which must do what the weather says and no more.
//!
//! Histories are made by a generator that runs the model on a clock of its own, so they are legal by construction; illegal
//! ones are written by hand or are legal ones with one answer altered.

#[path = "../../chaos/storm/late.rs"]
#[allow(dead_code)]
mod late;
#[path = "../../chaos/linear/mod.rs"]
#[allow(dead_code)]
mod linear;

mod altered;
mod bad_link;
mod by_hand;
mod generator;
