//! Moves events from a partition into others of the same table: copied while everybody goes on,
//! proven, then exchanged in one transaction.
//!
//! What is copied below the stage (see [`crate::plan::transfer`]) is nobody's to read until the
//! exchange, and what the old partition holds stays readable until then. In the transaction of the
//! exchange the old partition leaves the tree as it is, and the new ones enter it: so its length
//! does not depend on the number of rows, no row is without a place, and none has two.
//!
//! Two things make that true for everybody. Writers are kept out while the last rows are copied,
//! through a second session, since the copy has to be committed before the exchange. And whoever
//! reads with a snapshot from before that copy would not see it in the new place: so the exchange
//! waits until no such snapshot is left.

mod bulk;
mod exchange;
mod retired;
mod rows;
mod throttle;

use std::collections::BTreeMap;
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
use crate::plan::drain::Held;
use crate::plan::transfer::{Site, Transfer};
use crate::render::environment::{render, values};

use super::archive::Progress;
use rows::Digest;

pub use retired::{Ending, Note, Retired, find as retired};
pub use throttle::Throttle;

/// A round that finds no more rows than this is the last before the exchange: the rest is copied
/// while writers wait.
const TAIL_ROWS_MAX: i64 = 1000;

/// More rounds than these do not make the rest shorter: rows come as fast as they are copied.
const ROUNDS_MAX: usize = 20;

/// What a transfer needs to know, and whom it tells.
#[allow(missing_debug_implementations)]
pub struct Run<'a> {
    /// The table of events.
    pub events: &'a QualifiedName,
    /// The columns of a copy.
    pub columns: &'a [String],
    /// A second session, which copies the last rows.
    pub second: &'a mut Client,
    /// Sessions that copy the first rows, where these are copied in bulk.
    pub workers: &'a mut [Client],
    /// How fast rows are copied at most.
    pub throttle: Throttle,
    /// How long locks and older snapshots are waited for.
    pub limits: LockLimits,
    /// Raised when the user wants it to end.
    pub interrupt: &'a Interrupt,
    /// What the journal says when nothing is left to do.
    pub note: Option<Note<'a>>,
    /// Hears what is going on.
    pub progress: &'a mut dyn Progress,
}

/// What a DEFAULT partition holds, by context and month.
pub fn survey(client: &mut Client, site: &Site<'_>) -> Result<Vec<Held>> {
    let table = &site.partition.name;
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

/// How many rows a partition has in each month; those of no month that can be a partition come
/// under none.
pub fn months(client: &mut Client, table: &QualifiedName) -> Result<BTreeMap<Option<Month>, i64>> {
    let rows = client
        .query(&render("transfer/months", &values! { table }), &[])
        .map_err(|error| Error::database(&format!("counting the rows of {table}"), error))?;
    let mut months = BTreeMap::new();
    for row in rows {
        let text: Option<String> = row.get("month");
        let month = text.and_then(|text| text.parse::<Month>().ok());
        *months.entry(month).or_default() += row.get::<_, i64>("rows");
    }
    Ok(months)
}

/// The columns that a copy of a table has to carry.
pub fn columns(client: &mut Client, table: &QualifiedName) -> Result<Vec<String>> {
    let rows = client
        .query(include_str!("../../../sql/transfer/columns.sql"), &[&table.schema, &table.name])
        .map_err(|error| Error::database(&format!("reading the columns of {table}"), error))?;
    Ok(rows.iter().map(|row| row.get("name")).collect())
}

/// Prepares a session for copies: no policy may hide rows from it.
pub fn prepare(client: &mut Client) -> Result<()> {
    client
        .batch_execute(include_str!("../../../sql/transfer/session.sql"))
        .map_err(|error| Error::database("preparing the session", error))
}

/// Refuses a partition on which others have made something: it would stand in the way of the drop,
/// or go on to show the old table.
pub fn refuse_dependents(client: &mut Client, table: &QualifiedName) -> Result<()> {
    let rows = client
        .query(include_str!("../../../sql/transfer/dependents.sql"), &[&table.schema, &table.name])
        .map_err(|error| Error::database(&format!("reading what depends on {table}"), error))?;
    if rows.is_empty() {
        return Ok(());
    }
    Err(Error::refused(format!("{table} itself is used by others, and is to leave"))
        .details(rows.iter().map(|row| row.get::<_, String>("what")))
        .hint("make them on the table of which it is a partition, or drop them"))
}

/// Refuses where a publication would take the copies for new events, or send the deletes of heads
/// that only change their place.
pub fn refuse_published(client: &mut Client, schema: &str, drains: &[&Transfer]) -> Result<()> {
    let heads = drains.iter().filter(|transfer| transfer.role == Role::Heads);
    let heads = heads.flat_map(|transfer| transfer.ancestors.iter().chain([&transfer.source]));
    let heads: Vec<&str> = heads.map(|table| table.name.as_str()).collect();
    let rows = client
        .query(include_str!("../../../sql/transfer/publishing.sql"), &[&schema, &heads])
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

impl Run<'_> {
    /// Moves the rows: copies, proves, exchanges, proves again and drops the old table. What is
    /// built has to be there. Gives back how many rows moved.
    pub fn events(&mut self, locked: &mut Locked, transfer: &Transfer) -> Result<i64> {
        self.interrupt.check()?;
        self.move_events(locked, transfer).map_err(|error| {
            let error = self.interrupt.explain(error);
            match error.sqlstate() {
                // check_violation: there is no partition for the row.
                Some("23514") => error.hint(
                    "an event came of a month that had none when the copy began: run the command \
                     again, it makes that month too",
                ),
                // unique_violation
                Some("23505") => error.hint(format!(
                    "two rows of {} cannot be in one partition: {}remove one, then run it again",
                    transfer.source,
                    if transfer.is_split() { call_off(transfer) + ", " } else { String::new() }
                )),
                _ => error,
            }
        })
    }

    fn move_events(&mut self, locked: &mut Locked, transfer: &Transfer) -> Result<i64> {
        let client = locked.client();
        if !transfer.unfinished.is_empty() {
            self.fill(client, transfer)?;
        }
        let after = self.catch_up(client, transfer)?;
        for statement in crate::render::transfer::protect(transfer) {
            client
                .batch_execute(&statement.sql)
                .map_err(|error| Error::database("protecting the new partitions", error))?;
        }
        self.exchange(client, transfer, after)?;
        reach("transfer::exchanged");
        let retired =
            Retired { table: transfer.retired.clone(), parent: transfer.parent().clone() };
        let rows = u64::try_from(transfer.rows).ok();
        self.progress
            .phase(&format!("Proving that the partitions have all of {}", retired.table), rows);
        let mut ending = Ending {
            columns: self.columns,
            keep: transfer.keep,
            note: self.note,
            progress: self.progress,
            interrupt: self.interrupt,
        };
        retired.finish(client, &mut ending)
    }

    /// Copies what has come since a position, and proves it. Gives back how far it is then.
    fn catch_up_once(
        &mut self,
        client: &mut Client,
        transfer: &Transfer,
        after: i64,
    ) -> Result<i64> {
        let to = self.settled(client)?;
        self.copy(client, transfer, after, to)?;
        self.prove(client, transfer, after, to)?;
        Ok(to.max(after))
    }

    /// Copies up to the settled position, again and again until little is left. Gives back the
    /// position up to which all is copied and proven.
    fn catch_up(&mut self, client: &mut Client, transfer: &Transfer) -> Result<i64> {
        let reached = rows::reached(client, &transfer.stage)?;
        let mut after = i64::MIN;
        let mut copied_to = reached.unwrap_or(i64::MIN);
        for round in 0..ROUNDS_MAX {
            let to = self.settled(client)?;
            if round == 0 {
                let rows = u64::try_from(transfer.rows).ok().filter(|_| reached.is_none());
                self.progress.phase(&format!("Copying {}", transfer.source), rows);
            }
            let copied = self.copy(client, transfer, copied_to, to)?;
            // What an earlier run copied is proven with the first round.
            if round == 0 {
                self.progress.phase(&format!("Comparing the copy with {}", transfer.source), None);
            }
            self.prove(client, transfer, after, to)?;
            (after, copied_to) = (to.max(after), to.max(copied_to));
            if copied <= TAIL_ROWS_MAX {
                break;
            }
        }
        Ok(after)
    }

    fn settled(&mut self, client: &mut Client) -> Result<i64> {
        let progress = &mut *self.progress;
        let mut on_wait = |holders: &[Holder]| {
            let words: Vec<_> = holders.iter().map(ToString::to_string).collect();
            progress.tell(&format!("Waiting for writers: {}", words.join("; ")));
        };
        settled::wait(client, self.events, self.limits.budget, self.interrupt, &mut on_wait)
    }

    /// Copies in batches, each a transaction of its own. Gives back how many rows.
    fn copy(
        &mut self,
        client: &mut Client,
        transfer: &Transfer,
        after: i64,
        to: i64,
    ) -> Result<i64> {
        let (mut after, mut rows) = (after, 0);
        let batch = self.throttle.batch(rows::BATCH_ROWS);
        let mut told = Instant::now();
        while let Some(last) = rows::end_of_batch(client, &transfer.source, (after, to), batch)? {
            self.interrupt.check()?;
            let copied = rows::copy(client, transfer, self.columns, after, Some(last))?;
            reach("transfer::copied");
            (after, rows) = (last, rows + copied);
            self.progress.passed(u64::try_from(rows).unwrap_or_default());
            if told.elapsed() > Duration::from_secs(2) {
                told = Instant::now();
                tracing::info!("{rows} of {} rows copied", transfer.rows);
            }
            self.throttle.after(copied, self.interrupt)?;
        }
        Ok(rows)
    }

    /// Compares what was copied with what it was copied from.
    fn prove(&self, client: &mut Client, transfer: &Transfer, after: i64, to: i64) -> Result<()> {
        let window = (after, to);
        let before = rows::digest(client, &transfer.source, self.columns, window)?;
        let copied = rows::digest(client, &transfer.stage, self.columns, window)?;
        if before == copied { Ok(()) } else { Err(differs(transfer, &before, &copied)) }
    }
}

fn differs(transfer: &Transfer, before: &Digest, copied: &Digest) -> Error {
    let drop = if transfer.is_split() {
        call_off(transfer)
    } else {
        render("transfer/drop", &values! { table => transfer.stage })
    };
    Error::refused(format!("rows of {} were changed while they were copied", transfer.source))
        .detail(format!("{} rows there, {} copied", before.rows, copied.rows))
        .detail(format!("nothing was moved; the copy is below {}", transfer.stage))
        .hint(format!("drop the copy and run the command again: {drop}"))
}

/// What calls a split off.
fn call_off(transfer: &Transfer) -> String {
    format!("pupctl operations abort {}:split", transfer.source.name)
}

/// The numbers of the sessions' processes.
fn own_pids(client: &mut impl GenericClient, second: &mut Client) -> Result<[i32; 2]> {
    let sql = include_str!("../../../sql/lock/pid.sql");
    let failed = |error| Error::database("asking for the number of the session", error);
    let first = client.query_one(sql, &[]).map_err(failed)?.get("pid");
    Ok([first, second.query_one(sql, &[]).map_err(failed)?.get("pid")])
}
