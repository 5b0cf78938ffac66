//! The only module that talks to PostgreSQL.

pub mod attach;
pub mod blockers;
pub mod closed;
pub mod connect;
pub mod detach;
pub mod execute;
pub mod fence;
pub mod heads;
pub mod health;
pub mod inspect;
pub mod interrupt;
pub mod lock;
pub mod names;
pub mod old_rows;
pub mod pooler;
pub mod probe;
pub mod pruning;
pub mod settled;
pub mod snapshots;
pub mod surroundings;
pub mod tls;
pub mod watch;
pub mod watermark;
pub mod workload;

pub use interrupt::Interrupt;
pub use lock::Locked;
