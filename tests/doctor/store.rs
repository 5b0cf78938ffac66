//! The store itself: tables, sequence, partitions, statistics.

use crate::support::{Append, TestDatabase};
use crate::{NOTHING, by_month, found, found_with, mend, suffix};

/// As pupsourcing's migrations make them.
const PUPSOURCING: &str = "
CREATE TABLE events (
    global_position BIGSERIAL PRIMARY KEY,
    bounded_context TEXT NOT NULL,
    aggregate_type TEXT NOT NULL,
    aggregate_id TEXT NOT NULL,
    aggregate_version BIGINT NOT NULL,
    event_id UUID NOT NULL UNIQUE,
    event_type TEXT NOT NULL,
    event_version INT NOT NULL DEFAULT 1,
    payload BYTEA NOT NULL,
    trace_id TEXT,
    correlation_id TEXT,
    causation_id TEXT,
    metadata JSONB,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    UNIQUE (bounded_context, aggregate_type, aggregate_id, aggregate_version)
);
CREATE TABLE aggregate_heads (
    bounded_context TEXT NOT NULL,
    aggregate_type TEXT NOT NULL,
    aggregate_id TEXT NOT NULL,
    aggregate_version BIGINT NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    PRIMARY KEY (bounded_context, aggregate_type, aggregate_id)
);
CREATE TABLE projection_checkpoints (
    projection_name TEXT PRIMARY KEY,
    last_global_position BIGINT NOT NULL DEFAULT 0,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
);
CREATE INDEX ON aggregate_heads (updated_at);
CREATE INDEX ON projection_checkpoints (updated_at);";

/// Appends two events to an aggregate, now.
pub(crate) fn append(db: &TestDatabase, context: &str, id: &str) {
    let now: String = db.one("SELECT now()::text");
    let append = Append { context, id, head: None, events: 2, created_at: &now };
    append.run(&mut db.client()).expect("an append");
}

#[test]
fn a_sound_store_of_any_layout_has_no_problem() {
    for layout in
        ["none", "context", "hash", "month", "context,hash", "context,month", "hash,month"]
    {
        let db = TestDatabase::new();
        let init = ["schema", "init", "-q", "--contexts", "A,B", "--partition-by", layout];
        let hash = layout.contains("hash").then_some("--hash-partitions=2");
        db.pupctl(init.into_iter().chain(hash)).success();
        append(&db, "A", "1");
        append(&db, "B", "it's \"2\"");
        assert_eq!(found(&db), NOTHING, "{layout}");
    }
}

#[test]
fn a_schema_without_a_store() {
    let db = TestDatabase::new();
    assert_eq!(found(&db), ["error no_store the schema public"]);
    mend(&db, "no_store", &[]);
    assert_eq!(found(&db), NOTHING);
}

#[test]
fn what_mends_it_is_for_the_same_store() {
    let db = TestDatabase::new();
    db.execute("CREATE SCHEMA \"the shop\"");
    db.pupctl(["schema", "init", "-q", "--partition-by", "month", "--months", "1"]).success();
    let shop = ["--schema", "the shop"];
    let missing = crate::all(&db, &shop);
    let remedy = missing[0].remedy.as_deref().expect("a remedy");
    let init = "pupctl --schema 'the shop' schema init ";
    assert!(remedy.starts_with(init), "{remedy}");
    let page = crate::doctor(&db, &shop).success().stdout;
    assert!(page.contains(&format!("  mend it: {init}")), "{page}");
    let advice = db.pupctl(["advise"].iter().chain(&shop)).success().stdout;
    assert!(advice.contains(&format!("Next: {init}")), "{advice}");
    let json = db.pupctl(["advise", "-o", "json"].iter().chain(&shop)).success().json();
    assert!(json["run"].as_str().is_some_and(|next| next.starts_with(init)), "{json}");
    for ensure in [&["partitions", "ensure"][..], &["partitions", "ensure", "-o", "json"]] {
        let refused = db.pupctl(ensure.iter().chain(&shop)).failure(1);
        assert!(refused.stderr.contains(&format!("hint: make one: {init}")), "{refused}");
        assert!(refused.stdout.is_empty() || refused.stdout.contains(init), "{refused}");
    }

    // With two stores, what is printed works as it is.
    let words = ["schema", "init", "-q", "--partition-by", "month", "--months", "1"];
    db.pupctl(words.iter().chain(&shop)).success();
    let leaf = format!("\"the shop\".events_{}", crate::suffix(&db, 1));
    db.execute(&format!("DROP TABLE {leaf}"));
    let told = db.pupctl(["partitions", "check"].iter().chain(&shop)).success().stdout;
    let ensure = "pupctl --schema 'the shop' partitions ensure";
    assert!(told.contains(&format!("  mend it: {ensure}\n")), "{told}");
    db.pupctl(["report", "--html", "page.html"].iter().chain(&shop)).success();
    let page = std::fs::read_to_string(db.folder().join("page.html")).expect("the page");
    let page = page.replace("&#39;", "'");
    assert!(page.contains(&format!("<code>{ensure}</code>")));
    // Where nothing was given, nothing is added.
    assert_eq!(crate::found(&TestDatabase::new()), ["error no_store the schema public"]);
}

#[test]
fn a_store_that_is_not_pupctls_yet() {
    let db = TestDatabase::new();
    db.execute(PUPSOURCING);
    append(&db, "A", "1");
    let unknown = "notice unknown_store the schema public";
    assert_eq!(found(&db), [unknown]);
    db.execute(
        "INSERT INTO projection_checkpoints VALUES ('it''s', 0, now() - interval '1 day');
         ALTER SEQUENCE events_global_position_seq CACHE 5",
    );
    let problems = [
        "error sequence public.events_global_position_seq",
        "warning projection_stopped it's",
        unknown,
    ];
    assert_eq!(found(&db), problems);
    mend(&db, "sequence", &[]);
    db.execute("DELETE FROM projection_checkpoints");
    db.pupctl(["schema", "baseline", "--partition-by", "none", "--yes"]).success();
    // pupsourcing has no index on time.
    assert_eq!(found(&db), ["warning missing_index public.events"]);
    mend(&db, "missing_index", &[]);
    assert_eq!(found(&db), NOTHING);
}

#[test]
fn what_check_and_verify_find_is_told_once() {
    let db = by_month();
    let from = db.month(-1);
    db.pupctl(["partitions", "ensure", "-q", "--from", &from]).success();
    let leaf = format!("events_{}", suffix(&db, 0));
    db.execute(&format!(
        "ALTER TABLE {leaf} DROP CONSTRAINT {leaf}_event_id_key, SET (fillfactor = 70);
         DROP TABLE events_{}",
        suffix(&db, 1)
    ));
    let problems = [
        format!("error missing_key public.{leaf}"),
        "warning missing_month public.events".to_owned(),
        format!("warning storage_differs public.{leaf}"),
    ];
    let mut told = found(&db);
    told.sort();
    assert_eq!(told, problems);
    mend(&db, "missing_key", &[]);
    mend(&db, "missing_month", &[]);
    let statements = db.pupctl(["schema", "verify", "--sql"]).success().stdout;
    std::fs::write(db.folder().join("mend.sql"), statements).expect("a file");
    db.psql(["-f", "mend.sql"]).success();
    assert_eq!(found(&db), NOTHING);
}

#[test]
fn a_sequence_that_was_changed_or_set_back() {
    let db = by_month();
    let sequence = "public.events_global_position_seq";
    for change in ["CACHE 20", "INCREMENT 2", "CYCLE"] {
        db.execute(&format!("ALTER SEQUENCE {sequence} {change}"));
        assert_eq!(found(&db), [format!("error sequence {sequence}")], "{change}");
        mend(&db, "sequence", &[]);
        assert_eq!(found(&db), NOTHING);
    }
    append(&db, "A", "1");
    append(&db, "A", "2");
    db.execute(&format!("SELECT setval('{sequence}', 2)"));
    assert_eq!(found(&db), [format!("error sequence_behind {sequence}")]);
    mend(&db, "sequence_behind", &[]);
    assert_eq!(found(&db), NOTHING);
    assert_eq!(db.one::<i64>(&format!("SELECT nextval('{sequence}')")), 5);

    db.execute(&format!("ALTER SEQUENCE {sequence} MAXVALUE 8"));
    assert_eq!(found(&db), [format!("warning sequence_ending {sequence}")]);
    db.execute(&format!("ALTER SEQUENCE {sequence} NO MAXVALUE"));
    assert_eq!(found(&db), NOTHING);
}

#[test]
fn a_parent_that_nobody_analyzed() {
    let db = TestDatabase::new();
    let init = ["schema", "init", "-q", "--partition-by", "hash", "--hash-partitions", "2"];
    db.pupctl(init).success();
    db.execute(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
         SELECT 'A', 'Order', number::text, 1, gen_random_uuid(), 'Placed', ''
         FROM generate_series(1, 12000) AS number",
    );
    db.execute("ANALYZE events_hash_00; ANALYZE events_hash_01");
    assert_eq!(found(&db), ["warning statistics public.events"]);
    mend(&db, "statistics", &[]);
    assert_eq!(found(&db), NOTHING);
}

#[test]
fn autovacuum_that_was_switched_off_for_a_leaf() {
    let db = by_month();
    for month in [0, 1] {
        db.execute(&format!(
            "ALTER TABLE events_{} SET (autovacuum_enabled = off)",
            suffix(&db, month)
        ));
    }
    let leaf = |month| format!("warning autovacuum public.events_{}", suffix(&db, month));
    assert_eq!(found(&db), [leaf(0), leaf(1)]);
    mend(&db, "autovacuum", &[]);
    assert_eq!(found(&db), NOTHING);
}

#[test]
fn a_transaction_that_is_open_for_long() {
    let db = by_month();
    append(&db, "A", "1");
    let mut writer = db.client();
    writer
        .batch_execute(
            "SET application_name = 'a \"job\"'; BEGIN;
             UPDATE events SET trace_id = 'x'",
        )
        .expect("an open transaction");
    assert_eq!(found(&db), NOTHING);
    let told = found_with(&db, &["--patience", "0s"]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("warning long_transaction process "), "{told:?}");
    assert!(told[0].contains("a \"job\", idle in transaction"), "{told:?}");
    let page = db.pupctl(["doctor", "--patience", "0s"]).success();
    assert!(page.stdout.contains("projections, archives and conversions wait for it"), "{page}");
    mend(&db, "long_transaction", &["--patience", "0s"]);
    crate::support::eventually("the session is gone", || {
        found_with(&db, &["--patience", "0s"]).is_empty()
    });
}

#[test]
fn months_whose_time_is_over() {
    let db = by_month();
    let from = db.month(-3);
    db.pupctl(["partitions", "ensure", "-q", "--from", &from]).success();
    let month = suffix(&db, -3);
    db.execute(&format!(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload, created_at)
         VALUES ('A', 'B', 'C', 1, gen_random_uuid(), 'x', '', '{from}-05 00:00:00+00')"
    ));
    assert_eq!(found(&db), NOTHING);
    std::fs::write(db.folder().join("pupctl.toml"), "[archive]\nretention = \"45 days\"\n")
        .expect("a file");
    // An empty month may stay.
    assert_eq!(found(&db), [format!("warning held_back public.events_{month}")]);
    mend(&db, "held_back", &[]);
    assert_eq!(found(&db), NOTHING);
}
