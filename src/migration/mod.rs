//! Migrations through refinery: one at a time, its SQL and its history row in one transaction.
//!
//! refinery takes no lock and, unless told otherwise, commits SQL and history apart. So the
//! caller holds the lock of the store, and every run is grouped with one target version. What
//! cannot run in a transaction pupctl runs itself, and refinery only records it.

mod alone;
mod failure;
pub mod files;
mod session;

use postgres::Client;
use refinery::{Migration, Runner, Target};

use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::plan::Transaction;
use crate::render::statements::{self, Statement};
use crate::render::{RenderedMigration, quote};

use session::{Session, Settings};

/// Applies a migration, or only records it, in one transaction.
pub fn apply(client: &mut Client, wanted: &RenderedMigration) -> Result<()> {
    let history = quote::table(&wanted.history);
    let migrations = applied(client, &history)?;
    let version = wanted.migration.version();
    if migrations.iter().any(|migration| migration.version() == version) {
        return Ok(());
    }
    reach("migration::before_apply");
    if wanted.file.is_none() {
        run(client, wanted, migrations, None)?;
    } else {
        // Files may change the settings of the session, down to its role.
        let settings = Settings::of(client)?;
        run(client, wanted, migrations, Some(&settings))?;
        settings.restore(client)?;
    }
    reach("migration::after_apply");
    Ok(())
}

fn run(
    client: &mut Client,
    wanted: &RenderedMigration,
    applied: Vec<Migration>,
    settings: Option<&Settings>,
) -> Result<()> {
    let sql = wanted.migration.sql().unwrap_or_default();
    let statements = statements::split(sql);
    let alone = wanted.transaction != Transaction::Required;
    if alone && let Some(statement) = statements.first() {
        run_alone(client, wanted, statement)?;
    }
    let version = wanted.migration.version();
    let target = if wanted.record_only || alone {
        Target::FakeVersion(version)
    } else {
        Target::Version(version)
    };
    // Applied versions are passed as they are recorded: they are never rendered again, so that a
    // newer pupctl with other templates does not find them "divergent".
    let latest = applied.iter().map(Migration::version).max();
    let mut migrations = applied;
    migrations.push(in_any_order(&wanted.migration, latest));
    let mut runner = Runner::new(&migrations).set_grouped(true).set_target(target);
    runner.set_migration_table_name(quote::table(&wanted.history));
    let mut session =
        Session { client, sql, statements: &statements, failed: None, settings, ran: false };
    let outcome = runner.run(&mut session);
    let failed = session.failed.and_then(|number| statements.get(number));
    let ran = session.ran;
    outcome.map_err(|error| {
        let error = failure::of_refinery(wanted, failed, error);
        // Where a constraint that was deferred fails, that is told.
        if ran && settings.is_some() { failure::of_recording(error) } else { error }
    })?;
    Ok(())
}

/// refinery never applies a version below the latest, unless it has no place in the order. pupctl's
/// own may come late, when others have been applied in between; files are compared before.
fn in_any_order(wanted: &Migration, latest: Option<i64>) -> Migration {
    if latest.is_none_or(|latest| latest < wanted.version()) {
        return wanted.clone();
    }
    let title = format!("U{}__{}", wanted.version(), wanted.name());
    Migration::unapplied(&title, wanted.sql().unwrap_or_default())
        .unwrap_or_else(|_| wanted.clone())
}

/// Runs the one statement of a file without a transaction. The row that records it comes after.
fn run_alone(
    client: &mut Client,
    wanted: &RenderedMigration,
    statement: &Statement<'_>,
) -> Result<()> {
    let located = |error| failure::at(error, wanted, statement);
    if !alone::is_done(client, statement).map_err(located)? {
        client
            .batch_execute(statement.sql)
            .map_err(|error| failure::of_server(wanted, Some(statement), &error).because(error))?;
    }
    reach("migration::before_record");
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

fn sqlstate(error: &refinery::Error) -> Option<String> {
    Some(failure::reported(error)?.code()?.code().to_owned())
}
