//! A statement that fails: where it stands is told, and nothing of its file stays.

use crate::support::TestDatabase;
use crate::{is_there, migrate, recorded, write};

#[test]
fn file_line_and_caret_are_told_and_nothing_stays() {
    let db = TestDatabase::new();
    write(&db, "V10__good.sql", "CREATE TABLE good ()");
    write(
        &db,
        "V11__bad.sql",
        "-- Überschrift\nCREATE TABLE half ();\n\nSELECT 'ä;ö', 1\n  FROM good, nowhere;\nSELECT 1;\n",
    );
    write(&db, "V12__after.sql", "CREATE TABLE after ()");
    let failed = migrate(&db).failure(1);
    insta::assert_snapshot!(failed.stderr, @r#"
    error: failed while applying migration V11__bad: relation "nowhere" does not exist (SQLSTATE 42P01)
      migrations/V11__bad.sql:5:14
      5 |   FROM good, nowhere;
        |              ^
    hint: nothing of this file was kept: mend it, and run the command again
    "#);
    assert!(is_there(&db, "good") && !is_there(&db, "half") && !is_there(&db, "after"));
    assert_eq!(recorded(&db), ["10 good"]);
    assert_eq!(db.journal(), ["schema migrate: failed"]);

    let json = db.pupctl(["schema", "migrate", "-o", "json"]).failure(1).json();
    assert_eq!(json["error"]["sqlstate"], "42P01");
    assert_eq!(json["error"]["details"][0], "migrations/V11__bad.sql:5:14");

    write(&db, "V11__bad.sql", "CREATE TABLE half ()");
    migrate(&db).success();
    assert_eq!(recorded(&db), ["10 good", "11 bad", "12 after"]);
}

#[test]
fn errors_without_a_position_name_their_statement() {
    let db = TestDatabase::new();
    write(
        &db,
        "V10__a.sql",
        "CREATE TABLE a (id int UNIQUE);\n\n  INSERT INTO a VALUES (1), (1);\n",
    );
    let failed = migrate(&db).failure(1);
    assert!(failed.stderr.contains("migrations/V10__a.sql:3:3"), "{failed}");
    assert!(failed.stderr.contains("Key (id)=(1) already exists"), "{failed}");
    write(&db, "V10__a.sql", "DO $$\nBEGIN\n  PERFORM nope;\nEND $$");
    let failed = migrate(&db).failure(1);
    assert!(failed.stderr.contains("V10__a.sql:1:1"), "{failed}");
    assert!(failed.stderr.contains("in the query: SELECT nope"), "{failed}");
    write(&db, "V10__a.sql", "SELECT 'it';\nSELECT 'never ends;\nCREATE TABLE a ();");
    let failed = migrate(&db).failure(2);
    assert!(failed.stderr.contains("V10__a.sql:2:8: the quoted text does not end"), "{failed}");
    write(&db, "V10__a.sql", "CREATE TABLE a ();\n/* Then:\nCREATE TABLE b ();");
    let failed = migrate(&db).failure(2);
    assert!(failed.stderr.contains("V10__a.sql:2:1: the comment does not end"), "{failed}");
    write(&db, "V10__a.sql", "COPY a FROM STDIN");
    let failed = migrate(&db).failure(2);
    assert!(failed.stderr.contains("V10__a.sql:1: COPY from or to pupctl"), "{failed}");
}

#[test]
fn what_only_fails_at_the_end_of_the_transaction_is_told_too() {
    let db = TestDatabase::new();
    let deferred = "CREATE TABLE a (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);\n\
                    INSERT INTO a VALUES (1), (1)";
    write(&db, "V10__a.sql", deferred);
    let failed = migrate(&db).failure(1);
    assert!(failed.stderr.contains("migrations/V10__a.sql"), "{failed}");
    assert!(failed.stderr.contains("SQLSTATE 23505"), "{failed}");
    assert!(!is_there(&db, "a"));
    assert_eq!(recorded(&db).len(), 0);
}

#[test]
fn tables_that_are_there_already_are_a_matter_of_baseline() {
    let db = TestDatabase::new();
    db.pupctl(["schema", "generate", "--partition-by", "none"]).success();
    db.execute("CREATE TABLE aggregate_heads ()");
    let failed = migrate(&db).failure(1);
    assert!(failed.stderr.contains("pupctl schema baseline"), "{failed}");
    assert!(failed.stderr.contains("migrations/V1__heads_and_checkpoints.sql:2:1"), "{failed}");
}

#[test]
fn a_server_that_goes_away_leaves_nothing_half_applied() {
    let db = TestDatabase::new();
    let end = "CREATE TABLE a ();\nSELECT pg_terminate_backend(pg_backend_pid());";
    write(&db, "V10__a.sql", end);
    let failed = migrate(&db).failure(1);
    assert!(failed.stderr.contains("migrations/V10__a.sql:2:1"), "{failed}");
    assert!(failed.stderr.contains("it finds out what was done"), "{failed}");
    assert!(!is_there(&db, "a"));
    write(&db, "V10__a.sql", "CREATE TABLE a ()");
    db.pupctl(["schema", "migrate", "--wait", "60s"]).success();
    assert_eq!(recorded(&db), ["10 a"]);
    assert_eq!(db.journal(), ["schema migrate: interrupted", "schema migrate: done"]);
}

#[test]
fn a_signal_ends_a_long_statement() {
    let db = TestDatabase::new();
    write(&db, "V10__a.sql", "CREATE TABLE a (); SELECT pg_sleep(600)");
    let running = db.command(["schema", "migrate"]).spawn();
    let sleeps = "SELECT count(*) > 0 FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event = 'PgSleep'";
    crate::support::eventually("the statement runs", || db.one(sleeps));
    running.signal("INT");
    running.wait().failure(130);
    assert!(!is_there(&db, "a"));
    assert_eq!(recorded(&db).len(), 0);
}

#[test]
fn a_file_that_makes_its_transaction_read_only_is_told_so() {
    let db = TestDatabase::new();
    write(&db, "V10__a.sql", "CREATE TABLE a (); SET TRANSACTION READ ONLY");
    let failed = migrate(&db).failure(1);
    assert!(failed.stderr.contains("the file makes its transaction read-only"), "{failed}");
    assert!(!is_there(&db, "a"));
}

#[test]
fn a_role_without_rights_is_told_before_anything_runs() {
    let db = TestDatabase::new();
    let role = format!("{}_reader", db.name());
    db.execute(&format!(
        "CREATE ROLE {role}; CREATE SCHEMA es; GRANT USAGE ON SCHEMA es TO {role}"
    ));
    write(&db, "V10__a.sql", "CREATE TABLE es.a ()");
    let before = db.dump();
    let arguments = ["schema", "migrate", "--schema", "es", "--role", &role];
    let refused = db.pupctl(arguments).failure(1);
    assert!(refused.stderr.contains("may not create tables in the schema es"), "{refused}");
    assert_eq!(db.dump(), before);
    db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
