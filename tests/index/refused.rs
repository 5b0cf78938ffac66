//! What is refused, before anything is changed.

use crate::support::{Output, TestDatabase};
use crate::{TYPE_INDEX, by_month, store};

#[track_caller]
fn refused(db: &TestDatabase, code: i32, arguments: &[&str], words: &str) -> Output {
    let before = db.dump();
    let output = db.pupctl(["schema", "index"].iter().chain(arguments)).failure(code);
    assert!(output.stderr.contains(words), "{output}");
    assert!(output.stderr.contains("hint: "), "{output}");
    assert!(!output.stderr.contains("db error"), "{output}");
    assert_eq!(db.dump(), before);
    output
}

#[test]
fn requests_that_cannot_work() {
    let db = by_month();
    let add = |code, arguments: &[&str], words: &str| {
        refused(&db, code, &[&["add"], arguments].concat(), words);
    };
    let output = db.pupctl(["schema", "index", "add", "--columns", "nowhere"]).failure(2);
    assert!(output.stderr.contains("column \"nowhere\" does not exist"), "{output}");
    let output = db.pupctl([
        "schema",
        "index",
        "add",
        "--columns",
        "metadata",
        "--method",
        "hash",
        "--where",
    ]);
    drop(output.failure(2));
    let condition = "true); DROP TABLE events; SELECT (1";
    let output =
        db.pupctl(["schema", "index", "add", "--columns", "trace_id", "--where", condition]);
    let output = output.failure(2);
    assert!(output.stderr.contains("multiple commands"), "{output}");
    let output = db.pupctl(["schema", "index", "add", "--columns", "trace_id", "--with", "pages"]);
    let output = output.failure(2);
    assert!(output.stderr.contains("`pages` is no storage parameter"), "{output}");
    add(2, &["--preset", "type", "--on", "heads"], "are indexes of events");
    add(2, &["--columns", "trace_id", "--name", "events_2026"], "that a partition");
    let name = "x".repeat(64);
    let output = db.pupctl(["schema", "index", "add", "--columns", "trace_id", "--name", &name]);
    let output = output.failure(2);
    assert!(output.stderr.contains("has 64 bytes"), "{output}");
    assert!(db.leaves("public.events").len() == 2);
}

#[test]
fn names_that_are_taken() {
    let db = by_month();
    db.execute(
        "CREATE VIEW trace AS SELECT 1; CREATE INDEX events_trace_id_idx ON events (event_id)",
    );
    let add = ["add", "--columns", "trace_id"];
    let output = refused(&db, 1, &add, "public.events_trace_id_idx is there, and is another index");
    assert!(output.stderr.contains("it is USING btree (event_id)"), "{output}");
    refused(&db, 1, &[&add[..], &["--name", "trace"]].concat(), "the name public.trace is taken");
    let other = ["add", "--columns", "event_id", "--name", "other"];
    refused(&db, 1, &other, "is the same index under another name than other");
    // On a leaf another name does.
    let leaf = format!("events_{}", db.month(0).replace('-', "_"));
    db.execute(&format!("CREATE TABLE {leaf}_correlation_id_idx ()"));
    db.pupctl(["schema", "index", "add", "--preset", "correlation"]).success();
    assert!(crate::whole(&db, "events_correlation_id_idx", "public.events"));
}

#[test]
fn keys_and_parts_of_indexes_are_not_dropped() {
    let db = store(&["--partition-by", "hash", "--hash-partitions", "2"]);
    let yes = |name: &'static str| ["drop", name, "--yes"];
    refused(&db, 1, &yes("events_pkey"), "is a key of public.events");
    refused(&db, 1, &yes("events_hash_00_event_id_key"), "is a key of public.events_hash_00");
    db.execute(
        "ALTER TABLE events_hash_00 DROP CONSTRAINT events_hash_00_event_id_key;
         CREATE UNIQUE INDEX bare ON events_hash_00 (event_id)",
    );
    refused(&db, 1, &yes("bare"), "is a key of public.events_hash_00");
    let part = refused(&db, 1, &yes("events_hash_00_created_at_idx"), "is a part of the index");
    assert!(part.stderr.contains("schema index drop events_created_at_idx"), "{part}");
    let db =
        store(&["--partition-by", "context,hash", "--contexts", "A", "--hash-partitions", "2"]);
    let part = refused(&db, 1, &yes("events_a_hash_00_created_at_idx"), "is a part of the index");
    assert!(part.stderr.contains("schema index drop events_created_at_idx"), "{part}");
    refused(&db, 1, &["reindex", "nowhere"], "no table of the store has an index nowhere");
}

#[test]
fn a_role_without_the_tables_and_a_store_that_is_not_there() {
    let db = TestDatabase::new();
    refused(&db, 1, &["add", "--preset", "type"], "there is no store in schema public");
    let db = by_month();
    let role = format!("stranger_{}", db.name());
    db.execute(&format!("CREATE ROLE {role}"));
    let output = db
        .pupctl(["schema", "index", "reindex", TYPE_INDEX, "--schema", "public", "--role", &role]);
    assert_eq!(output.code, Some(1), "{output}");
    let add = ["schema", "index", "add", "--preset", "type", "--schema", "public", "--role", &role];
    let output = db.pupctl(add).failure(1);
    assert!(output.stderr.contains("hint: "), "{output}");
    db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
