//! The page of stores that no test would like to make on a server.

use chrono::{TimeZone, Utc};

use super::page::page;
use crate::finding::Finding;
use crate::layout::month::Month;
use crate::overview::growth::{Growth, MonthTotal};
use crate::overview::partitions::{Absence, Absent, Partition, State};
use crate::overview::{Locks, Overview, StoreFacts, Totals};

const HOSTILE: &str = "\u{1b}[2J<script>alert('x')</script>\u{202e}\"";

fn partition(context: &str, month: Month, number: usize) -> Partition {
    Partition {
        name: format!("public.events_{number}"),
        place: format!("{context}/{month}"),
        context: Some(context.to_owned()),
        share: None,
        month: Some(month),
        state: if number.is_multiple_of(3) { State::Closed } else { State::Past },
        rows: Some(number as u64 * 1000),
        table_bytes: number as u64 * 100_000,
        index_bytes: number as u64 * 50_000,
        closed_at: None,
        estimated_months: Vec::new(),
    }
}

/// A store of so many contexts and months, of which half of one is missing.
fn overview(contexts: usize, months: i32) -> Overview {
    let first: Month = "2010-01".parse().expect("a month");
    let last = first.plus(months - 1);
    let (mut partitions, mut absent) = (Vec::new(), Vec::new());
    for number in 0..contexts {
        let context = format!("{HOSTILE}{number}");
        for (position, month) in first.through(last).enumerate() {
            if number == 0 && position % 2 == 1 {
                absent.push(Absent {
                    place: format!("{context}/{month}"),
                    context: Some(context.clone()),
                    share: None,
                    month: Some(month),
                    absence: Absence::Missing,
                    archive: None,
                    rows: None,
                });
            } else {
                partitions.push(partition(&context, month, partitions.len()));
            }
        }
    }
    let month = |month| MonthTotal {
        month,
        rows: 1000,
        bytes: 1_000_000,
        estimated: false,
        leaves: contexts,
        closed: 0,
        archived: 0,
        detached: 0,
        missing: 0,
    };
    let mut findings = Vec::new();
    for number in 0..contexts * 10 {
        findings.push(Finding::warning("check", &HOSTILE, format!("{HOSTILE} {number}")));
    }
    Overview {
        taken_at: Utc.timestamp_opt(1_700_000_000, 0).single().expect("a time"),
        month: last,
        store: StoreFacts {
            server: "15.18 (Debian)".to_owned(),
            standby: false,
            database: HOSTILE.to_owned(),
            schema: "public".to_owned(),
            table: "public.events".to_owned(),
            layout: "context, then month".to_owned(),
            months_ahead: 3,
        },
        totals: Totals { leaves: partitions.len(), rows: 1, ..Totals::default() },
        growth: Growth::default(),
        months_ahead: Vec::new(),
        months: first.through(last).map(month).collect(),
        partitions,
        absent,
        findings,
        head: None,
        settled_position: None,
        projections: Vec::new(),
        archives: Vec::new(),
        held_back: Vec::new(),
        jobs: Vec::new(),
        operations: Vec::new(),
        locks: Locks { capacity: 1, events: 1, heads: 1 },
        notes: vec![HOSTILE.to_owned()],
    }
}

#[test]
fn ten_thousand_partitions_are_a_page_of_less_than_two_megabytes() {
    let store = overview(100, 100);
    assert!(store.partitions.len() > 9_900);
    let page = page(&store, None);
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    for month in &store.months {
        assert!(page.contains(&format!("<th scope=\"row\">{}</th>", month.month)));
    }
    assert!(page.contains(">40 others<"), "contexts beyond 60 are one row");
    assert!(page.contains("The 1,000 largest of 9,950 leaves"));
    assert!(page.contains("800 more"), "of the findings");
}

#[test]
fn one_context_of_ten_thousand_months_is_shown_in_decades() {
    let mut wide = overview(1, 989 * 12);
    wide.partitions.truncate(10_000);
    let page = page(&wide, None);
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    assert!(page.contains("Every column is ten years"));
}

#[test]
fn no_name_becomes_a_part_of_the_page() {
    let page = page(&overview(2, 3), Some(HOSTILE));
    let escaped = "\u{fffd}[2J&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;\u{fffd}&quot;";
    assert!(page.matches(escaped).count() > 10);
    assert_eq!(page.matches("<script").count(), 1);
    assert!(!page.contains(['\u{1b}', '\u{202e}']));
    assert!(page.contains("class=\"missing\"") && page.contains("class=\"cross\""));
}
