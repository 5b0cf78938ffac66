//! Which partitions are made: the months asked for, gaps, and what somebody dropped.

use insta::assert_snapshot;

use crate::support::TestDatabase;
use crate::{by_month, ensure, findings, suffix};

fn months(db: &TestDatabase) -> i64 {
    db.one("SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass")
}

#[test]
fn months_ahead_and_months_of_the_past() {
    let db = by_month();
    ensure(&db, &["--months", "2"]).success();
    assert_snapshot!(db.tree("public.events"), @"
    events BY RANGE (created_at)
      events_m0 FROM (<m0>) TO (<m1>)
      events_m1 FROM (<m1>) TO (<m2>)
      events_m2 FROM (<m2>) TO (<m3>)
    ");
    assert!(ensure(&db, &["--months", "2"]).success().stderr.contains("Nothing to do"));
    // Fewer are no reason to take any away.
    assert!(ensure(&db, &["--months", "0"]).success().stderr.contains("Nothing to do"));

    ensure(&db, &["--from", "2005-04"]).success();
    let since: i32 = db.one(
        "SELECT (extract(year FROM age) * 12 + extract(month FROM age))::int FROM age(
            date_trunc('month', now() AT TIME ZONE 'UTC'), timestamp '2005-04-01')",
    );
    assert_eq!(months(&db), i64::from(since) + 3);
    let first = "SELECT pg_get_expr(relpartbound, oid) FROM pg_catalog.pg_class
        WHERE relname = 'events_2005_04'";
    assert_eq!(
        db.texts(first),
        ["FOR VALUES FROM ('2005-04-01 00:00:00+00') TO ('2005-05-01 00:00:00+00')"]
    );
    assert!(ensure(&db, &[]).success().stderr.contains("Nothing to do"));
    assert_eq!(db.journal().len(), 3);
}

#[test]
fn history_is_left_apart_until_it_is_asked_for() {
    let db = by_month();
    let history = "CREATE TABLE events_2005_04 (LIKE events INCLUDING ALL,
            PRIMARY KEY (bounded_context, aggregate_type, aggregate_id, aggregate_version),
            UNIQUE (event_id), UNIQUE (global_position));
        CREATE TRIGGER pupctl_guard AFTER INSERT ON events_2005_04 REFERENCING NEW TABLE AS
            pupctl_added FOR EACH STATEMENT
            WHEN (current_setting('pupctl.maintenance', true) IS DISTINCT FROM 'on')
            EXECUTE FUNCTION pupctl_guard();
        ALTER TABLE events ATTACH PARTITION events_2005_04
            FOR VALUES FROM ('2005-04-01 00:00:00+00') TO ('2005-05-01 00:00:00+00')";
    db.execute(history);
    assert!(ensure(&db, &[]).success().stderr.contains("Nothing to do"));
    assert_eq!(findings(&db), Vec::<String>::new());
    assert_eq!(months(&db), 2);

    // Twelve months between two are a gap, thirteen are not.
    let (near, far) = (db.month(-13), db.month(-14));
    ensure(&db, &["--from", &far]).success();
    let between: Vec<_> =
        (-13..0).map(|ahead| format!("DROP TABLE events_{}", suffix(&db, ahead))).collect();
    db.execute(&between.join(";"));
    assert!(ensure(&db, &[]).success().stderr.contains("Nothing to do"));
    assert_eq!(findings(&db), Vec::<String>::new());
    ensure(&db, &["--from", &near]).success();
    assert_eq!(months(&db), 2 + 14);
    let months_between = &between[1..];
    db.execute(&months_between.join(";"));
    assert_eq!(findings(&db), vec!["gap public.events"; 12]);
    ensure(&db, &[]).success();
    assert_eq!(months(&db), 2 + 14);
    assert_eq!(findings(&db), Vec::<String>::new());
}

#[test]
fn a_dropped_month_is_made_again() {
    let db = by_month();
    let from = db.month(-3);
    ensure(&db, &["--from", &from, "--months", "1"]).success();
    let before = db.tree("public.events");
    db.execute(&format!("DROP TABLE events_{}, events_{}", suffix(&db, -2), suffix(&db, 0)));
    assert_eq!(findings(&db), ["missing_month public.events", "gap public.events"]);
    ensure(&db, &[]).success();
    assert_eq!(db.tree("public.events"), before);
    assert_eq!(findings(&db), Vec::<String>::new());
}

#[test]
fn a_table_with_the_wanted_name_is_left_alone_and_the_rest_is_made() {
    let db = by_month();
    let from = db.month(-3);
    ensure(&db, &["--from", &from]).success();
    // Detached with its rows, and perhaps meant to come back.
    let detached = format!("events_{}", suffix(&db, -2));
    let dropped = format!("events_{}", suffix(&db, -1));
    db.execute(&format!("ALTER TABLE events DETACH PARTITION {detached}; DROP TABLE {dropped}"));
    for _ in 0..2 {
        let refused = ensure(&db, &[]).failure(1);
        let message = format!(
            "{} cannot be made: a table named public.{detached} is there and is not a partition",
            db.month(-2)
        );
        assert!(refused.stderr.contains(&message), "{refused}");
        assert!(refused.stderr.contains("1 partition left undone"), "{refused}");
    }
    assert_eq!(months(&db), 3, "the dropped month is there again");
    let alone = format!("SELECT relispartition FROM pg_class WHERE oid = '{detached}'::regclass");
    assert!(!db.one::<bool>(&alone));
    db.execute(&format!("DROP TABLE {detached}"));
    ensure(&db, &[]).success();
    assert_eq!(months(&db), 4);
}

#[test]
fn dropped_contexts_and_hash_shares_are_made_again() {
    let db = TestDatabase::new();
    let init = ["schema", "init", "--partition-by", "context,hash", "--hash-partitions", "4"];
    db.pupctl(init.iter().chain(&["--contexts", "Identity,Billing"])).success();
    let before = db.dump();
    db.execute(
        "DROP TABLE events_identity_hash_02; DROP TABLE events_billing;
         DROP TABLE aggregate_heads_identity_hash_00",
    );
    assert_eq!(
        findings(&db),
        [
            "missing_partition public.aggregate_heads_identity",
            "missing_partition public.events_identity",
            "missing_partition public.events",
        ]
    );
    let made = ensure(&db, &[]).success();
    let note = "the layout context,hash has no months: only what it names was looked at";
    assert!(made.stderr.contains(note), "{made}");
    assert_eq!(db.dump(), before);
    assert!(ensure(&db, &[]).success().stderr.contains(note));
}

/// The bounds of a branch, sorted.
fn below(db: &TestDatabase, branch: &str) -> Vec<String> {
    db.texts(&format!(
        "SELECT pg_get_expr(relpartbound, oid) FROM pg_catalog.pg_class
         JOIN pg_catalog.pg_inherits ON inhrelid = oid
         WHERE inhparent = 'public.{branch}'::regclass ORDER BY 1"
    ))
}

#[test]
fn a_context_with_many_months_gets_them_all() {
    let db = TestDatabase::new();
    let init = ["schema", "init", "--partition-by", "context,month", "--months", "60"];
    db.pupctl(init.iter().chain(&["--contexts", "Identity"])).success();
    db.pupctl(["contexts", "add", "Billing"]).success();
    assert_eq!(below(&db, "events_billing").len(), 61);
    assert_eq!(below(&db, "events_billing"), below(&db, "events_identity"));
    let marks = "SELECT count(*) FROM pg_description WHERE classoid = 'pg_class'::regclass
        AND objoid = 'events_billing'::regclass";
    assert_eq!(db.one::<i64>(marks), 0, "a finished branch carries no mark");
    assert_eq!(findings(&db), Vec::<String>::new());
}

#[test]
fn a_new_context_needs_no_past_until_it_is_asked_for() {
    let db = TestDatabase::new();
    let init = ["schema", "init", "--partition-by", "context,month", "--months", "0"];
    db.pupctl(init.iter().chain(&["--contexts", "Identity"])).success();
    let from = db.month(-3);
    ensure(&db, &["--from", &from]).success();
    db.pupctl(["contexts", "add", "Billing"]).success();
    assert_eq!(below(&db, "events_identity").len(), 4);
    assert_eq!(below(&db, "events_billing").len(), 1);
    assert!(ensure(&db, &[]).success().stderr.contains("Nothing to do"));
    assert_eq!(findings(&db), Vec::<String>::new());
    ensure(&db, &["--from", &from]).success();
    assert_eq!(below(&db, "events_billing"), below(&db, "events_identity"));
}

#[test]
fn statistics_of_the_parent_are_refreshed_when_there_are_rows() {
    let db = by_month();
    let analyzes = |arguments: &[&str]| {
        let all = ["--dry-run", "--months", "1"].iter().chain(arguments).copied();
        ensure(&db, &all.collect::<Vec<_>>()).success().stdout.contains("ANALYZE")
    };
    assert!(!analyzes(&[]), "there is nothing to count");
    db.execute(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload) VALUES ('A', 'B', 'C', 1, gen_random_uuid(), 'x', '');
         ANALYZE events",
    );
    assert!(analyzes(&[]));
    assert!(!analyzes(&["--no-analyze"]));
    ensure(&db, &["--months", "1"]).success();
}
