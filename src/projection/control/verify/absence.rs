//! Events that have left the store and are accounted for: in archives, and in detached tables.

use postgres::Client;
use serde::Serialize;

use crate::error::Result;
use crate::layout::name::QualifiedName;
use crate::layout::place::Place;
use crate::operation::archives::{self, Phase, Record};
use crate::projection::audit::Bits;
use crate::projection::control::Tables;
use crate::render::environment::{render, values};

use super::{Range, failed};

/// Events that a projection was given and that have left the store since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Absent {
    /// The archive, or the detached table.
    pub name: String,
    /// How many of the events it accounts for.
    pub events: i64,
}

/// An archive whose table is gone: its rows are only in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Archive {
    name: String,
    place: Place,
    first: i64,
    last: i64,
    rows: i64,
}

/// What has left the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Absences {
    archives: Vec<Archive>,
    tables: Vec<(QualifiedName, Place)>,
}

impl Absences {
    /// Looks it up. A table that is still there tells exactly which events it has; of others the
    /// record of the archive says between which positions, and how many.
    pub(super) fn find(client: &mut Client, tables: &Tables) -> Result<Self> {
        let schema = &tables.events.schema;
        let mut records = archives::all(client, schema)?;
        records.retain(|record| record.role == "events" && has_left(record.phase));
        let names: Vec<_> = records.iter().map(|record| &record.table_name).collect();
        let kept = include_str!("../../../../sql/projection/kept.sql");
        let rows = client.query(kept, &[schema, &names]).map_err(failed)?;
        let kept: Vec<String> = rows.iter().map(|row| row.get("name")).collect();
        let mut there = tables.detached.clone();
        let mut archives = Vec::new();
        for record in records {
            if there.iter().any(|(table, _)| table.name == record.table_name) {
                continue;
            }
            if kept.contains(&record.table_name) {
                there.push((QualifiedName::new(schema, record.table_name), record.place));
            } else if let (Some(first), Some(last), Some(rows)) =
                (record.first_position, record.last_position, record.rows)
            {
                let Record { name, place, .. } = record;
                archives.push(Archive { name, place, first, last, rows });
            }
        }
        Ok(Self { archives, tables: there })
    }

    /// What may hold events of contexts; of all where none is named.
    pub(super) fn of(&self, contexts: &[String]) -> Accounts {
        let reads = |place: &Place| {
            contexts.is_empty()
                || place.context().is_none_or(|context| contexts.iter().any(|c| c == context))
        };
        let archives = self.archives.iter().filter(|archive| reads(&archive.place));
        let tables = self.tables.iter().filter(|(_, place)| reads(place));
        Accounts {
            archives: archives.map(|archive| (archive.clone(), 0)).collect(),
            tables: tables.map(|(table, _)| (table.clone(), 0)).collect(),
        }
    }
}

/// Whether rows of an archive may be in its table or its file alone.
fn has_left(phase: Phase) -> bool {
    matches!(phase, Phase::Detaching | Phase::Detached | Phase::Published | Phase::Dropped)
}

/// What accounts for events that are not in the store, and for how many so far.
pub(super) struct Accounts {
    archives: Vec<(Archive, i64)>,
    tables: Vec<(QualifiedName, i64)>,
}

impl Accounts {
    /// The tables that are still there.
    pub(super) fn tables(&self) -> Vec<QualifiedName> {
        self.tables.iter().map(|(table, _)| table.clone()).collect()
    }

    /// Notes that a table has so many events.
    pub(super) fn note(&mut self, table: &QualifiedName, events: i64) {
        if let Some((_, noted)) = self.tables.iter_mut().find(|(known, _)| known == table) {
            *noted += events;
        }
    }

    /// The positions for which nothing accounts, as ranges. An archive does not account for more
    /// than it has; which ones it has not, its record does not say. Positions come in order, so
    /// the archive that ends first is to be asked first.
    pub(super) fn account(&mut self, block: i64, vanished: &Bits) -> Vec<Range> {
        let mut left: Vec<Range> = Vec::new();
        for position in vanished.positions(block) {
            let (mut first, mut last) = (position, position);
            let covers = |(archive, _): &&mut (Archive, i64)| {
                archive.first <= position && position <= archive.last
            };
            let mut covering: Vec<_> = self.archives.iter_mut().filter(covers).collect();
            covering.sort_by_key(|(archive, _)| archive.last);
            if let Some((_, noted)) =
                covering.iter_mut().find(|(archive, noted)| *noted < archive.rows)
            {
                *noted += 1;
                continue;
            }
            if let Some((archive, _)) = covering.last() {
                (first, last) = (archive.first, archive.last);
            }
            match left.last_mut().filter(|range| (range.first, range.last) == (first, last)) {
                Some(range) => range.events += 1,
                None => left.push(Range { first, last, events: 1 }),
            }
        }
        left
    }

    /// What accounts for any.
    pub(super) fn told(self) -> Vec<Absent> {
        let archives = self.archives.into_iter();
        let archives = archives.map(|(one, events)| (format!("the archive {}", one.name), events));
        let tables = self.tables.into_iter();
        let tables =
            tables.map(|(table, events)| (format!("the detached table {}", table.name), events));
        let all = archives.chain(tables).filter(|(_, events)| *events > 0);
        all.map(|(name, events)| Absent { name, events }).collect()
    }
}

/// At which positions of blocks a table has events.
pub(super) fn places(
    client: &mut Client,
    table: &QualifiedName,
    after: i64,
    to: i64,
    blocks: &[i64],
) -> Result<Vec<(i64, Bits)>> {
    let sql = render("projection/verify/places", &values! { table, after, to });
    let rows = client.query(&sql, &[&blocks]).map_err(failed)?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
