//! The harness of the integration tests: real servers, a database of its own for every test, and
//! the built binary run in a clean environment.
//!
//! ```ignore
//! mod support;
//! use support::TestDatabase;
//!
//! #[test]
//! fn ensures_partitions() {
//!     let db = TestDatabase::new();
//!     db.execute("CREATE TABLE …");
//!     db.pupctl(["partitions", "ensure"]).success();
//! }
//! ```

// Each test binary uses its own part of the harness.
#![allow(dead_code, unused_imports, unreachable_pub)]
// A harness panics: that is how a test fails.
#![allow(clippy::missing_panics_doc, clippy::must_use_candidate)]

mod catalog;
mod command;
mod database;
mod events;
mod fingerprint;
mod server;
mod standby;

pub use command::{Background, Output, Pupctl, eventually};
pub use database::{TestDatabase, psql};
pub use events::{Append, event_id};
pub use fingerprint::fingerprint;
pub use server::{SETTINGS, TestServer, folder, open_folder};
pub use standby::Standby;
