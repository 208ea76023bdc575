//! Tests of the scheduler through its public face, on states that were made by applying commands.
//!
//! `choices` compares every plan with a reference that looks at every TaskManager for every slot; `fixtures` has
//! examples that can be followed by hand, Flink's among them; `requirements` is about declared lines.

mod choices;
mod fixtures;
mod reference;
mod requirements;
mod world;
