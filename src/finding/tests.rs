use super::*;
use crate::catalog::handmade::{empty_store, layout, month, root_of, whole_store, wrap};
use crate::catalog::index::Index;
use crate::catalog::{Column, Unfinished};
use crate::layout::Role;
use crate::layout::bounds::{Bound, Edge};
use crate::layout::levels::PartitionBy;
use crate::layout::name::QualifiedName;

/// What the checks find, each with its message and remedy.
fn found(layout: &Layout, catalog: &Catalog) -> String {
    let findings = check(layout, catalog).expect("findings");
    let line = |finding: &Finding| {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Notice => "notice",
        };
        let remedy = finding.remedy.as_deref().unwrap_or("nothing");
        let Finding { check, object, message, .. } = finding;
        let lines = [format!("{severity} {check} {object}"), wrap(message), wrap(remedy)];
        lines.join("\n  ")
    };
    findings.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A store by month, sound until the test changes it.
fn by_month() -> (Layout, Catalog) {
    let layout = layout(PartitionBy::Month, &[]);
    let catalog = whole_store(&layout);
    (layout, catalog)
}

#[test]
fn a_sound_store_has_no_findings() {
    for by in PartitionBy::ALL {
        let layout = layout(by, &["Identity", "Billing"]);
        assert_eq!(found(&layout, &whole_store(&layout)), "", "{by}");
    }
}

#[test]
fn missing_tables_and_other_columns() {
    let (layout, mut catalog) = by_month();
    catalog.checkpoints = None;
    let columns = &mut catalog.heads.as_mut().expect("heads").columns;
    columns[4].data_type = "date".to_owned();
    let other = |name: &str, not_null, default: Option<&str>| Column {
        name: name.to_owned(),
        data_type: "text".to_owned(),
        not_null,
        default: default.map(str::to_owned),
        ..Column::default()
    };
    columns.push(other("optional", false, None));
    columns.push(other("filled", true, Some("'x'")));
    columns.push(other("demanding", true, None));
    insta::assert_snapshot!(found(&layout, &catalog), @"
    error missing_table public.projection_checkpoints
      the table public.projection_checkpoints is missing
      pupctl schema init
    error table_differs public.aggregate_heads
      column updated_at is date, must be timestamp with time zone
      nothing
    error table_differs public.aggregate_heads
      column demanding is not one of the store's and must be filled, which its writers
        do not
      nothing
    ");
}

#[test]
fn a_context_that_is_divided_otherwise_lacks_no_month() {
    let layout = layout(PartitionBy::ContextMonth, &["A"]);
    let mut catalog = whole_store(&layout);
    let branch = &mut root_of(&mut catalog, Role::Events).partitions[0];
    branch.partition_key = None;
    branch.partitions.clear();
    assert!(!found(&layout, &catalog).contains("missing_month"));
}

#[test]
fn missing_partitions_by_how_much_they_matter() {
    let layout = layout(PartitionBy::Context, &["A"]);
    insta::assert_snapshot!(found(&layout, &empty_store(&layout)), @"
    error missing_partition public.aggregate_heads
      no partition for A: inserts fail
      pupctl partitions ensure
    error missing_partition public.events
      no partition for A: inserts fail
      pupctl partitions ensure
    ");

    let (layout, mut catalog) = by_month();
    let months = &mut root_of(&mut catalog, Role::Events).partitions;
    // The current month becomes one of the past, so that one between is a gap.
    months[0].bound = Some(Bound::month(month("2026-09")));
    months.pop();
    insta::assert_snapshot!(found(&layout, &catalog), @"
    error missing_month public.events
      no partition for the current month, 2026-11: inserts fail
      pupctl partitions ensure
    warning gap public.events
      no partition for 2026-10: late events of that month fail
      pupctl partitions ensure --from 2026-10
    warning missing_month public.events
      no partition for 2026-12, which the layout keeps ready
      pupctl partitions ensure
    ");
}

/// A store by month that also has this one.
fn with_month(text: &str) -> (Layout, Catalog) {
    let (layout, mut catalog) = by_month();
    let months = &mut root_of(&mut catalog, Role::Events).partitions;
    let mut other = months[0].clone();
    other.bound = Some(Bound::month(month(text)));
    months.push(other);
    (layout, catalog)
}

#[test]
fn a_long_hole_before_the_present_is_no_gap() {
    let missing = |text| {
        let (layout, catalog) = with_month(text);
        found(&layout, &catalog).matches("warning gap").count()
    };
    assert_eq!(missing("2025-10"), 12);
    assert_eq!(missing("2025-09"), 0);
    assert_eq!(missing("2005-04"), 0);
}

#[test]
fn pending_detaches() {
    let (layout, mut catalog) = by_month();
    root_of(&mut catalog, Role::Events).partitions[1].detach_pending = true;
    insta::assert_snapshot!(found(&layout, &catalog), @r#"
    error pending_detach public.events_2026_12
      its detach was begun and not finished: rows are invisible, inserts fail
      pupctl partitions detach public.events_2026_12
    "#);
}

#[test]
fn unfinished_branches() {
    let layout = layout(PartitionBy::ContextMonth, &["A"]);
    let mut catalog = whole_store(&layout);
    let branch = root_of(&mut catalog, Role::Events).partitions.remove(0);
    catalog.unfinished.push(Unfinished { mark: "its mark".to_owned(), branch });
    insta::assert_snapshot!(found(&layout, &catalog), @"
    error missing_partition public.events
      no partition for A: inserts fail
      pupctl partitions ensure
    warning unfinished_branch public.events_a
      it was being built when a run was interrupted, and is not attached
      pupctl partitions ensure
    ");
}

#[test]
fn rows_in_a_default_partition() {
    let (layout, mut catalog) = by_month();
    catalog.default_with_rows.push(QualifiedName::new("public", "events_default"));
    insta::assert_snapshot!(found(&layout, &catalog), @"
    error default_rows public.events_default
      the DEFAULT partition holds rows, so their own partitions cannot be made
      pupctl partitions drain
    ");
}

#[test]
fn all_months_before_one() {
    let (layout, mut catalog) = by_month();
    let heap = &mut root_of(&mut catalog, Role::Events).partitions[0];
    heap.bound = Some(Bound::history(month("2026-12")));
    // Its own keys, as an old table has them.
    for index in &mut heap.indexes {
        index.primary = index.columns == ["global_position"];
    }
    insta::assert_snapshot!(found(&layout, &catalog), @"
    notice history public.events_2026_11
      it holds all months before 2026-12 (not counted yet): they can be closed and
        archived when it is divided
      pupctl partitions split events_2026_11
    ");
}

#[test]
fn bounds_off_the_grid() {
    let (layout, mut catalog) = by_month();
    let end = Edge::At(month("2026-12").start());
    let wide = Bound::Range { from: Edge::At(month("2026-09").start()), to: end };
    let across = Bound::Range { from: Edge::At(month("2026-12").start()), to: Edge::Max };
    let partitions = &mut root_of(&mut catalog, Role::Events).partitions;
    (partitions[0].bound, partitions[1].bound) = (Some(wide), Some(across));
    insta::assert_snapshot!(found(&layout, &catalog), @"
    warning off_grid public.events_2026_11
      its bounds (2026-09-01T00:00:00Z to 2026-12-01T00:00:00Z) are not one month in
        UTC
      pupctl partitions split events_2026_11
    warning off_grid public.events_2026_12
      its bounds (2026-12-01T00:00:00Z to MAXVALUE) are not one month in UTC
      nothing
    ");

    let layout = crate::catalog::handmade::layout(PartitionBy::ContextHash, &["A", "B"]);
    let mut catalog = whole_store(&layout);
    let contexts = &mut root_of(&mut catalog, Role::Events).partitions;
    contexts[0].bound = Some(Bound::List(vec![Some("A".to_owned()), Some("C".to_owned())]));
    contexts[1].partitions[0].bound = Some(Bound::Hash { modulus: 4, remainder: 0 });
    insta::assert_snapshot!(found(&layout, &catalog), @"
    error missing_partition public.events_b
      no partition for hash 0 of 2: inserts fail
      pupctl partitions ensure
    warning off_grid public.events_a
      its bounds (A, C) are not one context
      nothing
    warning off_grid public.events_b_hash_00
      its bounds (hash 0 of 4) are not one of 2 hash shares
      nothing
    ");
}

#[test]
fn lost_keys() {
    let (layout, mut catalog) = by_month();
    let leaf = &mut root_of(&mut catalog, Role::Events).partitions[0];
    leaf.indexes.retain(|index| !index.unique);
    insta::assert_snapshot!(found(&layout, &catalog), @r#"
    error missing_key public.events_2026_11
      no valid key on (bounded_context, aggregate_type, aggregate_id,
        aggregate_version)
      ALTER TABLE "public"."events_2026_11" ADD PRIMARY KEY ("bounded_context",
        "aggregate_type", "aggregate_id", "aggregate_version");
    error missing_key public.events_2026_11
      no valid key on (event_id)
      ALTER TABLE "public"."events_2026_11" ADD UNIQUE ("event_id");
    error missing_key public.events_2026_11
      no valid key on (global_position)
      ALTER TABLE "public"."events_2026_11" ADD UNIQUE ("global_position");
    "#);
}

#[test]
fn invalid_and_missing_indexes() {
    let (layout, mut catalog) = by_month();
    let months = &mut root_of(&mut catalog, Role::Events).partitions;
    let half = Index { name: "half".to_owned(), valid: false, ..Index::default() };
    months[0].indexes.push(half);
    months[1].indexes.retain(|index| index.method != "brin");
    insta::assert_snapshot!(found(&layout, &catalog), @r#"
    warning invalid_index public.half
      invalid index on public.events_2026_11: the server does not use it
      REINDEX INDEX CONCURRENTLY "public"."half";
    warning missing_index public.events_2026_12
      no BRIN index on created_at: reads by time scan it whole
      pupctl schema index add --columns created_at --method brin --with
        pages_per_range=32,autosummarize=on
    "#);
}

#[test]
fn half_of_the_lock_table_is_worth_a_warning() {
    let (layout, mut catalog) = by_month();
    // Two leaves with four indexes, the parent with one: 12 locks.
    (catalog.server.max_locks_per_transaction, catalog.server.max_connections) = (5, 5);
    assert_eq!(found(&layout, &catalog), "", "12 of 25");
    (catalog.server.max_locks_per_transaction, catalog.server.max_connections) = (4, 6);
    insta::assert_snapshot!(found(&layout, &catalog), @"
    warning lock_budget public.events
      one statement that opens all partitions takes 12 of the server's 24 locks
      set max_locks_per_transaction = 64 in postgresql.conf and restart the server
    ");
}
