//! Events outside the database: the file format, import and export.
//!
//! A file holds one event a line, as a JSON object ([`model`]); the lines are in the order of the
//! events' positions.

mod copy;
pub mod export;
mod leaf;
pub mod model;
mod row;
pub mod selection;
mod window;
mod write;
