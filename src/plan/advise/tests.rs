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
    insta::assert_snapshot!(Case::of(small).told(), @"");
    let known = Case { known: true, ..Case::of(store(200_000, &ONE)) };
    assert_eq!(known.advice().next, Next::Stay);
}

#[test]
fn a_large_store_is_divided_by_what_it_is_made_of() {
    insta::assert_snapshot!(Case::of(store(30 * MILLION, &EVEN)).told(), @"");
    insta::assert_snapshot!(Case::of(store(900 * MILLION, &EVEN)).told(), @"");
    insta::assert_snapshot!(Case::of(store(30 * MILLION, &ONE)).told(), @"");
}

#[test]
fn what_leaves_by_its_age_needs_months() {
    insta::assert_snapshot!(Case::of(store(30 * MILLION, &EVEN)).kept(90).told(), @"");
    let mut differing = Case::of(store(30 * MILLION, &EVEN)).kept(90);
    differing.keeps.contexts.insert("Identity".to_owned(), None);
    insta::assert_snapshot!(differing.told(), @"");
    insta::assert_snapshot!(Case::of(store(3000 * MILLION, &ONE)).kept(365).told(), @"");
}

#[test]
fn a_lock_table_that_is_too_small_decides_too() {
    let mut case = Case::of(store(3000 * MILLION, &EVEN)).kept(3650);
    case.server.max_connections = 10;
    let advice = case.advice();
    assert_eq!(advice.layout, PartitionBy::Month);
    assert!(advice.reasons.iter().any(|reason| reason.contains("lock table")), "{advice:?}");
}

#[test]
fn a_store_that_is_not_there_yet_gets_what_its_retention_needs() {
    let nothing = Case { current: None, ..Case::default() };
    insta::assert_snapshot!(nothing.told(), @"");
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
    insta::assert_snapshot!(rows.join("\n"), @"");
}
