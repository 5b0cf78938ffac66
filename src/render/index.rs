//! Statements about indexes.

use serde::Serialize;

use crate::layout::name::QualifiedName;
use crate::plan::index::{Build, IndexAction};

use super::environment::{quoted, render, values};
use super::{Lock, LockMode, Statement};

/// A storage parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// An index as the user asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// How it finds rows: `btree`, `brin`, …
    pub method: String,
    /// Its columns.
    pub columns: Vec<String>,
    /// The columns that it only carries.
    pub include: Vec<String>,
    /// Its storage parameters.
    pub options: Vec<Parameter>,
    /// Which rows it covers, in SQL.
    pub condition: Option<String>,
}

/// `CREATE TEMPORARY TABLE`, with the columns of a table and no rows.
#[must_use]
pub fn probe_table(table: &QualifiedName) -> String {
    render("index/probe_table", &values! { table })
}

/// `CREATE INDEX` on that table, so that the server says whether a request makes sense, and how
/// it prints it.
#[must_use]
pub fn probe(request: &Request) -> String {
    let Request { method, columns, include, options, condition } = request;
    // The user's own SQL, sent as a single statement in the user's own session. What is built
    // is the server's reading of it.
    let condition = quoted(condition.clone().unwrap_or_default());
    render("index/probe", &values! { method, columns, include, options, condition })
}

/// `CREATE INDEX` on that table as a file has it behind the name of its table.
#[must_use]
pub fn probe_written(unique: bool, rest: &str) -> String {
    // Sent as a single statement: what is run on the table itself is the file's.
    render("index/probe_written", &values! { unique, rest => quoted(rest.to_owned()) })
}

/// The statement of an action.
pub(super) fn statement(action: &IndexAction) -> Statement {
    let on = |mode, table: &QualifiedName| Lock { mode, on: table.clone() };
    match action {
        IndexAction::Create { table, name, definition, build } => {
            let concurrently = *build == Build::Concurrently;
            let definition = quoted(definition.clone());
            let (why, mode) = match build {
                Build::Concurrently => ("Its rows are read twice", LockMode::ShareUpdateExclusive),
                Build::Parent => {
                    ("It has no rows itself, so this is done at once", LockMode::Share)
                }
                Build::Beside => ("Nobody writes to it", LockMode::Share),
            };
            Statement {
                sql: render("index/create", &values! { table, name, definition, concurrently }),
                why: why.to_owned(),
                locks: vec![on(mode, table)],
            }
        }
        IndexAction::Attach { parent, index } => Statement {
            sql: render("index/attach", &values! { parent, index }),
            why: "Nothing is read or built; statements that use the partition's index are waited \
                  for"
            .to_owned(),
            locks: vec![
                on(LockMode::AccessExclusive, index),
                on(LockMode::ShareUpdateExclusive, parent),
            ],
        },
        IndexAction::Drop { index, tables, concurrently } => {
            let mode = if *concurrently {
                LockMode::ShareUpdateExclusive
            } else {
                LockMode::AccessExclusive
            };
            let why = if *concurrently {
                "Readers and writers go on"
            } else {
                "Everybody waits until this is done, which takes no longer than the locks do"
            };
            Statement {
                sql: render("index/drop", &values! { index, concurrently }),
                why: why.to_owned(),
                locks: tables.iter().map(|table| on(mode, table)).collect(),
            }
        }
        IndexAction::Reindex { index, table } => Statement {
            sql: render("partition/reindex", &values! { index }),
            why: "Readers and writers go on, and use the old one until the new one is whole"
                .to_owned(),
            locks: vec![on(LockMode::ShareUpdateExclusive, table)],
        },
    }
}
