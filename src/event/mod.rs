//! Events outside the database: the file format, import and export.
//!
//! A file holds one event a line, as a JSON object ([`model`]); the lines are in the order of the
//! events' positions.

mod encode;
pub mod import;
pub mod line;
mod load;
pub mod model;
mod route;
mod runs;
mod skipped;
pub mod source;
mod staging;
mod survey;
