//! What has left the store is told as such, and is no loss; more than has left is one.

use serde_json::json;

use crate::support::TestDatabase;
use crate::{
    BOTH, append, append_at, assert_finds, assert_finds_nothing, assert_is_reference, store,
    verify, work,
};

/// Events of a past month at the positions 1 to 19, and of this month between and behind them.
fn past(db: &TestDatabase) -> String {
    let past = db.month(-2);
    for number in 0..10 {
        append_at(db, "Sales", &format!("{past}-05T00:00:00Z"), number..number + 1);
        append(db, number..number + 1);
    }
    work(db, 1);
    past
}

/// What accounts for events that are not in the store.
fn archived(db: &TestDatabase) -> serde_json::Value {
    let all = verify(db, &["--all", "-o", "json"]);
    let json = all.json();
    let [code, sql] = [0, 1].map(|number| json["projections"][number]["archived"].clone());
    assert_eq!(code, sql);
    code
}

#[test]
fn an_archived_month_is_no_loss() {
    let db = store("month");
    let past = past(&db);
    db.pupctl(["archive", &past, "--drop", "--yes", "--allow-split-streams"]).success();
    assert_eq!(db.one::<i64>("SELECT count(*) FROM events"), 10);
    assert_finds_nothing(&db);
    let archives = archived(&db);
    assert_eq!(archives[0]["events"], 10, "{archives}");
    assert!(archives[0]["name"].as_str().expect("a name").starts_with("the archive events_"));
    let text = verify(&db, &["code"]).success();
    assert!(text.stdout.contains("10 events in the archive events_"), "{text}");

    // Eleven between its first and its last one cannot be ten.
    db.execute("CREATE TABLE kept AS SELECT * FROM events WHERE global_position = 10");
    db.execute("DELETE FROM events WHERE global_position = 10");
    assert_finds(&db, &["vanished 1 1-19"]);
    db.execute("SET session_replication_role = replica; INSERT INTO events SELECT * FROM kept");
    // And one behind it is not in it.
    db.execute("DELETE FROM events WHERE global_position = 20");
    assert_finds(&db, &["vanished 1 20-20"]);
}

#[test]
fn a_month_that_is_back_is_compared_again() {
    let db = store("month");
    let past = past(&db);
    db.pupctl(["archive", &past, "--drop", "--yes", "--allow-split-streams"]).success();
    db.pupctl(["restore", &past, "--yes"]).success();
    assert_finds_nothing(&db);
    assert_is_reference(&db);
    assert_eq!(archived(&db), json!([]));
    db.execute("UPDATE events SET event_id = gen_random_uuid() WHERE global_position = 3");
    assert_finds(&db, &["other 1 1-20"]);
}

#[test]
fn a_table_that_is_still_there_says_what_it_has() {
    let db = store("month");
    let past = past(&db);
    // The file is there, and the table too.
    db.pupctl(["archive", &past, "--yes", "--allow-split-streams"]).success();
    assert_finds_nothing(&db);
    let kept = archived(&db);
    assert_eq!(kept[0]["events"], 10, "{kept}");
    assert!(kept[0]["name"].as_str().expect("a name").starts_with("the detached table"), "{kept}");

    let db = store("month");
    let past = self::past(&db);
    let leaf = format!("events_{}", past.replace('-', "_"));
    db.pupctl(["partitions", "detach", &leaf, "--yes"]).success();
    assert_finds_nothing(&db);
    assert_eq!(
        archived(&db),
        json!([{"name": format!("the detached table {leaf}"), "events": 10}])
    );
    db.execute(&format!("DELETE FROM {leaf} WHERE global_position = 5"));
    assert_finds(&db, &["vanished 1 5-5"]);
}

#[test]
fn an_archive_of_another_context_accounts_for_nothing() {
    let db = store("context,month");
    let past = db.month(-2);
    for name in BOTH {
        db.pupctl(["projections", "init", name]).success();
    }
    for number in 0..10 {
        for context in ["Sales", "Billing"] {
            append_at(&db, context, &format!("{past}-05T00:00:00Z"), number..number + 1);
        }
    }
    append(&db, 0..1);
    work(&db, 4);
    let month = past.replace('-', "_");
    db.pupctl(["archive", &format!("events_billing_{month}"), "--drop", "--yes"]).success();
    assert_finds_nothing(&db);
    assert_eq!(archived(&db)[0]["events"], 10);
    db.execute("DELETE FROM events WHERE global_position = 7");
    assert_finds(&db, &["vanished 1 2-20"]);
    // To one that reads Sales alone that archive says nothing, but to it 8 was out of scope.
    db.execute("UPDATE projection_checkpoints SET bounded_contexts = '{Sales}'");
    let found = crate::found(&db, "code", &[]);
    assert_eq!(found, ["vanished 11 2-20"]);
}
