//! Who reads with a snapshot from before a moment.
//!
//! Rows that are committed at another place just before a table is put there are not seen by those
//! whose snapshot is older, however long they wait for the lock. So whoever exchanges tables first
//! looks whether such a snapshot is left.
//!
//! Whoever waits at the tables is the exception: a statement of READ COMMITTED takes another
//! snapshot when it has the lock. One of REPEATABLE READ or SERIALIZABLE does not, and no view of
//! the server says which of them it is. It is seen by its snapshot, which is older than the
//! statement: see [`Begin`].

use std::time::{Duration, Instant};

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

/// How often it is looked whether the transactions of before have ended.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The moment before a try takes its locks, by which those who wait for them are told apart.
#[derive(Debug, Clone)]
pub struct Begin {
    at: DateTime<Utc>,
    /// Snapshots that were taken before it begin below this. Nothing as long as a transaction of
    /// before goes on writing: then all begin at that one.
    xmin: Option<String>,
    /// Who had a snapshot and ran no statement.
    keeping: Vec<i32>,
}

impl Begin {
    /// Now, or when the transactions that write now have ended, but for those that take longer than
    /// this. No lock may be held by the session.
    pub fn sample(client: &mut Client, patience: Duration) -> Result<Self> {
        let row = client.query_one(include_str!("../../sql/transfer/burn.sql"), &[]);
        let burnt: String = row.map_err(failed)?.get("xid");
        let since = Instant::now();
        loop {
            let row = client
                .query_one(include_str!("../../sql/transfer/begin.sql"), &[&burnt])
                .map_err(failed)?;
            let clear: bool = row.get("clear");
            if clear || since.elapsed() >= patience {
                let xmin = clear.then(|| row.get("xmin"));
                return Ok(Self { at: row.get("at"), xmin, keeping: row.get("keeping") });
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// Who reads with a snapshot from before.
#[derive(Debug, Clone, Default)]
pub struct Older {
    /// The sessions.
    pub holders: Vec<Holder>,
    /// Whether one of them waits at the tables, and so does not end before the locks are free.
    pub stuck: bool,
}

impl Moment {
    /// Now.
    pub fn now(client: &mut Client) -> Result<Self> {
        let row =
            client.query_one(include_str!("../../sql/transfer/mark.sql"), &[]).map_err(failed)?;
        Ok(Self { xmax: row.get("xmax"), at: row.get("at"), open: row.get("open") })
    }

    /// Now, and beyond the ids of all transactions that write at this time: snapshots that are
    /// taken before one of them ends are from before it. [`now`](Self::now) knows those only that
    /// have ended.
    pub fn beyond_writers(client: &mut Client) -> Result<Self> {
        client.query_one(include_str!("../../sql/transfer/burn.sql"), &[]).map_err(failed)?;
        Self::now(client)
    }

    /// Who may read with a snapshot from before it, apart from these processes, and from those who
    /// wait to write to these tables of one schema, or to read some of them that they have not
    /// begun to read: they take another one when they have the lock. That holds for statements
    /// since the try began, unless they have a snapshot from before it.
    pub fn older(
        &self,
        client: &mut Client,
        tables: &[QualifiedName],
        unread: &[QualifiedName],
        pids: &[i32],
        begin: Option<&Begin>,
    ) -> Result<Older> {
        let parsed = Self::parsed(client)?;
        self.older_by(client, &parsed, (tables, unread, &[]), pids, begin)
    }

    /// The question of [`older`](Self::older), parsed ahead of locks for which others wait.
    pub fn parsed(client: &mut Client) -> Result<Statement> {
        client.prepare(include_str!("../../sql/transfer/older.sql")).map_err(failed)
    }

    /// The same as [`older`](Self::older), while nobody can read `locked`: whoever waits to read
    /// one of them in a transaction of this one statement takes another snapshot too, as long as
    /// READ COMMITTED is what transactions are where nobody says otherwise.
    pub fn older_by(
        &self,
        client: &mut Client,
        parsed: &Statement,
        (tables, unread, locked): (&[QualifiedName], &[QualifiedName], &[QualifiedName]),
        pids: &[i32],
        begin: Option<&Begin>,
    ) -> Result<Older> {
        let schema = tables.first().map(|table| table.schema.as_str()).unwrap_or_default();
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        let unread: Vec<&str> = unread.iter().map(|table| table.name.as_str()).collect();
        let locked: Vec<&str> = locked.iter().map(|table| table.name.as_str()).collect();
        let at = begin.map(|begin| begin.at);
        let xmin = begin.and_then(|begin| begin.xmin.as_deref());
        let keeping = begin.map(|begin| begin.keeping.as_slice()).unwrap_or_default();
        let rows = client
            .query(
                parsed,
                &[
                    &self.xmax, &self.at, &self.open, &pids, &schema, &names, &unread, &at, &xmin,
                    &keeping, &locked,
                ],
            )
            .map_err(failed)?;
        let stuck = rows.iter().any(|row| row.get("waits"));
        Ok(Older { holders: rows.iter().map(holder).collect(), stuck })
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
