//! The only module that talks to PostgreSQL.

pub mod blockers;
pub mod execute;
pub mod inspect;
mod interrupt;
pub mod lock;

pub use interrupt::Interrupt;
pub use lock::Locked;
