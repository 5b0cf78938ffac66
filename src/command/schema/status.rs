//! `pupctl schema status`

use std::fmt::Write as _;
use std::path::Path;

use chrono::DateTime;
use clap::Args;
use serde::Serialize;

use crate::catalog::{AppliedMigration, Catalog};
use crate::cli::exit::Exit;
use crate::cli::output::{bold, count, printable, red, table};
use crate::command::context::{Context, no_layout, warn_of_differences};
use crate::db::inspect::Depth;
use crate::layout::{Layout, Role, describe};
use crate::migration::files;
use crate::operation::journal::{self, Operation};
use crate::plan::MigrationFile;
use crate::plan::files::compare;
use crate::plan::init::{OWN_MIGRATIONS, STORE_MIGRATIONS, store_migrations};

use super::directory::DirectoryArgs;

/// How many operations are shown.
const OPERATIONS: i64 = 5;

/// Show the layout, the migrations and the latest operations
///
/// With --dir also the folder of migrations, beside the history. Reads only; writes nothing, not
/// even a history table.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    directory: DirectoryArgs,
}

#[derive(Serialize)]
struct Status {
    server: String,
    database: String,
    role: String,
    schema: String,
    layout: Option<serde_json::Value>,
    tables: Vec<TableStatus>,
    own_migrations: Vec<AppliedMigration>,
    store_migrations: Vec<AppliedMigration>,
    pending_migrations: Vec<String>,
    /// The folder, where one was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<Directory>,
    operations: Vec<Operation>,
}

#[derive(Serialize)]
struct Directory {
    path: String,
    files: Vec<FileStatus>,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct FileStatus {
    file: String,
    version: i64,
    name: String,
    /// None where it is pending.
    applied_on: Option<String>,
}

#[derive(Serialize)]
struct TableStatus {
    name: String,
    exists: bool,
    partition_key: Option<String>,
    leaves: usize,
}

pub(super) fn run(args: &StatusArgs, context: &Context) -> anyhow::Result<Exit> {
    let folder = args.directory.named(&context.config);
    let files = folder.as_deref().map(files::read).transpose()?;
    let mut store = context.open()?;
    let catalog = context.inspect(&mut store.client, &store.schema, Depth::default())?;
    let operations = journal::latest(&mut store.client, &store.schema, OPERATIONS)?;
    let mut status = status(context, &catalog, operations);
    let folder = folder.zip(files.as_deref());
    status.directory = folder.map(|(path, files)| directory(&path, files, &catalog));
    context.output.result(context.name, &status, &text(&status, catalog.layout.as_ref()))?;
    if let Some(layout) = &catalog.layout {
        warn_of_differences(context, layout, &catalog);
    } else {
        let error = no_layout(&catalog);
        let hint = error.hint_text().unwrap_or_default();
        context.output.say(format!("note: {}; {hint}", error.message()));
    }
    Ok(Exit::Done)
}

fn status(context: &Context, catalog: &Catalog, operations: Vec<Operation>) -> Status {
    let tables =
        catalog.layout.as_ref().map_or_else(|| context.config.tables(), |l| l.tables.clone());
    let name = |name: &str| format!("{}.{name}", catalog.schema_name);
    let table = |label: String, table: Option<&crate::catalog::Table>| TableStatus {
        name: label,
        exists: table.is_some(),
        partition_key: table.and_then(|table| table.root.partition_key.clone()),
        leaves: table.map_or(0, |table| table.root.leaves().count()),
    };
    let pending = |known: &[(i64, &str)], applied: &[AppliedMigration]| -> Vec<String> {
        known
            .iter()
            .filter(|(version, _)| !applied.iter().any(|m| m.version == *version))
            .map(|(version, name)| format!("V{version}__{name}"))
            .collect()
    };
    let mut pending_migrations = pending(OWN_MIGRATIONS, &catalog.own_migrations);
    let of_layout: Vec<_> = match &catalog.layout {
        Some(layout) => store_migrations(layout).collect(),
        None => STORE_MIGRATIONS.to_vec(),
    };
    pending_migrations.extend(pending(&of_layout, &catalog.store_migrations));
    Status {
        server: catalog.server.version.clone(),
        database: catalog.server.database.clone(),
        role: catalog.server.role.clone(),
        schema: catalog.schema_name.clone(),
        layout: catalog.layout.as_ref().map(Layout::to_json),
        tables: vec![
            table(name(&tables.events), catalog.table(Role::Events)),
            table(name(&tables.aggregate_heads), catalog.table(Role::Heads)),
            table(name(&tables.projection_checkpoints), catalog.checkpoints.as_ref()),
        ],
        own_migrations: catalog.own_migrations.clone(),
        store_migrations: catalog.store_migrations.clone(),
        pending_migrations,
        directory: None,
        operations,
    }
}

fn directory(path: &Path, files: &[MigrationFile], catalog: &Catalog) -> Directory {
    let comparison = compare(files, catalog);
    let applied = |file: &MigrationFile| {
        let found = comparison.applied.iter().find(|(other, _)| other.version == file.version);
        found.map(|(_, row)| row.applied_on.clone())
    };
    Directory {
        path: path.display().to_string(),
        files: files
            .iter()
            .map(|file| FileStatus {
                file: file.path.clone(),
                version: file.version,
                name: file.name.clone(),
                applied_on: applied(file),
            })
            .collect(),
        problems: comparison.problems.into_iter().map(|problem| problem.message).collect(),
    }
}

fn text(status: &Status, layout: Option<&Layout>) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} {}, database {}, schema {}, role {}",
        bold("PostgreSQL"),
        status.server,
        status.database,
        status.schema,
        status.role
    );
    if let Some(layout) = layout {
        let _ = writeln!(
            text,
            "{}     {}; {} ahead; {}",
            bold("Layout"),
            describe(&layout.levels),
            count(layout.months_ahead as usize, "month"),
            count(layout.contexts.len(), "context"),
        );
    }
    let _ = writeln!(text, "{}", bold("Tables"));
    let rows = status.tables.iter().map(|table| {
        let state = if table.exists { "there" } else { "missing" };
        let key = table.partition_key.clone().unwrap_or_default();
        vec![table.name.clone(), state.to_owned(), key, table.leaves.to_string()]
    });
    text.push_str(&table(&["table", "state", "divided by", "leaves"], rows.collect(), 3));
    migrations(status, &mut text);
    if let Some(directory) = &status.directory {
        let _ = writeln!(text, "{}", bold(&format!("Folder {}", directory.path)));
        let rows = directory.files.iter().map(|file| {
            let state = file.applied_on.as_deref().map_or("pending".to_owned(), instant);
            vec![format!("V{}__{}", file.version, file.name), state]
        });
        text.push_str(&table(&["migration", "applied"], rows.collect(), 2));
        for problem in &directory.problems {
            let _ = writeln!(text, "{} {}", red("problem:"), printable(problem));
        }
    }
    if !status.operations.is_empty() {
        let _ = writeln!(text, "{}", bold("Latest operations"));
        let rows = status.operations.iter().map(|operation| {
            vec![
                operation.id.to_string(),
                operation.command.clone(),
                operation.started_at.format("%F %T UTC").to_string(),
                operation.outcome.clone(),
            ]
        });
        text.push_str(&table(&["id", "command", "started", "outcome"], rows.collect(), 4));
    }
    text
}

fn migrations(status: &Status, text: &mut String) {
    let _ = writeln!(text, "{}", bold("Migrations"));
    let applied = |set: &str, list: &[AppliedMigration]| -> Vec<Vec<String>> {
        list.iter()
            .map(|m| {
                vec![set.to_owned(), format!("V{}__{}", m.version, m.name), instant(&m.applied_on)]
            })
            .collect()
    };
    let mut rows = applied("own", &status.own_migrations);
    rows.extend(applied("store", &status.store_migrations));
    let pending = &status.pending_migrations;
    rows.extend(pending.iter().map(|name| vec![String::new(), name.clone(), "pending".to_owned()]));
    text.push_str(&table(&["set", "migration", "applied"], rows, 3));
}

/// refinery's time in the form of all others.
fn instant(text: &str) -> String {
    DateTime::parse_from_rfc3339(text)
        .map_or_else(|_| text.to_owned(), |at| at.to_utc().format("%F %T UTC").to_string())
}
