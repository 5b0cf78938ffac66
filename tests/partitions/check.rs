//! What `check` finds is mended by the remedy that it prints.

use postgres::Client;

use crate::support::TestDatabase;
use crate::{by_month, ensure, findings, found, suffix};

/// Runs every remedy for this check, as a person would paste it.
fn mend(db: &TestDatabase, wanted: &str) {
    let remedies: Vec<_> = found(db)
        .into_iter()
        .filter(|(check, ..)| check == wanted)
        .map(|(_, object, remedy)| remedy.unwrap_or_else(|| panic!("no remedy for {object}")))
        .collect();
    assert!(!remedies.is_empty(), "{wanted} was not found: {:?}", found(db));
    for remedy in remedies {
        match remedy.strip_prefix("pupctl ") {
            Some(arguments) => db.pupctl(arguments.split(' ')).success(),
            None => db.psql(["-c", &remedy]).success(),
        };
    }
}

const NOTHING: [&str; 0] = [];

/// An open transaction that has written, or only read, the events.
fn open_transaction(db: &TestDatabase, sql: &str) -> Client {
    let mut client = db.client();
    client.batch_execute(&format!("BEGIN; {sql}")).expect("an open transaction");
    client
}

#[test]
fn gaps_and_missing_months() {
    let db = by_month();
    let from = db.month(-3);
    ensure(&db, &["--from", &from]).success();
    for ahead in [-2, 0] {
        db.execute(&format!("DROP TABLE events_{}", suffix(&db, ahead)));
        mend(&db, if ahead < 0 { "gap" } else { "missing_month" });
        assert_eq!(findings(&db), NOTHING);
    }
}

#[test]
fn a_leaf_that_lost_its_keys() {
    let db = by_month();
    let leaf = format!("events_{}", suffix(&db, 0));
    db.execute(&format!(
        "ALTER TABLE {leaf} DROP CONSTRAINT {leaf}_pkey, DROP CONSTRAINT {leaf}_event_id_key,
            DROP CONSTRAINT {leaf}_global_position_key"
    ));
    let lost = format!("missing_key public.{leaf}");
    assert_eq!(findings(&db), [lost.as_str(); 3]);
    mend(&db, "missing_key");
    assert_eq!(findings(&db), NOTHING);
    let keys = format!(
        "SELECT string_agg(contype::text, '' ORDER BY contype) FROM pg_constraint
         WHERE conrelid = '{leaf}'::regclass AND contype IN ('p', 'u')"
    );
    assert_eq!(db.one::<String>(&keys), "puu");
}

#[test]
fn leaves_without_their_index_on_time() {
    let db = by_month();
    db.execute("DROP INDEX events_created_at_idx");
    let leaf = format!("public.events_{}", suffix(&db, 0));
    assert_eq!(findings(&db), [format!("missing_index {leaf}")]);
    mend(&db, "missing_index");
    assert_eq!(findings(&db), NOTHING);
    let options = format!(
        "SELECT array_to_string(reloptions, ' ') FROM pg_class JOIN pg_index ON indexrelid = oid
         JOIN pg_am ON pg_am.oid = relam WHERE indrelid = '{leaf}'::regclass AND amname = 'brin'"
    );
    assert_eq!(db.one::<String>(&options), "autosummarize=on pages_per_range=32");
}

#[test]
fn an_index_whose_build_was_interrupted() {
    let db = by_month();
    let leaf = format!("events_{}", suffix(&db, 0));
    let insert = "INSERT INTO events (bounded_context, aggregate_type, aggregate_id,
        aggregate_version, event_id, event_type, payload)
        VALUES ('A', 'B', 'C', 1, gen_random_uuid(), 'x', '')";
    let mut writer = open_transaction(&db, insert);
    let build = format!("CREATE INDEX CONCURRENTLY half ON {leaf} (trace_id)");
    let mut builder = db.client();
    builder.batch_execute("SET lock_timeout = '50ms'").expect("a setting");
    builder.batch_execute(&build).expect_err("it waits for the writer");
    writer.batch_execute("COMMIT").expect("a commit");

    assert_eq!(findings(&db), ["invalid_index public.half"]);
    mend(&db, "invalid_index");
    assert_eq!(findings(&db), NOTHING);
    let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'half'::regclass";
    assert!(db.one::<bool>(valid));
}

#[test]
fn a_detach_that_was_interrupted() {
    let db = by_month();
    let from = db.month(-2);
    ensure(&db, &["--from", &from]).success();
    let leaf = format!("events_{}", suffix(&db, -1));
    let mut reader = open_transaction(&db, "SELECT count(*) FROM events");
    let mut detacher = db.client();
    detacher.batch_execute("SET lock_timeout = '50ms'").expect("a setting");
    let detach = format!("ALTER TABLE events DETACH PARTITION {leaf} CONCURRENTLY");
    detacher.batch_execute(&detach).expect_err("its second phase waits for the reader");
    reader.batch_execute("COMMIT").expect("a commit");

    assert_eq!(findings(&db), [format!("pending_detach public.{leaf}")]);
    // The CHECK that the detach has made is no difference of its own.
    let verify = db.pupctl(["schema", "verify", "-o", "json"]).success().json();
    let found: Vec<_> = verify["findings"].as_array().into_iter().flatten().collect();
    assert!(found.len() == 1 && found[0]["check"] == "pending_detach", "{verify}");
    let list = db.pupctl(["partitions", "list"]).success();
    assert!(list.stdout.contains("(detach pending)"), "{list}");
    // Nothing else is changed meanwhile, and the way out is told.
    for command in [&["partitions", "ensure"][..], &["schema", "init"], &["contexts", "add", "A"]] {
        let refused = db.pupctl(command).failure(1);
        let remedy = format!("pupctl partitions detach public.{leaf}");
        assert!(refused.stderr.contains(&remedy), "{refused}");
    }
    mend(&db, "pending_detach");
    let attached = format!("SELECT relispartition FROM pg_class WHERE oid = '{leaf}'::regclass");
    assert!(!db.one::<bool>(&attached));
    // The month is gone, and its table is still there: it may come back.
    assert_eq!(findings(&db), Vec::<String>::new());
    assert!(ensure(&db, &[]).success().stderr.contains("Nothing to do"));
}

#[test]
fn a_missing_table_and_a_column_that_writers_do_not_fill() {
    let db = by_month();
    db.execute(
        "ALTER TABLE events ADD COLUMN tenant text NOT NULL; DROP TABLE projection_checkpoints",
    );
    assert_eq!(
        findings(&db),
        ["missing_table public.projection_checkpoints", "table_differs public.events"]
    );
}

#[test]
fn people_read_the_remedy_too() {
    let db = by_month();
    let leaf = format!("events_{}", suffix(&db, 0));
    db.execute(&format!("ALTER TABLE {leaf} DROP CONSTRAINT {leaf}_event_id_key"));
    let told = db.pupctl(["partitions", "check"]).success();
    let text = told.stdout.replace(&leaf, "events_m0");
    insta::assert_snapshot!(text, @r#"
    error [missing_key] public.events_m0
      no valid key on (event_id)
      mend it: ALTER TABLE "public"."events_m0"
        ADD UNIQUE ("event_id");
    "#);
    insta::assert_snapshot!(told.stderr, @"1 problem found");
}
