//! Events outside the database: the file format, import and export.
//!
//! A file holds one event a line, as a JSON object ([`model`]); the lines are in the order of the
//! events' positions.

pub mod export;
pub mod import;
pub mod model;
