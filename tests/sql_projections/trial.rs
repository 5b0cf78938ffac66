//! `pupctl projections test`.

use insta::assert_snapshot;
use pupctl::projection::SqlProjection;
use pupctl::projection::sql::Parameters;
use pupctl::projection::sql::trial::{Expected, Given, Trial};

use crate::support::{Output, TestDatabase};
use crate::{read, write};

const TOTALS: &str = "\
-- name: order_totals
-- contexts: Sales
-- aggregates: Order
-- tables: order_totals
-- init
CREATE TABLE IF NOT EXISTS order_totals (
    order_id text PRIMARY KEY, lines bigint NOT NULL, cents numeric(10, 2) NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- handle
INSERT INTO order_totals AS t
SELECT aggregate_id, count(*), sum((pupctl_json(payload) ->> 'cents')::numeric) / 100
FROM batch WHERE event_type = 'LineAdded' GROUP BY 1
ON CONFLICT (order_id) DO UPDATE SET lines = t.lines + excluded.lines, cents = t.cents + excluded.cents;
";

const EVENTS: &str = "\
{\"event_type\": \"LineAdded\", \"aggregate_id\": \"o-1\", \"payload\": {\"cents\": 250}}
{\"event_type\": \"LineAdded\", \"aggregate_id\": \"o-2\", \"payload\": {\"cents\": 100}}
{\"event_type\": \"LineAdded\", \"aggregate_id\": \"o-1\", \"payload\": {\"cents\": 50}}
{\"event_type\": \"LineAdded\", \"aggregate_id\": \"o-3\", \"bounded_context\": \"Billing\"}
";

const ROWS: &str = "\
[
  {\"order_id\": \"o-1\", \"lines\": 2, \"cents\": 3},
  {\"order_id\": \"o-2\", \"lines\": 1, \"cents\": \"1.00\"}
]
";

/// A database with the three files.
fn files(sql: &str) -> TestDatabase {
    let db = TestDatabase::new();
    write(&db, "t.sql", sql);
    write(&db, "t.events.ndjson", EVENTS);
    write(&db, "t.rows.json", ROWS);
    db
}

fn test(db: &TestDatabase, more: &[&str]) -> Output {
    let first = ["projections", "test", "t.sql"];
    db.pupctl(first.iter().chain(more))
}

/// Both streams.
fn all(output: &Output) -> String {
    format!("{}--- stderr\n{}", output.stdout, output.stderr).trim_end().to_owned()
}

#[test]
fn rows_that_are_as_expected_pass() {
    let db = files(TOTALS);
    assert_snapshot!(all(&test(&db, &[]).success()), @"
    --- stderr
    order_totals, given t.events.ndjson: 3 events, 1 out of its scope
      order_totals: 2 rows, as expected
    Done: 1 trial passed
    ");
    // Also where there is a store, of whose tables nothing is seen or touched.
    db.pupctl(["schema", "init", "--partition-by", "context", "--contexts", "Sales"]).success();
    db.execute("CREATE TABLE order_totals AS SELECT 1 AS other");
    test(&db, &[]).success();
    assert_eq!(db.one::<i32>("SELECT other FROM order_totals"), 1);
}

#[test]
fn what_is_otherwise_is_shown() {
    let db = files(TOTALS);
    write(
        &db,
        "t.rows.json",
        "{\"order_totals\": [{\"order_id\": \"o-1\", \"lines\": 3}, {\"order_id\": \"o-9\", \"lines\": 1}]}",
    );
    let told = test(&db, &[]).failure(3);
    assert_snapshot!(all(&told), @r#"
      - {"order_id": "o-1", "lines": 3}
      + {"order_id": "o-1", "lines": 2}
      - {"order_id": "o-9", "lines": 1}
      + {"order_id": "o-2", "lines": 1}
    --- stderr
    order_totals, given t.events.ndjson: 3 events, 1 out of its scope
      order_totals: 2 rows, not as expected
    Failed: 1 of 1 trial
    "#);
    assert_snapshot!(all(&test(&db, &["-q"]).failure(3)), @r"
    --- stderr
    order_totals, given t.events.ndjson: not as expected
    Failed: 1 of 1 trial
    ");
    let json = test(&db, &["-o", "json"]).failure(3).json();
    assert_eq!(json["passed"], false);
    let differences = &json["trials"][0]["tables"][0]["differences"];
    assert_eq!(differences[0]["actual"]["lines"], 2);
    assert_eq!(differences[1]["actual"], serde_json::Value::Null);
    assert_eq!(differences[2]["expected"], serde_json::Value::Null);
    let coloured = test(&db, &["--color", "always"]).failure(3);
    assert!(coloured.stdout.contains("\u{1b}["), "{coloured}");
}

#[test]
fn update_writes_what_came_out() {
    let db = files(TOTALS);
    std::fs::remove_file(db.folder().join("t.rows.json")).expect("removed");
    let dry = test(&db, &["--update", "--dry-run"]).success();
    assert!(dry.stderr.contains("would"), "{dry}");
    assert!(!db.folder().join("t.rows.json").exists());
    test(&db, &["--update"]).success();
    // The clock is otherwise each time, so it stays out.
    assert_snapshot!(read(&db, "t.rows.json"), @r#"
    {
      "order_totals": [
        {"order_id": "o-1", "lines": 2, "cents": 3},
        {"order_id": "o-2", "lines": 1, "cents": 1}
      ]
    }
    "#);
    test(&db, &[]).success();
    // What the file leaves out stays out of it.
    write(&db, "t.rows.json", "[{\"order_id\": \"o-1\"}]");
    test(&db, &["--update"]).success();
    assert_snapshot!(read(&db, "t.rows.json"), @r#"
    [
      {"order_id": "o-1"},
      {"order_id": "o-2"}
    ]
    "#);
    let told = test(&db, &["--update", "-o", "json"]).success().json();
    assert_eq!(told["trials"][0]["updated"], false);
}

#[test]
fn what_depends_on_batches_fails() {
    let overwriting = TOTALS.replace("lines = t.lines + excluded", "lines = excluded");
    let db = files(&overwriting);
    let told = test(&db, &[]).failure(3);
    assert_snapshot!(all(&told), @r#"
      - {"order_id": "o-1", "lines": 2, "cents": 3}
      + {"order_id": "o-1", "lines": 1, "cents": 3}
    --- stderr
    order_totals, given t.events.ndjson: 3 events, 1 out of its scope
      order_totals: 2 rows, as expected
      order_totals is otherwise with one event in a batch; a batch is any part of what is to come: add to what is there, and let the latest event win by its position, not by its batch
    Failed: 1 of 1 trial
    "#);
    // Three at a time they are all there are.
    test(&db, &["--batch-size", "3"]).success();
    // Nothing is written that would be wrong tomorrow.
    write(&db, "t.rows.json", "[]");
    let told = test(&db, &["--update", "-o", "json"]).failure(3).json();
    assert_eq!(told["trials"][0]["updated"], false);
    assert_eq!(read(&db, "t.rows.json"), "[]");
}

#[test]
fn what_depends_on_slots_or_the_time_zone_fails() {
    let last = "\
-- name: last
-- contexts: Sales
-- slots: 16
-- tables: last
-- init
CREATE TABLE IF NOT EXISTS last (id integer PRIMARY KEY, who text, day date);
-- handle
INSERT INTO last
SELECT 1, aggregate_id, created_at::date FROM batch ORDER BY global_position DESC LIMIT 1
ON CONFLICT (id) DO UPDATE SET who = excluded.who, day = excluded.day;
";
    let db = files(last);
    let event = |number| {
        format!(
            "{{\"event_type\": \"A\", \"aggregate_id\": \"o-{number}\", \
             \"created_at\": \"2026-01-01T20:00:00Z\"}}\n"
        )
    };
    write(&db, "t.events.ndjson", &(0..40).map(event).collect::<String>());
    std::fs::remove_file(db.folder().join("t.rows.json")).expect("removed");
    let json = test(&db, &["-o", "json"]).failure(3).json();
    let found = json["trials"][0]["depends_on"].as_array().expect("a list");
    let when: Vec<_> = found.iter().map(|found| &found["when"]).collect();
    assert_eq!(when, ["its 16 slots one after the other", "the time zone Pacific/Kiritimati"]);
}

#[test]
fn what_depends_on_the_order_in_the_batch_fails() {
    let list = "\
-- name: list
-- contexts: Sales
-- tables: list
-- init
CREATE TABLE IF NOT EXISTS list (id integer PRIMARY KEY, events text NOT NULL);
-- handle
INSERT INTO list AS t SELECT 1, string_agg(aggregate_id, ' ') FROM batch HAVING count(*) > 0
ON CONFLICT (id) DO UPDATE SET events = concat_ws(' ', t.events, excluded.events);
";
    let db = files(list);
    write(&db, "t.events.ndjson", &EVENTS.replace("Billing", "Sales"));
    write(&db, "t.rows.json", "[{\"events\": \"o-1 o-2 o-1 o-3\"}]");
    let json = test(&db, &["-o", "json"]).failure(3).json();
    let found = json["trials"][0]["depends_on"].as_array().expect("a list");
    let when: Vec<_> = found.iter().map(|found| &found["when"]).collect();
    assert_eq!(when, ["the events in another order in the batch"]);
    let ordered = list.replace("' ')", "' ' ORDER BY global_position)");
    write(&db, "t.sql", &ordered);
    test(&db, &[]).success();
}

#[test]
fn an_event_that_cannot_be_handled_is_named() {
    let db = files(TOTALS);
    write(&db, "t.events.ndjson", &EVENTS.replace("\"cents\": 50", "\"cents\": \"many\""));
    assert_snapshot!(all(&test(&db, &[]).failure(1)), @r#"
    --- stderr
    error: failed while running t.sql: invalid input syntax for type numeric: "many" (SQLSTATE 22P02)
      t.sql:11:1
      11 | INSERT INTO order_totals AS t
         | ^
      given t.events.ndjson:3: LineAdded of o-1
    "#);
}

#[test]
fn a_batch_with_two_events_for_one_row_is_explained() {
    let twice = TOTALS.replace("count(*), sum(", "1, (").replace(" GROUP BY 1", "");
    let db = files(&twice);
    assert_snapshot!(all(&test(&db, &[]).failure(1)), @"
    --- stderr
    error: each event in a batch of its own works, all in one batch do not: failed while running t.sql: ON CONFLICT DO UPDATE command cannot affect row a second time (SQLSTATE 21000)
      t.sql:11:1
      11 | INSERT INTO order_totals AS t
         | ^
    hint: a batch may have several events for one row: bring them together first, with GROUP BY or DISTINCT ON (…) … ORDER BY …, global_position DESC
    ");
}

#[test]
fn what_a_projection_may_not_do_is_refused() {
    let told = |change: (&str, &str)| {
        assert!(TOTALS.contains(change.0), "{}", change.0);
        let db = files(&TOTALS.replace(change.0, change.1));
        write(&db, "t.rows.json", "{}");
        db.pupctl(["schema", "init", "--partition-by", "none"]).success();
        let told = test(&db, &[]);
        assert!([Some(1), Some(2)].contains(&told.code), "{told}");
        // The schema has the number of the server's process.
        let parts: Vec<_> = told.stderr.trim_end().split("pupctl_trial_").collect();
        let parts: Vec<_> = parts
            .iter()
            .map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()))
            .collect();
        parts.join("pupctl_trial_")
    };
    let handle = "-- handle\n";
    assert_snapshot!(told((handle, "-- handle\nDELETE FROM events;\n")), @"
    error: with an empty batch: failed while running t.sql: a projection writes its own tables, never the events (SQLSTATE 55000)
      where: PL/pgSQL function pupctl_trial() line 2 at RAISE
      t.sql:11:1
      11 | DELETE FROM events;
         | ^
    hint: Let it write a table of its own, which -- tables: names.
    ");
    assert_snapshot!(told((handle, "-- handle\nDELETE FROM aggregate_heads;\n")), @"
    error: the projection order_totals writes public.aggregate_heads, which is none of its tables
      public.aggregate_heads is locked: RowExclusiveLock
      public.aggregate_heads_pkey is locked: RowExclusiveLock
      public.aggregate_heads_updated_at_idx is locked: RowExclusiveLock
      its tables are order_totals, in the schema pupctl_trial_
    hint: a projection writes nothing but its read model: name the table under -- tables: in t.sql, without its schema, if it is a part of that
    ");
    assert_snapshot!(told(("CREATE TABLE IF NOT EXISTS", "CREATE TABLE")), @r#"
    error: -- init works once, and not a second time: failed while running t.sql: relation "order_totals" already exists (SQLSTATE 42P07)
      t.sql:6:1
      6 | CREATE TABLE order_totals (
        | ^
    hint: it may run again when a worker starts: write IF NOT EXISTS, or ON CONFLICT DO NOTHING
    "#);
    assert_snapshot!(told(("-- tables: order_totals", "-- tables: order_totals, others")), @r#"
    error: t.sql makes no table others
    hint: let -- init make it, without a schema in front, or take it out of -- tables:
    "#);
    assert_snapshot!(told((handle, "-- handle\nSELECT nothing;\n")), @r#"
    error: with an empty batch: failed while running t.sql: column "nothing" does not exist (SQLSTATE 42703)
      t.sql:11:8
      11 | SELECT nothing;
         |        ^
    "#);
    assert_snapshot!(told((handle, "-- handle\nSELECT {{ rate }};\n")), @"
    error: the parameter rate is missing
      t.sql:11:11
      11 | SELECT {{ rate }};
         |           ^
      parameters that are there: none
    hint: give it with --param name=value, or in pupctl.toml under [projections.parameters]; two braces that are meant as they stand go between {% raw %} and {% endraw %}
    ");
}

#[test]
fn files_that_are_wrong_are_told_with_their_place() {
    let db = files(TOTALS);
    let with = |name: &str, text: &str, code: i32| {
        write(&db, "t.events.ndjson", EVENTS);
        write(&db, "t.rows.json", ROWS);
        write(&db, name, text);
        test(&db, &[]).failure(code).stderr.trim_end().to_owned()
    };
    let event = |rest: &str| {
        format!("{EVENTS}\n{{\"event_type\": \"A\", \"aggregate_id\": \"o\"{rest}}}\n")
    };
    assert_snapshot!(with("t.events.ndjson", &event(", \"payload\":"), 2), @"
    error: t.events.ndjson:6: no event: expected value (column 52)
    hint: each line is one JSON object
    ");
    assert_snapshot!(with("t.events.ndjson", &event(", \"tenant\": 1"), 2), @"
    error: t.events.ndjson:6: an event has no field tenant
    hint: it may have global_position, bounded_context, aggregate_type, aggregate_id, aggregate_version, event_id, event_type, event_version, payload, payload_base64, trace_id, correlation_id, causation_id, metadata, created_at
    ");
    assert_snapshot!(with("t.events.ndjson", &event(", \"event_version\": 5000000000"), 2), @"error: t.events.ndjson:6: `event_version` is 5000000000, not a small whole number");
    assert_snapshot!(with("t.rows.json", "[{\"order_id\": \"o-1\", \"line\": 2}]", 2), @"
    error: t.rows.json: row 1 of order_totals names line, which is no column
    hint: its columns are order_id, lines, cents, updated_at
    ");
    assert_snapshot!(with("t.rows.json", "[{\"lines\": 1}, {\"lines\": \"many\"}]", 2), @r#"
    error: t.rows.json: row 2 of order_totals cannot be a row of it
      failed while reading it as the table would: invalid input syntax for type bigint: "many" (SQLSTATE 22P02)
    "#);
    assert_snapshot!(with("t.rows.json", "{\"orders\": []}", 2), @"
    error: t.rows.json has rows of orders, which is no table of order_totals
    hint: its tables are order_totals
    ");
    assert_snapshot!(with("t.rows.json", "[{]", 2), @r#"
    error: t.rows.json does not hold the rows of tables: key must be a string at line 1 column 3
    hint: write {"table": [{"column": 1}]}, or the list alone where there is one table
    "#);
}

#[test]
fn given_and_expected_go_together() {
    let db = files(TOTALS);
    let two = ["--given", "t.events.ndjson", "--given", "none.ndjson"];
    write(&db, "none.ndjson", "");
    write(&db, "none.json", "[]");
    let both = ["--expect", "t.rows.json", "--expect", "none.json"];
    let told = test(&db, &[&two[..], &both].concat()).success();
    assert!(told.stderr.contains("2 trials passed"), "{told}");
    test(&db, &[&two[..], &both[..2]].concat()).failure(2);
    test(&db, &[&two[..], &["--update"]].concat()).failure(2);
    test(&db, &["t.sql", "--given", "t.events.ndjson"]).failure(2);
    let told = db.pupctl(["projections", "test", "none.sql"]).failure(2);
    assert!(told.stderr.contains("none.sql has no events beside it"), "{told}");
    // Without rows that are expected they are printed.
    let told = test(&db, &["--given", "t.events.ndjson"]).success();
    assert!(told.stdout.contains("\"order_id\": \"o-1\", \"lines\": 2, \"cents\": 3"), "{told}");
}

#[test]
fn columns_of_a_team_and_of_its_schema_are_there() {
    let db =
        files(&TOTALS.replace("-- tables:", "-- schema: reports\n-- tables:").replace(
            "FROM batch WHERE event_type = 'LineAdded'",
            "FROM batch WHERE is_ours(tenant)",
        ));
    db.pupctl(["schema", "init", "--partition-by", "none"]).success();
    db.execute(
        "ALTER TABLE events ADD COLUMN tenant text NOT NULL DEFAULT 'x';
         CREATE FUNCTION is_ours(tenant text) RETURNS boolean LANGUAGE sql AS $$ SELECT tenant = 'a' $$",
    );
    let with_tenant = EVENTS.replace("\"event_type\"", "\"tenant\": \"a\", \"event_type\"");
    write(&db, "t.events.ndjson", &with_tenant);
    test(&db, &[]).success();
    assert!(!db.one::<bool>("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'reports')"));
}

#[test]
fn a_role_that_may_make_nothing_is_told_what_to_do() {
    let db = files(TOTALS);
    let role = format!("{}_reader", db.name());
    db.execute(&format!("CREATE ROLE {role}"));
    let told = test(&db, &["--role", &role]).failure(1);
    let drop = format!("DROP ROLE {role}");
    db.execute(&drop);
    assert!(told.stderr.contains("may make schemas"), "{told}");
    db.execute(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", db.name()));
    let told = test(&db, &[]).failure(1);
    assert!(told.stderr.contains("takes writes"), "{told}");
}

#[test]
fn two_at_once_are_not_in_each_others_way() {
    let db = files(TOTALS);
    let test = ["projections", "test", "t.sql"];
    let running: Vec<_> = (0..4).map(|_| db.command(test).spawn()).collect();
    for process in running {
        process.wait().success();
    }
}

#[cfg(feature = "failpoints")]
#[test]
fn one_that_is_killed_leaves_nothing() {
    use crate::support::eventually;
    let db = files(TOTALS);
    for passed in 0..3 {
        let point = format!("trial::handled={passed}*off->return");
        db.command(["projections", "test", "t.sql"]).failpoints(&point).run().killed();
    }
    let left = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pupctl%'";
    eventually("the server has noticed", || db.one::<i64>(left) == 0);
    write(&db, "t.rows.json", "[]");
    let point = "projections::before_file=return";
    let update = ["projections", "test", "t.sql", "--update"];
    db.command(update).failpoints(point).run().killed();
    assert_eq!(read(&db, "t.rows.json"), "[]");
    db.pupctl(update).success();
    test(&db, &[]).success();
}

/// As somebody's own test does.
#[test]
fn the_library_does_it_too() {
    let db = TestDatabase::new();
    let projection = SqlProjection::parse("t.sql", TOTALS, &Parameters::new()).expect("parsed");
    let given = Given::parse("e", EVENTS, &projection).expect("events");
    let expected = Expected::parse("r", ROWS, &projection).expect("rows");
    let mut client = db.client();
    let trial = Trial::new(projection.clone()).batch_size(2);
    let outcome = trial.run(&mut client, &given, Some(&expected)).expect("tried");
    assert!(outcome.passed(), "{outcome}");
    assert_eq!((outcome.events, outcome.in_scope), (4, 3));
    let expected = Expected::parse("r", &ROWS.replace("o-2", "o-4"), &projection).expect("rows");
    let outcome = trial.run(&mut client, &given, Some(&expected)).expect("tried");
    assert!(!outcome.passed());
    assert_snapshot!(outcome.to_string(), @r#"
    order_totals is not as expected
    - {"order_id": "o-4", "lines": 1, "cents": 1}
    + {"order_id": "o-2", "lines": 1, "cents": 1}
    "#);
    // The session is as it was.
    let path: String = client.query_one("SHOW search_path", &[]).expect("a row").get(0);
    assert_eq!(path, "\"$user\", public");
}
