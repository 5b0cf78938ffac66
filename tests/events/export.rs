//! `pupctl events export`: values, filters, files, streams, failures.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::support::{Append, Output, TestDatabase, eventually};
use crate::{events, export, fill, positions, store, stored};

#[test]
fn every_layout_gives_all_events_in_their_order() {
    for by in ["none", "context", "hash", "month", "context,hash", "context,month", "hash,month"] {
        let db = store(by);
        fill(&db, 30);
        let exported = export(&db, &[]).success();
        assert_eq!(positions(&exported.stdout), stored(&db, "true"), "{by}");
        assert_eq!(exported.stderr, "Exported 300 events, positions 1 to 300\n", "{by}");
    }
}

/// One of each odd value, and NULLs where there may be.
const ODD: &str = r#"
INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version, event_id,
    event_type, event_version, payload, trace_id, metadata, created_at)
VALUES
    ('a "b" c', E'quote '' back \\ tab \t', 'ünï 🐘', 9223372036854775807, gen_random_uuid(),
        'E', 2147483647, '\x00ff', E'line\nbreak', 'null', '2026-11-21 10:00:00.000001+02'),
    ('a "b" c', 'T', 'pretty', 1, gen_random_uuid(),
        'E', 1, convert_to(E'{\n  "a": 1\n}', 'UTF8'), '', '{"b":1,"a":[1e400]}', 'epoch'),
    ('a "b" c', 'T', 'text', 1, gen_random_uuid(),
        'E', 1, convert_to('"näh"', 'UTF8'), NULL, NULL, '0001-01-01 00:00:00Z'),
    ('a "b" c', 'T', 'spaced', 1, gen_random_uuid(),
        'E', 1, convert_to('{"b" : 1.50,"b":2}', 'UTF8'), NULL, '"x"', '9999-12-31 23:59:59.5Z'),
    ('a "b" c', 'T', 'empty', 1, gen_random_uuid(), 'E', 1, '', NULL, NULL, 'epoch')"#;

#[test]
fn odd_values_read_back_as_they_are() {
    let db = store("none");
    db.execute(ODD);
    let exported = export(&db, &[]).success();
    let lines: Vec<&str> = exported.stdout.lines().collect();
    let holds = |line: usize, part: &str| assert!(lines[line].contains(part), "{}", lines[line]);
    holds(0, r#""bounded_context":"a \"b\" c","aggregate_type":"quote ' back \\ tab \t""#);
    holds(0, r#""payload_base64":"AP8=","trace_id":"line\nbreak","metadata":null"#);
    holds(0, r#""created_at":"2026-11-21T08:00:00.000001Z"}"#);
    holds(1, r#""payload_base64":"ewogICJhIjogMQp9","trace_id":"","metadata":{"a": [10000"#);
    holds(2, r#""payload":"näh","created_at":"0001-01-01T00:00:00Z"}"#);
    holds(
        3,
        r#""payload":{"b" : 1.50,"b":2},"metadata":"x","created_at":"9999-12-31T23:59:59.500Z"}"#,
    );
    holds(4, r#""payload_base64":"","created_at":"1970-01-01T00:00:00Z"}"#);
    // The server itself reads the fields back.
    let file = db.folder().join("lines");
    fs::write(&file, exported.stdout.replace('\\', r"\\")).expect("a file");
    let copy = format!("\\copy lines FROM '{}'", file.display());
    let same = "SELECT count(*) FROM lines JOIN events
        ON (line ->> 'global_position')::bigint = global_position
        AND line ->> 'bounded_context' = bounded_context
        AND line ->> 'aggregate_type' = aggregate_type
        AND line ->> 'aggregate_id' = aggregate_id
        AND (line ->> 'aggregate_version')::bigint = aggregate_version
        AND (line ->> 'event_id')::uuid = event_id
        AND (line ->> 'event_version')::int = event_version
        AND coalesce(decode(line ->> 'payload_base64', 'base64'), payload) = payload
        AND line ->> 'trace_id' IS NOT DISTINCT FROM trace_id
        AND (line -> 'metadata')::jsonb IS NOT DISTINCT FROM metadata
        AND (line ->> 'created_at')::timestamptz = created_at";
    let told = db.psql(["-c", "CREATE TABLE lines (line json)", "-c", &copy, "-c", same]).success();
    assert_eq!(told.stdout.trim(), "5");
}

#[test]
fn filters_combine() {
    for by in ["none", "context,month", "hash,month"] {
        let db = store(by);
        fill(&db, 30);
        let (this, next) = (db.month(0), db.month(1));
        let day = format!("{next}-05");
        let instant = format!("{next}-05T02:00:00.000001+02:00");
        let cases: [(&[&str], String); 9] = [
            (&["--context", "A"], "bounded_context = 'A'".to_owned()),
            (&["--context", "A,B"], "true".to_owned()),
            (
                &["--context", "A", "--context", "B", "--month", &next],
                format!("created_at >= '{next}-01Z'"),
            ),
            (&["--month", &this], format!("created_at < '{next}-01Z'")),
            (&["--from", &this, "--to", &day], format!("created_at < '{day}Z'")),
            (
                &["--from", &day, "--context", "B"],
                format!("created_at >= '{day}Z' AND bounded_context = 'B'"),
            ),
            (&["--from", &instant], "false".to_owned()),
            (
                &["--after-position", "10", "--up-to-position", "200", "--month", &next],
                format!(
                    "global_position > 10 AND global_position <= 200
                    AND created_at >= '{next}-01Z'"
                ),
            ),
            (&["--after-position", "-5", "--up-to-position", "0"], "false".to_owned()),
        ];
        for (arguments, condition) in cases {
            let exported = export(&db, arguments).success();
            let found = positions(&exported.stdout);
            assert_eq!(found, stored(&db, &condition), "{by}: {arguments:?}");
        }
    }
}

#[test]
fn leaves_that_hold_nothing_of_it_are_not_touched() {
    let db = store("context,month");
    fill(&db, 6);
    let this = db.month(0);
    let mut holder = db.client();
    let mut transaction = holder.transaction().expect("a transaction");
    let lock = format!(
        "LOCK TABLE events_b_{0}, events_a_{1} IN ACCESS EXCLUSIVE MODE",
        this.replace('-', "_"),
        db.month(1).replace('-', "_")
    );
    transaction.batch_execute(&lock).expect("the locks");
    let narrow = ["--context", "A", "--month", &this, "--lock-budget", "200ms"];
    assert!(!export(&db, &narrow).success().stdout.is_empty());
    // The others would be waited for, but not for ever.
    let refused = export(&db, &["all.jsonl", "--lock-budget", "200ms"]).failure(5);
    assert!(refused.stderr.contains("hint: somebody holds a partition"), "{refused}");
    assert!(files(&db).is_empty(), "{:?}", files(&db));
}

#[test]
fn what_is_asked_for_must_make_sense() {
    let db = store("context");
    let refused = export(&db, &["--context", "A,C"]).failure(2);
    assert_eq!(
        refused.stderr,
        "error: the store knows no context C\n  it knows A, B\nhint: see pupctl contexts list\n"
    );
    for wrong in [
        &["--month", "2026-11", "--from", "2026-11"] as &[&str],
        &["--from", "2026-11", "--to", "2026-11"],
        &["--after-position", "3", "--up-to-position", "3"],
        &["--from", "yesterday"],
        &["."],
        &["-o", "json"],
    ] {
        let refused = export(&db, wrong).failure(2);
        assert!(!refused.stderr.is_empty(), "{refused}");
    }
    // Without a level for them contexts are only a condition.
    let db = store("none");
    assert_eq!(export(&db, &["--context", "C"]).success().stderr, "Exported 0 events\n");
    let empty = TestDatabase::new();
    let refused = export(&empty, &["x.jsonl"]).failure(1);
    assert!(refused.stderr.contains("there is no table of events"), "{refused}");
}

/// The files in the folder of the database, hidden ones included.
fn files(db: &TestDatabase) -> Vec<String> {
    let entries = fs::read_dir(db.folder()).expect("a folder");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    entries.map(name).map(|name| name.to_string_lossy().into_owned()).collect()
}

#[test]
fn a_file_is_its_owners_and_is_not_replaced_unasked() {
    let db = store("context");
    fill(&db, 3);
    let whole = export(&db, &[]).success().stdout;
    let report = export(&db, &["all.jsonl", "-o", "json"]).success().json();
    let path = db.folder().join("all.jsonl");
    assert_eq!(fs::read_to_string(&path).expect("the file"), whole);
    assert_eq!(fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o600);
    assert_eq!(
        report,
        serde_json::json!({
            "version": 1, "command": "events export", "dry_run": false, "file": "all.jsonl",
            "events": 30, "bytes": whole.len(), "first_position": 1, "last_position": 30,
            "left_out_columns": []
        })
    );
    let refused = export(&db, &["all.jsonl"]).failure(1);
    assert_eq!(
        refused.stderr,
        "error: all.jsonl exists already\n\
         hint: name another file, or replace it with --overwrite\n"
    );
    // What a link leads to is replaced.
    std::os::unix::fs::symlink("all.jsonl", db.folder().join("link.jsonl")).expect("a link");
    export(&db, &["link.jsonl", "--overwrite", "--context", "A"]).success();
    assert_eq!(positions(&fs::read_to_string(&path).expect("the file")).len(), 10);
    assert_eq!(files(&db).len(), 2, "{:?}", files(&db));
    let lost = export(&db, &["no/such/folder.jsonl"]).failure(1);
    assert!(lost.stderr.contains("cannot write no/such/folder.jsonl"), "{lost}");
    // A device takes what comes and stays what it is.
    export(&db, &["/dev/null"]).success();
    assert!(!fs::metadata("/dev/null").expect("a device").is_file());
}

#[test]
fn compressed_files_read_back() {
    let db = store("hash");
    fill(&db, 20);
    let whole = export(&db, &[]).success().stdout;
    let read = |name: &str| fs::File::open(db.folder().join(name)).expect("the file");
    export(&db, &["a.jsonl.gz"]).success();
    let mut text = String::new();
    flate2::read::GzDecoder::new(read("a.jsonl.gz")).read_to_string(&mut text).expect("gzip");
    assert_eq!(text, whole);
    export(&db, &["a.jsonl.zst"]).success();
    let text = zstd::decode_all(read("a.jsonl.zst")).expect("zstd");
    assert_eq!(String::from_utf8(text).expect("text"), whole);
    // The option has the last word.
    export(&db, &["plain.gz", "--compress", "none"]).success();
    assert_eq!(fs::read_to_string(db.folder().join("plain.gz")).expect("the file"), whole);
    export(&db, &["other", "--compress", "gzip"]).success();
    assert!(fs::read(db.folder().join("other")).expect("the file").starts_with(&[0x1f, 0x8b]));
}

fn piped(db: &TestDatabase, arguments: &[&str]) -> std::process::Child {
    Command::new(env!("CARGO_BIN_EXE_pupctl"))
        .args(["events", "export"])
        .args(arguments)
        .env_clear()
        .env("PUPCTL_DATABASE_URL", db.url())
        .current_dir(db.folder())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("pupctl")
}

#[test]
fn whoever_reads_may_stop_when_they_have_seen_enough() {
    let db = store("context");
    fill(&db, 20_000);
    let mut child = piped(&db, &[]);
    let mut line = String::new();
    let stdout = child.stdout.take().expect("its output");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let ended = child.wait_with_output().expect("its end");
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), b"".as_slice()));
    assert_eq!(events(&line).len(), 1);
}

#[test]
fn an_interrupted_export_leaves_no_file() {
    let db = store("context");
    fill(&db, 5);
    // It waits for a lock, until it is told to stop.
    let mut holder = db.client();
    let mut transaction = holder.transaction().expect("a transaction");
    transaction.batch_execute("LOCK TABLE events_b IN ACCESS EXCLUSIVE MODE").expect("the lock");
    let running = db.command(["events", "export", "all.jsonl"]).spawn();
    eventually("it waits", || {
        db.one(
            "SELECT EXISTS (SELECT FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock')",
        )
    });
    assert!(files(&db).iter().any(|name| name.starts_with(".all.jsonl.")), "{:?}", files(&db));
    running.signal("INT");
    let ended = running.wait().failure(130);
    assert!(ended.stderr.contains("hint: run the command again: it begins anew"), "{ended}");
    assert!(files(&db).is_empty(), "{:?}", files(&db));
}

#[test]
fn an_export_sees_one_state_while_writers_go_on() {
    let db = store("context");
    fill(&db, 20_000);
    let mut child = piped(&db, &[]);
    let mut reader = BufReader::new(child.stdout.take().expect("its output"));
    let mut text = String::new();
    reader.read_line(&mut text).expect("a line");
    // The pipe is full by now, so the export is not at its end.
    let append = Append {
        context: "A",
        id: "late",
        head: None,
        events: 5,
        created_at: "2026-11-21 00:00:00Z",
    };
    append.run(&mut db.client()).expect("appends");
    db.execute("DELETE FROM events WHERE aggregate_id = 'order-20000'");
    reader.read_to_string(&mut text).expect("the rest");
    assert!(child.wait().expect("its end").success());
    assert!(positions(&text).into_iter().eq(1..=200_000), "not what was there at the beginning");
}

#[test]
fn further_columns_are_written_when_asked_for() {
    let db = store("context");
    db.execute(
        "ALTER TABLE events ADD COLUMN \"the \"\"tenant\"\"\" text, ADD COLUMN tags text[],
            ADD COLUMN seen timestamptz;
         INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload, \"the \"\"tenant\"\"\", tags)
         VALUES ('A', 'T', 'x', 1, gen_random_uuid(), 'E', '{}', 'north', '{a,b}')",
    );
    let plain = export(&db, &[]).success();
    assert!(plain.stderr.contains(
        "warning: left out: the \"tenant\", tags, seen; --extra-columns writes further columns\n"
    ));
    assert!(!plain.stdout.contains("tenant"));
    let whole = export(&db, &["--extra-columns"]).success();
    assert!(whole.stdout.ends_with("\"the \\\"tenant\\\"\":\"north\",\"tags\":[\"a\", \"b\"]}\n"));
    assert!(!whole.stderr.contains("left out"), "{whole}");
    db.execute("ALTER TABLE events ADD COLUMN payload_base64 text");
    let refused = export(&db, &["--extra-columns"]).failure(1);
    assert!(refused.stderr.contains("has a column payload_base64"), "{refused}");
}

#[test]
fn a_time_that_cannot_be_written_is_told_with_its_event() {
    for (time, words) in [("infinity", "is infinity"), ("20000-01-01", "is before the year 1 or")] {
        let db = store("none");
        fill(&db, 1);
        db.execute(&format!("UPDATE events SET created_at = '{time}' WHERE global_position = 7"));
        let failed = export(&db, &["all.jsonl"]).failure(1);
        let begin = format!("error: created_at of the event at position 7 {words}");
        assert!(failed.stderr.starts_with(&begin), "{failed}");
        assert!(failed.stderr.contains("--up-to-position 6 and --after-position 7"), "{failed}");
        assert!(files(&db).is_empty(), "{:?}", files(&db));
    }
}

/// Runs an export as a role that has these rights, and drops the role.
fn as_reader(db: &TestDatabase, rights: &str) -> Output {
    let role = format!("reader_{}", db.name());
    db.execute(&format!("CREATE ROLE {role}; {}", rights.replace("{}", &role)));
    let output = export(db, &["--role", &role, "--context", "A"]);
    db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    output
}

#[test]
fn a_role_that_may_only_read() {
    let db = store("context,month");
    fill(&db, 9);
    let own = "GRANT SELECT ON pupctl_layout, pupctl_history, pupctl_schema_history TO {};";
    let whole = export(&db, &["--context", "A"]).success().stdout;
    assert_eq!(positions(&whole).len(), 40);
    let all = as_reader(&db, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}").success();
    assert_eq!(all.stdout, whole);
    // One that may read the table, but no partition by itself.
    let parent = as_reader(&db, &format!("{own} GRANT SELECT ON events TO {{}}")).success();
    assert_eq!(parent.stdout, whole);
    let nothing = as_reader(&db, own).failure(1);
    assert!(nothing.stderr.contains("permission denied for table events_a"), "{nothing}");
    assert!(nothing.stderr.contains("hint: work as the owner of the tables"), "{nothing}");
    // Rows that a policy hides would be missing in silence.
    db.execute("ALTER TABLE events ENABLE ROW LEVEL SECURITY");
    let hidden = as_reader(&db, &format!("{own} GRANT SELECT ON events TO {{}}")).failure(1);
    assert!(hidden.stderr.contains("row-level security"), "{hidden}");
}

#[test]
fn a_partition_that_is_being_detached_is_told_of() {
    let db = store("context");
    fill(&db, 2);
    let mut reader = db.client();
    let mut transaction = reader.transaction().expect("a transaction");
    transaction.batch_execute("SELECT FROM events").expect("reads");
    // It cannot finish while somebody reads, and gives up half way.
    let detach = "SET statement_timeout = '300ms'; ALTER TABLE events DETACH PARTITION events_b CONCURRENTLY";
    let (timeout, statement) = detach.split_once("; ").expect("two");
    let mut client = db.client();
    client.batch_execute(timeout).expect("a setting");
    client.batch_execute(statement).expect_err("must time out");
    transaction.rollback().expect("ends");
    let exported = export(&db, &[]).success();
    assert!(
        exported
            .stderr
            .contains("warning: public.events_b is being detached: its events are left out"),
        "{exported}"
    );
    assert_eq!(positions(&exported.stdout), stored(&db, "bounded_context = 'A'"));
}

#[test]
fn a_dry_run_shows_what_would_be_read() {
    let db = store("context");
    fill(&db, 2);
    let shown = export(&db, &["all.jsonl", "--context", "A", "--dry-run"]).success();
    assert!(shown.stdout.contains("FROM ONLY \"public\".\"events_a\""), "{shown}");
    assert!(!shown.stdout.contains("events_b"), "{shown}");
    assert!(files(&db).is_empty(), "{:?}", files(&db));
    fs::write(db.folder().join("shown.sql"), &shown.stdout).expect("a file");
    assert!(db.psql(["-f", "shown.sql"]).success().stdout.starts_with("PGCOPY"));
    let json = export(&db, &["--dry-run", "-o", "json"]).success().json();
    let tables = json["reads"][0]["tables"].as_array().map(Vec::len);
    assert_eq!((tables, &json["dry_run"]), (Some(2), &true.into()));
}
