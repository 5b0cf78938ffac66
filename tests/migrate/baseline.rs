//! Tables that pupsourcing's generator made, and others.

use crate::recorded;
use crate::support::{Append, Output, TestDatabase};

/// What `migrate-gen` of pupsourcing writes.
const PUPSOURCING: &str = "
CREATE TABLE events (
    global_position BIGSERIAL PRIMARY KEY,
    bounded_context TEXT NOT NULL,
    aggregate_type TEXT NOT NULL,
    aggregate_id TEXT NOT NULL,
    aggregate_version BIGINT NOT NULL,
    event_id UUID NOT NULL UNIQUE,
    event_type TEXT NOT NULL,
    event_version INT NOT NULL DEFAULT 1,
    payload BYTEA NOT NULL,
    trace_id TEXT,
    correlation_id TEXT,
    causation_id TEXT,
    metadata JSONB,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    UNIQUE (bounded_context, aggregate_type, aggregate_id, aggregate_version)
);
CREATE INDEX idx_events_aggregate
    ON events (bounded_context, aggregate_type, aggregate_id, aggregate_version);
CREATE INDEX idx_events_event_type ON events (event_type, global_position);
CREATE INDEX idx_events_correlation ON events (correlation_id) WHERE correlation_id IS NOT NULL;
CREATE TABLE aggregate_heads (
    bounded_context TEXT NOT NULL,
    aggregate_type TEXT NOT NULL,
    aggregate_id TEXT NOT NULL,
    aggregate_version BIGINT NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    PRIMARY KEY (bounded_context, aggregate_type, aggregate_id)
);
CREATE INDEX idx_aggregate_heads_updated ON aggregate_heads (updated_at);
CREATE TABLE projection_checkpoints (
    projection_name TEXT PRIMARY KEY,
    last_global_position BIGINT NOT NULL DEFAULT 0,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
);
CREATE INDEX idx_projection_checkpoints_updated ON projection_checkpoints (updated_at);
";

const BASELINE: [&str; 4] = ["schema", "baseline", "--partition-by", "none"];

fn adopted_with(sql: &str) -> TestDatabase {
    let db = TestDatabase::new();
    db.execute(PUPSOURCING);
    append(&db, "1", 3);
    append(&db, "2", 1);
    db.execute(sql);
    db
}

fn append(db: &TestDatabase, id: &str, events: i64) {
    let created_at = "2026-11-01T00:00:00Z";
    let append = Append { context: "Identity", id, head: None, events, created_at };
    append.run(&mut db.client()).expect("an append");
}

#[track_caller]
fn refused(db: &TestDatabase, words: &[&str]) -> Output {
    let before = db.dump();
    let output = db.pupctl(BASELINE).failure(1);
    for words in words {
        assert!(output.stderr.contains(words), "{words}\n{output}");
    }
    assert_eq!(db.dump(), before);
    output
}

#[test]
fn tables_of_pupsourcing_are_taken_over() {
    let db = adopted_with("");
    let dry = db.pupctl(BASELINE.iter().chain(&["--dry-run"])).success();
    assert!(dry.stderr.contains("nothing was changed"), "{dry}");
    let done = db.pupctl(BASELINE).success();
    assert!(done.stderr.contains("taken over"), "{done}");
    let brin = "CREATE INDEX CONCURRENTLY \"events_created_at_idx\" ON \"public\".\"events\" \
                USING brin (created_at)";
    assert!(done.stderr.contains(brin), "{done}");
    assert_eq!(recorded(&db), ["1 heads_and_checkpoints", "2 events", "3 indexes"]);
    assert_eq!(db.journal(), ["schema baseline: done"]);

    for command in [&BASELINE[..], &["schema", "init"], &["partitions", "ensure"]] {
        let again = db.pupctl(command).success();
        assert!(again.stderr.contains("Nothing to do"), "{again}");
        assert!(!again.stderr.contains("warning"), "{again}");
    }
    // Writers go on, and so does pupctl.
    append(&db, "1", 2);
    let status = db.pupctl(["schema", "status"]).success();
    assert!(!status.stderr.contains("not as the stored layout says"), "{status}");
    let check = db.pupctl(["partitions", "check", "-o", "json"]).success().json();
    assert_eq!(check["findings"].as_array().map(Vec::len), Some(1), "{check}");
    assert_eq!(check["findings"][0]["check"], "missing_index");
    let remedy = check["findings"][0]["remedy"].as_str().expect("a remedy");
    db.execute(remedy);
    db.pupctl(["partitions", "check", "--exit-code"]).success();
    db.pupctl(["events", "export", "events.ndjson"]).success();

    // Files that are generated afterwards are those migrations.
    db.pupctl(["schema", "generate", "--partition-by", "none"]).success();
    db.pupctl(["schema", "migrate"]).success();
    assert_eq!(recorded(&db).last().map(String::as_str), Some("5 layout"));
}

#[test]
fn the_script_of_a_dry_run_does_the_same() {
    let [by_psql, by_pupctl] = [adopted_with(""), adopted_with("")];
    let dry = by_psql.pupctl(BASELINE.iter().chain(&["--dry-run"])).success();
    std::fs::write(by_psql.folder().join("script.sql"), &dry.stdout).expect("a script");
    by_psql.psql(["-f", "script.sql"]).success();
    by_pupctl.pupctl(BASELINE).success();
    assert_eq!(by_psql.dump(), by_pupctl.dump());
}

#[test]
fn differences_that_would_break_pupctl_are_listed() {
    let keys = "ALTER TABLE events DROP CONSTRAINT
            events_bounded_context_aggregate_type_aggregate_id_aggregat_key;
        ALTER TABLE events DROP CONSTRAINT events_event_id_key;
        ALTER TABLE events ALTER payload TYPE jsonb USING '{}'::jsonb;
        ALTER TABLE events ADD COLUMN tenant int NOT NULL;
        ALTER TABLE events ALTER created_at DROP DEFAULT;
        DROP TABLE projection_checkpoints";
    let db = TestDatabase::new();
    db.execute(PUPSOURCING);
    db.execute(keys);
    refused(
        &db,
        &[
            "no unique key on (bounded_context, aggregate_type, aggregate_id, aggregate_version)",
            "no unique key on (event_id)",
            "column payload is jsonb, must be bytea",
            "column tenant is not one of the store's",
            "column created_at has no default",
            "projection_checkpoints: is missing",
        ],
    );
    let empty = TestDatabase::new();
    refused(&empty, &["there is no table of a store in schema public"]);
}

#[test]
fn another_layout_than_the_tables_have_is_refused() {
    let db = adopted_with("");
    let output = db.pupctl(["schema", "baseline", "--partition-by", "month"]).failure(1);
    assert!(output.stderr.contains("is not partitioned, must be partitioned by RANGE"), "{output}");
    db.pupctl(["schema", "baseline"]).failure(2);
}

#[test]
fn heads_that_do_not_agree_are_listed() {
    let db = adopted_with(
        "INSERT INTO aggregate_heads VALUES ('Identity', 'Order', '3', 4);
         UPDATE aggregate_heads SET aggregate_version = 7 WHERE aggregate_id = '2';
         DELETE FROM events WHERE aggregate_id = '1' AND aggregate_version = 2",
    );
    let output = refused(
        &db,
        &[
            "3 deviations between public.aggregate_heads and public.events",
            "Identity Order 1: head 3, 2 events, versions 1 to 3",
            "Identity Order 2: head 7, 1 events, versions 1 to 1",
            "Identity Order 3: head 4, no events",
            "--allow-deviating-heads",
        ],
    );
    assert!(!output.stderr.contains(" more"), "{output}");
    db.execute(
        "INSERT INTO aggregate_heads
         SELECT 'Identity', 'Order', 'x' || n, 1 FROM generate_series(1, 30) AS n",
    );
    refused(&db, &["33 deviations", "and 13 more"]);
    let allowed = db.pupctl(BASELINE.iter().chain(&["--allow-deviating-heads"])).success();
    assert!(allowed.stderr.contains("note: 33 deviations"), "{allowed}");
}

#[test]
fn a_partitioned_store_whose_memory_was_lost_is_taken_over_too() {
    let db = TestDatabase::new();
    let layout = ["--partition-by", "context,hash", "--contexts", "A,B", "--hash-partitions", "2"];
    db.pupctl([&["schema", "init"], &layout[..]].concat()).success();
    let before = db.dump();
    db.execute(
        "DROP TABLE pupctl_layout, pupctl_operations, pupctl_archives, pupctl_closed_partitions,
            pupctl_history, pupctl_schema_history",
    );
    let leaf = db.leaves("public.events")[0].clone();
    let name = leaf.strip_prefix("public.").expect("in public");
    db.execute(&format!("ALTER TABLE {name} DROP CONSTRAINT {name}_event_id_key"));
    let baseline = [&["schema", "baseline"], &layout[..]].concat();
    let refused = db.pupctl(&baseline).failure(1);
    assert!(refused.stderr.contains(&format!("{leaf}: no valid key on (event_id)")), "{refused}");
    db.execute(&format!("ALTER TABLE {name} ADD UNIQUE (event_id)"));
    db.pupctl(&baseline).success();
    db.pupctl(["partitions", "check", "--exit-code"]).success();
    assert_eq!(db.dump(), before);
}

#[test]
fn a_store_with_months_is_told_what_is_pending() {
    let db = TestDatabase::new();
    let layout = ["--partition-by", "month", "--months", "1"];
    db.pupctl([&["schema", "init"], &layout[..]].concat()).success();
    db.execute(
        "DROP TABLE pupctl_layout, pupctl_operations, pupctl_archives, pupctl_closed_partitions,
            pupctl_history, pupctl_schema_history;
         DROP FUNCTION pupctl_guard CASCADE; DROP INDEX events_created_at_idx",
    );
    // As long as they are not taken over, that is what is told.
    for command in [["partitions", "check"], ["partitions", "list"], ["partitions", "ensure"]] {
        let refused = db.pupctl(command).failure(1);
        assert!(refused.stderr.contains("pupctl schema baseline"), "{refused}");
    }
    let status = db.pupctl(["schema", "status"]).success();
    assert!(status.stderr.contains("pupctl schema baseline"), "{status}");
    let done = db.pupctl([&["schema", "baseline"], &layout[..]].concat()).success();
    assert!(done.stderr.contains("note: migration 4, guard, is pending"), "{done}");
    assert!(done.stderr.contains("apply it with: pupctl schema init"), "{done}");
    let brin = "pupctl schema index add --columns created_at --method brin";
    assert!(done.stderr.contains(brin), "{done}");
    db.pupctl(["schema", "init"]).success();
    db.pupctl(["partitions", "ensure", "--months", "3"]).success();
}

#[test]
fn of_many_one_takes_the_tables_over() {
    let db = adopted_with("");
    let started: Vec<_> =
        (0..4).map(|_| db.command(BASELINE.iter().chain(&["--wait", "60s"])).spawn()).collect();
    let outputs: Vec<_> = started.into_iter().map(|run| run.wait().success()).collect();
    let count = |words: &str| outputs.iter().filter(|one| one.stderr.contains(words)).count();
    assert_eq!((count("Done:"), count("Nothing to do")), (1, 3), "{outputs:?}");
}

#[cfg(feature = "failpoints")]
#[test]
fn a_kill_anywhere_is_finished_by_the_next_run() {
    let undisturbed = adopted_with("");
    undisturbed.pupctl(BASELINE).success();
    // pupctl's own tables, the layout, three migrations that are recorded.
    let points = [
        ("lock::taken", 1),
        ("operation::started", 1),
        ("operation::before_end", 1),
        ("execute::before_step", 8),
        ("execute::before_commit", 1),
        ("execute::after_step", 8),
        ("migration::before_apply", 7),
        ("migration::after_apply", 7),
    ];
    for (point, times) in points {
        for passed in 0..times {
            let db = adopted_with("");
            let action = if passed == 0 { String::new() } else { format!("{passed}*off->") };
            let points = format!("{point}={action}return");
            db.command(BASELINE).failpoints(&points).run().killed();
            db.pupctl(BASELINE.iter().chain(&["--wait", "60s"])).success();
            assert_eq!(db.dump(), undisturbed.dump(), "{points}");
        }
    }
}
