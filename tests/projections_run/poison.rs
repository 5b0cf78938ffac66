//! An event that its statements cannot handle.

use crate::support::TestDatabase;
use crate::{CATCH_UP, TOTALS, append, reference, store_with, texts};

/// Position 17 cannot be handled, which is of order `o-6`.
const POISON: i64 = 17;

fn poisoned() -> TestDatabase {
    let text = TOTALS.replace("-- slots: 4\n", "").replace(
        "SELECT aggregate_id, count(*) FROM batch",
        "SELECT aggregate_id, sum(17 / (17 - global_position) * 0 + 1) FROM batch",
    );
    let db = store_with(&text);
    append(&db, "Sales", 60);
    db
}

fn totals_without(db: &TestDatabase) -> Vec<String> {
    crate::totals(db).into_iter().filter(|row| !row.starts_with("o-6 ")).collect()
}

#[test]
fn it_stops_right_before_it_and_names_it() {
    let db = poisoned();
    let said = db.pupctl(CATCH_UP).failure(1).stderr;
    for words in [
        "stopped at position 17",
        "division by zero",
        "of Order o-6 in Sales, version 2",
        "order_totals.sql:8:1",
        "--on-error park",
    ] {
        assert!(said.contains(words), "{words}:\n{said}");
    }
    assert_eq!(
        db.one::<i64>("SELECT last_global_position FROM projection_checkpoints"),
        POISON - 1
    );
    assert_eq!(db.one::<i64>("SELECT sum(lines)::bigint FROM order_totals"), POISON - 1);
    // Again: it stands where it stood.
    db.pupctl(CATCH_UP).failure(1);
    assert_eq!(db.one::<i64>("SELECT sum(lines)::bigint FROM order_totals"), POISON - 1);
}

#[test]
fn it_is_parked_with_its_aggregate_and_the_rest_goes_on() {
    for size in ["1", "7", "1000"] {
        let db = poisoned();
        let park = ["--on-error", "park", "--batch-size", size];
        db.pupctl(CATCH_UP.iter().chain(&park)).success();
        let letters = texts(
            &db,
            "SELECT global_position || ' ' || state FROM projection_dead_letters
             ORDER BY global_position",
        );
        assert_eq!(letters, ["17 failed", "27 waiting", "37 waiting", "47 waiting", "57 waiting"]);
        let others: Vec<_> =
            reference(&db).into_iter().filter(|row| !row.starts_with("o-6 ")).collect();
        assert_eq!(totals_without(&db), others, "batches of {size}");
        // What comes later waits too, without a look at each event of the others.
        append(&db, "Sales", 10);
        let output = db.pupctl(CATCH_UP.iter().chain(&park)).success();
        assert!(output.stderr.contains("Done: 9 events handled"), "{}", output.stderr);
        assert_eq!(db.one::<i64>("SELECT count(*) FROM projection_dead_letters"), 6);
    }
}

#[test]
fn what_was_parked_is_handled_in_order_once_it_can_be() {
    let db = poisoned();
    db.pupctl(CATCH_UP.iter().chain(&["--on-error", "park"])).success();
    let mended = TOTALS.replace("-- slots: 4\n", "");
    crate::file(&db, "order_totals.sql", &mended);
    db.pupctl(CATCH_UP.iter().chain(&["order_totals", "--accept-changed"])).success();
    db.pupctl(["projections", "dead-letters", "replay", "order_totals", "--all", "--yes"])
        .success();
    db.pupctl(CATCH_UP).success();
    assert_eq!(crate::totals(&db), reference(&db));
    assert_eq!(db.one::<i64>("SELECT count(*) FROM projection_dead_letters"), 0);
}

#[test]
fn it_can_be_skipped() {
    let db = poisoned();
    db.pupctl(CATCH_UP.iter().chain(&["--on-error", "skip"])).success();
    assert_eq!(db.one::<i64>("SELECT sum(lines)::bigint FROM order_totals"), 59);
    let state: String = db.one("SELECT state FROM projection_dead_letters");
    assert_eq!(state, "skipped");
}

#[test]
fn a_deferred_constraint_is_found_at_its_event() {
    let text = TOTALS.replace("-- slots: 4\n", "").replace(
        "lines bigint NOT NULL);",
        "lines bigint NOT NULL, first bigint UNIQUE DEFERRABLE INITIALLY DEFERRED);",
    );
    let text = text.replace(
        "SELECT aggregate_id, count(*) FROM batch GROUP BY 1",
        "SELECT aggregate_id, count(*), min(global_position) % 12 FROM batch GROUP BY 1",
    );
    let db = store_with(&text);
    append(&db, "Sales", 10);
    append(&db, "Billing", 3);
    // The first line of a thirteenth order would clash with that of the first one.
    db.execute(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload, global_position)
         SELECT 'Sales', 'Order', 'clash', 1, gen_random_uuid(), 'OrderPlaced', '', 14;
         SELECT setval('events_global_position_seq', 14)",
    );
    let said = db.pupctl(CATCH_UP.iter().chain(&["--batch-size", "1000"])).failure(1).stderr;
    assert!(said.contains("duplicate key value"), "{said}");
    assert_eq!(db.one::<i64>("SELECT count(*) FROM order_totals WHERE order_id = 'clash'"), 0);
}
