//! Partitions that left their table because their rows are in others.

use postgres::Client;
use serde_json::Value;

use crate::db::Interrupt;
use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::layout::name::QualifiedName;
use crate::operation::journal;
use crate::plan::split::kept_comment;
use crate::render::environment::{render, values};
use crate::render::transfer as statements;

use super::Progress;
use super::rows;

/// A partition that left its parent, because its rows are in other partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retired {
    /// The table.
    pub table: QualifiedName,
    /// Where its rows are.
    pub parent: QualifiedName,
}

/// Tables that an earlier run took out of their parents and had no time to finish; their comment
/// begins with these words.
pub fn find(client: &mut Client, schema: &str, prefix: &str) -> Result<Vec<Retired>> {
    let rows = client
        .query(include_str!("../../../sql/transfer/retired.sql"), &[&schema, &prefix])
        .map_err(|error| Error::database("looking for what earlier runs left", error))?;
    let name = |text: String| QualifiedName::new(schema, text);
    let retired = |row: &postgres::Row| Retired {
        table: name(row.get("name")),
        parent: name(row.get("parent")),
    };
    Ok(rows.iter().map(retired).collect())
}

/// How a partition that left comes to its end.
#[allow(missing_debug_implementations)]
pub struct Ending<'a> {
    /// The columns of a copy.
    pub columns: &'a [String],
    /// Whether it is kept.
    pub keep: bool,
    /// What the journal says from then on.
    pub note: Option<Note<'a>>,
    /// Hears how many rows were found.
    pub progress: &'a mut dyn Progress,
    /// Raised when the user wants it to end.
    pub interrupt: &'a Interrupt,
}

/// What a row of the journal says.
#[derive(Debug, Clone, Copy)]
pub struct Note<'a> {
    /// The schema of the store.
    pub schema: &'a str,
    /// The row.
    pub operation: i64,
    /// What it says.
    pub state: &'a Value,
}

impl Retired {
    /// Proves that the tree has every row, and drops the table, or lets it be where it is kept.
    /// Gives back how many rows it had.
    pub fn finish(&self, client: &mut Client, ending: &mut Ending<'_>) -> Result<i64> {
        let Ending { columns, progress, interrupt, .. } = ending;
        let rows = rows::prove_moved(client, self, columns, &mut |rows| {
            progress.passed(u64::try_from(rows).unwrap_or_default());
            interrupt.check()
        })?;
        reach("transfer::proven");
        let table = &self.table;
        let (sql, release, doing) = if ending.keep {
            let comment = kept_comment(&self.parent);
            let sql = render("table/comment", &values! { table, comment });
            (sql, statements::accept_changes(table), "marking")
        } else {
            let sql = render("transfer/drop", &values! { table });
            (sql, statements::drop_refusal(table), "dropping")
        };
        let failed = |error| Error::database(&format!("{doing} {table}"), error);
        let mut transaction = client.transaction().map_err(failed)?;
        transaction.batch_execute(&sql).map_err(failed)?;
        transaction.batch_execute(&release).map_err(failed)?;
        if let Some(note) = ending.note {
            journal::note(&mut transaction, note.schema, note.operation, note.state)?;
        }
        transaction.commit().map_err(failed)?;
        Ok(rows)
    }
}
