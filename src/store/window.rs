//! The way to the events of an aggregate past the months that do not have them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use postgres::{GenericClient, Row, Statement};

use crate::layout::levels::Level;
use crate::layout::month::Month;
use crate::layout::name::QualifiedName;
use crate::layout::protection::Guard;
use crate::layout::{Layout, Role};
use crate::render::environment::{render, values};

use super::event::StoredEvent;
use super::read::{Wanted, reading};
use super::{Result, Values, leaves, prepare};

/// How long before its last event the first of an aggregate may be.
const LIFETIME: TimeDelta = TimeDelta::days(31);

/// How far the clocks of clients may be ahead of the server's.
const CLOCKS: TimeDelta = TimeDelta::days(1);

/// With fewer partitions it is quicker to look into all of them than to ask the head first.
const LEAVES_MIN: i64 = 24;

/// After so many misses in a row the store seems to have aggregates of another kind…
const MISSES_MAX: u32 = 8;

/// … and of so many reads one tries again.
const TRY_EVERY: u32 = 32;

/// So many statements for windows a store keeps on its connection…
const STATEMENTS_MAX: usize = 64;

/// … never fewer than these …
const STATEMENTS_MIN: usize = 8;

/// … and otherwise so many together when each has the partitions of all hashes in its plan.
const HASHES_MAX: usize = 128;

/// Months that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    first: Month,
    last: Month,
}

impl Window {
    /// The months of an aggregate whose last event came then, if it lives shortly.
    ///
    /// Whole months, so that few windows are enough for all aggregates.
    fn around(last_event: DateTime<Utc>) -> Option<Self> {
        Some(Self {
            first: Month::of(last_event.checked_sub_signed(LIFETIME)?)?,
            last: Month::of(last_event.checked_add_signed(CLOCKS)?)?,
        })
    }

    fn covers(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// The bounds as texts that mean the same in every session.
    fn bounds(self) -> Bounds {
        Bounds { start: self.first.start().to_rfc3339(), end: self.last.end().to_rfc3339() }
    }
}

/// From when to before when.
#[derive(Debug, serde::Serialize)]
pub(super) struct Bounds {
    start: String,
    end: String,
}

/// The partitions that a statement has in its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// The context, in a layout that is divided by it.
    context: Option<String>,
    window: Window,
}

/// What was prepared for places, that of the latest use first.
#[derive(Debug)]
struct Prepared<S> {
    most: usize,
    statements: Vec<(Place, S)>,
}

impl<S: Clone> Prepared<S> {
    fn get(&mut self, place: &Place) -> Option<S> {
        let number = self.statements.iter().position(|(there, _)| there == place)?;
        self.statements[..=number].rotate_right(1);
        self.statements.first().map(|(_, statement)| statement.clone())
    }

    /// Whatever has not been used for longest goes; the server forgets a dropped statement.
    fn put(&mut self, place: Place, statement: S) {
        self.statements.insert(0, (place, statement));
        self.statements.truncate(self.most);
    }
}

/// How many statements to keep: plans with the partitions of many hashes are large.
fn statements_max(layout: &Layout) -> usize {
    let own = layout.contexts.iter().filter_map(|context| context.levels.as_ref()).flatten();
    let hashes = layout.levels.iter().chain(own).map(|level| match level {
        Level::Hash(hash) => usize::try_from(hash.partitions).unwrap_or(usize::MAX),
        Level::Context | Level::Month => 1,
    });
    (HASHES_MAX / hashes.max().unwrap_or(1).max(1)).clamp(STATEMENTS_MIN, STATEMENTS_MAX)
}

/// Whether streams of the present are read, judged by the reads before: every one of the present
/// adds 1 up to 7, every other takes 1 away.
#[derive(Debug)]
struct Present(AtomicU32);

impl Present {
    const LIKELY: u32 = 4;
    const MAX: u32 = 7;

    fn is_likely(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= Self::LIKELY
    }

    fn note(&self, was_present: bool) {
        let before = self.0.load(Ordering::Relaxed);
        let after = if was_present { Self::MAX.min(before + 1) } else { before.saturating_sub(1) };
        self.0.store(after, Ordering::Relaxed);
    }
}

/// Where an aggregate is.
#[derive(Debug, Clone, Copy)]
struct Head {
    version: i64,
    updated_at: DateTime<Utc>,
}

impl Head {
    /// From a row of these two.
    fn from_row(row: &Row) -> Result<Self, postgres::Error> {
        Ok(Self { version: row.try_get(0)?, updated_at: row.try_get(1)? })
    }
}

/// What one statement found: the head, and the events in the months of a window.
#[derive(Debug, Default)]
struct Found {
    head: Option<Head>,
    events: Vec<StoredEvent>,
}

impl Found {
    fn from_rows(rows: &[Row]) -> Result<Self, postgres::Error> {
        let mut found = Self::default();
        found.events.reserve_exact(rows.len());
        for row in rows {
            if row.try_get::<_, Option<i64>>(StoredEvent::POSITION)?.is_some() {
                found.events.push(StoredEvent::from_row(row)?);
            } else {
                let version = row.try_get(StoredEvent::VERSION)?;
                let updated_at = row.try_get(StoredEvent::CREATED_AT)?;
                found.head = Some(Head { version, updated_at });
            }
        }
        Ok(found)
    }

    /// Whether no event that is wanted lies elsewhere: the versions follow each other up to the
    /// head. In another order than that of the versions they are not believed either.
    fn is_whole(&self, wanted: &Wanted<'_>) -> bool {
        let versions = self.events.iter().map(|event| event.aggregate_version);
        self.head
            .is_some_and(|head| has_all(versions, wanted.from.max(1), wanted.to.min(head.version)))
    }
}

/// Whether versions follow each other from the first to the last at least.
fn has_all(versions: impl Iterator<Item = i64>, first: i64, last: i64) -> bool {
    let mut next = first;
    for version in versions {
        if version != next {
            return false;
        }
        next = version.saturating_add(1);
    }
    next > last
}

/// The way to the events of an aggregate past the months that do not have them.
///
/// PostgreSQL has to look into every month for an aggregate. But most live for a few weeks, and
/// the head says when the last event came. So those weeks are read, and the versions prove that
/// nothing is missing: the guard lets none be left out and none be there twice. Where something is
/// missing, because the aggregate is older or its events carry other times than those of their
/// arrival, all months are read after all.
///
/// One statement gives the head and the events of a window of months. The first window is that of
/// the present, where most streams are that are read for an append; the head that comes with it
/// says which is the right one otherwise.
#[derive(Debug)]
pub(super) struct Windows {
    events: QualifiedName,
    heads: QualifiedName,
    by_context: bool,
    head: Statement,
    prepared: Mutex<Prepared<Statement>>,
    present: Present,
    /// How many reads in a row it did not serve.
    misses: AtomicU32,
}

impl Windows {
    /// None where reading all partitions is as good.
    pub(super) fn prepare(
        client: &mut impl GenericClient,
        schema: &str,
        layout: &Layout,
    ) -> Result<Option<Self>> {
        let (events, heads) =
            (layout.table(schema, Role::Events), layout.table(schema, Role::Heads));
        if layout.guard() != Guard::Events || leaves(client, &events)? < LEAVES_MIN {
            return Ok(None);
        }
        Ok(Some(Self {
            head: prepare(client, &render("store/head", &values! { heads }))?,
            events,
            heads,
            by_context: layout.has_context_level(),
            prepared: Mutex::new(Prepared { most: statements_max(layout), statements: Vec::new() }),
            present: Present(AtomicU32::new(Present::LIKELY)),
            misses: AtomicU32::new(0),
        }))
    }

    /// The events, if they all lie in the months in which they are expected.
    pub(super) fn read(
        &self,
        client: &mut impl GenericClient,
        wanted: &Wanted<'_>,
    ) -> Result<Option<Vec<StoredEvent>>> {
        let misses = self.misses.load(Ordering::Relaxed);
        let seems_promising = misses < MISSES_MAX || misses.is_multiple_of(TRY_EVERY);
        let events = if seems_promising { self.search(client, wanted)? } else { None };
        let misses = if events.is_some() { 0 } else { misses.wrapping_add(1) };
        self.misses.store(misses, Ordering::Relaxed);
        Ok(events)
    }

    fn search(
        &self,
        client: &mut impl GenericClient,
        wanted: &Wanted<'_>,
    ) -> Result<Option<Vec<StoredEvent>>> {
        // The clock of this machine may be wrong: it only says where to look first.
        let present = Window::around(Utc::now());
        let guess = present.filter(|_| self.present.is_likely());
        // Without a statement the head is asked first, also because it proves that this is the
        // connection on which the store was opened: only then is something prepared for it.
        let guess = guess.and_then(|window| self.prepared().get(&self.place(wanted, window)));
        let head = if let Some(statement) = &guess {
            let found = query(client, statement, wanted)?;
            if found.is_whole(wanted) {
                self.present.note(true);
                return Ok(Some(found.events));
            }
            found.head
        } else {
            self.head(client, wanted)?
        };
        let Some(head) = head else { return Ok(None) };
        if wanted.from > head.version {
            return Ok(Some(Vec::new()));
        }
        let Some(window) = Window::around(head.updated_at) else { return Ok(None) };
        let present = present.filter(|present| present.covers(window));
        self.present.note(present.is_some());
        if guess.is_some() && present.is_some() {
            return Ok(None);
        }
        let place = self.place(wanted, present.unwrap_or(window));
        let statement = self.statement(client, place)?;
        let found = query(client, &statement, wanted)?;
        Ok(found.is_whole(wanted).then_some(found.events))
    }

    fn head(&self, client: &mut impl GenericClient, wanted: &Wanted<'_>) -> Result<Option<Head>> {
        let row = client.query_opt(&self.head, &wanted.stream()).map_err(reading)?;
        row.as_ref().map(Head::from_row).transpose().map_err(reading)
    }

    fn prepared(&self) -> MutexGuard<'_, Prepared<Statement>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, wanted: &Wanted<'_>, window: Window) -> Place {
        let context = self.by_context.then(|| wanted.context().to_owned());
        Place { context, window }
    }

    /// The statement for a place, prepared now if it has not been.
    fn statement(&self, client: &mut impl GenericClient, place: Place) -> Result<Statement> {
        if let Some(statement) = self.prepared().get(&place) {
            return Ok(statement);
        }
        let Self { events, heads, .. } = self;
        let (columns, context) = (StoredEvent::COLUMNS, &place.context);
        let values = values! { events, heads, columns, context, months => place.window.bounds() };
        let sql = render("store/read_window", &values);
        let statement = client.prepare(&sql).map_err(reading)?;
        self.prepared().put(place, statement.clone());
        Ok(statement)
    }
}

fn query(
    client: &mut impl GenericClient,
    statement: &Statement,
    wanted: &Wanted<'_>,
) -> Result<Found> {
    let values: &Values<'_> = &wanted.values();
    let rows = client.query(statement, values).map_err(reading)?;
    Found::from_rows(&rows).map_err(reading)
}

#[cfg(test)]
mod tests {
    use crate::layout::levels::HashLevel;
    use crate::layout::name::Tables;

    use super::*;

    fn window(first: &str, last: &str) -> Window {
        Window { first: first.parse().expect("a month"), last: last.parse().expect("a month") }
    }

    fn around(last_event: &str) -> Option<Window> {
        Window::around(last_event.parse().expect("an instant"))
    }

    #[test]
    fn a_window_has_the_months_of_a_short_life() {
        let cases = [
            ("2026-11-21T10:00:00Z", "2026-10", "2026-11"),
            ("2026-11-01T00:00:00Z", "2026-10", "2026-11"),
            ("2026-11-30T00:00:00Z", "2026-10", "2026-12"),
            ("2026-12-31T23:59:59Z", "2026-11", "2027-01"),
            ("2026-03-01T12:00:00Z", "2026-01", "2026-03"),
        ];
        for (last_event, first, last) in cases {
            assert_eq!(around(last_event), Some(window(first, last)), "{last_event}");
        }
        assert_eq!(around("1900-01-15T00:00:00Z"), None);
        assert_eq!(around("2999-12-31T12:00:00Z"), None);
        assert_eq!(Window::around(DateTime::<Utc>::MAX_UTC), None);
        assert_eq!(Window::around(DateTime::<Utc>::MIN_UTC), None);
    }

    #[test]
    fn a_window_ends_where_the_next_month_begins() {
        let Bounds { start, end } = window("2026-11", "2026-12").bounds();
        assert_eq!(start, "2026-11-01T00:00:00+00:00");
        assert_eq!(end, "2027-01-01T00:00:00+00:00");
        assert!(window("2026-10", "2026-12").covers(window("2026-11", "2026-12")));
        assert!(!window("2026-10", "2026-11").covers(window("2026-11", "2026-12")));
        assert!(!window("2026-11", "2026-12").covers(window("2026-10", "2026-11")));
    }

    #[test]
    fn what_was_not_used_for_longest_is_forgotten() {
        let place = |number: i32| {
            let month = Month::EPOCH.plus(number / 2);
            let context = (number % 2 == 1).then(|| "Sales".to_owned());
            Place { context, window: Window { first: month, last: month } }
        };
        let mut prepared = Prepared { most: 10, statements: Vec::new() };
        for number in 0..10 {
            prepared.put(place(number), number);
        }
        assert_eq!(prepared.get(&place(0)), Some(0));
        prepared.put(place(10), 10);
        assert_eq!(prepared.statements.len(), 10);
        assert_eq!(prepared.get(&place(1)), None);
        for number in [0, 2, 9, 10] {
            assert_eq!(prepared.get(&place(number)), Some(number));
        }
    }

    #[test]
    fn the_larger_the_plans_the_fewer_are_kept() {
        let most = |partitions: Option<u32>| {
            let hash = partitions.map(|partitions| {
                Level::Hash(HashLevel { columns: vec!["aggregate_id".to_owned()], partitions })
            });
            let levels = hash.into_iter().chain([Level::Month]).collect();
            let layout = Layout::new(Tables::default(), levels, Vec::new(), 1);
            statements_max(&layout.expect("a layout"))
        };
        assert_eq!(most(None), 64);
        assert_eq!(most(Some(2)), 64);
        assert_eq!(most(Some(4)), 32);
        assert_eq!(most(Some(16)), 8);
        assert_eq!(most(Some(1000)), 8);
    }

    #[test]
    fn the_present_is_guessed_while_it_serves() {
        let present = Present(AtomicU32::new(Present::LIKELY));
        assert!(present.is_likely());
        for _ in 0..20 {
            present.note(true);
        }
        for _ in 0..3 {
            present.note(false);
            assert!(present.is_likely());
        }
        for _ in 0..20 {
            present.note(false);
            assert!(!present.is_likely());
        }
        for _ in 0..3 {
            present.note(true);
            assert!(!present.is_likely());
        }
        present.note(true);
        assert!(present.is_likely());
    }

    #[test]
    fn only_a_run_without_holes_is_the_whole_stream() {
        let has_all =
            |versions: &[i64], first, last| has_all(versions.iter().copied(), first, last);
        assert!(has_all(&[1, 2, 3], 1, 3));
        // Beyond the head, under maintenance.
        assert!(has_all(&[1, 2, 3, 4], 1, 3));
        assert!(!has_all(&[1, 2, 4], 1, 3));
        assert!(!has_all(&[2, 3], 1, 3));
        assert!(!has_all(&[1, 2], 1, 3));
        assert!(!has_all(&[1, 2, 2, 3], 1, 3));
        assert!(!has_all(&[2, 1, 3], 1, 3));
        assert!(!has_all(&[], 1, 3));
        assert!(has_all(&[5, 6], 5, 6));
    }
}
