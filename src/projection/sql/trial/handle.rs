//! One run of a trial: the events, cut into batches in one way, and the rows that come out.

use std::fmt;

use postgres::Transaction;

use crate::error::{Error, Kind, Result};
use crate::failpoint::reach;
use crate::layout::name::QualifiedName;
use crate::projection::sql::check;
use crate::projection::sql::session::{no_batch, run_parts};
use crate::render::environment::{render, values};
use crate::render::quote;

use super::compare::{Contents, Wanted};
use super::expected::{Expected, ExpectedRow};
use super::scratch::{self, Scratch};
use super::{Given, TableRows, failed};

/// How the events are cut into batches.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cut {
    /// All in one.
    Whole,
    /// So many in each.
    Batches(usize),
    /// All in one, in which they lie the other way round.
    Reversed,
    /// A batch for each of so many slots, the last one first.
    Slots(u32),
    /// All in one, in a session with another time zone.
    Zone(&'static str),
}

impl Cut {
    /// As in "it comes out otherwise with …".
    pub(super) fn describe(self) -> String {
        match self {
            Self::Whole => "all events in one batch".to_owned(),
            Self::Reversed => "the events in another order in the batch".to_owned(),
            Self::Batches(1) => "one event in a batch".to_owned(),
            Self::Batches(events) => format!("{events} events in a batch"),
            Self::Slots(slots) => format!("its {slots} slots one after the other"),
            Self::Zone(zone) => format!("the time zone {zone}"),
        }
    }

    /// What mends it.
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Whole | Self::Batches(_) => {
                "a batch is any part of what is to come: add to what is there, and let the latest \
                 event win by its position, not by its batch"
            }
            Self::Reversed => {
                "a table has no order of its own: say ORDER BY global_position where it matters, \
                 in aggregates too"
            }
            Self::Slots(_) => {
                "slots go on at their own pace: a row that several aggregates change must come out \
                 the same in whatever order theirs are handled"
            }
            Self::Zone(_) => {
                "what is a day is up to the session's setting: name the zone, as in \
                 (created_at AT TIME ZONE 'UTC')::date"
            }
        }
    }
}

/// What a run leaves behind.
#[derive(Debug)]
pub(super) struct Run {
    /// How many events were in scope.
    pub(super) events: usize,
    /// The tables, in the order of the projection.
    pub(super) tables: Vec<TableRows>,
    /// What was expected of each of them, as it would hold it.
    pub(super) wanted: Vec<Option<Vec<Wanted>>>,
}

/// Why a run did not come to its end.
pub(super) struct Failed {
    error: Error,
    /// The positions of the batch that could not be handled.
    batch: Option<Vec<i64>>,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, batch: None }
    }
}

impl fmt::Debug for Failed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.error)
    }
}

impl Failed {
    /// Whether events could not be handled, so that others might.
    pub(super) fn is_of_a_batch(&self) -> bool {
        self.batch.is_some() && self.error.kind() == Kind::Database
    }

    pub(super) fn sqlstate(&self) -> Option<&str> {
        self.error.sqlstate()
    }

    /// The error, with the event where it is one.
    pub(super) fn error(self, given: &Given) -> Error {
        match self.batch.as_deref() {
            Some([position]) => match given.place(*position) {
                Some(place) => self.error.detail(format!("given {place}")),
                None => self.error,
            },
            _ => self.error,
        }
    }
}

impl Scratch<'_> {
    /// Makes the tables, handles the events, reads what came out, and takes all of it back.
    pub(super) fn run(
        &self,
        transaction: &mut Transaction<'_>,
        cut: Cut,
        expected: Option<&Expected>,
    ) -> Result<Run, Failed> {
        let mut savepoint = transaction.transaction().map_err(failed)?;
        let none: [String; 0] = [];
        let values = values! { events => self.events, columns => none };
        let make = render("projection/sql/batch_table", &values);
        savepoint.batch_execute(&make).map_err(no_batch)?;
        if let Cut::Zone(zone) = cut {
            set_zone(&mut savepoint, zone)?;
        }
        self.init(&mut savepoint, matches!(cut, Cut::Whole))?;
        let events = match cut {
            Cut::Whole | Cut::Zone(_) => self.handle(&mut savepoint, self.given.len(), None)?,
            Cut::Reversed => self.handle_reversed(&mut savepoint)?,
            Cut::Batches(size) => self.handle(&mut savepoint, size, None)?,
            Cut::Slots(slots) => {
                for slot in (0..slots).rev() {
                    let slot = i64::from(slot);
                    self.handle(&mut savepoint, self.given.len(), Some((slots, slot)))?;
                }
                0
            }
        };
        self.refuse_others(&mut savepoint)?;
        reach("trial::handled");
        set_zone(&mut savepoint, "UTC")?;
        let mut run = Run { events, tables: Vec::new(), wanted: Vec::new() };
        for table in self.projection.tables() {
            let rows = self.rows(&mut savepoint, table)?;
            let list = expected.and_then(|expected| expected.tables.get(table));
            let file = expected.map_or("", |expected| expected.file.as_str());
            let wanted = match list {
                Some(list) => Some(self.wanted(&mut savepoint, file, table, &rows, list)?),
                None => None,
            };
            run.wanted.push(wanted);
            run.tables.push(TableRows { table: table.clone(), rows, unsteady: Vec::new() });
        }
        savepoint.rollback().map_err(failed)?;
        Ok(run)
    }

    /// Makes the tables. The first time twice, as workers may, and with an empty batch, as they
    /// begin.
    fn init(&self, savepoint: &mut Transaction<'_>, first: bool) -> Result<()> {
        let parsed = &self.projection.parsed;
        run_parts(&self.projection, savepoint, &parsed.init)?;
        let sql = include_str!("../../../../sql/projection/sql/missing.sql");
        let schema = &self.events.schema;
        let missing = savepoint.query(sql, &[schema, &self.projection.tables()]).map_err(failed)?;
        if let Some(row) = missing.first() {
            let table = quote::shown(row.get(0));
            return Err(Error::invalid(format!(
                "{} makes no table {table}",
                self.projection.file()
            ))
            .hint("let -- init make it, without a schema in front, or take it out of -- tables:"));
        }
        if !first {
            return Ok(());
        }
        run_parts(&self.projection, savepoint, &parsed.init).map_err(|error| {
            error.context("-- init works once, and not a second time").hint(
                "it may run again when a worker starts: write IF NOT EXISTS, or ON CONFLICT DO \
                 NOTHING",
            )
        })?;
        let mut empty = savepoint.transaction().map_err(failed)?;
        run_parts(&self.projection, &mut empty, &parsed.handle)
            .map_err(|error| error.context("with an empty batch"))?;
        empty.rollback().map_err(failed)
    }

    /// Handles the events of a slot, or all, in batches. How many there were.
    fn handle(
        &self,
        savepoint: &mut Transaction<'_>,
        size: usize,
        slot: Option<(u32, i64)>,
    ) -> Result<usize, Failed> {
        let (mut after, mut count) = (0, 0);
        loop {
            let positions = self.fill(savepoint, after, size, slot)?;
            let Some(&last) = positions.last() else { return Ok(count) };
            run_parts(&self.projection, savepoint, &self.projection.parsed.handle)
                .map_err(|error| Failed { error, batch: Some(positions.clone()) })?;
            (after, count) = (last, count + positions.len());
            let next = include_str!("../../../../sql/projection/trial/next_batch.sql");
            savepoint.batch_execute(next).map_err(failed)?;
        }
    }

    /// Fills the batch as a worker does, and tells the positions in it.
    fn fill(
        &self,
        savepoint: &mut Transaction<'_>,
        after: i64,
        limit: usize,
        slot: Option<(u32, i64)>,
    ) -> Result<Vec<i64>> {
        let sql = render(
            "projection/sql/fill",
            &values! {
                events => self.events,
                columns => self.columns,
                contexts => self.projection.contexts(),
                types => self.projection.aggregates(),
                of => slot.map_or(1, |(slots, _)| slots),
                divided => slot.is_some(),
                slots => slot.map(|(_, slot)| slot).into_iter().collect::<Vec<_>>(),
                after,
                to => i64::MAX,
                limit => limit.max(1),
            },
        );
        savepoint.batch_execute(&sql).map_err(failed)?;
        let filled = include_str!("../../../../sql/projection/sql/filled.sql");
        let row = savepoint.query_one(filled, &[]).map_err(failed)?;
        let positions: Option<Vec<i64>> = row.get("positions");
        let mut positions = positions.unwrap_or_default();
        positions.sort_unstable();
        Ok(positions)
    }

    /// Handles all events in one batch, in which they lie the other way round.
    fn handle_reversed(&self, savepoint: &mut Transaction<'_>) -> Result<usize, Failed> {
        let sql = render(
            "projection/trial/reverse",
            &values! {
                events => self.events,
                columns => self.columns,
                contexts => self.projection.contexts(),
                types => self.projection.aggregates(),
            },
        );
        let events = savepoint.execute(&sql, &[]).map_err(failed)?;
        run_parts(&self.projection, savepoint, &self.projection.parsed.handle)?;
        Ok(usize::try_from(events).unwrap_or(usize::MAX))
    }

    fn refuse_others(&self, savepoint: &mut Transaction<'_>) -> Result<()> {
        let schema = &self.events.schema;
        check::refuse_others(savepoint, &self.projection, schema, &[&self.events])
    }

    fn rows(&self, savepoint: &mut Transaction<'_>, table: &str) -> Result<Contents> {
        let table = self.events.sibling(table);
        let found = scratch::columns(savepoint, &table)?;
        let mut keys: Vec<_> = (0..found.len()).filter(|&at| found[at].1.is_some()).collect();
        keys.sort_by_key(|&at| found[at].1);
        let columns: Vec<_> = found.into_iter().map(|(name, _)| name).collect();
        let names: Vec<_> = keys.iter().map(|&at| columns[at].clone()).collect();
        let sql = sql_of_rows(&table, &columns, &names, false);
        let read = savepoint.query(&sql, &[]).map_err(failed)?;
        let cells = |row: &postgres::Row| row.get::<_, Option<Vec<_>>>(0).unwrap_or_default();
        Ok(Contents { rows: read.iter().map(cells).collect(), columns, keys })
    }

    /// The rows that are expected, as the table would hold them.
    fn wanted(
        &self,
        savepoint: &mut Transaction<'_>,
        file: &str,
        table: &str,
        rows: &Contents,
        list: &[ExpectedRow],
    ) -> Result<Vec<Wanted>> {
        let sql = sql_of_rows(&self.events.sibling(table), &rows.columns, &[], true);
        let read = savepoint.prepare(&sql).map_err(failed)?;
        let mut wanted = Vec::with_capacity(list.len());
        for (number, row) in (1..).zip(list) {
            let place = format!("{file}: row {number} of {table}");
            let unknown = row.columns.iter().find(|name| !rows.columns.contains(name));
            if let Some(name) = unknown {
                return Err(Error::invalid(format!("{place} names {name}, which is no column"))
                    .hint(format!("its columns are {}", rows.columns.join(", "))));
            }
            let cells = savepoint
                .query_one(&read, &[&row.json])
                .map_err(|error| Error::database("reading it as the table would", error))
                .map_err(|error| not_of_its_type(&place, &error))?;
            let cells: Vec<String> = cells.get::<_, Option<_>>(0).unwrap_or_default();
            let named = |(name, cell)| row.columns.contains(name).then_some(cell);
            wanted.push(rows.columns.iter().zip(cells).map(named).collect());
        }
        Ok(wanted)
    }
}

fn not_of_its_type(place: &str, error: &Error) -> Error {
    match error.kind() {
        Kind::Database => Error::invalid(format!("{place} cannot be a row of it"))
            .detail(error.message().to_owned())
            .details(error.detail_lines().iter().cloned()),
        _ => error.retold(),
    }
}

fn sql_of_rows(table: &QualifiedName, columns: &[String], keys: &[String], object: bool) -> String {
    render("projection/trial/rows", &values! { name => table, columns, keys, object })
}

fn set_zone(savepoint: &mut Transaction<'_>, zone: &str) -> Result<()> {
    let sql = include_str!("../../../../sql/projection/trial/zone.sql");
    savepoint.execute(sql, &[&zone]).map(drop).map_err(failed)
}
