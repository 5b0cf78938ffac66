//! Schema, migrations and partitions of PostgreSQL event stores.
pub mod catalog;
pub mod db;
pub mod error;
pub mod failpoint;
pub mod finding;
pub mod layout;
pub mod migration;
pub mod operation;
pub mod plan;
pub mod render;
pub mod server;

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod command;

pub use error::{Error, Result};
