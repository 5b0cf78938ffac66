//! Projections: read models that follow the events of a store.

pub mod control;
pub mod name;
mod strategy;

pub use strategy::{Fnv1a, PartitionStrategy, ServerHash};
