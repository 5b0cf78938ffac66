//! A partition becomes months, and nothing else has changed.

use crate::support::TestDatabase;
use crate::{add_heap, all, bound, fill, nothing_is_left, split, store};

/// As the heap is after these events, with months around it.
fn filled(by: &str, more: &[&str], parent: &str) -> TestDatabase {
    let db = store(by, more, parent, 1);
    for ahead in [-4, -3, -1, 0] {
        fill(&db, "A", &db.month(ahead), 20);
    }
    db
}

#[test]
fn a_heap_becomes_the_months_that_a_fresh_store_has() {
    let all_protections = ["--event-ids", "--immutable"];
    let db = filled("month", &all_protections, "events");
    let rows = all(&db);
    let told = split(&db, &["heap"]).success();
    assert!(told.stderr.contains("80 rows of public.heap are in 5 partitions"), "{told}");
    insta::assert_snapshot!(db.tree("public.events"), @r"
    events BY RANGE (created_at)
      events_m-4 FROM (<m-4>) TO (<m-3>)
      events_m-3 FROM (<m-3>) TO (<m-2>)
      events_m-2 FROM (<m-2>) TO (<m-1>)
      events_m-1 FROM (<m-1>) TO (<m0>)
      events_m0 FROM (<m0>) TO (<m1>)
      events_m1 FROM (<m1>) TO (<m2>)
      events_m2 FROM (<m2>) TO (<m3>)
    ");
    assert_eq!(all(&db), rows);
    nothing_is_left(&db);
    db.pupctl(["schema", "verify"]).success();
    db.pupctl(["partitions", "check", "--exit-code"]).success();

    // Down to the names of keys and indexes.
    let fresh = TestDatabase::new();
    let init = ["schema", "init", "--partition-by", "month", "--months", "2"];
    fresh.pupctl(init.iter().chain(&all_protections)).success();
    let from = fresh.month(-4);
    fresh.pupctl(["partitions", "ensure", "--from", &from, "--months", "2"]).success();
    // Parameters of an index come in the order of their names.
    let dump = db
        .dump()
        .replace(
            "autosummarize='on', pages_per_range='32'",
            "pages_per_range='32', autosummarize='on'",
        )
        .replace("autosummarize=on,pages_per_range=32", "pages_per_range=32,autosummarize=on");
    assert_eq!(dump, fresh.dump());
}

#[test]
fn twice_is_as_good_as_once() {
    let db = filled("month", &[], "events");
    split(&db, &["heap"]).success();
    let before = db.dump();
    for name in ["heap", "public.heap", &format!("before {}", db.month(1))] {
        let told = split(&db, &[name]).success();
        assert!(told.stderr.contains("Nothing to do: it is split already"), "{told}");
    }
    assert_eq!(db.dump(), before);
    let told = split(&db, &["heapp"]).failure(2);
    assert!(told.stderr.contains("no context, partition or month heapp"), "{told}");
}

#[test]
fn below_a_context_only_its_branch_is_touched() {
    let db = filled("context,month", &["--contexts", "A,O'Neill"], "events_a");
    fill(&db, "O''Neill", &db.month(0), 3);
    let (rows, other) = (all(&db), db.tree("public.events_o_neill"));
    let place = format!("A/before {}", db.month(1));
    split(&db, &[&place]).success();
    assert_eq!(all(&db), rows);
    assert_eq!(db.tree("public.events_o_neill"), other);
    assert!(db.tree("public.events_a").contains("events_a_m-4 FROM"), "{}", db.tree("events_a"));
    nothing_is_left(&db);
    db.pupctl(["schema", "verify"]).success();
}

#[test]
fn below_a_share_of_a_hash() {
    let more = ["--hash-partitions", "2"];
    let db = store("hash,month", &more, "events_hash_01", 1);
    fill(&db, "A", &db.month(0), 40);
    let rows = all(&db);
    split(&db, &["heap", "--jobs", "1"]).success();
    assert_eq!(all(&db), rows);
    assert!(db.tree("public.events").contains("events_hash_01_m0 FROM (<m0>)"));
    nothing_is_left(&db);
    db.pupctl(["schema", "verify"]).success();
}

#[test]
fn the_owner_alone_needs_no_superuser() {
    let db = TestDatabase::new();
    let role = format!("owner_{}", db.name());
    db.execute(&format!("CREATE ROLE {role}; ALTER SCHEMA public OWNER TO {role}"));
    let outcome = std::panic::catch_unwind(|| {
        let init = ["schema", "init", "--partition-by", "month", "--months", "2"];
        db.pupctl(init.iter().chain(&["--event-ids", "--role", &role])).success();
        add_heap(&db, "events", 1);
        db.execute(&format!("ALTER TABLE heap OWNER TO {role}"));
        fill(&db, "A", &db.month(-1), 20);
        let rows = all(&db);
        split(&db, &["heap", "--role", &role]).success();
        assert_eq!(all(&db), rows);
        nothing_is_left(&db);
        db.pupctl(["schema", "verify", "--role", &role]).success();
    });
    db.execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
    outcome.expect("the split");
}

#[test]
fn rows_of_no_month_stay_together() {
    let db = filled("month", &[], "events");
    for time in ["0001-01-01 00:00:00+00", "-infinity", "1970-01-01 00:00:00+00"] {
        db.execute(&format!(
            "SET pupctl.maintenance = on;
             INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
                event_id, event_type, payload, created_at)
             VALUES ('A', 'Order', '{time}', 1, gen_random_uuid(), 'x', '', '{time}')"
        ));
    }
    let rows = all(&db);
    split(&db, &["heap"]).success();
    assert_eq!(all(&db), rows);
    let tree = db.tree("public.events");
    assert!(tree.contains("events_before_1970_01 FROM (MINVALUE)"), "{tree}");
    assert!(tree.contains("events_1970_01 "), "{tree}");
    assert_eq!(db.one::<i64>("SELECT count(*) FROM events_before_1970_01"), 2);
    nothing_is_left(&db);
    db.pupctl(["schema", "verify"]).success();
}

#[test]
fn a_quarter_becomes_three_months() {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "month", "--months", "2"]).success();
    let (first, last) = (bound(&db, 3), bound(&db, 6));
    db.execute(&format!(
        "CREATE TABLE quarter PARTITION OF events FOR VALUES FROM ({first}) TO ({last})"
    ));
    db.execute("ALTER TABLE quarter ADD UNIQUE (global_position), ADD UNIQUE (event_id)");
    fill(&db, "A", &db.month(4), 7);
    let rows = all(&db);
    split(&db, &["quarter"]).success();
    assert_eq!(all(&db), rows);
    assert!(db.tree("public.events").contains("events_m5 FROM (<m5>) TO (<m6>)"));
    nothing_is_left(&db);
}

#[test]
fn the_old_table_can_be_kept() {
    let db = filled("month", &[], "events");
    let rows = all(&db);
    let told = split(&db, &["heap", "--keep", "-o", "json"]).success();
    assert_eq!(told.json()["kept"], "public.heap_before_split");
    assert_eq!(all(&db), rows);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM heap_before_split"), 80);
    // Neither the next split nor a drain takes it for something to finish.
    split(&db, &["heap"]).success();
    db.pupctl(["partitions", "drain"]).success();
    db.pupctl(["partitions", "ensure"]).success();
    assert_eq!(db.one::<i64>("SELECT count(*) FROM heap_before_split"), 80);
}

#[test]
fn sixty_months() {
    let db = store("month", &[], "events", 1);
    db.execute(
        "SET pupctl.maintenance = on;
         INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload, created_at)
         SELECT 'A', 'Order', n::text, 1, gen_random_uuid(), 'OrderPlaced', 'x',
            now() - n * interval '10 hours' FROM generate_series(0, 59 * 73) AS n",
    );
    let rows = all(&db);
    let told = split(&db, &["heap", "--jobs", "3"]).success();
    assert!(all(&db) == rows, "{told}");
    assert!(db.leaves("public.events").len() > 58);
    nothing_is_left(&db);
    db.pupctl(["schema", "verify"]).success();
}

#[test]
fn many_rows_are_copied_by_several_sessions() {
    let db = store("month", &["--event-ids"], "events", 1);
    for ahead in [-2, -1, 0] {
        fill(&db, "A", &db.month(ahead), 30_000);
    }
    // A hole in the positions, and one that nobody would expect.
    db.execute("SELECT setval('events_global_position_seq', 5000000000)");
    fill(&db, "B", &db.month(0), 10);
    let rows = all(&db);
    let told = split(&db, &["heap", "--jobs", "4", "--max-rate", "200000"]).success();
    assert!(all(&db) == rows, "{told}");
    nothing_is_left(&db);
    db.pupctl(["schema", "verify"]).success();
}

#[test]
fn a_dry_run_changes_nothing() {
    let db = filled("month", &["--immutable"], "events");
    let before = db.dump();
    let told = split(&db, &["heap", "--dry-run"]).success();
    for words in ["INSERT INTO", "EXCLUDING INDEXES", "ADD PRIMARY KEY", "SHARE ROW EXCLUSIVE"] {
        assert!(told.stdout.contains(words), "{words}: {told}");
    }
    assert_eq!(db.dump(), before);
    let json = split(&db, &["heap", "--dry-run", "-o", "json"]).success().json();
    assert_eq!(json["rows"], 80);
    assert!(json["steps"].as_array().expect("steps").len() > 3, "{json}");
}

#[test]
fn what_is_no_range_of_months_is_refused() {
    let db = store("month", &[], "events", 0);
    let month = db.month(1);
    let told = split(&db, &[&month]).failure(1);
    assert!(told.stderr.contains("holds one month already"), "{told}");
    db.execute(&format!(
        "CREATE TABLE across PARTITION OF events FOR VALUES FROM ('{}-15 00:00:00+00') TO ({})",
        db.month(3),
        bound(&db, 5)
    ));
    let told = split(&db, &["across"]).failure(1);
    assert!(told.stderr.contains("is no range of whole months"), "{told}");
    // Others have made something of the heap itself.
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "month", "--months", "2"]).success();
    add_heap(&db, "events", 1);
    db.execute("CREATE TABLE notes (event uuid REFERENCES heap (event_id))");
    let told = split(&db, &["heap"]).failure(1);
    assert!(told.stderr.contains("the foreign key notes_event_fkey of notes"), "{told}");
    db.execute("DROP TABLE notes; CREATE VIEW seen AS SELECT event_type FROM heap");
    let told = split(&db, &["heap"]).failure(1);
    assert!(told.stderr.contains("the view seen"), "{told}");
}
