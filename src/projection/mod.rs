//! Projections: read models that follow the events of a store.
//!
//! A [`Projection`] says what to do with events; a [`Processor`] does it on one connection, a
//! [`Runner`] with many workers and projections. All of it is synchronous: threads, and the driver
//! `postgres`.
//!
//! ```no_run
//! # use pupctl::db::connect::{Sources, Target};
//! # use pupctl::projection::{
//! #     Event, HandlerError, ProcessorConfig, Projection, Runner, Transaction,
//! # };
//! # fn main() -> pupctl::Result<()> {
//! struct Users;
//!
//! impl Projection for Users {
//!     fn name(&self) -> &'static str {
//!         "users"
//!     }
//!
//!     fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
//!         if event.event_type == "UserRegistered" {
//!             tx.execute("INSERT INTO users (id) VALUES ($1)", &[&event.aggregate_id])?;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! let mut runner = Runner::new(Target::resolve(&Sources::from_process(None, None))?);
//! runner.add(Users, ProcessorConfig::default().initial_slots(8), 4)?.stop_on_signals()?;
//! let reports = runner.run()?;
//! # Ok(()) }
//! ```
//!
//! | what | where |
//! |---|---|
//! | what is promised, and the handler | [`Projection`] |
//! | its transaction | [`Transaction`] |
//! | one projection on one connection | [`Processor`] |
//! | many projections and workers | [`Runner`] |
//! | a projection that is a file of SQL | [`SqlProjection`], [`mod@sql`] |
//! | batches, slots, pauses | [`ProcessorConfig`], [`Slots`] |
//! | what fails: for a while, or for good | [`RetryPolicy`], [`Transient`], [`ErrorPolicy`] |
//! | which slot an event belongs to | [`PartitionStrategy`] |
//! | to read what was just written | [`wait::for_position`] |
//!
//! # What is read
//!
//! Events up to the *settled position*, below which nothing can appear any more. Positions are
//! drawn in one order and committed in another: whoever reads "everything after my checkpoint"
//! passes events over that commit late, 4 to 10 % of them under eight busy writers. How it is found
//! without slowing writers down, and without waiting for transactions that write no events, is said
//! in [`crate::db::watermark`].
//!
//! # Slots
//!
//! A projection has a fixed number of slots, and each event belongs to one, by a hash of its
//! aggregate. A slot has a row in `projection_checkpoints`, and that row's lock is the claim: a
//! worker takes it for one batch, with `FOR UPDATE SKIP LOCKED`, in the transaction that moves the
//! checkpoint. So there is no lease that could run out, and nothing that a worker could commit
//! after it has lost its slot. Workers claim what they had before and what is behind, a fair share
//! each; when one is gone, its slots are free, and when one stands still with its session open,
//! others take its slots after ten seconds. Slots of one worker that stand at one position are read
//! together.
//!
//! More workers never change what a slot is. The number of slots does, and only
//! `pupctl projections rescale` changes it.

mod ahead;
mod audit;
mod batch;
mod careful;
mod checkpoint;
mod claim;
mod config;
mod connect;
pub mod control;
mod definition;
mod done;
mod failure;
mod letters;
pub mod name;
mod pace;
mod processor;
pub mod rebuild;
mod report;
mod runner;
mod shared;
pub mod sql;
mod strategy;
mod transaction;
pub mod wait;
mod worker;

pub use crate::db::Interrupt;
pub use config::{BATCH_SIZE_MAX, ErrorPolicy, ProcessorConfig, RetryPolicy, Slots};
pub use connect::{AsRole, Connect, application_name};
pub use definition::{Event, HandlerError, Projection};
pub use failure::Transient;
pub use processor::Processor;
pub use report::Report;
pub use runner::{Runner, Watch};
pub use sql::SqlProjection;
pub use strategy::{Fnv1a, PartitionStrategy, ServerHash};
pub use transaction::Transaction;
