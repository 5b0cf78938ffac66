//! `partitions explain` tells which leaves a read touches.

#[path = "../support/mod.rs"]
mod support;

use serde_json::Value;
use support::{TestDatabase, fingerprint};

fn store(init: &[&str]) -> TestDatabase {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init"].iter().chain(init)).success();
    db
}

#[track_caller]
fn explain(db: &TestDatabase, arguments: &[&str]) -> Value {
    let command = ["partitions", "explain", "-o", "json"];
    db.pupctl(command.iter().chain(arguments)).success().json()
}

/// Leaves that are touched, of how many.
#[track_caller]
fn touched(db: &TestDatabase, arguments: &[&str]) -> (u64, u64) {
    let json = explain(db, arguments);
    let names = json["names"].as_array().expect("names").len() as u64;
    let number = |field: &str| json[field].as_u64().expect("a number");
    assert_eq!(names, number("touched").min(30));
    // A plan for all values leaves out the same, some of it later.
    let generic = &json["generic_plan"];
    if !generic.is_null() {
        assert_eq!(generic["touched"], json["touched"], "{json:#}");
    }
    (number("touched"), number("leaves"))
}

const STREAM: [&str; 6] = ["--context", "A", "--type", "T", "--id", "it's"];

#[test]
fn each_layout_leaves_out_what_it_can() {
    let db = store(&["--partition-by", "none"]);
    assert_eq!(touched(&db, &STREAM), (1, 1));

    let db = store(&["--partition-by", "context", "--contexts", "A,B"]);
    assert_eq!(touched(&db, &STREAM), (1, 2));
    assert_eq!(touched(&db, &["--context", "A", "--after", "5"]), (1, 2));
    assert_eq!(touched(&db, &["--context", "nowhere"]), (0, 2));
    assert_eq!(touched(&db, &["--after", "5"]), (2, 2));
    assert_eq!(touched(&db, &[]), (2, 2));

    let db = store(&["--partition-by", "hash", "--hash-partitions", "4"]);
    assert_eq!(touched(&db, &STREAM), (1, 4));
    assert_eq!(touched(&db, &["--context", "A"]), (4, 4));

    let db = store(&["--partition-by", "context,month", "--contexts", "A,B", "--months", "2"]);
    let (first, second) = (db.month(0), db.month(1));
    assert_eq!(touched(&db, &STREAM), (3, 6));
    assert_eq!(touched(&db, &["--from", &second]), (4, 6));
    assert_eq!(touched(&db, &["--from", &second, "--to", &second]), (2, 6));
    assert_eq!(touched(&db, &["--context", "B", "--to", &first]), (1, 6));
}

#[test]
fn locks_are_counted_as_a_reader_takes_them() {
    let db = store(&["--partition-by", "month", "--months", "2"]);
    let month = db.month(0);
    let json = explain(&db, &["--from", &month, "--to", &month]);
    // The table and a leaf; the indexes of the leaf, from some version on that of the table too.
    assert_eq!(json["plan"]["table_locks"], 2);
    assert!((4..=5).contains(&json["plan"]["index_locks"].as_i64().expect("a number")), "{json:#}");
    let json = explain(&db, &["--after", "1"]);
    let mut reader = db.client();
    reader
        .batch_execute("BEGIN; SELECT * FROM events WHERE global_position > 1 ORDER BY 1 LIMIT 100")
        .expect("a read");
    let held = "SELECT count(*) FROM pg_locks JOIN pg_class ON pg_class.oid = relation
        WHERE pid <> pg_backend_pid() AND relname ~ '^events'
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND pg_class.relkind IN ";
    for (field, kinds) in [("table_locks", "('r', 'p')"), ("index_locks", "('i', 'I')")] {
        let held: i64 = db.one(&format!("{held}{kinds}"));
        assert_eq!(json["plan"][field], held, "{field}");
    }
    // A generic plan locks all partitions and leaves them out when it begins.
    let generic = &explain(&db, &["--from", &month, "--to", &month])["generic_plan"];
    assert_eq!((&generic["touched"], &generic["removed_at_start"]), (&1.into(), &2.into()));
    // When it runs, it locks the indexes that it reads.
    let generic = &explain(&db, &STREAM)["generic_plan"];
    assert_eq!((&generic["touched"], &generic["index_locks"]), (&3.into(), &3.into()));
    let db = store(&["--partition-by", "context,month", "--contexts", "A,B", "--months", "2"]);
    let generic = &explain(&db, &["--context", "A"])["generic_plan"];
    assert_eq!((&generic["touched"], &generic["removed_at_start"]), (&3.into(), &3.into()));
}

#[test]
fn hints_say_what_is_missing() {
    let db = store(&["--partition-by", "context,month", "--contexts", "A", "--months", "1"]);
    let hints = |arguments: &[&str]| explain(&db, arguments)["hints"].to_string();
    assert!(hints(&["--after", "1"]).contains("give --context"), "{}", hints(&["--after", "1"]));
    assert!(hints(&STREAM).contains("keep an aggregate in one partition"), "{}", hints(&STREAM));
    let month = db.month(0);
    assert_eq!(hints(&["--context", "A", "--from", &month, "--to", &month]), "[]");
}

#[test]
fn people_read_a_table() {
    let db = store(&["--partition-by", "hash", "--hash-partitions", "40"]);
    let told = db.pupctl(["partitions", "explain", "--context", "A"]).success();
    let (told_table, names) = told.stdout.split_once("touched: ").expect("the names");
    // From some version on the table's own indexes are locked too.
    let told_table = told_table.replace("|     162 |", "|     160 |");
    insta::assert_snapshot!(without_time(&told_table), @r#"
    SELECT * FROM "public"."events"
    WHERE "bounded_context" = 'A'
    ORDER BY "global_position"

     planned for          | leaves   | left out at start | tables | indexes | planning
    ----------------------+----------+-------------------+--------+---------+----------
     these values         | 40 of 40 |                 0 |     41 |     160 | a while
     any values (generic) | 40 of 40 |                 0 |     41 |      40 | a while
    "#);
    assert!(names.starts_with("events_hash_00, events_hash_01, "), "{names}");
    assert!(names.ends_with(" events_hash_29 and 10 more\n"), "{names}");
    insta::assert_snapshot!(told.stderr, @"note: hash partitions are left out only where one aggregate is read: --context, --type and --id");
}

/// The answer without the time that planning took.
fn without_time(text: &str) -> String {
    let line = |line: &str| match (line.rfind('|'), line.ends_with(" ms ")) {
        (Some(end), true) => format!("{} a while", &line[..=end]),
        _ => line.trim_end().to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn nothing_is_run_written_or_guessed() {
    let db = store(&["--partition-by", "month", "--months", "0"]);
    let before = fingerprint(&mut db.client());
    touched(&db, &["--context", "a'; DROP TABLE events; --", "--after", "-1"]);
    assert!(fingerprint(&mut db.client()) == before);
    let refused = |arguments: &[&str]| {
        db.pupctl(["partitions", "explain"].iter().chain(arguments)).failure(2);
    };
    refused(&["--type", "T"]);
    refused(&["--id", "1", "--type", "T"]);
    refused(&["--from", "2026-13"]);
    refused(&["--from", "2026-12", "--to", "2026-11"]);
    let none = TestDatabase::new().pupctl(["partitions", "explain"]).failure(1);
    assert!(none.stderr.contains("there is no store"), "{none}");
}

#[test]
fn a_role_that_may_not_read_is_told_so() {
    let db = store(&["--partition-by", "month", "--months", "0"]);
    let role = format!("stranger_{}", db.name());
    db.execute(&format!(
        "CREATE ROLE {role}; GRANT USAGE ON SCHEMA public TO {role};
         GRANT SELECT ON pupctl_layout, pupctl_history, pupctl_schema_history TO {role}"
    ));
    let refused = ["partitions", "explain", "--schema", "public", "--role", &role];
    let refused = db.pupctl(refused).failure(1);
    assert!(refused.stderr.contains("permission denied for table events"), "{refused}");
    db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
