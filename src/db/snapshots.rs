//! Who reads with a snapshot from before a moment.
//!
//! Rows that are committed at another place just before a table is put there are not seen by those
//! whose snapshot is older, however long they wait for the lock. So whoever exchanges tables first
//! looks whether such a snapshot is left.

use chrono::{DateTime, Utc};
use postgres::{Client, Row, Statement};

use crate::error::{Error, Result};
use crate::finding::holder::Holder;
use crate::layout::name::QualifiedName;

/// A moment: snapshots that are taken after it see all that was committed before.
#[derive(Debug, Clone)]
pub struct Moment {
    xmax: String,
    at: DateTime<Utc>,
    open: Vec<String>,
}

impl Moment {
    /// Now.
    pub fn now(client: &mut Client) -> Result<Self> {
        let row =
            client.query_one(include_str!("../../sql/transfer/mark.sql"), &[]).map_err(failed)?;
        Ok(Self { xmax: row.get("xmax"), at: row.get("at"), open: row.get("open") })
    }

    /// Who may read with a snapshot from before it, apart from these processes, and from those who
    /// wait to write to these tables of one schema, or to read some of them that they have not begun
    /// to read: they take another one when they have the lock.
    pub fn older(
        &self,
        client: &mut Client,
        tables: &[QualifiedName],
        unread: &[QualifiedName],
        pids: &[i32],
    ) -> Result<Vec<Holder>> {
        self.older_beside(client, tables, unread, &[], pids)
    }

    /// The same while nobody can read `locked`: whoever waits to read one of them in a transaction
    /// of this one statement takes another snapshot too, as long as READ COMMITTED is what
    /// transactions are where nobody says otherwise.
    pub fn older_beside(
        &self,
        client: &mut Client,
        tables: &[QualifiedName],
        unread: &[QualifiedName],
        locked: &[QualifiedName],
        pids: &[i32],
    ) -> Result<Vec<Holder>> {
        let parsed = Self::parsed(client)?;
        self.older_by(client, &parsed, tables, (unread, locked), pids)
    }

    /// The question of [`older`](Self::older), parsed ahead of locks for which others wait.
    pub fn parsed(client: &mut Client) -> Result<Statement> {
        client.prepare(include_str!("../../sql/transfer/older.sql")).map_err(failed)
    }

    /// The same as [`older_beside`](Self::older_beside).
    pub fn older_by(
        &self,
        client: &mut Client,
        parsed: &Statement,
        tables: &[QualifiedName],
        (unread, locked): (&[QualifiedName], &[QualifiedName]),
        pids: &[i32],
    ) -> Result<Vec<Holder>> {
        let schema = tables.first().map(|table| table.schema.as_str()).unwrap_or_default();
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        let unread: Vec<&str> = unread.iter().map(|table| table.name.as_str()).collect();
        let locked: Vec<&str> = locked.iter().map(|table| table.name.as_str()).collect();
        let rows = client
            .query(
                parsed,
                &[&self.xmax, &self.at, &self.open, &pids, &schema, &names, &unread, &locked],
            )
            .map_err(failed)?;
        Ok(rows.iter().map(holder).collect())
    }
}

fn failed(error: postgres::Error) -> Error {
    Error::database("looking for older snapshots", error)
}

fn holder(row: &Row) -> Holder {
    let text = |column: &str| row.get::<_, Option<String>>(column).unwrap_or_default();
    Holder {
        pid: row.get("pid"),
        prepared: None,
        user: text("user"),
        application_name: text("application_name"),
        state: text("state"),
        since: row.get("since"),
    }
}
