//! Every layout that can have a DEFAULT partition.

use insta::assert_snapshot;

use crate::support::TestDatabase;
use crate::{add_default, append, drain, fill, nothing_is_left, rows, store};

fn in_default(db: &TestDatabase, table: &str) -> i64 {
    db.one(&format!("SELECT count(*) FROM {table}_default"))
}

#[test]
fn months_get_their_partitions() {
    let db = store("month", &["--immutable", "--event-ids"], &["events"]);
    let (before, next) = (db.month(-2), db.month(1));
    fill(&db, "A", &before, 300);
    fill(&db, "B", &next, 200);
    append(&db, "A", "now");
    let all = rows(&db);
    let told = drain(&db, &[]).success();
    assert!(told.stderr.contains("Done: 500 rows moved out of 1 DEFAULT partition"), "{told}");
    assert_eq!(rows(&db), all);
    assert_eq!(in_default(&db, "events"), 0);
    assert_snapshot!(db.tree("public.events"), @"
    events BY RANGE (created_at)
      events_default 
      events_m-2 FROM (<m-2>) TO (<m-1>)
      events_m0 FROM (<m0>) TO (<m1>)
      events_m1 FROM (<m1>) TO (<m2>)
    ");
    nothing_is_left(&db);
    // The new partitions are as those that are made in advance.
    let check = db.pupctl(["partitions", "check", "-o", "json"]).success().json();
    let findings = check["findings"].as_array().expect("a list");
    let checks: Vec<_> = findings.iter().map(|finding| &finding["check"]).collect();
    assert_eq!(checks, ["gap"], "{check}");
    db.pupctl(["schema", "verify"]).success();
    // A version or an id that is stored does not come again, and what is written stays.
    let id: String = db.one("SELECT event_id::text FROM events LIMIT 1");
    let again = crate::insert("events", "A", &id, "now");
    assert!(db.client().batch_execute(&again).is_err());
    let leaf = format!("events_{}", before.replace('-', "_"));
    assert!(db.client().batch_execute(&format!("DELETE FROM {leaf}")).is_err());
    // Once more.
    let told = drain(&db, &[]).success();
    assert!(told.stderr.contains("Nothing to do: no DEFAULT partition has rows"), "{told}");
}

#[test]
fn unknown_contexts_stay_until_they_are_added() {
    let db = store("context", &["--contexts", "A"], &["events", "aggregate_heads"]);
    for context in ["O'Neill", "Shop", " odd "] {
        fill(&db, context, &db.month(0), 50);
    }
    let all = rows(&db);
    let told = drain(&db, &[]).success();
    assert!(told.stderr.contains("Nothing to do: what DEFAULT partitions have stays"), "{told}");
    assert!(told.stderr.contains("the layout does not know it: --add-contexts"), "{told}");
    let told = drain(&db, &["--add-contexts", "-o", "json"]).success();
    let report = told.json();
    assert_eq!(report["contexts"], serde_json::json!(["O'Neill", "Shop"]), "{told}");
    assert_eq!(report["drained"][0]["table"], "heads", "{told}");
    assert_eq!(report["drained"][1]["rows"], 100, "{told}");
    assert_eq!(report["left"][1]["rows"], 50, "{told}");
    assert_eq!(rows(&db), all);
    assert_eq!((in_default(&db, "events"), in_default(&db, "aggregate_heads")), (50, 50));
    assert_snapshot!(db.tree("public.events"), @"
    events BY LIST (bounded_context)
      events_default 
      events_a IN ('A')
      events_o_neill IN ('O''Neill')
      events_shop IN ('Shop')
    ");
    assert_snapshot!(db.tree("public.aggregate_heads"), @"
    aggregate_heads BY LIST (bounded_context)
      aggregate_heads_default 
      aggregate_heads_a IN ('A')
      aggregate_heads_o_neill IN ('O''Neill')
      aggregate_heads_shop IN ('Shop')
    ");
    nothing_is_left(&db);
    let told = drain(&db, &["--add-contexts"]).success();
    assert!(told.stderr.contains("Nothing to do"), "{told}");
}

#[test]
fn new_contexts_get_all_their_months_and_heads() {
    let db = store("context,month", &["--contexts", "A"], &["events"]);
    fill(&db, "A", &db.month(0), 1);
    let heads = "CREATE TABLE aggregate_heads_b PARTITION OF aggregate_heads FOR VALUES IN ('B')";
    db.execute(heads);
    fill(&db, "B", &db.month(-3), 20);
    fill(&db, "B", &db.month(-1), 20);
    let all = rows(&db);
    drain(&db, &["--add-contexts"]).success();
    assert_eq!(rows(&db), all);
    assert_snapshot!(db.tree("public.events"), @"
    events BY LIST (bounded_context)
      events_default 
      events_a IN ('A') BY RANGE (created_at)
        events_a_m0 FROM (<m0>) TO (<m1>)
      events_b IN ('B') BY RANGE (created_at)
        events_b_m-3 FROM (<m-3>) TO (<m-2>)
        events_b_m-2 FROM (<m-2>) TO (<m-1>)
        events_b_m-1 FROM (<m-1>) TO (<m0>)
        events_b_m0 FROM (<m0>) TO (<m1>)
    ");
    nothing_is_left(&db);
    db.pupctl(["schema", "verify"]).success();
}

#[test]
fn a_default_below_a_branch() {
    let db = store("context,month", &["--contexts", "A,B"], &["events_a"]);
    fill(&db, "A", &db.month(-1), 120);
    db.execute("INSERT INTO aggregate_heads VALUES ('A', 'Order', 'never', 1)");
    // Not even a month that ends all months takes it.
    append(&db, "A", "infinity");
    let all = rows(&db);
    let told = drain(&db, &[]).success();
    assert!(told.stderr.contains("1 row of times stay"), "{told}");
    assert_eq!(rows(&db), all);
    assert_eq!(in_default(&db, "events_a"), 1);
    assert_snapshot!(db.tree("public.events"), @"
    events BY LIST (bounded_context)
      events_a IN ('A') BY RANGE (created_at)
        events_a_default 
        events_a_m-1 FROM (<m-1>) TO (<m0>)
        events_a_m0 FROM (<m0>) TO (<m1>)
      events_b IN ('B') BY RANGE (created_at)
        events_b_m0 FROM (<m0>) TO (<m1>)
    ");
    nothing_is_left(&db);
}

#[test]
fn columns_of_the_user_come_along() {
    let db = store("month", &[], &[]);
    db.execute(
        "CREATE TYPE mood AS ENUM ('sad', 'happy');
         ALTER TABLE events ADD COLUMN tenant numeric, ADD COLUMN tags text[], ADD COLUMN mood mood,
            ADD COLUMN twice bigint GENERATED ALWAYS AS (aggregate_version * 2) STORED",
    );
    add_default(&db, "events");
    fill(&db, "A", &db.month(-1), 10);
    db.execute("UPDATE events SET tenant = 1.50, tags = '{a,NULL}', mood = 'happy', metadata = '{\"n\": 1e400}'");
    let all = rows(&db);
    drain(&db, &[]).success();
    assert_eq!(rows(&db), all);
    assert_eq!(in_default(&db, "events"), 0);
}

#[test]
fn a_dry_run_says_what_would_be_done() {
    let db = store("month", &["--event-ids"], &["events"]);
    let month = db.month(-1);
    fill(&db, "A", &month, 10);
    let before = crate::support::fingerprint(&mut db.client());
    let told = drain(&db, &["--dry-run"]).success();
    assert_eq!(crate::support::fingerprint(&mut db.client()), before);
    assert!(told.stderr.contains("Dry run: 10 rows of 1 DEFAULT partition"), "{told}");
    let sql = told.stdout.replace(&month, "<m>").replace(&db.month(0), "<n>");
    assert_snapshot!(sql.replace(&month.replace('-', "_"), "<_m>"), @r#"
    -- pupctl partitions drain
    \set ON_ERROR_STOP on

    -- Step 1 of 6: Make events_drain beside events.
    -- Why: the server attaches no partition while DEFAULT has its rows: they are copied below this table first.
    BEGIN;
    SET LOCAL lock_timeout = '1s';
    -- A branch for DEFAULT, made beside its parent.
    -- Lock: ACCESS SHARE on public.events.
    CREATE TABLE "public"."events_drain" (LIKE "public"."events" INCLUDING ALL EXCLUDING IDENTITY EXCLUDING STATISTICS) PARTITION BY RANGE (created_at);
    -- If this run is interrupted, the next one finds the branch by this mark.
    COMMENT ON TABLE "public"."events_drain" IS 'pupctl: unfinished partition DEFAULT of events';
    COMMIT;

    -- Step 2 of 6: Make 2 partitions, events_<_m> to events_default_next.
    -- Why: the layout names these partitions and the database lacks them.
    BEGIN;
    SET LOCAL lock_timeout = '1s';
    -- A leaf for <m>, made beside its parent.
    -- Lock: ACCESS SHARE on public.events_drain.
    CREATE TABLE "public"."events_<_m>" (LIKE "public"."events_drain" INCLUDING ALL EXCLUDING IDENTITY EXCLUDING STATISTICS);
    -- Its own keys, which the parent cannot have.
    ALTER TABLE "public"."events_<_m>"
        ADD PRIMARY KEY ("bounded_context", "aggregate_type", "aggregate_id", "aggregate_version"),
        ADD UNIQUE ("event_id"),
        ADD UNIQUE ("global_position");
    -- Rows of <m> go to it from here on.
    -- Lock: SHARE UPDATE EXCLUSIVE on public.events_drain.
    ALTER TABLE "public"."events_drain" ATTACH PARTITION "public"."events_<_m>" FOR VALUES FROM ('<m>-01 00:00:00+00') TO ('<n>-01 00:00:00+00');
    -- A leaf for DEFAULT, made beside its parent.
    -- Lock: ACCESS SHARE on public.events_drain.
    CREATE TABLE "public"."events_default_next" (LIKE "public"."events_drain" INCLUDING ALL EXCLUDING IDENTITY EXCLUDING STATISTICS);
    -- Its own keys, which the parent cannot have.
    ALTER TABLE "public"."events_default_next"
        ADD PRIMARY KEY ("bounded_context", "aggregate_type", "aggregate_id", "aggregate_version"),
        ADD UNIQUE ("event_id"),
        ADD UNIQUE ("global_position");
    -- Rows of DEFAULT go to it from here on.
    -- Lock: SHARE UPDATE EXCLUSIVE on public.events_drain.
    ALTER TABLE "public"."events_drain" ATTACH PARTITION "public"."events_default_next" DEFAULT;
    -- For new rows at once, for the others with the next step.
    -- Lock: ACCESS EXCLUSIVE on public.events_<_m>.
    ALTER TABLE "public"."events_<_m>" ADD CONSTRAINT "pupctl_bounds" CHECK ("created_at" IS NOT NULL AND "created_at" >= '<m>-01 00:00:00+00' AND "created_at" < '<n>-01 00:00:00+00') NOT VALID;
    -- Reads the whole table.
    -- Lock: SHARE UPDATE EXCLUSIVE on public.events_<_m>.
    ALTER TABLE "public"."events_<_m>" VALIDATE CONSTRAINT "pupctl_bounds";
    COMMIT;

    -- Step 3 of 6: Copy 10 rows of events_default.
    -- Why: pupctl does it in batches, up to the settled position, and proves the copy; nobody waits.
    BEGIN;
    SET LOCAL lock_timeout = '1s';
    -- To where it belongs; nobody reads it there yet.
    -- Lock: ACCESS SHARE on public.events_default.
    INSERT INTO "public"."events_drain" ("global_position", "bounded_context", "aggregate_type", "aggregate_id", "aggregate_version", "event_id", "event_type", "event_version", "payload", "trace_id", "correlation_id", "causation_id", "metadata", "created_at")
    SELECT "global_position", "bounded_context", "aggregate_type", "aggregate_id", "aggregate_version", "event_id", "event_type", "event_version", "payload", "trace_id", "correlation_id", "causation_id", "metadata", "created_at" FROM ONLY "public"."events_default" AS old;
    -- A statement on a table fires the triggers of that table alone.
    CREATE OR REPLACE TRIGGER "pupctl_guard"
        AFTER INSERT ON "public"."events_<_m>" REFERENCING NEW TABLE AS pupctl_added
        FOR EACH STATEMENT WHEN (current_setting('pupctl.maintenance', true) IS DISTINCT FROM 'on')
        EXECUTE FUNCTION "public"."pupctl_guard"();
    -- A statement on a table fires the triggers of that table alone.
    CREATE OR REPLACE TRIGGER "pupctl_guard"
        AFTER INSERT ON "public"."events_default_next" REFERENCING NEW TABLE AS pupctl_added
        FOR EACH STATEMENT WHEN (current_setting('pupctl.maintenance', true) IS DISTINCT FROM 'on')
        EXECUTE FUNCTION "public"."pupctl_guard"();
    COMMIT;

    -- Step 4 of 6: Put the partitions in the place of events_default.
    -- Why: writers wait some milliseconds; pupctl first copies what came meanwhile, in a second session, and waits for older snapshots, which would not see it.
    BEGIN;
    SET LOCAL lock_timeout = '1s';
    -- Writers wait from here on, readers do not.
    -- Lock: SHARE ROW EXCLUSIVE on public.events.
    -- Lock: SHARE ROW EXCLUSIVE on public.events_default.
    LOCK TABLE ONLY "public"."events", ONLY "public"."events_default" IN SHARE ROW EXCLUSIVE MODE;
    -- What came since the first copy.
    INSERT INTO "public"."events_drain" ("global_position", "bounded_context", "aggregate_type", "aggregate_id", "aggregate_version", "event_id", "event_type", "event_version", "payload", "trace_id", "correlation_id", "causation_id", "metadata", "created_at")
    SELECT "global_position", "bounded_context", "aggregate_type", "aggregate_id", "aggregate_version", "event_id", "event_type", "event_version", "payload", "trace_id", "correlation_id", "causation_id", "metadata", "created_at" FROM ONLY "public"."events_default" AS old
    WHERE NOT EXISTS (SELECT FROM "public"."events_drain" AS copied WHERE copied.global_position = old.global_position);
    -- Wait here, a moment at a time.
    -- Lock: ACCESS EXCLUSIVE on public.events.
    -- Lock: ACCESS EXCLUSIVE on public.events_default.
    LOCK TABLE ONLY "public"."events", "public"."events_default" IN ACCESS EXCLUSIVE MODE;
    -- Its rows are in the new partitions.
    -- Lock: ACCESS EXCLUSIVE on public.events.
    -- Lock: ACCESS EXCLUSIVE on public.events_default.
    ALTER TABLE "public"."events" DETACH PARTITION "public"."events_default";
    -- The name is the other one's from here on.
    ALTER TABLE "public"."events_default" RENAME TO "events_default_drained";
    -- If this run is interrupted, the next one proves by this mark that nothing is missing.
    COMMENT ON TABLE "public"."events_default_drained" IS 'pupctl: drained DEFAULT of events';
    -- A statement on a table fires the triggers of that table alone.
    CREATE OR REPLACE TRIGGER "pupctl_keep_ids"
        AFTER INSERT ON "public"."events_<_m>" REFERENCING NEW TABLE AS pupctl_added
        FOR EACH STATEMENT
        EXECUTE FUNCTION "public"."pupctl_keep_ids"();
    -- A statement on a table fires the triggers of that table alone.
    CREATE OR REPLACE TRIGGER "pupctl_keep_ids"
        AFTER INSERT ON "public"."events_default_next" REFERENCING NEW TABLE AS pupctl_added
        FOR EACH STATEMENT
        EXECUTE FUNCTION "public"."pupctl_keep_ids"();
    -- From beside the tree.
    ALTER TABLE "public"."events_drain" DETACH PARTITION "public"."events_<_m>";
    -- Rows of <m> are here.
    -- Lock: SHARE UPDATE EXCLUSIVE on public.events.
    ALTER TABLE "public"."events" ATTACH PARTITION "public"."events_<_m>" FOR VALUES FROM ('<m>-01 00:00:00+00') TO ('<n>-01 00:00:00+00');
    -- It has spared the reading of the partition.
    ALTER TABLE "public"."events_<_m>" DROP CONSTRAINT IF EXISTS "pupctl_bounds";
    -- From beside the tree.
    ALTER TABLE "public"."events_drain" DETACH PARTITION "public"."events_default_next";
    -- The name is the other one's from here on.
    ALTER TABLE "public"."events_default_next" RENAME TO "events_default";
    -- Rows of DEFAULT are here.
    -- Lock: SHARE UPDATE EXCLUSIVE on public.events.
    ALTER TABLE "public"."events" ATTACH PARTITION "public"."events_default" DEFAULT;
    -- It is empty: all that was below it is in its place.
    DROP TABLE "public"."events_drain";
    COMMIT;

    -- Step 5 of 6: Drop events_default_drained.
    -- Why: pupctl first proves that the partitions have every row of it.
    BEGIN;
    SET LOCAL lock_timeout = '1s';
    -- Nobody reads it.
    DROP TABLE "public"."events_default_drained";
    COMMIT;

    -- Step 6 of 6: Analyze events.
    -- Why: autovacuum never analyzes a partitioned table, and the planner needs to know the new partitions; before PostgreSQL 18 this analyzes every leaf too, one after the other (--no-analyze leaves it out).
    -- Autovacuum never does it on a partitioned table.
    -- Lock: SHARE UPDATE EXCLUSIVE on public.events.
    ANALYZE (SKIP_LOCKED) "public"."events";
    "#);
    // psql runs it as it is.
    let all = rows(&db);
    let file = db.folder().join("drain.sql");
    std::fs::write(&file, &told.stdout).expect("a file");
    db.psql(["-f", "drain.sql"]).success();
    assert_eq!(rows(&db), all);
    assert_eq!(in_default(&db, "events"), 0);
    nothing_is_left(&db);
}
