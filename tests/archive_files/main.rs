//! Rows of real tables in files: proven, damaged, restored.

#[path = "../support/mod.rs"]
mod support;

mod damage;
mod digests;
mod killed;
mod restore;
mod round_trip;
mod table;
