//! `restore.sql`, with which psql alone makes a table again: no pupctl is needed to get an archive
//! of the format `copy` back.

use crate::error::Result;
use crate::layout::name::QualifiedName;
use crate::render::environment::{render, values};

use super::Format;
use super::column::{Carrier, Column};
use super::contents::Contents;
use super::select::{Loading, SETTINGS, STAGE, Selection};

/// What people run in the folder of the archive.
const HEAD: &str = "\
-- Makes the table again, loads its rows and proves them. In this folder:
--   psql -X -d <database> -f restore.sql
";

/// How it begins to work.
const BEGIN: &str = "\
\\set ON_ERROR_STOP on
\\set QUIET on
BEGIN;
";

/// The types that the database has to have before: those that are not PostgreSQL's own.
fn foreign_types(columns: &[Column]) -> String {
    let is_foreign = |column: &&Column| column.is_of_foreign_type();
    // What stands in a comment must not end it.
    let plain = |text: &str| text.replace(char::is_control, " ");
    let lines = columns.iter().filter(is_foreign).map(|Column { name, data_type, .. }| {
        format!("--   {} (column {})\n", plain(data_type), plain(name))
    });
    let lines: String = lines.collect();
    if lines.is_empty() {
        return lines;
    }
    format!("-- These types have to be there first, as in the database of the archive:\n{lines}")
}

/// The script that recreates a table with `ddl`, loads the rows of the format `copy` that lie
/// beside it, and ends with their number and digest beside those that are expected. It commits
/// only what is the same.
pub fn restore_sql(
    table: &QualifiedName,
    columns: &[Column],
    ddl: &[String],
    expected: &Contents,
) -> Result<String> {
    let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
    // psql takes a \copy up to the end of its line.
    let is_odd = |name: &str| name.chars().any(char::is_control);
    let is_staged = columns.iter().any(|column| column.carrier == Carrier::AsText)
        || names
            .iter()
            .chain([&table.schema.as_str(), &table.name.as_str()])
            .any(|name| is_odd(name));
    let loading = is_staged.then(|| Loading::staged(table, columns)).transpose()?;

    let mut script = format!("{HEAD}{}{BEGIN}", foreign_types(columns));
    let mut statement = |sql: &str, end: &str| {
        script.push_str(sql.trim_end().trim_end_matches(';'));
        script.push_str(end);
        script.push('\n');
    };
    statement(SETTINGS, "\n\\gset found_");
    for sql in ddl {
        statement(sql, ";");
    }
    let (stage, unstage) = loading.map_or((None, None), |loading| (loading.stage, loading.unstage));
    if let Some(stage) = &stage {
        statement(stage, ";");
    }
    let program = format!("zstd -dcq {}", Format::Copy.file_name());
    let stage = stage.map(|_| STAGE);
    statement(&render("archive/restore_copy", &values! { stage, table, names, program }), "");
    if let Some(unstage) = &unstage {
        statement(unstage, ";");
    }
    statement(&Selection::all(table.clone(), columns.to_vec()).digest_sql(), "\n\\gset found_");
    let (rows, digest) = (expected.rows, expected.digest.to_string());
    statement(&render("archive/restore_end", &values! { rows, digest }), "");
    Ok(script)
}
