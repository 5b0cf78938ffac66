//! Plans become statements here, and nowhere else: every identifier and literal passes one
//! quoting mechanism that a template cannot forget (see [`environment`]).

pub mod attach;
pub mod bounds_check;
pub mod close;
pub mod convert;
pub mod environment;
mod filters;
pub mod formats;
pub mod generate;
pub mod health;
pub mod html;
pub mod index;
mod lifecycle;
pub mod mend;
pub mod parameters;
pub mod place;
pub mod protection;
pub mod quote;
pub mod read;
pub mod scaffold;
pub mod script;
pub mod statements;
pub mod tables;
pub mod transfer;

pub use script::{Lock, LockMode, RenderedMigration, RenderedStep, Script, Statement};

use crate::layout::name::{QualifiedName, joined};
use environment::{render, values};

/// `ALTER TABLE … DETACH PARTITION … FINALIZE`, which ends an interrupted detach.
#[must_use]
pub fn finalize_detach(parent: &QualifiedName, partition: &QualifiedName) -> String {
    statement("partition/finalize_detach", &values! { parent, partition })
}

/// `ALTER TABLE … ADD PRIMARY KEY` or `ADD UNIQUE`, for a leaf that lost a key.
#[must_use]
pub fn add_key(table: &QualifiedName, columns: &[&str], primary: bool) -> String {
    statement("partition/keys", &values! { name => table, keys => [columns], primary })
}

/// `REINDEX INDEX CONCURRENTLY`, for an index that the server does not use.
#[must_use]
pub fn reindex(index: &QualifiedName) -> String {
    statement("partition/reindex", &values! { index })
}

/// `CREATE INDEX CONCURRENTLY … USING brin`, for a leaf without its index on time.
#[must_use]
pub fn create_brin(table: &QualifiedName) -> String {
    let name = joined(&table.name, "created_at_idx");
    statement("partition/create_brin", &values! { name, table })
}

/// `CREATE INDEX CONCURRENTLY`, for a table that lacks an index.
#[must_use]
pub fn create_index(table: &QualifiedName, columns: &[&str]) -> String {
    let name = joined(&table.name, &format!("{}_idx", columns.join("_")));
    statement("table/create_index", &values! { name, table, columns })
}

/// `DELETE` of the checkpoint of a projection that is dead, and of its dead letters, where the
/// store has a table of them.
#[must_use]
pub fn forget_projection(
    checkpoints: &QualifiedName,
    letters: Option<&QualifiedName>,
    name: &str,
) -> String {
    statement("fence/forget_projection", &values! { checkpoints, letters, name })
}

/// Drops a replication slot that nobody reads from any more.
#[must_use]
pub fn drop_slot(name: &str) -> String {
    statement("fence/drop_slot", &values! { name })
}

/// A statement that is shown to people, with its semicolon.
fn statement(template: &str, values: &minijinja::Value) -> String {
    format!("{};", render(template, values))
}

#[cfg(test)]
mod tests;
