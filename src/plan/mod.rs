//! The difference between what the layout wants and what the catalog has, as steps.
//!
//! Planning is a pure function of a layout, a catalog and a request: no database, no clock, no
//! environment. So `--dry-run` is simply not executing.

pub mod advise;
pub mod archive;
pub mod attach;
pub mod baseline;
pub mod budget;
pub mod close;
pub mod contexts;
pub mod convert;
pub mod detach;
pub mod drain;
pub mod ensure;
pub mod files;
pub mod generate;
pub mod history;
pub mod index;
pub mod init;
pub mod lifecycle;
mod obstacle;
pub mod protection;
pub mod split;
pub mod step;
pub mod tables;
pub mod target;
pub mod transfer;
pub mod wanted;

pub use files::MigrationFile;
pub use step::{Action, Migration, MigrationSet, NewPartition, Plan, Protect, Step, Transaction};

#[cfg(test)]
mod tests;
