//! `pupctl schema plan`

use std::path::Path;

use clap::Args;
use serde::Serialize;

use crate::catalog::{AppliedMigration, Catalog};
use crate::cli::exit::Exit;
use crate::cli::output::{count, table};
use crate::command::context::Context;
use crate::db::inspect::Depth;
use crate::error::{Error, Result};
use crate::migration::files;
use crate::plan::files::{compare, own_pending};
use crate::plan::init::{OWN_MIGRATIONS, STORE_MIGRATIONS, store_migrations};
use crate::plan::{MigrationFile, MigrationSet, Transaction};

use super::directory::DirectoryArgs;

/// Show the migrations that are pending
///
/// Those of the folder, which `schema migrate` would apply, with what stands in the way; without
/// a folder those that `schema init` would apply. Reads only; writes nothing, not even a history
/// table.
#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    directory: DirectoryArgs,

    /// Exit with 3 when anything is pending
    #[arg(long)]
    exit_code: bool,
}

#[derive(Serialize)]
struct Report {
    directory: Option<String>,
    pending: Vec<Pending>,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct Pending {
    set: MigrationSet,
    version: i64,
    name: String,
    file: Option<String>,
    transaction: Transaction,
}

pub(super) fn run(args: &PlanArgs, context: &Context) -> anyhow::Result<Exit> {
    let config = &context.config;
    let named = args.directory.named(config);
    let folder = named.or_else(|| Some(args.directory.folder(config)).filter(|path| path.exists()));
    let files = folder.as_deref().map(files::read).transpose()?;
    let mut store = context.open()?;
    let catalog = context.inspect(&mut store.client, &store.schema, Depth::default())?;
    let report = report(folder.as_deref(), files.as_deref(), &catalog)?;
    let mut text = text(&report);
    context.output.result(context.name, &report, &text)?;
    let found = !report.pending.is_empty() || !report.problems.is_empty();
    if report.problems.is_empty() {
        let pending = count(report.pending.len(), "migration");
        let last = if found {
            format!("{pending} pending")
        } else {
            "Nothing to do: every migration is applied".to_owned()
        };
        context.output.say(&last);
        text.push_str(&last);
    } else {
        let problems = count(report.problems.len(), "problem");
        let error = Error::refused(format!("schema migrate would refuse: {problems}"));
        context.output.tell_failure(&error.details(report.problems.clone()));
    }
    Ok(if found && args.exit_code { context.output.found(&text) } else { Exit::Done })
}

fn report(
    folder: Option<&Path>,
    files: Option<&[MigrationFile]>,
    catalog: &Catalog,
) -> Result<Report> {
    let embedded = |set, (version, name): (i64, &str)| Pending {
        set,
        version,
        name: name.to_owned(),
        file: None,
        transaction: Transaction::Required,
    };
    let is_missing =
        |applied: &[AppliedMigration], version| !applied.iter().any(|row| row.version == version);
    let own = |one| embedded(MigrationSet::Own, one);
    let mut problems = Vec::new();
    let mut pending: Vec<_>;
    if let Some(files) = files {
        files::refuse_another_schema(files, &catalog.schema_name)?;
        pending = own_pending(catalog).map(own).collect();
        let comparison = compare(files, catalog);
        pending.extend(comparison.pending.iter().map(|file| Pending {
            set: MigrationSet::Store,
            version: file.version,
            name: file.name.clone(),
            file: Some(file.path.clone()),
            transaction: file.transaction,
        }));
        problems.extend(comparison.problems.into_iter().map(|problem| problem.message));
    } else {
        let of_layout: Vec<_> = match &catalog.layout {
            Some(layout) => store_migrations(layout).collect(),
            None => STORE_MIGRATIONS.to_vec(),
        };
        let missing =
            OWN_MIGRATIONS.iter().filter(|(v, _)| is_missing(&catalog.own_migrations, *v));
        pending = missing.copied().map(own).collect();
        let missing =
            of_layout.into_iter().filter(|(v, _)| is_missing(&catalog.store_migrations, *v));
        pending.extend(missing.map(|one| embedded(MigrationSet::Store, one)));
    }
    let directory = folder.map(|folder| folder.display().to_string());
    Ok(Report { directory, pending, problems })
}

fn text(report: &Report) -> String {
    if report.pending.is_empty() {
        return String::new();
    }
    let rows = report.pending.iter().map(|pending| {
        let set = match (pending.set, &pending.file) {
            (MigrationSet::Own, _) => "own",
            (MigrationSet::Store, None) => "store",
            (MigrationSet::Store, Some(_)) => "folder",
        };
        let title = format!("V{}__{}", pending.version, pending.name);
        let transaction = match pending.transaction {
            Transaction::Required => "in a transaction",
            Transaction::Forbidden | Transaction::Concurrent => "without",
        };
        vec![set.to_owned(), title, transaction.to_owned()]
    });
    table(&["set", "migration", "transaction"], rows.collect(), 3)
}
