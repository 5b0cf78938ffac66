//! What list and status say is so.

use serde_json::json;

use crate::{add_letters, append, batch, store, with_projection};

#[test]
fn every_projection_has_a_row() {
    let db = with_projection("orders", 4, &["--contexts", "Sales"]);
    for name in ["paused", "failing", "draining", "running"] {
        db.pupctl(["projections", "init", name]).success();
    }
    append(&db, "Sales", 0..5);
    add_letters(&db, "failing", 2);
    db.pupctl(["projections", "pause", "paused"]).success();
    db.execute(
        "UPDATE projection_checkpoints SET last_error = 'no' WHERE projection = 'failing';
         UPDATE projection_checkpoints SET drain_to = 3 WHERE projection = 'draining';
         UPDATE projection_checkpoints SET last_global_position = 2 + slot
         WHERE projection = 'orders';
         INSERT INTO projection_checkpoints (projection_name, last_global_position)
         VALUES ('theirs_p0', 1)",
    );
    let _worker = batch(&db, "running", "0");
    let list = db.pupctl(["projections", "list", "-o", "json"]).success().json();
    assert_eq!(list["head"], 5);
    let found: Vec<_> = list["projections"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| {
            let letters = row["dead_letters"]["failed"].as_i64().unwrap_or(0)
                + row["dead_letters"]["waiting"].as_i64().unwrap_or(0);
            format!(
                "{} {} {} {} {} {letters}",
                row["name"], row["state"], row["slots"], row["position"], row["lag_positions"]
            )
            .replace('"', "")
        })
        .collect();
    assert_eq!(
        found,
        [
            "draining draining 1 0 5 0",
            "failing failing 1 0 5 2",
            "orders idle 4 2 3 0",
            "paused paused 1 0 5 0",
            "running running 1 0 5 0",
            "theirs_p0 foreign null 1 4 0",
        ]
    );
    let text = db.pupctl(["projections", "list"]).success();
    assert!(text.stdout.contains(" orders     | idle     | Sales"), "{text}");
}

#[test]
fn an_empty_store_has_no_projections() {
    let db = store();
    for command in ["list", "status"] {
        let none = db.pupctl(["projections", command]).success();
        assert!(none.stderr.contains("No projections"), "{none}");
    }
    let unknown = db.pupctl(["projections", "status", "orders"]).failure(1);
    assert!(unknown.stderr.contains("there is no projection orders"), "{unknown}");
}

#[test]
fn the_lag_counts_the_events_of_each_slot() {
    let db = with_projection("orders", 4, &["--contexts", "Sales", "--aggregates", "Order"]);
    db.pupctl(["projections", "init", "fnv", "--slots", "2", "--hash", "fnv1a32"]).success();
    append(&db, "Sales", 0..40);
    append(&db, "Billing", 40..60);
    let slot = "(hashtextextended(aggregate_id, 0) & 9223372036854775807) % 4";
    let ahead = |number: i64, position: i64| {
        db.one::<i64>(&format!(
            "SELECT count(*) FROM events WHERE bounded_context = 'Sales' AND {slot} = {number}
                AND global_position > {position}"
        ))
    };
    db.execute(
        "UPDATE projection_checkpoints SET last_global_position = slot * 10
         WHERE projection = 'orders'",
    );
    let status = db.pupctl(["projections", "status", "-o", "json"]).success().json();
    assert_eq!(status["head"]["position"], 60);
    assert_eq!(status["head"]["settled"], true);
    let (fnv, orders) = (&status["projections"][0], &status["projections"][1]);
    let mut total = 0;
    for number in 0..4 {
        let lag = &orders["checkpoints"][usize::try_from(number).expect("a slot")]["lag"];
        assert_eq!(lag["events"], ahead(number, number * 10), "{orders}");
        assert_eq!(lag["at_least"], false);
        assert!(lag["seconds"].as_f64().expect("an age") > 1000.0, "{lag}");
        total += ahead(number, number * 10);
    }
    assert_eq!(orders["lag"]["events"], total);
    assert_eq!(fnv["lag"]["events"], 60);
    assert_eq!(fnv["checkpoints"][0].get("lag"), None);

    db.execute("UPDATE projection_checkpoints SET last_global_position = 60");
    let status = db.pupctl(["projections", "status", "orders", "-o", "json"]).success().json();
    let lag = json!({"events": 0, "at_least": false, "seconds": 0.0});
    assert_eq!(status["projections"][0]["lag"], lag);
    assert_eq!(status["projections"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_long_way_is_not_counted_to_its_end() {
    let db = with_projection("orders", 2, &[]);
    db.execute(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
         SELECT 'Sales', 'Order', 'order-' || n, 1, gen_random_uuid(), 'OrderPlaced', ''
         FROM generate_series(1, 250000) AS n;
         UPDATE projection_checkpoints SET last_global_position = slot * 240000",
    );
    let status = db.pupctl(["projections", "status", "-o", "json"]).success().json();
    let orders = &status["projections"][0];
    let slots = &orders["checkpoints"];
    assert_eq!(slots[0]["lag"]["at_least"], true);
    let counted = slots[0]["lag"]["events"].as_i64().expect("a number");
    assert!((45_000..55_000).contains(&counted), "{counted}");
    // The slot that is far ahead is counted by itself.
    assert_eq!(slots[1]["lag"]["at_least"], false);
    let counted = slots[1]["lag"]["events"].as_i64().expect("a number");
    assert!((4_500..5_500).contains(&counted), "{counted}");
    let text = db.pupctl(["projections", "status"]).success();
    assert!(text.stdout.contains("+ events ahead"), "{text}");
}

#[test]
fn who_works_and_what_failed_is_told() {
    let db = with_projection("orders", 2, &[]);
    append(&db, "Sales", 0..3);
    add_letters(&db, "orders", 3);
    db.execute(
        "UPDATE projection_checkpoints SET worker = 'host:17/orders-0', events_handled = 12,
            events_per_second = 250, updated_at = clock_timestamp();
         UPDATE projection_checkpoints SET last_error = E'no\\x1b[2J such order',
            failed_position = 2, failed_at = '2026-01-02T03:04:05Z' WHERE slot = 1",
    );
    let gone = db.pupctl(["projections", "status"]).success();
    assert!(gone.stdout.contains("host:17/orders-0 (gone)"), "{gone}");
    assert!(gone.stdout.contains("no worker is connected"), "{gone}");
    let worker = batch(&db, "orders", "0");
    let text = db.pupctl(["projections", "status", "orders"]).success();
    for words in [
        "orders: failing; 2 slots by hashtextextended; contexts: all; 1 worker connected",
        "dead letters: 1 failed, 2 waiting",
        "failed: orders:1/2 at position 2, 2026-01-02 03:04:05 UTC: no\u{fffd}[2J such order",
    ] {
        assert!(text.stdout.contains(words), "{words}: {text}");
    }
    assert!(!text.stdout.contains("(gone)"), "{text}");
    drop(worker);
    let json = db.pupctl(["projections", "status", "-o", "json"]).success().json();
    let orders = &json["projections"][0];
    assert_eq!(orders["events_handled"], 24);
    assert_eq!(orders["events_per_second"], 500.0);
    assert_eq!(orders["checkpoints"][1]["failed_position"], 2);
    db.execute("UPDATE projection_checkpoints SET updated_at = now() - interval '11 seconds'");
    let json = db.pupctl(["projections", "status", "-o", "json"]).success().json();
    assert_eq!(json["projections"][0]["events_per_second"], 0.0);
}

#[test]
fn who_holds_the_settled_position_up_is_named() {
    let db = with_projection("orders", 1, &[]);
    let mut writer = db.client();
    writer
        .batch_execute(
            "SET application_name = 'a writer'; BEGIN;
            LOCK TABLE events IN ROW EXCLUSIVE MODE",
        )
        .expect("a writer");
    let pid: i32 = writer.query_one("SELECT pg_backend_pid()", &[]).expect("a pid").get(0);
    let json = db.pupctl(["projections", "status", "-o", "json"]).success().json();
    assert_eq!(json["head"]["settled"], false);
    assert_eq!(json["head"]["held_by"][0]["pid"], pid);
    assert_eq!(json["head"]["held_by"][0]["application_name"], "a writer");
    let text = db.pupctl(["projections", "status"]).success();
    assert!(text.stdout.contains(&format!("not settled: process {pid} (")), "{text}");
    writer.batch_execute("ROLLBACK").expect("an end");
    // Where nobody can tell, the rest is shown all the same.
    db.execute("ALTER SEQUENCE events_global_position_seq CACHE 10");
    append(&db, "Sales", 0..1);
    let text = db.pupctl(["projections", "status"]).success();
    assert!(text.stdout.contains("unknown what is settled: the sequence"), "{text}");
}

#[test]
fn rows_that_do_not_belong_together_are_told() {
    let db = with_projection("orders", 4, &[]);
    db.execute("DELETE FROM projection_checkpoints WHERE slot = 2");
    let list = db.pupctl(["projections", "list"]).success();
    assert!(list.stderr.contains("orders: slots without a row: 2"), "{list}");
    let status = db.pupctl(["projections", "status"]).success();
    assert!(status.stdout.contains("problem: slots without a row: 2"), "{status}");
}
