//! The rows of a projection's slots: read, locked, and written anew.

use std::time::Duration;

use chrono::{DateTime, Utc};
use postgres::{Client, GenericClient, IsolationLevel, Row, Transaction};
use serde::Serialize;

use super::checkpoint::{adopt_command, partition_of};
use crate::error::{Error, Kind, Result};
use crate::layout::name::{DEAD_LETTERS, QualifiedName};
use crate::projection::name;
use crate::render::environment::{render, values};
use crate::render::quote::shell_word;
use crate::render::{Lock, LockMode, Statement};

/// The row of a slot, as it is in the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlotRow {
    /// Its `projection_name`.
    #[serde(rename = "row")]
    pub name: String,
    /// Which slot.
    pub slot: u32,
    /// Of how many.
    pub slots: u32,
    /// By which hash.
    #[serde(rename = "slot_hash")]
    pub hash: String,
    /// How often the slots were changed.
    pub epoch: i32,
    /// Everything at and below it is handled.
    pub position: i64,
    /// When the row was written last.
    #[serde(rename = "updated_at")]
    pub moved_at: DateTime<Utc>,
    /// What the projection reads; empty for all.
    pub bounded_contexts: Option<Vec<String>>,
    /// The same for types of aggregates.
    pub aggregate_types: Option<Vec<String>>,
    /// The tables that it fills.
    pub read_model: Option<Vec<String>>,
    /// Since when nobody may work on it.
    pub paused_at: Option<DateTime<Utc>>,
    /// Nobody moves it beyond this position.
    pub drain_to: Option<i64>,
    /// Whether events of it may be among the dead letters.
    pub parked: bool,
    /// When to look at them again.
    pub replay_at: Option<DateTime<Utc>>,
    /// Who worked on it last.
    pub worker: Option<String>,
    /// How many events were handled.
    pub events_handled: i64,
    /// The last failure.
    pub last_error: Option<String>,
    /// When it was.
    pub failed_at: Option<DateTime<Utc>>,
    /// At which event.
    pub failed_position: Option<i64>,
}

impl SlotRow {
    fn of(row: &Row) -> Result<Self, postgres::Error> {
        // Below 0 there is nothing that any check would let pass.
        let number = |column: &str| -> Result<u32, postgres::Error> {
            Ok(u32::try_from(row.try_get::<_, i32>(column)?).unwrap_or(u32::MAX))
        };
        Ok(Self {
            name: row.try_get("name")?,
            slot: number("slot")?,
            slots: number("slots")?,
            hash: row.try_get("hash")?,
            epoch: row.try_get("epoch")?,
            position: row.try_get("position")?,
            moved_at: row.try_get("moved_at")?,
            bounded_contexts: row.try_get("bounded_contexts")?,
            aggregate_types: row.try_get("aggregate_types")?,
            read_model: row.try_get("read_model")?,
            paused_at: row.try_get("paused_at")?,
            drain_to: row.try_get("drain_to")?,
            parked: row.try_get::<_, Option<bool>>("parked")?.unwrap_or(false),
            replay_at: row.try_get("replay_at")?,
            worker: row.try_get("worker")?,
            events_handled: row.try_get::<_, Option<i64>>("events_handled")?.unwrap_or(0),
            last_error: row.try_get("last_error")?,
            failed_at: row.try_get("failed_at")?,
            failed_position: row.try_get("failed_position")?,
        })
    }
}

/// All rows of a projection, which belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// How many slots.
    pub slots: u32,
    /// By which hash.
    pub hash: String,
    /// How often that was changed.
    pub epoch: i32,
    /// A row for each slot, in their order.
    pub rows: Vec<SlotRow>,
}

impl Group {
    /// The rows as one projection: the same number of slots, hash, epoch and scope in all of them,
    /// and every slot there once. None where there are no rows.
    pub fn of(projection: &str, rows: Vec<SlotRow>) -> Result<Option<Self>> {
        let Some(first) = rows.first() else { return Ok(None) };
        let mut wrong = Vec::new();
        if !rows.iter().map(|row| row.slot).eq(0..first.slots) {
            wrong.push(format!("there are {} rows of {} slots", rows.len(), first.slots));
        }
        for row in &rows {
            let same = (row.slots, &row.hash, row.epoch) == (first.slots, &first.hash, first.epoch)
                && row.bounded_contexts == first.bounded_contexts
                && row.aggregate_types == first.aggregate_types
                && row.read_model == first.read_model;
            if !same {
                wrong.push(format!("{} is not like {}", row.name, first.name));
            }
        }
        if !wrong.is_empty() {
            let name = shell_word(projection);
            return Err(Error::refused(format!(
                "the rows of the projection {projection} do not belong together"
            ))
            .details(wrong)
            .hint(format!("see them: pupctl projections status {name}")));
        }
        let (slots, hash, epoch) = (first.slots, first.hash.clone(), first.epoch);
        Ok(Some(Self { slots, hash, epoch, rows }))
    }

    /// Since when the first of its slots is paused.
    #[must_use]
    pub fn paused_at(&self) -> Option<DateTime<Utc>> {
        self.rows.iter().filter_map(|row| row.paused_at).min()
    }

    /// The barrier of each slot.
    #[must_use]
    pub fn barriers(&self) -> Vec<Option<i64>> {
        self.rows.iter().map(|row| row.drain_to).collect()
    }
}

/// The row of a slot, as it is to be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewRow {
    /// Its `projection_name`.
    #[serde(rename = "row")]
    pub name: String,
    /// Which slot.
    pub slot: u32,
    /// Of how many.
    pub slots: u32,
    /// By which hash.
    #[serde(rename = "slot_hash")]
    pub hash: String,
    /// How often the slots were changed.
    pub epoch: i32,
    /// Everything at and below it is handled.
    pub position: i64,
    /// What the projection reads.
    pub bounded_contexts: Option<Vec<String>>,
    /// The same for types of aggregates.
    pub aggregate_types: Option<Vec<String>>,
    /// The tables that it fills.
    pub read_model: Option<Vec<String>>,
    /// Since when nobody may work on it.
    pub paused_at: Option<DateTime<Utc>>,
    /// Whether events of it may be among the dead letters.
    pub parked: bool,
    /// When to look at them again.
    pub replay_at: Option<DateTime<Utc>>,
    /// How many events were handled.
    pub events_handled: i64,
    /// The last failure of a slot from which it comes.
    pub last_error: Option<String>,
    /// When it was.
    pub failed_at: Option<DateTime<Utc>>,
    /// At which event.
    pub failed_position: Option<i64>,
}

/// A row by what must not have changed when others take its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Its `projection_name`.
    pub name: String,
    /// Where it stands.
    pub position: i64,
    /// Its epoch; none of a row that is not pupctl's.
    pub epoch: Option<i32>,
}

impl From<&SlotRow> for Seen {
    fn from(row: &SlotRow) -> Self {
        Self { name: row.name.clone(), position: row.position, epoch: Some(row.epoch) }
    }
}

fn failed(error: postgres::Error) -> Error {
    Error::database("reading the rows of the projection", error)
}

/// Reads the rows of a projection: none where it is not pupctl's.
pub fn read(
    client: &mut impl GenericClient,
    checkpoints: &QualifiedName,
    projection: &str,
) -> Result<Option<Group>> {
    Group::of(projection, select(client, checkpoints, projection, false)?)
}

fn select(
    client: &mut impl GenericClient,
    checkpoints: &QualifiedName,
    projection: &str,
    lock: bool,
) -> Result<Vec<SlotRow>> {
    let sql = rows_sql(checkpoints, projection, lock);
    let rows = client.query(&sql, &[]).map_err(failed)?;
    rows.iter().map(|row| SlotRow::of(row).map_err(failed)).collect()
}

fn rows_sql(checkpoints: &QualifiedName, projection: &str, lock: bool) -> String {
    render("projection/control/rows", &values! { checkpoints, projection, lock })
}

/// Begins a transaction that waits for rows as long as it may.
pub(super) fn begin(client: &mut Client, patience: Duration) -> Result<Transaction<'_>> {
    let mut transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::ReadCommitted)
        .start()
        .map_err(failed)?;
    // 0 would be for ever. Of statements that is meant: it is the patience that counts, whatever
    // the role's settings say.
    let milliseconds = patience.as_millis().clamp(1, 1 << 30).to_string();
    let sql = include_str!("../../../sql/projection/limits.sql");
    transaction.query_one(sql, &[&milliseconds, &"0"]).map_err(failed)?;
    Ok(transaction)
}

/// What the rows of a projection are once they are locked.
#[derive(Debug)]
pub(super) enum Held {
    /// From here on nobody works on these slots, and nobody changes them.
    Rows(Group),
    /// There are none.
    Nothing,
    /// They were replaced while the locks were waited for: ask again.
    Replaced,
}

/// Locks the rows of a projection and reads them.
pub(super) fn lock(
    transaction: &mut Transaction<'_>,
    checkpoints: &QualifiedName,
    projection: &str,
) -> Result<Held> {
    let locked = select(transaction, checkpoints, projection, true)?;
    // In a statement of its own, which sees rows too that somebody wrote while the first waited.
    let rows = select(transaction, checkpoints, projection, false)?;
    if !locked.iter().map(|row| &row.name).eq(rows.iter().map(|row| &row.name)) {
        return Ok(Held::Replaced);
    }
    Ok(Group::of(projection, rows)?.map_or(Held::Nothing, Held::Rows))
}

/// Nobody let go of the rows in time.
pub(super) fn locked_out(projection: &str, patience: Duration, error: Error) -> Error {
    let time = humantime::format_duration(patience);
    Error::new(
        Kind::LockTimeout,
        format!("the rows of the projection {projection} were not free within {time}"),
    )
    .hint(
        "a worker holds them for as long as its batch takes: run the command again, or give it \
         more time with --patience",
    )
    .because(error)
}

/// Refuses to write rows whose names others have.
pub(super) fn refuse_taken(
    client: &mut impl GenericClient,
    checkpoints: &QualifiedName,
    projection: &str,
    rows: &[NewRow],
    leaving: &[Seen],
) -> Result<()> {
    let names: Vec<_> = rows
        .iter()
        .map(|row| row.name.as_str())
        .filter(|name| !leaving.iter().any(|row| row.name == *name))
        .collect();
    let sql = render("projection/control/taken", &values! { checkpoints, projection });
    let taken = client.query(&sql, &[&names]).map_err(failed)?;
    let mut words = Vec::new();
    for row in &taken {
        words.push(row.try_get::<_, String>("name").map_err(failed)?);
    }
    let Some(first) = words.first() else { return Ok(()) };
    let letters = QualifiedName::new(checkpoints.schema.clone(), DEAD_LETTERS);
    let forget = crate::render::forget_projection(checkpoints, Some(&letters), first);
    let error = Error::refused(format!(
        "the row {first} of {checkpoints} is not one of the projection {projection}, and has the \
         name of a slot"
    ));
    Err(error.hint(format!("if nobody needs it, remove it: {forget}")))
}

/// The `SELECT` that locks the rows of a projection.
#[must_use]
pub(super) fn lock_statement(checkpoints: &QualifiedName, projection: &str) -> Statement {
    Statement {
        sql: rows_sql(checkpoints, projection, true),
        why: "Nobody works on these slots as long as their rows are held".to_owned(),
        locks: Vec::new(),
    }
}

/// Fails unless the rows are as they were seen.
pub(super) fn unchanged_statement(
    checkpoints: &QualifiedName,
    projection: &str,
    seen: &[Seen],
) -> Statement {
    let message = format!("the rows of the projection {projection} have changed since");
    let count = seen.len();
    Statement {
        sql: render(
            "projection/control/unchanged",
            &values! { checkpoints, rows => seen, count, message },
        ),
        why: "Only from the positions that were looked at".to_owned(),
        locks: Vec::new(),
    }
}

/// Takes rows away.
pub(super) fn remove_statement(checkpoints: &QualifiedName, rows: &[Seen]) -> Statement {
    Statement {
        sql: render("projection/control/remove_rows", &values! { checkpoints, rows }),
        why: "Others take their place".to_owned(),
        locks: row_exclusive(checkpoints),
    }
}

/// Writes the rows of all slots.
pub(super) fn write_statement(
    checkpoints: &QualifiedName,
    projection: &str,
    rows: &[NewRow],
) -> Statement {
    Statement {
        sql: render("projection/control/write_slots", &values! { checkpoints, projection, rows }),
        why: "A row for each slot".to_owned(),
        locks: row_exclusive(checkpoints),
    }
}

pub(super) fn row_exclusive(checkpoints: &QualifiedName) -> Vec<Lock> {
    vec![Lock { mode: LockMode::RowExclusive, on: checkpoints.clone() }]
}

/// Runs the statements after the first, which was for the locks.
pub(super) fn execute(transaction: &mut Transaction<'_>, statements: &[Statement]) -> Result<()> {
    for statement in statements {
        transaction.batch_execute(&statement.sql).map_err(|error| {
            let error = Error::database("writing the rows of the projection", error);
            // unique_violation: somebody wrote such a row a moment ago.
            match error.sqlstate() {
                Some("23505") => error.hint("run the command again: it looks at the rows anew"),
                _ => error,
            }
        })?;
    }
    Ok(())
}

/// There is no such projection, or it is somebody else's.
pub(super) fn unknown(
    client: &mut impl GenericClient,
    checkpoints: &QualifiedName,
    projection: &str,
) -> Result<Error> {
    name::validate(projection)?;
    let mut foreign = super::adopt::foreign_rows(client, checkpoints, projection, false)?;
    let error = Error::refused(format!("there is no projection {projection}"));
    let Some(row) = foreign.first().map(|row| row.name.clone()) else {
        return Ok(error.hint("see what is there: pupctl projections list"));
    };
    if let Some((base, _)) = partition_of(projection) {
        foreign.extend(super::adopt::foreign_rows(client, checkpoints, base, false)?);
    }
    let command = adopt_command(projection, foreign.iter().map(|row| row.name.as_str()));
    Ok(Error::refused(format!(
        "the projection {projection} is not pupctl's: {checkpoints} has the row {row} of another \
         processor"
    ))
    .hint(format!("stop its workers and take it over: {command}")))
}
