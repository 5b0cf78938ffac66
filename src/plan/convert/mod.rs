//! How a table that is in use becomes a partitioned one.

pub mod belongings;
