use super::*;
use crate::catalog::bound;
use crate::catalog::handmade::{empty_store, layout, month, months, root_of};
use crate::catalog::relation::{Grant, ReplicaIdentity};
use crate::layout::bounds::{Bound, Edge};
use crate::layout::levels::PartitionBy;
use crate::layout::{Layout, Role};
use crate::plan::ensure;

fn script(layout: &Layout, catalog: &crate::catalog::Catalog) -> String {
    let plan = ensure::plan(layout, catalog, &months(0)).expect("a plan");
    let script = Script::of(&plan).to_sql("partitions ensure");
    // Long statements in lines that fit here.
    [" (LIKE", " ATTACH", " FOR VALUES", " PARTITION BY"]
        .iter()
        .fold(script, |script, word| script.replace(word, &format!("\n   {word}")))
}

#[test]
fn a_leaf_with_all_that_it_takes_over() {
    let layout = layout(PartitionBy::Month, &[]);
    let mut catalog = empty_store(&layout);
    let root = root_of(&mut catalog, Role::Events);
    root.owner = "Event \"Owner\"".to_owned();
    root.replica_identity = ReplicaIdentity::Full;
    let grant = |grantee: Option<&str>, privilege: &str, grantable| Grant {
        grantee: grantee.map(str::to_owned),
        privilege: privilege.to_owned(),
        grantable,
    };
    root.grants = vec![grant(None, "SELECT", false), grant(Some("reader"), "INSERT", true)];
    insta::assert_snapshot!(script(&layout, &catalog), @r#"
    -- pupctl partitions ensure
    \set ON_ERROR_STOP on

    -- Step 1 of 1: Make events_2026_11.
    -- Why: the layout names these partitions and the database lacks them.
    BEGIN;
    SET LOCAL lock_timeout = '1s';
    -- Wait here, before any work; readers and writers go on.
    -- Lock: SHARE UPDATE EXCLUSIVE on public.events.
    LOCK TABLE ONLY "public"."events" IN SHARE UPDATE EXCLUSIVE MODE;
    -- A leaf for 2026-11, made beside its parent.
    -- Lock: ACCESS SHARE on public.events.
    CREATE TABLE "public"."events_2026_11"
        (LIKE "public"."events" INCLUDING ALL EXCLUDING IDENTITY EXCLUDING STATISTICS);
    -- Its own keys, which the parent cannot have.
    ALTER TABLE "public"."events_2026_11"
        ADD PRIMARY KEY ("bounded_context", "aggregate_type", "aggregate_id", "aggregate_version"),
        ADD UNIQUE ("event_id"),
        ADD UNIQUE ("global_position");
    -- As on its parent.
    GRANT SELECT ON "public"."events_2026_11" TO PUBLIC;
    -- As on its parent.
    GRANT INSERT ON "public"."events_2026_11" TO "reader" WITH GRANT OPTION;
    -- As on its parent.
    ALTER TABLE "public"."events_2026_11" REPLICA IDENTITY FULL;
    -- As on its parent.
    ALTER TABLE "public"."events_2026_11" OWNER TO "Event ""Owner""";
    -- Rows of 2026-11 go to it from here on.
    -- Lock: SHARE UPDATE EXCLUSIVE on public.events.
    ALTER TABLE "public"."events"
        ATTACH PARTITION "public"."events_2026_11"
        FOR VALUES FROM ('2026-11-01 00:00:00+00') TO ('2026-12-01 00:00:00+00');
    COMMIT;
    "#);
}

#[test]
fn a_branch_is_built_beside_and_attached_last() {
    let layout = layout(PartitionBy::ContextMonth, &["it's"]);
    insta::assert_snapshot!(script(&layout, &empty_store(&layout)), @r#"
    -- pupctl partitions ensure
    \set ON_ERROR_STOP on

    -- Step 1 of 2: Make aggregate_heads_it_s.
    -- Why: the layout names these partitions and the database lacks them.
    BEGIN;
    SET LOCAL lock_timeout = '1s';
    -- Wait here, before any work; readers and writers go on.
    -- Lock: SHARE UPDATE EXCLUSIVE on public.aggregate_heads.
    LOCK TABLE ONLY "public"."aggregate_heads" IN SHARE UPDATE EXCLUSIVE MODE;
    -- A leaf for it's, made beside its parent.
    -- Lock: ACCESS SHARE on public.aggregate_heads.
    CREATE TABLE "public"."aggregate_heads_it_s"
        (LIKE "public"."aggregate_heads" INCLUDING ALL EXCLUDING IDENTITY EXCLUDING STATISTICS);
    -- Rows of it's go to it from here on.
    -- Lock: SHARE UPDATE EXCLUSIVE on public.aggregate_heads.
    ALTER TABLE "public"."aggregate_heads"
        ATTACH PARTITION "public"."aggregate_heads_it_s"
        FOR VALUES IN ('it''s');
    COMMIT;

    -- Step 2 of 2: Make 2 partitions, events_it_s to events_it_s_2026_11.
    -- Why: the layout names these partitions and the database lacks them.
    BEGIN;
    SET LOCAL lock_timeout = '1s';
    -- Wait here, before any work; readers and writers go on.
    -- Lock: SHARE UPDATE EXCLUSIVE on public.events.
    LOCK TABLE ONLY "public"."events" IN SHARE UPDATE EXCLUSIVE MODE;
    -- A branch for it's, made beside its parent.
    -- Lock: ACCESS SHARE on public.events.
    CREATE TABLE "public"."events_it_s"
        (LIKE "public"."events" INCLUDING ALL EXCLUDING IDENTITY EXCLUDING STATISTICS)
        PARTITION BY RANGE (created_at);
    -- A leaf for 2026-11, made beside its parent.
    -- Lock: ACCESS SHARE on public.events_it_s.
    CREATE TABLE "public"."events_it_s_2026_11"
        (LIKE "public"."events_it_s" INCLUDING ALL EXCLUDING IDENTITY EXCLUDING STATISTICS);
    -- Its own keys, which the parent cannot have.
    ALTER TABLE "public"."events_it_s_2026_11"
        ADD PRIMARY KEY ("bounded_context", "aggregate_type", "aggregate_id", "aggregate_version"),
        ADD UNIQUE ("event_id"),
        ADD UNIQUE ("global_position");
    -- Rows of 2026-11 go to it from here on.
    -- Lock: SHARE UPDATE EXCLUSIVE on public.events_it_s.
    ALTER TABLE "public"."events_it_s"
        ATTACH PARTITION "public"."events_it_s_2026_11"
        FOR VALUES FROM ('2026-11-01 00:00:00+00') TO ('2026-12-01 00:00:00+00');
    -- Rows of it's go to it from here on.
    -- Lock: SHARE UPDATE EXCLUSIVE on public.events.
    ALTER TABLE "public"."events"
        ATTACH PARTITION "public"."events_it_s"
        FOR VALUES IN ('it''s');
    COMMIT;
    "#);
}

#[test]
fn what_is_written_is_read_back() {
    let mut bounds = vec![Bound::Default];
    for name in ["A", "it's", "a, b", "NULL", "')", "\\", "E'x'", "'", "''", " ", "ü€", "a\nb"] {
        bounds.push(Bound::context(name));
        bounds.push(Bound::List(vec![Some(name.to_owned()), None, Some("other".to_owned())]));
    }
    for month in month("1900-01").through(month("2999-12")) {
        bounds.push(Bound::month(month));
    }
    let edge = Edge::At(month("2026-11").start() + chrono::TimeDelta::microseconds(1));
    bounds.push(Bound::Range { from: Edge::Min, to: edge });
    bounds.push(Bound::Range { from: edge, to: Edge::Max });
    for bound in bounds {
        // The server prints backslashes as they are, while a statement escapes them.
        let printed = match &bound {
            Bound::List(values) if values.iter().flatten().any(|value| value.contains('\\')) => {
                quote::bound(&bound).replace("E'", "'").replace("\\\\", "\\")
            }
            _ => quote::bound(&bound),
        };
        assert_eq!(bound::parse(&printed), bound, "{printed}");
    }
}

#[test]
fn foreign_keys_and_tablespaces_are_taken_over_and_told() {
    let layout = layout(PartitionBy::Month, &[]);
    let mut catalog = empty_store(&layout);
    let root = root_of(&mut catalog, Role::Events);
    root.tablespace = Some("fast \"disks\"".to_owned());
    root.foreign_keys = vec![QualifiedName::new("shop", "orders")];
    let script = script(&layout, &catalog);
    let told = |words: &str| script.lines().filter(|line| line.contains(words)).count();
    assert_eq!(told("TABLESPACE \"fast \"\"disks\"\"\";"), 1, "{script}");
    assert_eq!(told("-- Lock: SHARE ROW EXCLUSIVE on shop.orders."), 1, "{script}");
}
