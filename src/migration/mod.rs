//! Migrations through refinery: one at a time, its SQL and its history row in one transaction.
//!
//! refinery takes no lock and, unless told otherwise, commits SQL and history apart. So the
//! caller holds the lock of the store, and every run is grouped with one target version.

use postgres::Client;
use refinery::{Migration, Runner, Target};

use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::render::{RenderedMigration, quote};

/// Applies a migration, or only records it, in one transaction.
pub fn apply(client: &mut Client, wanted: &RenderedMigration) -> Result<()> {
    let history = quote::table(&wanted.history);
    let mut migrations = applied(client, &history)?;
    let version = wanted.migration.version();
    if migrations.iter().any(|migration| migration.version() == version) {
        return Ok(());
    }
    // Applied versions are passed as they are recorded: they are never rendered again, so that a
    // newer pupctl with other templates does not find them "divergent".
    migrations.push(wanted.migration.clone());
    let target =
        if wanted.record_only { Target::FakeVersion(version) } else { Target::Version(version) };
    reach("migration::before_apply");
    let mut runner = Runner::new(&migrations).set_grouped(true).set_target(target);
    runner.set_migration_table_name(&history);
    runner.run(client).map_err(|error| failed(&wanted.migration, error))?;
    reach("migration::after_apply");
    Ok(())
}

fn applied(client: &mut Client, history: &str) -> Result<Vec<Migration>> {
    let mut runner = Runner::new(&[]);
    runner.set_migration_table_name(history);
    match runner.get_applied_migrations(client) {
        Ok(applied) => Ok(applied),
        // undefined_table: nothing was ever applied.
        Err(error) if sqlstate(&error).as_deref() == Some("42P01") => Ok(Vec::new()),
        Err(error) => Err(Error::refused(format!(
            "the history of migrations in {history} cannot be read: {}",
            crate::error::chain(&error)
        ))),
    }
}

/// refinery hides the server's report behind "db error"; it is in the chain of causes.
fn reported(error: &refinery::Error) -> Option<&postgres::Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(found) = inner.downcast_ref::<postgres::Error>() {
            return Some(found);
        }
        cause = inner.source();
    }
    None
}

fn sqlstate(error: &refinery::Error) -> Option<String> {
    Some(reported(error)?.code()?.code().to_owned())
}

fn failed(migration: &Migration, error: refinery::Error) -> Error {
    let doing = format!("applying migration {migration}");
    match reported(&error) {
        Some(reported) => Error::reported(&doing, reported).because(error),
        None => Error::refused(format!("failed while {doing}: {}", crate::error::chain(&error))),
    }
}
