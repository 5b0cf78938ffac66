//! `pupctl schema migrate`

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;

use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::command::context::Context;
use crate::command::write::{report, write};
use crate::migration::files;
use crate::plan::{self, MigrationFile};

use super::directory::DirectoryArgs;

/// How long the other deploys of the same moment are waited for.
const WAIT: Duration = Duration::from_mins(5);

/// Apply a folder of migrations: those that `schema generate` wrote, and your own beside them
///
/// In the order of their numbers, each in a transaction with the row that records it, under the
/// lock of the store: of many deploys at once one applies them, the others wait up to 5 minutes
/// (or as --wait says) and find nothing to do. A file is named as V12__add_orders.sql.
///
/// A file whose first line is `-- pupctl: no-transaction` holds one statement that runs outside
/// of a transaction, such as CREATE INDEX CONCURRENTLY; it is safe to repeat after a failure. An
/// applied file is never changed: that is an error, as is one that is gone.
///
/// Examples:
///   pupctl schema migrate --dir migrations
///   pupctl schema migrate --dry-run
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct MigrateArgs {
    #[command(flatten)]
    directory: DirectoryArgs,

    /// The last version to apply [default: all]
    #[arg(long, value_name = "VERSION")]
    to: Option<i64>,
}

pub(super) fn run(args: &MigrateArgs, context: &Context) -> anyhow::Result<Exit> {
    let folder = args.directory.folder(&context.config);
    // A wrong file is told before a server is asked for anything.
    let files = files::read(&folder)?;
    let mut context = context.clone();
    context.global.wait = context.global.wait.or(context.config.locks.wait).or(Some(WAIT));
    let (catalog, changes) = write(&context, |catalog| {
        files::refuse_another_schema(&files, &catalog.schema_name)?;
        plan::files::plan(&files, catalog, args.to)
    })?;
    let applied = changes.migrations.iter().filter(|migration| migration.file.is_some()).count();
    let mut done = format!("{} of {} applied", count(applied, "migration"), folder.display());
    let is_own = |change: &&crate::command::write::MigrationChange| {
        change.file.is_some() && plan::init::is_own_name(change.version, &change.name)
    };
    if changes.migrations.iter().any(|change| is_own(&change)) {
        done.push_str("; partitions are made by: pupctl partitions ensure");
    }
    let wanted = |file: &&MigrationFile| args.to.is_none_or(|to| file.version <= to);
    let is_pending = |file: &&MigrationFile| {
        catalog.store_migrations.iter().all(|row| row.version != file.version)
    };
    let reached = files.iter().filter(wanted).count();
    let beyond = files.iter().filter(|file| !wanted(file)).filter(is_pending).count();
    let mut nothing = format!(
        "Nothing to do: {} of {} are applied",
        count(reached, "migration"),
        folder.display()
    );
    if let Some(to) = args.to.filter(|_| beyond > 0) {
        let _ = write!(nothing, ", {beyond} beyond version {to} are pending");
    }
    Ok(report(&context, &changes, &done, &nothing)?)
}
