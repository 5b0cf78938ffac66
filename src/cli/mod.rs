//! The terminal: what every command shares of arguments, configuration, output, questions,
//! progress and exit codes.

pub mod address;
pub mod argument;
pub mod config;
pub mod confirm;
pub mod exit;
pub mod global;
pub mod output;
pub mod progress;
pub mod reference;
pub mod schedule;
