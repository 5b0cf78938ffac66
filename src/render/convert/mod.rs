//! The statements by which a table that is in use becomes a partitioned one.

pub mod carry;
pub mod follow;
pub mod mend;
