//! Schema, migrations and partitions of PostgreSQL event stores.
//!
//! The library behind the command `pupctl`. It makes the tables of an event store (`events`,
//! `aggregate_heads`, `projection_checkpoints`), partitioned by bounded context, by a hash of the
//! aggregate, by month, or by two of these, and keeps their partitions.
//!
//! There is one way through:
//!
//! ```text
//! layout (what is wanted) ──┐
//!                           ├──▶ plan (pure) ──▶ script ──▶ execute ──▶ journal
//! catalog (what is there) ──┘
//! ```
//!
//! - [`layout`] says how a store is partitioned, [`catalog`] what the database has; both are
//!   plain values.
//! - [`plan`] is the difference, as steps; [`finding`] is what is wrong. Neither knows a database
//!   or a clock.
//! - [`render`] turns steps into statements through one quoting mechanism.
//! - [`migration`] reads folders of migrations and applies them through refinery.
//! - [`db`] talks to the server: it connects as libpq does, reads the catalog in a constant
//!   number of queries, and is the only place that runs DDL.
//! - [`operation`] runs a script under the lock of the store and keeps the journal.
//! - [`event`] takes events out of a store, as lines of JSON.
//! - [`archive`] writes the rows of a table into files, reads them back and proves them.
//! - [`store`] appends events and reads them, for applications.
//! - [`projection`] keeps read models up to date, exactly once.
//! - [`overview`] is a store at a glance, for whoever watches it.
//! - [`server`] runs a private PostgreSQL for people who have none at hand.
//!
//! # Example
//!
//! Make the partitions that a store lacks, as `pupctl partitions ensure` does:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use pupctl::db::connect::{Session, Sources, Target};
//! use pupctl::db::execute::{LockLimits, Silent};
//! use pupctl::db::inspect::{self, Depth};
//! use pupctl::db::{Interrupt, Locked};
//! use pupctl::layout::name::Tables;
//! use pupctl::render::Script;
//! use pupctl::{operation, plan};
//!
//! # fn main() -> pupctl::Result<()> {
//! let interrupt = Interrupt::default();
//! let target = Target::resolve(&Sources::from_process(None, None))?;
//! let client = target.connect(&Session::of("my service"))?;
//! let mut locked = Locked::acquire(client, "public", Duration::from_secs(60), &interrupt)?;
//!
//! let tables = Tables::default();
//! let catalog = inspect::catalog(locked.client(), "public", &tables, Depth::default())?;
//! if let Some(wanted) = &catalog.layout {
//!     let months = plan::ensure::months(&catalog, 3, None)?;
//!     let plan = plan::ensure::plan(wanted, &catalog, &months)?;
//!     let script = Script::of(&plan);
//!     operation::run(
//!         &mut locked,
//!         "my service",
//!         &script,
//!         LockLimits::default(),
//!         &interrupt,
//!         &mut Silent,
//!     )?;
//! }
//! locked.release()
//! # }
//! ```
//!
//! # Features
//!
//! - `cli` (default): what only the binary needs. With `default-features = false` the crate is
//!   the library alone.
//! - `failpoints`: named points at which the tests kill the process; see [`failpoint`].

pub mod archive;
pub mod catalog;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod command;
pub mod db;
pub mod error;
pub mod event;
pub mod failpoint;
pub mod finding;
pub mod layout;
pub mod migration;
pub mod operation;
pub mod overview;
pub mod plan;
pub mod projection;
pub mod render;
#[cfg(feature = "cli")]
pub mod schedule;
pub mod server;
pub mod store;

pub use error::{Error, Result};
