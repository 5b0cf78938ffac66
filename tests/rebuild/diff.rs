//! The new tables are compared with the old ones before the swap.

use serde_json::json;

use crate::{
    COUNTS, REBUILD, SUMS, append, highest, nothing_left, reference, run, store, sums, write,
};

const DIFF: &[&str] = &["projections", "rebuild", "totals", "--no-swap", "--diff", "-o", "json"];

#[test]
fn a_difference_that_was_made_by_hand_is_found() {
    let db = store(20, 5);
    write(&db, "totals", SUMS);
    run(&db);
    let none = db.pupctl(DIFF).success().json();
    let table = &none["diff"]["tables"][0];
    assert_eq!(none["diff"]["level"], true);
    assert_eq!(table["old_rows"], 20);
    assert_eq!(table["only_old"], 0);
    assert_eq!(table["differing"], 0);
    assert_eq!(table["sample"], json!([]));

    db.execute(
        "UPDATE totals SET amount = amount + 1 WHERE id IN ('order-3', 'order-4');
         DELETE FROM totals WHERE id = 'order-7';
         INSERT INTO totals VALUES ('nobody', 1, 1)",
    );
    let found = db.pupctl(DIFF).success();
    let table = &found.json()["diff"]["tables"][0];
    assert_eq!(table["old_rows"], 20);
    assert_eq!(table["new_rows"], 20);
    assert_eq!(table["only_old"], 1);
    assert_eq!(table["only_new"], 1);
    assert_eq!(table["differing"], 2);
    assert_eq!(table["columns"], json!({ "amount": 2 }));
    let mut sample: Vec<_> = table["sample"].as_array().expect("a sample").clone();
    sample.sort_by_key(ToString::to_string);
    assert_eq!(
        sample,
        [
            json!({ "key": ["nobody"], "kind": "only_old" }),
            json!({ "key": ["order-3"], "kind": "differs" }),
            json!({ "key": ["order-4"], "kind": "differs" }),
            json!({ "key": ["order-7"], "kind": "only_new" }),
        ]
    );
    assert!(found.stderr.contains("amount in 2 rows"), "{found}");
    let asks = db.pupctl(["projections", "rebuild", "totals", "--diff"]).failure(2);
    assert!(asks.stderr.contains("--yes"), "{asks}");
    db.pupctl(REBUILD.iter().chain(&["--diff"])).success();
    assert_eq!(sums(&db), reference(&db, highest(&db)));
    nothing_left(&db);
}

#[test]
fn both_are_compared_at_one_position_while_a_worker_runs() {
    let db = store(10, 5);
    write(&db, "totals", SUMS);
    run(&db);
    let worker = db.command(["projections", "run", "--poll-interval", "5ms"]).spawn();
    for turn in 0..5 {
        append(&db, &format!("more-{turn}"), 4, 5);
        let none = db.pupctl(DIFF).success().json();
        let table = &none["diff"]["tables"][0];
        assert_eq!(none["diff"]["level"], true, "{none}");
        assert_eq!(table["differing"], 0, "{none}");
        assert_eq!(table["only_new"], 0, "{none}");
    }
    let _ = worker.kill();
}

#[test]
fn other_columns_and_tables_without_a_key_are_told() {
    let db = store(10, 5);
    write(&db, "totals", COUNTS);
    let plain = "-- name: plain
-- contexts: Sales
-- tables: plain
-- init
CREATE TABLE IF NOT EXISTS plain (id text, version bigint);
-- handle
INSERT INTO plain SELECT aggregate_id, aggregate_version FROM batch;
";
    write(&db, "plain", plain);
    run(&db);
    write(&db, "totals", SUMS);
    let found = db.pupctl(DIFF).success().json();
    let table = &found["diff"]["tables"][0];
    assert_eq!(table["only_new_columns"], json!(["amount"]));
    assert_eq!(table["differing"], 0);

    db.execute("UPDATE plain SET version = 99 WHERE id = 'order-1' AND version = 1");
    let diff = ["projections", "rebuild", "plain", "--no-swap", "--diff", "-o", "json"];
    let found = db.pupctl(diff).success().json();
    let table = &found["diff"]["tables"][0];
    assert_eq!(table["only_old"], 1);
    assert_eq!(table["only_new"], 1);
    assert_eq!(table["sample"][0], json!({ "key": ["order-1", "99"], "kind": "only_old" }));
}

#[test]
fn old_tables_that_lag_are_told_with_their_position() {
    let db = store(10, 5);
    write(&db, "totals", SUMS);
    run(&db);
    append(&db, "more", 2, 2);
    let found = db.pupctl(DIFF).success();
    assert!(found.stderr.contains("the old tables were at position"), "{found}");
    assert_eq!(found.json()["diff"]["level"], false);
    assert_eq!(found.json()["diff"]["tables"][0]["only_new"], 2);
}
