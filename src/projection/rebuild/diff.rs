//! Comparing the new tables with the old ones, at one position.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, IsolationLevel, Transaction};
use serde::Serialize;
use serde_json::Value;

use crate::db::Interrupt;
use crate::error::{Error, Result};
use crate::layout::name::QualifiedName;
use crate::projection::connect::Connect;
use crate::projection::control::change::lock_rows;
use crate::projection::control::row;
use crate::projection::sql::SqlSession;
use crate::render::environment::{render, values};

use super::shadow::Shadow;
use super::{called_off, fold};

/// How many keys of a table are shown.
const SAMPLE: i64 = 10;

/// How long a moment is waited for in which all slots stand at one position.
const LEVEL: Duration = Duration::from_secs(10);

/// How long old tables that do not move are taken to be about to.
const STILL: Duration = Duration::from_secs(2);

/// How often that is looked for.
const PAUSE: Duration = Duration::from_millis(50);

/// In what the new tables differ from the old ones.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diff {
    /// Where the old tables were.
    pub old_position: i64,
    /// Where the new ones were.
    pub new_position: i64,
    /// Whether both were made of the same events: all slots of both stood at one position.
    pub level: bool,
    /// Table by table.
    pub tables: Vec<TableDiff>,
}

/// In what a table differs from the old one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableDiff {
    /// The table.
    pub table: QualifiedName,
    /// Whether there is an old one.
    pub is_there: bool,
    /// How many rows that has.
    pub old_rows: i64,
    /// How many the new one has.
    pub new_rows: i64,
    /// How many are in the old one alone, by their keys; without a primary key, by all columns.
    pub only_old: i64,
    /// How many are in the new one alone.
    pub only_new: i64,
    /// How many differ.
    pub differing: i64,
    /// In which columns, and how often.
    pub columns: BTreeMap<String, i64>,
    /// Columns that only the old one has: they are not compared.
    pub only_old_columns: Vec<String>,
    /// Columns that only the new one has.
    pub only_new_columns: Vec<String>,
    /// Some of the rows.
    pub sample: Vec<Sample>,
}

/// A row that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// The values of its key.
    pub key: Value,
    /// `only_old`, `only_new`, `differs`.
    pub kind: String,
}

impl Diff {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_none(&self) -> bool {
        let same = |table: &TableDiff| table.only_old + table.only_new + table.differing == 0;
        self.tables.iter().all(same)
    }
}

/// Compares. The old rows are held for the moment in which the new ones are brought to their
/// position and a snapshot is taken; then nobody is held.
pub(super) fn compare(
    client: &mut Client,
    connect: &Arc<dyn Connect>,
    shadow: &Shadow,
    interrupt: &Interrupt,
) -> Result<Diff> {
    let mut reader = connect.connect("pupctl/projections rebuild")?;
    let (mut transaction, positions) = snapshot(client, &mut reader, connect, shadow, interrupt)?;
    let mut tables = Vec::new();
    for table in shadow.live.tables() {
        interrupt.check()?;
        tables.push(table_diff(&mut transaction, shadow, table)?);
    }
    let (old_position, new_position, level) = positions;
    Ok(Diff { old_position, new_position, level, tables })
}

/// Where the old tables stand, where the new ones do, and whether that is the same.
type Positions = (i64, i64, bool);

fn snapshot<'a>(
    client: &mut Client,
    reader: &'a mut Client,
    connect: &Arc<dyn Connect>,
    shadow: &Shadow,
    interrupt: &Interrupt,
) -> Result<(Transaction<'a>, Positions)> {
    let session = Arc::new(SqlSession::begin(client, &shadow.projection, &shadow.tables)?);
    let mut holder = connect.connect("pupctl/projections rebuild")?;
    let begun = Instant::now();
    let mut seen: Option<(Positions, Instant)> = None;
    loop {
        interrupt.check()?;
        let mut held = holder.transaction().map_err(failed)?;
        let positions = level(client, &mut held, shadow, &session, interrupt)?;
        let since = match seen {
            Some((before, since)) if before == positions => since,
            _ => Instant::now(),
        };
        seen = Some((positions, since));
        if positions.2 || begun.elapsed() > LEVEL || since.elapsed() > STILL {
            let transaction = reader
                .build_transaction()
                .isolation_level(IsolationLevel::RepeatableRead)
                .read_only(true)
                .start()
                .map_err(failed)?;
            return take(transaction, positions, held);
        }
        held.rollback().map_err(failed)?;
        thread::sleep(PAUSE);
    }
}

/// The first statement takes the snapshot; the rows are free then.
fn take<'a>(
    mut transaction: Transaction<'a>,
    positions: Positions,
    held: Transaction<'_>,
) -> Result<(Transaction<'a>, Positions)> {
    transaction.query_one(include_str!("../../../sql/lock/pid.sql"), &[]).map_err(failed)?;
    held.rollback().map_err(failed)?;
    Ok((transaction, positions))
}

/// Holds the old rows, and brings the new ones to their position where they are not beyond.
fn level(
    client: &mut Client,
    held: &mut Transaction<'_>,
    shadow: &Shadow,
    session: &Arc<SqlSession>,
    interrupt: &Interrupt,
) -> Result<Positions> {
    let checkpoints = &shadow.tables.checkpoints;
    let read = row::read(held, checkpoints, shadow.live.name())?;
    if let Some(group) = &read {
        let names: Vec<_> = group.rows.iter().map(|row| row.name.clone()).collect();
        held.query(&lock_rows(checkpoints, &names).sql, &[]).map_err(failed)?;
    }
    let live: Vec<i64> = row::read(held, checkpoints, shadow.live.name())?
        .map(|group| group.rows.iter().map(|row| row.position).collect())
        .unwrap_or_default();
    let made = |client: &mut Client| -> Result<Vec<i64>> {
        let group = row::read(client, checkpoints, shadow.name())?;
        let group = group.ok_or_else(|| called_off(shadow.live.name()))?;
        Ok(group.rows.iter().map(|row| row.position).collect())
    };
    let mut new = made(client)?;
    let (lowest, old) = (live.iter().min().copied(), live.iter().max().copied().unwrap_or(0));
    if lowest == Some(old) && new.iter().all(|position| *position <= old) {
        let mut transaction = client.transaction().map_err(failed)?;
        fold::rest(&mut transaction, shadow, session, old, interrupt)?;
        transaction.commit().map_err(failed)?;
        new = made(client)?;
    }
    let level = live.iter().chain(&new).all(|position| *position == old);
    Ok((lowest.unwrap_or(0), new.iter().min().copied().unwrap_or(0), level))
}

fn table_diff(
    transaction: &mut Transaction<'_>,
    shadow: &Shadow,
    table: &str,
) -> Result<TableDiff> {
    let (old, new) =
        (QualifiedName::new(&shadow.live_schema, table), QualifiedName::new(&shadow.schema, table));
    let sql = include_str!("../../../sql/projection/rebuild/comparable.sql");
    let row = transaction.query_one(sql, &[&old.schema, &new.schema, &table]).map_err(failed)?;
    let list = |column: &str| row.get::<_, Vec<String>>(column);
    let (mut key, mut columns) = (list("key"), list("columns"));
    let is_there: bool = row.get("is_there");
    let whole = usize::try_from(row.get::<_, i32>("key_columns")).unwrap_or(0) == key.len();
    if !whole || key.is_empty() {
        key.append(&mut columns);
        columns = std::mem::take(&mut key);
    }
    // Without an old one, all rows are new.
    let from = if is_there { &old } else { &new };
    let template =
        if key.is_empty() { "projection/rebuild/diff_rows" } else { "projection/rebuild/diff" };
    let sql =
        |sample: Option<i64>| render(template, &values! { old => from, new, key, columns, sample });
    let counts = transaction.query_one(&sql(None), &[]).map_err(failed)?;
    let number = |column: &str| counts.get::<_, i64>(column);
    let numbers: Vec<i64> = counts.get("columns");
    let differing = columns.iter().cloned().zip(numbers).filter(|(_, number)| *number > 0);
    let mut diff = TableDiff {
        table: old.clone(),
        is_there,
        old_rows: number("old_rows"),
        new_rows: number("new_rows"),
        only_old: number("only_old"),
        only_new: number("only_new"),
        differing: number("differing"),
        columns: differing.collect(),
        only_old_columns: list("only_old"),
        only_new_columns: list("only_new"),
        sample: Vec::new(),
    };
    if !is_there {
        (diff.old_rows, diff.only_new) = (0, diff.new_rows);
        diff.only_new_columns.clear();
        return Ok(diff);
    }
    if diff.only_old + diff.only_new + diff.differing > 0 {
        let rows = transaction.query(&sql(Some(SAMPLE)), &[]).map_err(failed)?;
        let sample = |row: &postgres::Row| Sample { key: row.get("key"), kind: row.get("kind") };
        diff.sample = rows.iter().map(sample).collect();
    }
    Ok(diff)
}

fn failed(error: postgres::Error) -> Error {
    Error::database("comparing the new tables with the old ones", error)
}
