//! The only module that talks to PostgreSQL.

pub mod connect;
pub mod pooler;
pub mod tls;
