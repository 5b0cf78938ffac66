use super::*;
use crate::catalog::handmade::{month, server, wrap};
use crate::catalog::workload::{ContextShare, MonthRows};
use crate::layout::retention::Retention;

const MILLION: u64 = 1_000_000;

/// A store that has grown evenly for a year, with these shares of its contexts in percent.
fn store(rows: u64, shares: &[(&str, u64)]) -> Workload {
    let months =
        (0..12).map(|ago| MonthRows { month: month("2025-12").plus(ago), rows: rows / 12 });
    let share = |(name, percent): &(&str, u64)| ContextShare {
        name: (*name).to_owned(),
        rows: rows * percent / 100,
    };
    Workload {
        rows,
        estimated: true,
        table_bytes: rows * 400,
        index_bytes: rows * 200,
        aggregates: Some(rows / 10),
        contexts: shares.iter().map(share).collect(),
        months: months.collect(),
        streams: Vec::new(),
        inserts_per_second: None,
        counted_since: None,
        queries: None,
        notes: Vec::new(),
    }
}

fn read_by_aggregate() -> Queries {
    Queries {
        calls: 100,
        by_aggregate: 90,
        by_position: 10,
        with_context: 90,
        ..Queries::default()
    }
}

struct Case {
    workload: Option<Workload>,
    current: Option<PartitionBy>,
    known: bool,
    keeps: Keeps,
    contexts: Vec<String>,
    server: Server,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            workload: None,
            current: Some(PartitionBy::None),
            known: false,
            keeps: Keeps::default(),
            contexts: Vec::new(),
            server: server(),
        }
    }
}

impl Case {
    fn of(workload: Workload) -> Self {
        Self { workload: Some(workload), ..Self::default() }
    }

    fn kept(mut self, days: u32) -> Self {
        self.keeps.all = Some(Retention::Days(days));
        self
    }

    fn advice(&self) -> Advice {
        advise(&Question {
            server: &self.server,
            workload: self.workload.as_ref(),
            current: self.current,
            known: self.known,
            keeps: &self.keeps,
            contexts: &self.contexts,
            indexes: 4,
        })
    }

    /// Layout and what to do, with everything that is said for and against.
    fn told(&self) -> String {
        let advice = self.advice();
        let hash = advice.hash_partitions.map_or(String::new(), |number| format!(" {number}"));
        let mut lines = vec![format!("{}{hash}: {:?}", advice.layout, advice.next)];
        lines.extend(advice.reasons.iter().map(|reason| format!("  + {}", wrap(reason))));
        lines.extend(advice.against.iter().map(|reason| format!("  - {}", wrap(reason))));
        lines.join("\n")
    }
}

const EVEN: [(&str, u64); 3] = [("Identity", 50), ("Billing", 30), ("Analytics", 20)];
const ONE: [(&str, u64); 2] = [("Shop", 97), ("Identity", 3)];

#[test]
fn a_small_store_without_retention_is_not_partitioned() {
    let mut small = store(200_000, &EVEN);
    small.queries = Some(read_by_aggregate());
    insta::assert_snapshot!(Case::of(small).told(), @"
    none: Baseline
      + no retention is set: nothing leaves by its age, so nothing needs months
      + 599 thousand events in two years are few: below 10 million events dividing saves
        nothing that a reader could measure
      + 90 % of the reads are of one aggregate, which an index finds in any layout
      - contexts cannot be archived, moved or dropped by themselves: if that is wanted,
        choose context
    ");
    let known = Case { known: true, ..Case::of(store(200_000, &ONE)) };
    assert_eq!(known.advice().next, Next::Stay);
}

#[test]
fn a_large_store_is_divided_by_what_it_is_made_of() {
    insta::assert_snapshot!(Case::of(store(30 * MILLION, &EVEN)).told(), @"
    context: Convert { strategy: Copy, minutes_from: 6, minutes_to: 13 }
      + no retention is set: nothing leaves by its age, so nothing needs months
      + 90 million events in two years: indexes and vacuums are smaller in pieces
      + 3 contexts, the largest with 50 % of the events: each is vacuumed, moved and
        archived by itself
      - a new context needs a partition before its first event: pupctl contexts add
    ");
    insta::assert_snapshot!(Case::of(store(900 * MILLION, &EVEN)).told(), @"
    context,hash 64: Convert { strategy: Copy, minutes_from: 173, minutes_to: 375 }
      + no retention is set: nothing leaves by its age, so nothing needs months
      + 2700 million events in two years: indexes and vacuums are smaller in pieces
      + 3 contexts, the largest with 50 % of the events: each is vacuumed, moved and
        archived by itself
      + the largest context alone has more than 100 million events, which a hash divides
      - a new context needs a partition before its first event: pupctl contexts add
      - nothing leaves by itself: archiving one hash partition has no use, and reads
        without the aggregate open all of them
    ");
    insta::assert_snapshot!(Case::of(store(30 * MILLION, &ONE)).told(), @"
    hash 16: Convert { strategy: Copy, minutes_from: 6, minutes_to: 13 }
      + no retention is set: nothing leaves by its age, so nothing needs months
      + 90 million events in two years: indexes and vacuums are smaller in pieces
      + one context has 97 % of the events: dividing by context leaves it as large as it
        is
      - nothing leaves by itself: archiving one hash partition has no use, and reads
        without the aggregate open all of them
    ");
}

#[test]
fn what_leaves_by_its_age_needs_months() {
    insta::assert_snapshot!(Case::of(store(30 * MILLION, &EVEN)).kept(90).told(), @"
    month: Convert { strategy: Copy, minutes_from: 6, minutes_to: 13 }
      + pupctl.toml says how long events stay: a month that is over leaves at once, and
        nothing has to be deleted and vacuumed
      + all contexts have the same time, so one leaf a month is enough for them
      - versions of an aggregate lie in several leaves: the guard takes a part of the
        throughput of appends (a quarter to a half of what a core does)
    ");
    let mut differing = Case::of(store(30 * MILLION, &EVEN)).kept(90);
    differing.keeps.contexts.insert("Identity".to_owned(), None);
    insta::assert_snapshot!(differing.told(), @"
    context,month: Convert { strategy: Copy, minutes_from: 6, minutes_to: 13 }
      + pupctl.toml says how long events stay: a month that is over leaves at once, and
        nothing has to be deleted and vacuumed
      + contexts have different times, so each needs months of its own
      - versions of an aggregate lie in several leaves: the guard takes a part of the
        throughput of appends (a quarter to a half of what a core does)
      - a new context needs a partition before its first event: pupctl contexts add
    ");
    insta::assert_snapshot!(Case::of(store(3000 * MILLION, &ONE)).kept(365).told(), @"
    hash,month 4: Convert { strategy: Copy, minutes_from: 575, minutes_to: 1250 }
      + pupctl.toml says how long events stay: a month that is over leaves at once, and
        nothing has to be deleted and vacuumed
      + a month has 250 million events: a leaf of more than 100 million events takes
        long to archive and to restore
      - versions of an aggregate lie in several leaves: the guard takes a part of the
        throughput of appends (a quarter to a half of what a core does)
      - every month leaves in as many pieces as there are hash partitions, and a read by
        time opens all of them
    ");
}

#[test]
fn a_lock_table_that_is_too_small_decides_too() {
    let mut case = Case::of(store(3000 * MILLION, &EVEN)).kept(3650);
    case.server.max_connections = 5;
    let advice = case.advice();
    assert_eq!(advice.layout, PartitionBy::Month);
    assert!(advice.reasons.iter().any(|reason| reason.contains("lock table")), "{advice:?}");
}

#[test]
fn a_store_that_is_not_there_yet_gets_what_its_retention_needs() {
    let nothing = Case { current: None, ..Case::default() };
    insta::assert_snapshot!(nothing.told(), @"
    none: Init
      + no retention is set: nothing leaves by its age, so nothing needs months
      + there are no events yet: a store can be divided later, while it is used
    ");
    let contexts = vec!["Identity".to_owned(), "it's, \"new\"".to_owned()];
    let mut kept = Case { current: None, contexts, ..Case::default() }.kept(30);
    assert_eq!(kept.advice().layout, PartitionBy::Month);
    kept.keeps.contexts.insert("Identity".to_owned(), None);
    assert_eq!(kept.advice().layout, PartitionBy::ContextMonth);
}

#[test]
fn an_empty_table_has_no_largest_context() {
    let mut empty = store(0, &[]);
    empty.months.clear();
    let advice = Case::of(empty).advice();
    assert_eq!((advice.layout, advice.rows_in_two_years), (PartitionBy::None, 0));
    assert!(advice.forecasts.iter().all(|forecast| forecast.largest_rows == 0));
}

#[test]
fn a_large_table_by_month_is_attached_and_not_copied() {
    let advice = Case::of(store(900 * MILLION, &ONE)).kept(365).advice();
    let Next::Convert { strategy, minutes_from, minutes_to } = advice.next else {
        panic!("{advice:?}")
    };
    assert_eq!((strategy, minutes_from, minutes_to), (Strategy::Attach, 12, 36));
}

#[test]
fn a_store_that_is_divided_otherwise_is_copied() {
    let case = Case {
        current: Some(PartitionBy::Hash),
        known: true,
        ..Case::of(store(30 * MILLION, &EVEN))
    };
    assert_eq!(case.advice().next, Next::Copy);
}

#[test]
fn every_layout_in_two_years() {
    let mut case = Case::of(store(30 * MILLION, &EVEN)).kept(365);
    case.server.max_locks_per_transaction = 16;
    let rows: Vec<String> = case
        .advice()
        .forecasts
        .iter()
        .map(|forecast| {
            let Forecast { layout, leaves, months, largest_rows, locks, locks_percent, .. } =
                forecast;
            let mark = if forecast.recommended { "*" } else { "" };
            let months = months.unwrap_or(0);
            format!(
                "{layout}{mark}: {leaves} leaves, {months} months, {largest_rows} events, {locks} \
                 locks, {locks_percent} %"
            )
        })
        .collect();
    insta::assert_snapshot!(rows.join("\n"), @"
    none: 1 leaves, 0 months, 90000000 events, 5 locks, 0 %
    context: 3 leaves, 0 months, 45000000 events, 16 locks, 1 %
    hash: 16 leaves, 0 months, 5625000 events, 81 locks, 5 %
    month*: 16 leaves, 16 months, 2500000 events, 81 locks, 5 %
    context,hash: 24 leaves, 0 months, 5625000 events, 121 locks, 7 %
    context,month: 48 leaves, 16 months, 1250000 events, 241 locks, 15 %
    hash,month: 32 leaves, 16 months, 1250000 events, 161 locks, 10 %
    ");
}
