//! Optimistic concurrency under fire: whoever writes, however the events are divided, no version
//! of an aggregate is stored twice, and every loser is told.

#[path = "../support/mod.rs"]
mod support;

mod guard;
mod layouts;
mod protections;
mod writers;
