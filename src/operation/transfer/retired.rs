//! Partitions that left their table because their rows are in others.

use postgres::Client;

use crate::db::Interrupt;
use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::layout::name::QualifiedName;
use crate::plan::split::kept_comment;
use crate::render::environment::{render, values};

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

impl Retired {
    /// Proves that the tree has every row, and drops the table, or with `keep` lets it be. Gives
    /// back how many rows it had.
    pub fn finish(
        &self,
        client: &mut Client,
        columns: &[String],
        keep: bool,
        progress: &mut dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<i64> {
        let rows = rows::prove_moved(client, self, columns, &mut |rows| {
            progress.passed(u64::try_from(rows).unwrap_or_default());
            interrupt.check()
        })?;
        reach("transfer::proven");
        let table = &self.table;
        let (sql, doing) = if keep {
            let comment = kept_comment(&self.parent);
            (render("table/comment", &values! { table, comment }), "marking")
        } else {
            (render("transfer/drop", &values! { table }), "dropping")
        };
        client
            .batch_execute(&sql)
            .map_err(|error| Error::database(&format!("{doing} {table}"), error))?;
        Ok(rows)
    }
}
