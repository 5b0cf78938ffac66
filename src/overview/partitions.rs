//! The leaves of events, and what is not there.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::catalog::Catalog;
use crate::catalog::relation::Relation;
use crate::layout::bounds::Bound;
use crate::layout::desired::DesiredPartition;
use crate::layout::levels::Level;
use crate::layout::month::Month;
use crate::layout::place::Place;
use crate::layout::{Layout, Role};
use crate::operation::archives::{Phase, Record};
use crate::plan::ensure::months;
use crate::plan::{target, wanted};

use super::Snapshot;
use super::growth::MonthShare;

/// What is to be known of a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is not of one month.
    Undated,
    /// Its month is over, and it takes late events.
    Past,
    /// Its month is over, and it takes no more events.
    Closed,
    /// Its month is the current one.
    Current,
    /// Its month is to come.
    Future,
    /// A detach of it was interrupted: nobody sees its rows.
    DetachPending,
}

impl State {
    /// In a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Undated => "undated",
            Self::Past => "past",
            Self::Closed => "closed",
            Self::Current => "current",
            Self::Future => "future",
            Self::DetachPending => "detach_pending",
        }
    }
}

/// A leaf of events.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Partition {
    /// Its name.
    pub name: String,
    /// Where it is in the tree.
    pub place: String,
    /// The context, where a level says which it is.
    pub context: Option<String>,
    /// The share of a hash, where a level divides by one.
    pub share: Option<String>,
    /// The month, where it is of one.
    pub month: Option<Month>,
    /// What is to be known of it.
    pub state: State,
    /// The planner's estimate of its rows; none where nothing has counted yet.
    pub rows: Option<u64>,
    /// The size of the table.
    pub table_bytes: u64,
    /// The size of its indexes.
    pub index_bytes: u64,
    /// When it was closed.
    pub closed_at: Option<DateTime<Utc>>,
    /// When its rows were made, as the planner's statistics know it, where it is not of one month.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub estimated_months: Vec<MonthShare>,
}

/// Why something is not in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Absence {
    /// The layout wants it.
    Missing,
    /// Its table lies beside the store.
    Detached,
    /// It left for an archive.
    Archived,
}

impl Absence {
    /// In a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Detached => "detached",
            Self::Archived => "archived",
        }
    }
}

/// A part of events that is not in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Absent {
    /// Where in the tree it would be.
    pub place: String,
    /// The context, where a level says which it is.
    pub context: Option<String>,
    /// The share of a hash, where a level divides by one.
    pub share: Option<String>,
    /// The month, where it is of one.
    pub month: Option<Month>,
    /// Why it is not there.
    pub absence: Absence,
    /// The archive, where there is one.
    pub archive: Option<String>,
    /// How many rows that has.
    pub rows: Option<i64>,
}

/// For how many months a branch is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MonthsAhead {
    /// The context, where a level says which it is.
    pub context: Option<String>,
    /// Where in the tree the branch is.
    pub place: String,
    /// How many months after the current one follow without a gap.
    pub ready: u32,
    /// Whether there is one for the current month.
    pub current: bool,
}

/// Whether a leaf holds exactly one month.
pub(super) fn is_one_month(leaf: &Relation) -> bool {
    leaf.bound.as_ref().is_some_and(|bound| bound.as_month().is_some())
}

/// The leaves, in the order of the tree.
pub(super) fn leaves(snapshot: &Snapshot) -> Vec<Partition> {
    let catalog = &snapshot.catalog;
    let Some(events) = &catalog.events else { return Vec::new() };
    let closed: BTreeMap<u32, _> =
        snapshot.closed.iter().filter(|one| one.sealed).map(|one| (one.oid, one)).collect();
    let one = |relation: &Relation, place: &Place| {
        let size = relation.size.unwrap_or_default();
        let closed_at = closed.get(&relation.oid).map(|closed| closed.closed_at);
        let month = place.month();
        let histogram = snapshot.histograms.get(&relation.oid);
        Partition {
            name: relation.name.to_string(),
            place: place.to_string(),
            context: place.context().map(str::to_owned),
            share: share(place),
            month,
            state: state(relation, month, closed_at.is_some(), catalog.server.month()),
            rows: relation.rows,
            table_bytes: size.table,
            index_bytes: size.indexes,
            closed_at,
            estimated_months: histogram
                .map(|histogram| {
                    histogram.months(relation.rows.unwrap_or(0), size.table + size.indexes)
                })
                .unwrap_or_default(),
        }
    };
    if events.root.is_leaf() {
        return vec![one(&events.root, &Place::default())];
    }
    let located = target::partitions(catalog);
    let leaves = located.iter().filter(|located| located.relation.is_leaf());
    leaves.map(|located| one(located.relation, &located.place)).collect()
}

fn state(relation: &Relation, month: Option<Month>, closed: bool, current: Month) -> State {
    match month {
        _ if relation.detach_pending => State::DetachPending,
        _ if closed => State::Closed,
        None => State::Undated,
        Some(month) if month < current => State::Past,
        Some(month) if month == current => State::Current,
        Some(_) => State::Future,
    }
}

/// `share 3 of 16`, counted from 0 as the server does.
fn share(place: &Place) -> Option<String> {
    place.bounds().iter().find_map(|bound| match bound {
        Bound::Hash { modulus, remainder } => Some(format!("share {remainder} of {modulus}")),
        _ => None,
    })
}

/// What is not there: archived, detached, or missing.
pub(super) fn absent(layout: &Layout, snapshot: &Snapshot) -> Vec<Absent> {
    let catalog = &snapshot.catalog;
    let located = target::partitions(catalog);
    let there: BTreeSet<String> = located.iter().map(|located| located.place.to_string()).collect();
    // The last archive of a place is the one that counts.
    let mut found: BTreeMap<String, (Place, Absence, Option<&Record>)> = BTreeMap::new();
    for table in &catalog.detached {
        let known = (table.place.clone(), Absence::Detached, None);
        found.insert(table.place.to_string(), known);
    }
    for record in snapshot.records.iter().filter(|record| record.role == "events") {
        let key = record.place.to_string();
        match record.phase {
            Phase::Published | Phase::Dropped | Phase::Detached => {
                found.insert(key, (record.place.clone(), Absence::Archived, Some(record)));
            }
            Phase::Restored => drop(found.remove(&key)),
            Phase::Detaching | Phase::Copied | Phase::Aborted => {}
        }
    }
    found.retain(|place, _| !there.contains(place));
    for place in missing(layout, catalog) {
        found.entry(place.to_string()).or_insert((place, Absence::Missing, None));
    }
    let one = |(place, absence, record): (Place, Absence, Option<&Record>)| Absent {
        place: place.to_string(),
        context: place.context().map(str::to_owned),
        share: share(&place),
        month: place.month(),
        absence,
        archive: record.map(|record| record.name.clone()),
        rows: record.and_then(|record| record.rows),
    };
    found.into_values().map(one).collect()
}

/// The leaves that the layout wants and nothing takes the place of.
fn missing(layout: &Layout, catalog: &Catalog) -> Vec<Place> {
    let Some(events) = &catalog.events else { return Vec::new() };
    let Ok(months) = months(catalog, layout.months_ahead, None) else { return Vec::new() };
    let mut found = Vec::new();
    let wanted = wanted::partitions(layout, catalog, Role::Events, &months);
    compare(&events.root, &Place::default(), &wanted, &mut found);
    found
}

fn compare(there: &Relation, place: &Place, wanted: &[DesiredPartition], found: &mut Vec<Place>) {
    for partition in wanted {
        let place = place.below(partition.bound.clone());
        let covers =
            |one: &&Relation| one.bound.as_ref().is_some_and(|b| b.covers(&partition.bound));
        match there.partitions.iter().find(covers) {
            // One that is divided otherwise is another matter: the findings tell it.
            Some(relation) if !relation.is_leaf() => {
                compare(relation, &place, &partition.partitions, found);
            }
            Some(_) => {}
            None => collect(&place, partition, found),
        }
    }
}

fn collect(place: &Place, partition: &DesiredPartition, found: &mut Vec<Place>) {
    if partition.partitions.is_empty() {
        found.push(place.clone());
    }
    for below in &partition.partitions {
        collect(&place.below(below.bound.clone()), below, found);
    }
}

/// For how many months each branch is ready that is divided by month.
pub(super) fn months_ahead(catalog: &Catalog) -> Vec<MonthsAhead> {
    let Some(events) = &catalog.events else { return Vec::new() };
    let located = target::partitions(catalog);
    let root = (&events.root, Place::default());
    let branches = located.into_iter().map(|located| (located.relation, located.place));
    let key = Level::Month.partition_key();
    let by_month = |(branch, _): &(&Relation, Place)| branch.partition_key.as_ref() == Some(&key);
    let one = |(branch, place): (&Relation, Place)| {
        let there = branch.months();
        let current = catalog.server.month();
        let next = (1..).take_while(|&ahead| there.contains(&current.plus(ahead)));
        MonthsAhead {
            context: place.context().map(str::to_owned),
            place: place.to_string(),
            ready: u32::try_from(next.count()).unwrap_or(u32::MAX),
            current: there.contains(&current),
        }
    };
    std::iter::once(root).chain(branches).filter(by_month).map(one).collect()
}
