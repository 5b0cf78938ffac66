//! A private PostgreSQL for people who have no server at hand: finds installed server programs
//! and runs one cluster with them, reachable only through a socket in a private folder.

mod account;
mod cluster;
mod embedded;
mod find;
mod place;
mod process;

pub use embedded::{Embedded, Running, Server, Status};
pub use find::{OLDEST, Programs};
