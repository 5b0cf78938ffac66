//! The only module that talks to PostgreSQL.
