//! Bounded contexts: their own levels, odd names, and layouts that do not divide by them.

use insta::assert_snapshot;
use postgres::error::SqlState;

use crate::support::{Append, TestDatabase};

const OWN_LEVELS: &str = r#"
[[contexts]]
name = "Identity"
partition_by = "hash"
hash_partitions = 3

[[contexts]]
name = "Analytics"
partition_by = "month"

[[contexts]]
name = "Billing"
partition_by = "none"
"#;

fn append(db: &TestDatabase, context: &str) {
    let created_at = format!("{}-10T00:00:00Z", db.month(0));
    let event = Append { context, id: "1", head: None, events: 2, created_at: &created_at };
    event.run(&mut db.client()).unwrap_or_else(|error| panic!("{context}: {error}"));
    let again = Append { head: Some(1), ..event }.run(&mut db.client()).expect_err("twice");
    assert_eq!(again.code(), Some(&SqlState::UNIQUE_VIOLATION), "{context}");
}

#[test]
fn each_context_may_be_divided_in_its_own_way() {
    let db = TestDatabase::new();
    std::fs::write(db.folder().join("pupctl.toml"), OWN_LEVELS).expect("a configuration");
    let init = ["schema", "init", "--partition-by", "context", "--months", "1"];
    db.pupctl(init).success();
    assert_snapshot!(db.tree("public.events"), @"
    events BY LIST (bounded_context)
      events_analytics IN ('Analytics') BY RANGE (created_at)
        events_analytics_m0 FROM (<m0>) TO (<m1>)
        events_analytics_m1 FROM (<m1>) TO (<m2>)
      events_billing IN ('Billing')
      events_identity IN ('Identity') BY HASH (aggregate_type, aggregate_id)
        events_identity_hash_00 WITH (modulus 3, remainder 0)
        events_identity_hash_01 WITH (modulus 3, remainder 1)
        events_identity_hash_02 WITH (modulus 3, remainder 2)
    ");
    assert_snapshot!(db.tree("public.aggregate_heads"), @"
    aggregate_heads BY LIST (bounded_context)
      aggregate_heads_analytics IN ('Analytics')
      aggregate_heads_billing IN ('Billing')
      aggregate_heads_identity IN ('Identity') BY HASH (aggregate_type, aggregate_id)
        aggregate_heads_identity_hash_00 WITH (modulus 3, remainder 0)
        aggregate_heads_identity_hash_01 WITH (modulus 3, remainder 1)
        aggregate_heads_identity_hash_02 WITH (modulus 3, remainder 2)
    ");
    for context in ["Identity", "Analytics", "Billing"] {
        append(&db, context);
    }
    // A month level anywhere below takes the key from the root.
    let root_keys =
        "SELECT count(*) FROM pg_index WHERE indrelid = 'events'::regclass AND indisunique";
    assert_eq!(db.one::<i64>(root_keys), 0);

    let before = db.dump();
    assert!(db.pupctl(init).success().stderr.contains("Nothing to do"));
    assert_eq!(db.dump(), before);

    // The store keeps the layout: the file is not needed any more.
    std::fs::remove_file(db.folder().join("pupctl.toml")).expect("the configuration");
    assert!(db.pupctl(["partitions", "ensure"]).success().stderr.contains("Nothing to do"));
    db.pupctl(["contexts", "add", "Shipping"]).success();
    db.pupctl(["contexts", "add", "Returns,Refunds", "--partition-by", "month"]).success();
    append(&db, "Shipping");
    append(&db, "Refunds");
    let made = db.texts(
        "SELECT relname FROM pg_catalog.pg_class WHERE relispartition AND relkind IN ('r', 'p')
            AND relname ~ 'shipping|returns' AND relname !~ '[0-9]' ORDER BY 1",
    );
    assert_eq!(
        made,
        [
            "aggregate_heads_returns",
            "aggregate_heads_shipping",
            "events_returns",
            "events_shipping"
        ]
    );
    db.pupctl(["partitions", "check", "--exit-code"]).success();
}

#[test]
fn contexts_that_are_there_are_left_as_they_are() {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "context", "--contexts", "Identity"]).success();
    let before = (db.dump(), db.journal());
    let same = db.pupctl(["contexts", "add", "Identity"]).success();
    assert!(same.stderr.contains("Nothing to do: the store has these contexts"), "{same}");
    let other = ["contexts", "add", "Identity", "--partition-by", "hash", "--hash-partitions", "4"];
    let other = db.pupctl(other).failure(1);
    assert!(other.stderr.contains("the context Identity is there already"), "{other}");
    // The root carries the key of every event, which months below it would break.
    let months = db.pupctl(["contexts", "add", "Analytics", "--partition-by", "month"]).failure(1);
    assert!(months.stderr.contains("cannot be divided by month here"), "{months}");
    // The same from a configuration file: the layout must not be stored before it is refused.
    let config = "[[contexts]]\nname = \"Analytics\"\npartition_by = \"month\"\n";
    std::fs::write(db.folder().join("pupctl.toml"), config).expect("a configuration");
    let months = db.pupctl(["schema", "init"]).failure(1);
    assert!(months.stderr.contains("cannot be divided by month here"), "{months}");
    assert_eq!((db.dump(), db.journal()), before);
}

#[test]
fn contexts_may_have_any_name() {
    let long = "x".repeat(80);
    let names =
        ["a\"; DROP TABLE events; --", "it's", "Billing", "billing", "Zahlung € ü", "C:\\x", &long];
    let db = TestDatabase::new();
    let contexts = names.join(",");
    let init = ["schema", "init", "--partition-by", "context,month", "--months", "1", "--contexts"];
    db.pupctl(init.iter().chain(&[contexts.as_str()])).success();
    // One more that folds to a name which is taken twice.
    db.pupctl(["contexts", "add", "BILLING"]).success();
    for context in names.into_iter().chain(["BILLING"]) {
        append(&db, context);
    }
    let leaves = "SELECT count(DISTINCT (bounded_context, tableoid)) || ' in ' ||
        count(DISTINCT tableoid) FROM events";
    assert_eq!(db.one::<String>(leaves), "8 in 8", "every context has a leaf of its own");
    let plain = db.texts(
        "SELECT relname FROM pg_catalog.pg_class WHERE relispartition AND relkind IN ('r', 'p')
            AND relname !~ '^[a-z_][a-z0-9_]*$'",
    );
    assert_eq!(plain, Vec::<String>::new(), "no name needs quotes");

    let before = db.dump();
    let again = db.pupctl(["partitions", "ensure"]).success();
    assert!(again.stderr.contains("Nothing to do"), "{again}");
    assert_eq!(db.dump(), before);
    db.pupctl(["partitions", "check", "--exit-code"]).success();
    let list = db.pupctl(["contexts", "list", "-o", "json"]).success().json();
    let listed = list["contexts"].as_array().expect("a list").iter();
    let listed: Vec<_> = listed.filter_map(|context| context["name"].as_str()).collect();
    assert_eq!(listed, names.into_iter().chain(["BILLING"]).collect::<Vec<_>>());
}

#[test]
fn contexts_with_the_names_of_indexes_are_no_clash() {
    let db = TestDatabase::new();
    // PostgreSQL calls the parent's indexes events_pkey and events_created_at_idx.
    let contexts = ["--contexts", "pkey,created_at_idx,Identity"];
    db.pupctl(["schema", "init", "--partition-by", "context"].iter().chain(&contexts)).success();
    db.pupctl(["contexts", "add", "identity pkey"]).success();
    for context in ["pkey", "created_at_idx", "Identity", "identity pkey"] {
        append(&db, context);
    }
}

#[test]
fn layouts_without_a_context_level_keep_contexts_and_say_so() {
    let db = TestDatabase::new();
    let init = ["schema", "init", "--partition-by", "month", "--contexts", "Identity"];
    let made = db.pupctl(init).success();
    let note = "the layout month has no context level: the contexts are kept for later";
    assert!(made.stderr.contains(note), "{made}");
    let partitions = db.tree("public.events");

    let added = db.pupctl(["contexts", "add", "Billing"]).success();
    assert!(added.stderr.contains("no partition is needed for them"), "{added}");
    assert_eq!(db.tree("public.events"), partitions);
    let stored = "SELECT string_agg(context ->> 'name', ' ') FROM pupctl_layout,
        jsonb_array_elements(layout -> 'contexts') AS context";
    assert_eq!(db.one::<String>(stored), "Identity Billing");
    let again = db.pupctl(["contexts", "add", "Billing"]).success();
    assert!(again.stderr.contains("Nothing to do"), "{again}");
    let own = db.pupctl(["contexts", "add", "Shop", "--partition-by", "month"]).failure(2);
    assert!(own.stderr.contains("not partitioned by context"), "{own}");
}

#[test]
fn a_store_may_begin_without_contexts() {
    let db = TestDatabase::new();
    let made = db.pupctl(["schema", "init", "--partition-by", "context,hash"]).success();
    assert!(made.stderr.contains("pupctl contexts add Identity,Billing"), "{made}");
    assert_eq!(db.tree("public.events"), "events BY LIST (bounded_context)");
    db.pupctl(["contexts", "add", "Identity"]).success();
    append(&db, "Identity");
}
