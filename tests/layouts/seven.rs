//! Each of the seven: the tree, the keys, pupsourcing's append, a second run, the reports.

use insta::assert_snapshot;
use postgres::error::SqlState;
use serde_json::Value;

use crate::support::{Append, TestDatabase};

/// Makes the store and proves all that holds on every layout.
fn init(layout: &str) -> TestDatabase {
    let db = TestDatabase::new();
    let mut arguments = vec!["schema", "init", "--partition-by", layout];
    arguments.extend(["--contexts", "Identity,Billing", "--months", "1"]);
    if layout.contains("hash") {
        arguments.extend(["--hash-partitions", "2"]);
    }
    db.pupctl(&arguments).success();
    leaves_have_their_keys(&db);
    tables_are_as_documented(&db);
    assert_eq!(root_key(&db), if layout.contains("month") { None } else { Some(VERSION_KEY) });
    a_second_run_changes_nothing(&db, &arguments);
    appends(&db);
    reports(&db, layout);
    db
}

const VERSION_KEY: &str =
    "PRIMARY KEY (bounded_context, aggregate_type, aggregate_id, aggregate_version)";

/// The key of the parent, where it has one.
fn root_key(db: &TestDatabase) -> Option<&'static str> {
    let keys = db.texts(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint
         WHERE conrelid = 'public.events'::regclass AND contype IN ('p', 'u')
            AND NOT (SELECT relkind = 'r' AND contype = 'u' FROM pg_class WHERE oid = conrelid)",
    );
    match keys.as_slice() {
        [] => None,
        [key] if key == VERSION_KEY => Some(VERSION_KEY),
        other => panic!("unexpected keys of the parent: {other:?}"),
    }
}

fn leaves_have_their_keys(db: &TestDatabase) {
    for leaf in db.leaves("public.events") {
        let indexes = db.texts(&format!(
            "SELECT concat_ws(' ', CASE WHEN indisprimary THEN 'PRIMARY' WHEN indisunique
                THEN 'UNIQUE' END, CASE WHEN NOT indisvalid THEN 'INVALID' END,
                regexp_replace(pg_get_indexdef(indexrelid), '^.* USING ', ''))
             FROM pg_index WHERE indrelid = '{leaf}'::regclass
             ORDER BY NOT indisprimary, NOT indisunique, 1"
        ));
        assert_eq!(
            indexes,
            [
                "PRIMARY btree (bounded_context, aggregate_type, aggregate_id, aggregate_version)",
                "UNIQUE btree (event_id)",
                "UNIQUE btree (global_position)",
                "brin (created_at) WITH (pages_per_range='32', autosummarize='on')",
            ],
            "{leaf}"
        );
    }
    for leaf in db.leaves("public.aggregate_heads") {
        let keys = db.texts(&format!(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint
             WHERE conrelid = '{leaf}'::regclass AND contype IN ('p', 'u')"
        ));
        assert_eq!(keys, ["PRIMARY KEY (bounded_context, aggregate_type, aggregate_id)"], "{leaf}");
    }
}

fn tables_are_as_documented(db: &TestDatabase) {
    let kind =
        "SELECT relkind::text FROM pg_class WHERE oid = 'public.projection_checkpoints'::regclass";
    assert_eq!(db.texts(kind), ["r"]);
    // A cache would let positions be committed far out of order.
    let sequence = db.texts(
        "SELECT format('%s: cache %s, increment %s, cycle %s, owned by %s.%s', seqrelid::regclass,
            seqcache, seqincrement, seqcycle, refobjid::regclass, attname)
         FROM pg_sequence JOIN pg_depend ON objid = seqrelid AND deptype = 'a'
         JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid",
    );
    assert_eq!(
        sequence,
        ["public.events_global_position_seq: cache 1, increment 1, cycle f, \
          owned by public.events.global_position"]
    );
}

fn a_second_run_changes_nothing(db: &TestDatabase, arguments: &[&str]) {
    let before = db.dump();
    assert_eq!(db.journal(), ["schema init: done"]);
    for again in [arguments, &["schema", "init"], &["partitions", "ensure"]] {
        let output = db.pupctl(again).success();
        assert!(output.stderr.contains("Nothing to do"), "{output}");
        assert_eq!(output.stdout, "", "{output}");
    }
    assert_eq!(db.dump(), before);
    // Whoever watches that it runs every day finds its time.
    assert_eq!(db.journal(), ["schema init: done", "partitions ensure: done"]);
}

fn appends(db: &TestDatabase) {
    let mut client = db.client();
    let this_month = format!("{}-15T12:00:00Z", db.month(0));
    let first =
        Append { context: "Identity", id: "o-1", head: None, events: 2, created_at: &this_month };
    let mut positions = first.run(&mut client).expect("new events");
    positions.extend(Append { events: 1, ..first }.run(&mut client).expect("a later event"));
    assert_eq!(positions, [1, 2, 3]);
    Append { context: "Billing", ..first }.run(&mut client).expect("the other context");

    // Two writers that read one head: the second is told so.
    let late = Append { head: Some(2), events: 1, ..first }.run(&mut client);
    let error = late.expect_err("version 3 is there already");
    assert_eq!(error.code(), Some(&SqlState::UNIQUE_VIOLATION));
    let heads: Vec<String> = db.texts(
        "SELECT bounded_context || ' ' || aggregate_version FROM public.aggregate_heads ORDER BY 1",
    );
    assert_eq!(heads, ["Billing 2", "Identity 3"]);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM events"), 5);
}

fn reports(db: &TestDatabase, layout: &str) {
    let json = |arguments: &[&str]| {
        let all = arguments.iter().copied().chain(["--output", "json"]);
        let value = db.pupctl(all).success().json();
        assert_eq!(
            (&value["version"], &value["command"]),
            (&1.into(), &arguments[..2].join(" ").into())
        );
        value
    };
    let names = |list: &Value| -> Vec<String> {
        let rows = list.as_array().expect("a list").iter();
        rows.map(|row| row["name"].as_str().expect("a name").to_owned()).collect()
    };
    let mut listed = names(&json(&["partitions", "list", "--heads"])["partitions"]);
    let mut there = db.texts(
        "SELECT oid::regclass::text FROM pg_class
         WHERE relkind IN ('r', 'p') AND relname ~ '^(events|aggregate_heads)'
            AND (relispartition OR relkind = 'r')",
    );
    listed.sort();
    there.sort();
    assert_eq!(listed, there);
    assert_eq!(names(&json(&["contexts", "list"])["contexts"]), ["Identity", "Billing"]);
    let check = json(&["partitions", "check", "--exit-code"]);
    assert_eq!(check["findings"], Value::Array(vec![]));
    let status = json(&["schema", "status"]);
    assert_eq!(status["pending_migrations"], Value::Array(vec![]));
    let guard = layout.contains("month").then_some("guard");
    let migrations = ["heads_and_checkpoints", "events", "indexes"].into_iter().chain(guard);
    assert_eq!(names(&status["store_migrations"]), migrations.collect::<Vec<_>>());
    assert_eq!(status["operations"].as_array().map(Vec::len), Some(2), "init, then ensure");
    let levels = status["layout"]["levels"].as_array().expect("levels").len();
    assert_eq!(levels, if layout == "none" { 0 } else { layout.split(',').count() });
    db.pupctl(["schema", "status"]).success();
    db.pupctl(["partitions", "list"]).success();
}

#[test]
fn none() {
    let db = init("none");
    assert_snapshot!(db.tree("public.events"), @"events");
    assert_snapshot!(db.tree("public.aggregate_heads"), @"aggregate_heads");
}

#[test]
fn context() {
    let db = init("context");
    assert_snapshot!(db.tree("public.events"), @"
    events BY LIST (bounded_context)
      events_billing IN ('Billing')
      events_identity IN ('Identity')
    ");
    assert_snapshot!(db.tree("public.aggregate_heads"), @"
    aggregate_heads BY LIST (bounded_context)
      aggregate_heads_billing IN ('Billing')
      aggregate_heads_identity IN ('Identity')
    ");
}

#[test]
fn hash() {
    let db = init("hash");
    assert_snapshot!(db.tree("public.events"), @"
    events BY HASH (bounded_context, aggregate_type, aggregate_id)
      events_hash_00 WITH (modulus 2, remainder 0)
      events_hash_01 WITH (modulus 2, remainder 1)
    ");
    assert_snapshot!(db.tree("public.aggregate_heads"), @"
    aggregate_heads BY HASH (bounded_context, aggregate_type, aggregate_id)
      aggregate_heads_hash_00 WITH (modulus 2, remainder 0)
      aggregate_heads_hash_01 WITH (modulus 2, remainder 1)
    ");
}

#[test]
fn month() {
    let db = init("month");
    assert_snapshot!(db.tree("public.events"), @"
    events BY RANGE (created_at)
      events_m0 FROM (<m0>) TO (<m1>)
      events_m1 FROM (<m1>) TO (<m2>)
    ");
    assert_snapshot!(db.tree("public.aggregate_heads"), @"aggregate_heads");
}

#[test]
fn context_hash() {
    let db = init("context,hash");
    assert_snapshot!(db.tree("public.events"), @"
    events BY LIST (bounded_context)
      events_billing IN ('Billing') BY HASH (aggregate_type, aggregate_id)
        events_billing_hash_00 WITH (modulus 2, remainder 0)
        events_billing_hash_01 WITH (modulus 2, remainder 1)
      events_identity IN ('Identity') BY HASH (aggregate_type, aggregate_id)
        events_identity_hash_00 WITH (modulus 2, remainder 0)
        events_identity_hash_01 WITH (modulus 2, remainder 1)
    ");
    assert_snapshot!(db.tree("public.aggregate_heads"), @"
    aggregate_heads BY LIST (bounded_context)
      aggregate_heads_billing IN ('Billing') BY HASH (aggregate_type, aggregate_id)
        aggregate_heads_billing_hash_00 WITH (modulus 2, remainder 0)
        aggregate_heads_billing_hash_01 WITH (modulus 2, remainder 1)
      aggregate_heads_identity IN ('Identity') BY HASH (aggregate_type, aggregate_id)
        aggregate_heads_identity_hash_00 WITH (modulus 2, remainder 0)
        aggregate_heads_identity_hash_01 WITH (modulus 2, remainder 1)
    ");
}

#[test]
fn context_month() {
    let db = init("context,month");
    assert_snapshot!(db.tree("public.events"), @"
    events BY LIST (bounded_context)
      events_billing IN ('Billing') BY RANGE (created_at)
        events_billing_m0 FROM (<m0>) TO (<m1>)
        events_billing_m1 FROM (<m1>) TO (<m2>)
      events_identity IN ('Identity') BY RANGE (created_at)
        events_identity_m0 FROM (<m0>) TO (<m1>)
        events_identity_m1 FROM (<m1>) TO (<m2>)
    ");
    assert_snapshot!(db.tree("public.aggregate_heads"), @"
    aggregate_heads BY LIST (bounded_context)
      aggregate_heads_billing IN ('Billing')
      aggregate_heads_identity IN ('Identity')
    ");
}

#[test]
fn hash_month() {
    let db = init("hash,month");
    assert_snapshot!(db.tree("public.events"), @"
    events BY HASH (bounded_context, aggregate_type, aggregate_id)
      events_hash_00 WITH (modulus 2, remainder 0) BY RANGE (created_at)
        events_hash_00_m0 FROM (<m0>) TO (<m1>)
        events_hash_00_m1 FROM (<m1>) TO (<m2>)
      events_hash_01 WITH (modulus 2, remainder 1) BY RANGE (created_at)
        events_hash_01_m0 FROM (<m0>) TO (<m1>)
        events_hash_01_m1 FROM (<m1>) TO (<m2>)
    ");
    assert_snapshot!(db.tree("public.aggregate_heads"), @"
    aggregate_heads BY HASH (bounded_context, aggregate_type, aggregate_id)
      aggregate_heads_hash_00 WITH (modulus 2, remainder 0)
      aggregate_heads_hash_01 WITH (modulus 2, remainder 1)
    ");
}
