//! What an index looks like when it is there.

use crate::support::TestDatabase;
use crate::{TYPE, TYPE_INDEX, by_month, invalid, store, whole};

#[test]
fn every_layout_gets_it_on_every_leaf_and_a_second_run_finds_it() {
    for layout in ["none", "month", "context,hash", "context,month", "hash,month"] {
        let contexts = if layout.contains("context") { "A,it's" } else { "" };
        let init = ["--partition-by", layout, "--months", "1", "--contexts", contexts];
        let db = store(if contexts.is_empty() { &init[..4] } else { &init });
        let done = db.pupctl(TYPE).success();
        assert!(done.stderr.contains("Done:"), "{done}");
        assert!(whole(&db, TYPE_INDEX, "public.events"), "{layout}");
        assert_eq!(invalid(&db), Vec::<String>::new(), "{layout}");
        let dump = db.dump();
        let again = db.pupctl(TYPE).success();
        assert!(again.stderr.contains("Nothing to do"), "{again}");
        assert_eq!(db.dump(), dump);
        assert_eq!(db.journal(), ["schema init: done", "schema index add: done"]);
    }
}

#[test]
fn partitions_that_are_made_later_take_it_over() {
    let db = store(&["--partition-by", "context,month", "--contexts", "A", "--months", "0"]);
    db.pupctl(TYPE).success();
    db.pupctl(["contexts", "add", "B"]).success();
    db.pupctl(["partitions", "ensure", "--months", "3"]).success();
    assert_eq!(db.leaves("public.events").len(), 2 * 4);
    assert!(whole(&db, TYPE_INDEX, "public.events"));
}

#[test]
fn the_server_reads_the_request_so_that_it_is_known_again() {
    let db = by_month();
    let add = [
        "schema",
        "index",
        "add",
        "--columns",
        "trace_id",
        "--include",
        "event_id",
        "--where",
        "event_type in ('a', 'it''s') -- and so on",
        "--with",
        "fillfactor=80",
        "--name",
        "by \"trace\"",
    ];
    db.pupctl(add).success();
    let again = db.pupctl(add).success();
    assert!(again.stderr.contains("Nothing to do"), "{again}");
    let leaf = format!("events_{}_by \"trace\"_idx", db.month(0).replace('-', "_"));
    let definition: String = db.one(&format!(
        "SELECT substr(indexdef, strpos(indexdef, 'USING')) FROM pg_indexes
         WHERE indexname = '{leaf}'"
    ));
    assert_eq!(
        definition,
        "USING btree (trace_id) INCLUDE (event_id) WITH (fillfactor='80') \
         WHERE (event_type = ANY (ARRAY['a'::text, 'it''s'::text]))"
    );
}

#[test]
fn other_methods_tables_and_the_preset_for_correlations() {
    let db = store(&["--partition-by", "hash", "--hash-partitions", "2"]);
    let add = |arguments: &[&str]| {
        let command = ["schema", "index", "add"];
        db.pupctl(command.iter().chain(arguments)).success();
    };
    add(&["--preset", "correlation"]);
    add(&["--columns", "metadata", "--method", "gin"]);
    add(&["--columns", "trace_id", "--method", "hash"]);
    let with = "pages_per_range=16,autosummarize=on";
    add(&["--columns", "global_position", "--method", "brin", "--with", with]);
    add(&["--on", "heads", "--columns", "aggregate_type"]);
    add(&["--table", "checkpoints", "--columns", "last_global_position"]);
    for (index, table) in [
        ("events_correlation_id_idx", "public.events"),
        ("events_metadata_idx", "public.events"),
        ("events_trace_id_idx", "public.events"),
        ("events_global_position_idx", "public.events"),
        ("aggregate_heads_aggregate_type_idx", "public.aggregate_heads"),
    ] {
        assert!(whole(&db, index, table), "{index}");
    }
    let valid = "SELECT indisvalid FROM pg_index
        WHERE indexrelid = 'projection_checkpoints_last_global_position_idx'::regclass";
    assert!(db.one::<bool>(valid));
}

#[test]
fn long_names_are_cut_with_a_hash_and_known_again() {
    let events = "e".repeat(50);
    let db = TestDatabase::new();
    std::fs::write(db.folder().join("pupctl.toml"), format!("[tables]\nevents = \"{events}\"\n"))
        .expect("a file");
    db.pupctl(["schema", "init", "--partition-by", "hash", "--hash-partitions", "2"]).success();
    db.pupctl(TYPE).success();
    let again = db.pupctl(TYPE).success();
    assert!(again.stderr.contains("Nothing to do"), "{again}");
    let names = db.texts(
        "SELECT relname::text FROM pg_catalog.pg_class JOIN pg_catalog.pg_index
             ON indexrelid = pg_class.oid
         WHERE pg_get_indexdef(pg_class.oid) ~ 'event_type' ORDER BY 1",
    );
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names.iter().all(|name| name.len() == 63), "{names:?}");
}

#[test]
fn an_index_that_a_leaf_has_already_is_attached_and_a_similar_one_is_not() {
    let db = by_month();
    let [first, second] =
        [0, 1].map(|ahead| format!("events_{}", db.month(ahead).replace('-', "_")));
    db.execute(&format!(
        "CREATE INDEX mine ON {first} (event_type, global_position);
         CREATE INDEX other ON {second} (event_type, global_position) WITH (fillfactor = 50)"
    ));
    let done = db.pupctl(TYPE).success();
    assert!(done.stderr.contains("1 built, 2 attached"), "{done}");
    let parts = db.texts(&format!(
        "SELECT inhrelid::regclass::text FROM pg_catalog.pg_inherits
         WHERE inhparent = 'public.{TYPE_INDEX}'::regclass ORDER BY 1"
    ));
    assert_eq!(
        parts,
        [format!("public.{second}_event_type_global_position_idx"), "public.mine".to_owned()]
    );
}

#[test]
fn a_dry_run_prints_what_psql_runs_to_the_same_end() {
    let [by_psql, by_pupctl] = [(); 2].map(|()| {
        let db = store(&["--partition-by", "context,month", "--contexts", "A", "--months", "0"]);
        db.execute(
            "INSERT INTO events (bounded_context, aggregate_type, aggregate_id,
            aggregate_version, event_id, event_type, payload)
            VALUES ('A', 'B', 'C', 1, gen_random_uuid(), 'x', '')",
        );
        db
    });
    let dry: Vec<_> = TYPE.iter().chain(&["--dry-run"]).collect();
    let before = by_psql.dump();
    let printed = by_psql.pupctl(&dry).success();
    assert!(printed.stdout.contains("-- Lock: SHARE on public.events."), "{printed}");
    assert_eq!(by_psql.dump(), before, "a dry run writes nothing");
    std::fs::write(by_psql.folder().join("script.sql"), &printed.stdout).expect("a script");
    by_psql.psql(["-f", "script.sql"]).success();
    by_pupctl.pupctl(TYPE).success();
    assert_eq!(by_psql.dump(), by_pupctl.dump());
    assert_eq!(by_psql.pupctl(&dry).success().stdout, "");
}

#[test]
fn machines_read_what_was_done() {
    let db = store(&["--partition-by", "none"]);
    let json = db.pupctl(TYPE.iter().chain(&["-o", "json"])).success().json();
    assert_eq!(json["changed"], true);
    assert_eq!(json["indexes"][0]["name"], format!("public.{TYPE_INDEX}"));
    assert_eq!(json["indexes"][0]["action"], "built");
    let json = db.pupctl(TYPE.iter().chain(&["-o", "json"])).success().json();
    assert_eq!((&json["changed"], &json["indexes"]), (&false.into(), &serde_json::json!([])));
}
