//! `schema plan` and `schema status`: they show, and write nothing.

use crate::support::{TestDatabase, fingerprint};
use crate::{migrate, write};

fn plan(db: &TestDatabase, code: i32) -> serde_json::Value {
    db.pupctl(["schema", "plan", "--exit-code", "-o", "json"]).failure(code).json()
}

#[test]
fn a_plan_shows_what_is_pending_and_writes_nothing() {
    let db = TestDatabase::new();
    db.pupctl(["schema", "generate", "--partition-by", "none"]).success();
    let index = "-- pupctl: no-transaction\nCREATE INDEX CONCURRENTLY i ON events (event_type)";
    write(&db, "V10__index.sql", index);
    let before = fingerprint(&mut db.client());
    let shown = db.pupctl(["schema", "plan"]).success();
    let lines = shown.stdout.lines().chain(shown.stderr.lines()).map(str::trim_end);
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @"
     set    | migration                 | transaction
    --------+---------------------------+------------------
     own    | V1__own_tables            | in a transaction
     own    | V2__operation_state       | in a transaction
     own    | V3__archives              | in a transaction
     folder | V1__heads_and_checkpoints | in a transaction
     folder | V2__events                | in a transaction
     folder | V3__indexes               | in a transaction
     folder | V5__layout                | in a transaction
     folder | V10__index                | without
    8 migrations pending
    ");
    let json = plan(&db, 3);
    assert_eq!(json["pending"].as_array().map(Vec::len), Some(8), "{json}");
    assert_eq!(json["pending"][7]["transaction"], "concurrent");
    assert_eq!(json["pending"][7]["file"], "migrations/V10__index.sql");
    db.pupctl(["schema", "status", "--dir", "migrations"]).success();
    assert!(fingerprint(&mut db.client()) == before, "not even a history table");

    migrate(&db).success();
    let json = plan(&db, 0);
    assert_eq!(json["pending"], serde_json::json!([]));
    assert_eq!(json["problems"], serde_json::json!([]));
    let nothing = db.pupctl(["schema", "plan"]).success();
    assert!(nothing.stderr.contains("Nothing to do"), "{nothing}");
}

#[test]
fn without_a_folder_it_is_what_init_would_apply() {
    let db = TestDatabase::new();
    assert_eq!(plan(&db, 3)["pending"].as_array().map(Vec::len), Some(10));
    db.pupctl(["schema", "init", "--partition-by", "none"]).success();
    assert_eq!(plan(&db, 0)["pending"], serde_json::json!([]));
    let missing = db.pupctl(["schema", "plan", "--dir", "nowhere"]).failure(2);
    assert!(missing.stderr.contains("there is no folder nowhere"), "{missing}");
}

#[test]
fn status_shows_the_folder_where_it_is_named() {
    let db = TestDatabase::new();
    write(&db, "V10__a.sql", "CREATE TABLE a ()");
    migrate(&db).success();
    write(&db, "V11__b.sql", "CREATE TABLE b ()");
    let status = ["schema", "status", "--dir", "migrations", "-o", "json"];
    let status = db.pupctl(status).success().json();
    let files = &status["directory"]["files"];
    assert_eq!(files[0]["name"], "a");
    assert!(files[0]["applied_on"].is_string() && files[1]["applied_on"].is_null(), "{status}");
    let text = db.pupctl(["schema", "status", "--dir", "migrations"]).success();
    assert!(text.stdout.contains("Folder migrations"), "{text}");
    assert!(text.stdout.contains("V11__b") && text.stdout.contains("pending"), "{text}");
    let plain = db.pupctl(["schema", "status", "-o", "json"]).success().json();
    assert!(plain.get("directory").is_none(), "{plain}");
}
