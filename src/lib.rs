//! Schema, migrations and partitions of PostgreSQL event stores.
pub mod db;
pub mod error;
pub mod failpoint;
pub mod server;

pub use error::{Error, Result};
