//! Moves events out of DEFAULT partitions: copied while everybody goes on, proven, then exchanged
//! in one transaction.
//!
//! What is copied below the stage (see [`crate::plan::drain`]) is nobody's to read until the
//! exchange, and what DEFAULT holds stays readable until then. In the transaction of the exchange
//! the old DEFAULT leaves the tree as it is, and the new partitions enter it: so its length does
//! not depend on the number of rows, no row is without a place, and none has two.
//!
//! Two things make that true for everybody. Writers are kept out while the last rows are copied,
//! through a second session, since the copy has to be committed before the exchange. And whoever
//! reads with a snapshot from before that copy would not see it in the new place: so the exchange
//! waits until no such snapshot is left.

mod exchange;
mod rows;

use std::time::{Duration, Instant};

use postgres::{Client, GenericClient};

use crate::db::execute::LockLimits;
use crate::db::{Interrupt, Locked, settled};
use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::finding::holder::Holder;
use crate::layout::Role;
use crate::layout::month::Month;
use crate::layout::name::QualifiedName;
use crate::plan::drain::{DRAINED_PREFIX, Drain, Held, Site};
use crate::render::environment::{render, values};

use rows::Digest;

/// A round that finds no more rows than this is the last before the exchange: the rest is copied
/// while writers wait.
const TAIL_ROWS_MAX: i64 = 1000;

/// More rounds than these do not make the rest shorter: rows come as fast as they are copied.
const ROUNDS_MAX: usize = 20;

/// What a drain needs to know, and whom it tells.
#[allow(missing_debug_implementations)]
pub struct Run<'a> {
    /// The table of events.
    pub events: &'a QualifiedName,
    /// The columns of a copy.
    pub columns: &'a [String],
    /// A second session, which copies the last rows.
    pub second: &'a mut Client,
    /// How long locks and older snapshots are waited for.
    pub limits: LockLimits,
    /// Raised when the user wants it to end.
    pub interrupt: &'a Interrupt,
    /// Hears what is going on.
    pub tell: &'a mut dyn FnMut(&str),
}

/// What a DEFAULT partition holds, by context and month.
pub fn survey(client: &mut Client, site: &Site<'_>) -> Result<Vec<Held>> {
    let table = &site.default.name;
    let times = site.role == Role::Events;
    let rows = client
        .query(&render("drain/survey", &values! { table, times }), &[])
        .map_err(|error| Error::database(&format!("counting the rows of {table}"), error))?;
    let month = |text: Option<String>| text.and_then(|text| text.parse::<Month>().ok());
    Ok(rows
        .iter()
        .map(|row| Held {
            context: row.get("context"),
            month: month(row.get("month")),
            rows: row.get("rows"),
        })
        .collect())
}

/// The columns that a copy of a table has to carry.
pub fn columns(client: &mut Client, table: &QualifiedName) -> Result<Vec<String>> {
    let rows = client
        .query(include_str!("../../../sql/drain/columns.sql"), &[&table.schema, &table.name])
        .map_err(|error| Error::database(&format!("reading the columns of {table}"), error))?;
    Ok(rows.iter().map(|row| row.get("name")).collect())
}

/// Prepares a session for copies: no policy may hide rows from it.
pub fn prepare(client: &mut Client) -> Result<()> {
    client
        .batch_execute(include_str!("../../../sql/drain/session.sql"))
        .map_err(|error| Error::database("preparing the session", error))
}

/// Refuses where a publication would take the copies for new events, or send the deletes of heads
/// that only change their place.
pub fn refuse_published(client: &mut Client, schema: &str, drains: &[&Drain]) -> Result<()> {
    let heads = drains.iter().filter(|drain| drain.role == Role::Heads);
    let heads = heads.flat_map(|drain| drain.ancestors.iter().chain([&drain.default]));
    let heads: Vec<&str> = heads.map(|table| table.name.as_str()).collect();
    let rows = client
        .query(include_str!("../../../sql/drain/publishing.sql"), &[&schema, &heads])
        .map_err(|error| Error::database("reading the publications", error))?;
    let Some(row) = rows.first() else { return Ok(()) };
    let name: String = row.get("name");
    if row.get("everything") {
        return Err(Error::refused(format!(
            "the publication {name} takes up every new table, so the copies would be sent as new \
             events"
        ))
        .hint("publish the tables by their names, at least for as long as this takes"));
    }
    Err(Error::refused(format!(
        "the publication {name} would send the deletes of heads that only change their place"
    ))
    .hint("take aggregate_heads out of it for as long as this takes"))
}

/// Tables that an earlier run took out of their parents and had no time to drop.
pub fn leftovers(client: &mut Client, schema: &str) -> Result<Vec<Drained>> {
    let rows = client
        .query(include_str!("../../../sql/drain/drained.sql"), &[&schema, &DRAINED_PREFIX])
        .map_err(|error| Error::database("looking for drained tables", error))?;
    let name = |text: String| QualifiedName::new(schema, text);
    let drained = |row: &postgres::Row| Drained {
        table: name(row.get("name")),
        parent: name(row.get("parent")),
    };
    Ok(rows.iter().map(drained).collect())
}

/// A DEFAULT partition that left its parent, because its rows are in other partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drained {
    /// The table.
    pub table: QualifiedName,
    /// Where its rows are.
    pub parent: QualifiedName,
}

impl Drained {
    /// Proves that the tree has every row, and drops the table. Gives back how many rows it had.
    pub fn finish(&self, client: &mut Client, columns: &[String]) -> Result<i64> {
        let rows = rows::prove_moved(client, self, columns)?;
        reach("drain::proven");
        let sql = render("drain/drop", &values! { table => self.table });
        client
            .batch_execute(&sql)
            .map_err(|error| Error::database(&format!("dropping {}", self.table), error))?;
        Ok(rows)
    }
}

impl Run<'_> {
    /// Moves the rows: copies, proves, exchanges, proves again and drops the old table. What is
    /// built has to be there. Gives back how many rows moved.
    pub fn events(&mut self, locked: &mut Locked, drain: &Drain) -> Result<i64> {
        self.interrupt.check()?;
        self.move_events(locked, drain).map_err(|error| {
            let error = self.interrupt.explain(error);
            match error.sqlstate() {
                // unique_violation
                Some("23505") => error.hint(format!(
                    "two rows of {} cannot be in one partition: remove one, then run it again",
                    drain.default
                )),
                _ => error,
            }
        })
    }

    fn move_events(&mut self, locked: &mut Locked, drain: &Drain) -> Result<i64> {
        let client = locked.client();
        let after = self.catch_up(client, drain)?;
        for statement in crate::render::drain::protect(drain) {
            client
                .batch_execute(&statement.sql)
                .map_err(|error| Error::database("protecting the new partitions", error))?;
        }
        self.exchange(client, drain, after)?;
        reach("drain::exchanged");
        let drained = Drained { table: drain.drained.clone(), parent: drain.parent().clone() };
        (self.tell)(&format!("Proving that the partitions have all of {}", drain.default));
        drained.finish(client, self.columns)
    }

    /// Copies up to the settled position, again and again until little is left. Gives back the
    /// position up to which all is copied and proven.
    fn catch_up(&mut self, client: &mut Client, drain: &Drain) -> Result<i64> {
        let reached = rows::reached(client, &drain.stage)?;
        let mut after = i64::MIN;
        let mut copied_to = reached.unwrap_or(i64::MIN);
        for _ in 0..ROUNDS_MAX {
            let to = self.settled(client)?;
            let copied = self.copy(client, drain, copied_to, to)?;
            // What an earlier run copied is proven with the first round.
            self.prove(client, drain, after, to)?;
            (after, copied_to) = (to.max(after), to.max(copied_to));
            if copied <= TAIL_ROWS_MAX {
                break;
            }
        }
        Ok(after)
    }

    fn settled(&mut self, client: &mut Client) -> Result<i64> {
        let tell = &mut *self.tell;
        let mut on_wait = |holders: &[Holder]| {
            let words: Vec<_> = holders.iter().map(ToString::to_string).collect();
            tell(&format!("Waiting for writers: {}", words.join("; ")));
        };
        settled::wait(client, self.events, self.limits.budget, self.interrupt, &mut on_wait)
    }

    /// Copies in batches, each a transaction of its own. Gives back how many rows.
    fn copy(&mut self, client: &mut Client, drain: &Drain, after: i64, to: i64) -> Result<i64> {
        let (mut after, mut rows) = (after, 0);
        let start = Instant::now();
        let mut told = start;
        while let Some(last) = rows::end_of_batch(client, &drain.default, after, to)? {
            self.interrupt.check()?;
            rows += rows::copy(client, drain, self.columns, after, Some(last))?;
            reach("drain::copied");
            after = last;
            if told.elapsed() > Duration::from_secs(2) {
                told = Instant::now();
                (self.tell)(&format!("{rows} of {} rows copied", drain.rows));
            }
        }
        Ok(rows)
    }

    /// Compares what was copied with what it was copied from.
    fn prove(&self, client: &mut Client, drain: &Drain, after: i64, to: i64) -> Result<()> {
        let window = (after, to);
        let before = rows::digest(client, &drain.default, self.columns, window)?;
        let copied = rows::digest(client, &drain.stage, self.columns, window)?;
        if before == copied { Ok(()) } else { Err(differs(drain, &before, &copied)) }
    }
}

fn differs(drain: &Drain, before: &Digest, copied: &Digest) -> Error {
    Error::refused(format!("rows of {} were changed while they were copied", drain.default))
        .detail(format!("{} rows there, {} copied", before.rows, copied.rows))
        .detail(format!("nothing was moved; the copy is below {}", drain.stage))
        .hint(format!(
            "drop the copy and run the command again: {}",
            render("drain/drop", &values! { table => drain.stage })
        ))
}

/// The numbers of the sessions' processes.
fn own_pids(client: &mut impl GenericClient, second: &mut Client) -> Result<[i32; 2]> {
    let sql = include_str!("../../../sql/lock/pid.sql");
    let failed = |error| Error::database("asking for the number of the session", error);
    let first = client.query_one(sql, &[]).map_err(failed)?.get("pid");
    Ok([first, second.query_one(sql, &[]).map_err(failed)?.get("pid")])
}
