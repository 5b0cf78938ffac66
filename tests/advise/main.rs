//! `pupctl advise` on stores as they are: its own, pupsourcing's, a plain table, an empty one, and
//! one that may only be read.

#[path = "../support/mod.rs"]
mod support;

use serde_json::Value;
use support::{Output, TestDatabase, TestServer, fingerprint};

/// The facts of a public history, as events.
const EXCERPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/git-history-500.ndjson");

fn advise(db: &TestDatabase, arguments: &[&str]) -> Output {
    db.pupctl(["advise"].iter().chain(arguments)).success()
}

fn json(db: &TestDatabase, arguments: &[&str]) -> Value {
    advise(db, &[&["-o", "json"], arguments].concat()).json()
}

/// A store without partitions that holds the real events.
fn real() -> TestDatabase {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "-q", "--partition-by", "none"]).success();
    db.pupctl(["events", "import", "-q", EXCERPT]).success();
    db
}

/// Tables as pupsourcing makes them, without what does not matter here.
fn pupsourcing() -> TestDatabase {
    let db = TestDatabase::new();
    db.execute(
        "CREATE TABLE events (
            global_position BIGSERIAL PRIMARY KEY,
            bounded_context TEXT NOT NULL, aggregate_type TEXT NOT NULL,
            aggregate_id TEXT NOT NULL, aggregate_version BIGINT NOT NULL,
            event_id UUID NOT NULL UNIQUE, event_type TEXT NOT NULL,
            event_version INT NOT NULL DEFAULT 1, payload BYTEA NOT NULL,
            trace_id TEXT, correlation_id TEXT, causation_id TEXT, metadata JSONB,
            created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
            UNIQUE (bounded_context, aggregate_type, aggregate_id, aggregate_version));
         CREATE TABLE aggregate_heads (
            bounded_context TEXT NOT NULL, aggregate_type TEXT NOT NULL,
            aggregate_id TEXT NOT NULL, aggregate_version BIGINT NOT NULL,
            updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
            PRIMARY KEY (bounded_context, aggregate_type, aggregate_id));
         CREATE TABLE projection_checkpoints (
            projection_name TEXT PRIMARY KEY, last_global_position BIGINT NOT NULL DEFAULT 0,
            updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW());
         INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload, created_at)
         SELECT CASE WHEN number % 30 < 7 THEN 'it''s \"B\"' ELSE 'A' END, 'Order',
            (number % 30)::text, (number - 1) / 30 + 1, gen_random_uuid(), 'Placed', '',
            date_trunc('month', now()) - interval '1 day' * (number % 90)
         FROM generate_series(1, 600) AS number;
         INSERT INTO aggregate_heads
         SELECT bounded_context, aggregate_type, aggregate_id, max(aggregate_version)
         FROM events GROUP BY 1, 2, 3;
         INSERT INTO aggregate_heads VALUES ('only heads', 'Order', '1', 7)",
    );
    db
}

#[test]
fn the_real_events_are_few() {
    let db = real();
    let told = json(&db, &[]);
    assert_eq!(told["workload"]["rows"], 493);
    assert_eq!(told["workload"]["estimated"], false);
    assert_eq!(told["command"], "advise");
    assert_eq!(told["advice"]["layout"], "none");
    assert_eq!(told["advice"]["next"]["do"], "stay");
    assert_eq!(told["run"], Value::Null);
    let contexts = told["workload"]["contexts"].as_array().expect("contexts");
    let sum: u64 = contexts.iter().map(|one| one["rows"].as_u64().expect("a number")).sum();
    assert_eq!(sum, 493);
    let longest = told["workload"]["streams"][0]["version"].as_i64().expect("a version");
    let wanted: i64 = db.one("SELECT max(aggregate_version) FROM aggregate_heads");
    assert_eq!(longest, wanted);
    assert_eq!(told["advice"]["forecasts"].as_array().map(Vec::len), Some(7));

    let page = advise(&db, &[]);
    for words in ["493 events", "Recommended: none", "context,month", "nothing to do"] {
        assert!(page.stdout.contains(words), "{words}: {page}");
    }
}

#[test]
fn a_retention_asks_for_months() {
    let db = real();
    let config = "[archive]\nretention = \"7 years\"\n";
    std::fs::write(db.folder().join("pupctl.toml"), config).expect("a file");
    let told = json(&db, &[]);
    assert_eq!(told["advice"]["layout"], "month");
    assert_eq!(told["run"], "pupctl convert start --partition-by month --dry-run");
    // What is printed can be run.
    let command = told["run"].as_str().expect("a command");
    db.pupctl(command.split(' ').skip(1)).success();
    assert_eq!(told["retention"][0]["time"], "7 years");
}

#[test]
fn tables_of_pupsourcing() {
    let db = pupsourcing();
    let before = fingerprint(&mut db.client());
    let told = json(&db, &["--exact"]);
    assert!(fingerprint(&mut db.client()) == before);
    let workload = &told["workload"];
    assert_eq!((&workload["rows"], &workload["estimated"]), (&600.into(), &false.into()));
    let contexts = workload["contexts"].as_array().expect("contexts");
    let names: Vec<_> = contexts.iter().map(|one| one["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["A", "it's \"B\"", "only heads"]);
    assert_eq!(workload["months"].as_array().map(Vec::len), Some(4));
    assert_eq!(told["layout"], Value::Null);
    assert_eq!(told["run"], "pupctl schema baseline --partition-by none");
    db.execute("DELETE FROM aggregate_heads WHERE bounded_context = 'only heads'");
    db.pupctl(["schema", "baseline", "--partition-by", "none", "--yes"]).success();
    assert_eq!(json(&db, &[])["advice"]["next"]["do"], "stay");
}

#[test]
fn contexts_that_are_kept_for_different_times() {
    let db = pupsourcing();
    let config = "[[contexts]]\nname = \"A\"\nretention = \"90 days\"\n";
    std::fs::write(db.folder().join("pupctl.toml"), config).expect("a file");
    let told = json(&db, &[]);
    assert_eq!(told["advice"]["layout"], "context,month");
    let next = &told["advice"]["next"];
    assert_eq!((&next["do"], &next["strategy"]), (&"convert".into(), &"copy".into()));
}

#[test]
fn a_plain_table_with_another_name_and_few_columns() {
    let db = TestDatabase::new();
    db.execute(
        "CREATE SCHEMA \"my \"\"es\"\"\";
         CREATE TABLE \"my \"\"es\"\"\".\"log's\" (id bigint, created_at timestamp, what text);
         INSERT INTO \"my \"\"es\"\"\".\"log's\" SELECT number, '2026-01-31 23:59:59', ''
         FROM generate_series(1, 50) AS number",
    );
    let config = "schema = 'my \"es\"'\n[tables]\nevents = \"log's\"\n";
    std::fs::write(db.folder().join("pupctl.toml"), config).expect("a file");
    let told = json(&db, &[]);
    assert_eq!(told["workload"]["rows"], 50);
    assert_eq!(told["workload"]["months"][0]["month"], "2026-01");
    assert_eq!(told["workload"]["contexts"], Value::Array(Vec::new()));
    assert_eq!(told["advice"]["layout"], "none");
}

#[test]
fn nothing_yet() {
    let db = TestDatabase::new();
    let told = json(&db, &[]);
    assert_eq!((&told["table"], &told["workload"]), (&Value::Null, &Value::Null));
    let command = told["run"].as_str().expect("a command");
    assert_eq!(command, "pupctl schema init --partition-by none --dry-run");
    db.pupctl(["schema", "init", "-q", "--partition-by", "month"]).success();
    // An empty store by month, of which nobody says that anything leaves.
    let told = json(&db, &[]);
    assert_eq!(told["workload"]["rows"], 0);
    assert_eq!(told["advice"]["next"]["do"], "copy");
    let wanted = "pupctl schema init --schema public_new --partition-by none --dry-run";
    assert_eq!(told["run"], wanted);
    db.pupctl(wanted.split(' ').skip(1)).success();
    let page = advise(&db, &[]).stdout;
    assert!(page.contains("docs/how-to/copy-a-store.md") && page.contains(wanted), "{page}");
}

#[test]
fn the_name_of_a_copy_is_not_too_long() {
    let db = TestDatabase::new();
    let schema = "ä".repeat(31);
    db.pupctl(["schema", "init", "-q", "--partition-by", "month", "--schema", &schema]).success();
    let told = json(&db, &["--schema", &schema]);
    let run = told["run"].as_str().expect("a command");
    assert!(run.starts_with("pupctl schema init --schema ää"), "{run}");
    db.pupctl(run.split(' ').skip(1)).success();
}

#[test]
fn a_role_that_may_only_read() {
    let db = pupsourcing();
    let role = format!("{}_reader", db.name());
    db.execute(&format!("CREATE ROLE {role}; GRANT SELECT ON events TO {role}"));
    let told = json(&db, &["--role", &role, "--schema", "public"]);
    db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    assert_eq!(told["workload"]["rows"], 600);
    assert_eq!(told["advice"]["layout"], "none");
    let notes = told["workload"]["notes"].to_string();
    assert!(notes.contains("permission denied for table aggregate_heads"), "{notes}");
}

#[test]
fn reads_are_known_where_the_server_counts_them() {
    let server = TestServer::private(&[("shared_preload_libraries", "pg_stat_statements")]);
    let db = TestDatabase::on(&server);
    db.execute("CREATE EXTENSION pg_stat_statements");
    db.pupctl(["schema", "init", "-q", "--partition-by", "none"]).success();
    db.pupctl(["events", "import", "-q", EXCERPT]).success();
    let mut client = db.client();
    client.batch_execute("SELECT pg_stat_statements_reset()").expect("a reset");
    for (times, condition) in [
        (30, "bounded_context = 'A' AND aggregate_type = 'B' AND aggregate_id = 'C'"),
        (6, "global_position > 5"),
        (4, "created_at > now()"),
    ] {
        for _ in 0..times {
            client.query(&format!("SELECT * FROM events WHERE {condition}"), &[]).expect("rows");
        }
    }
    let told = json(&db, &[]);
    let queries = &told["workload"]["queries"];
    assert_eq!((&queries["by_aggregate"], &queries["by_time"]), (&30.into(), &4.into()));
    assert_eq!(queries["by_position"], 6);
    let page = advise(&db, &[]).stdout;
    assert!(page.contains("of the reads are of one aggregate"), "{page}");
}

#[test]
fn a_large_table_is_sampled() {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "-q", "--partition-by", "none"]).success();
    // 150 MB in rows that do not compress.
    db.execute(
        "ALTER TABLE events ALTER COLUMN payload SET STORAGE PLAIN;
         INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload, created_at)
         SELECT CASE WHEN number % 10 = 0 THEN 'B' ELSE 'A' END, 'Order', number::text, 1,
            gen_random_uuid(), 'Placed', decode(repeat(md5(number::text), 220), 'hex'),
            '2026-01-15'::timestamptz + interval '1 month' * (number / 10000)
         FROM generate_series(1, 40000) AS number;
         ANALYZE events",
    );
    let told = json(&db, &[]);
    let workload = &told["workload"];
    assert_eq!(workload["estimated"], true);
    let near = |value: &Value, wanted: f64| {
        let value = value.as_f64().expect("a number");
        assert!((value - wanted).abs() < wanted * 0.15, "{value}, about {wanted}");
    };
    near(&workload["rows"], 40_000.0);
    near(&workload["contexts"][0]["rows"], 36_000.0);
    near(&workload["months"][1]["rows"], 10_000.0);
    assert!(workload["notes"].to_string().contains("are estimated from"), "{workload}");
    let exact = &json(&db, &["--exact"])["workload"];
    assert_eq!((&exact["rows"], &exact["estimated"]), (&40_000.into(), &false.into()));
}
