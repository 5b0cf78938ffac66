//! A projection begins again.

use crate::support::TestDatabase;
use crate::{add_letters, append, positions, rows, store, with_projection};

#[test]
fn all_slots_begin_again_and_dead_letters_are_forgotten() {
    let db = with_projection("orders", 2, &[]);
    db.pupctl(["projections", "init", "totals"]).success();
    append(&db, "Sales", 0..5);
    add_letters(&db, "orders", 3);
    add_letters(&db, "totals", 1);
    db.execute(
        "UPDATE projection_checkpoints SET last_global_position = 4, events_handled = 9,
            last_error = 'no', failed_position = 5, parked = true",
    );
    let totals = rows(&db).pop();
    let reset = ["projections", "reset", "orders"];
    let asks = db.pupctl(reset).failure(2);
    assert!(asks.stderr.contains("2 checkpoints of orders at 4 and its 3 dead letters"), "{asks}");
    let before = rows(&db);
    let dry = db.pupctl(reset.iter().chain(&["--dry-run"])).success();
    assert!(dry.stdout.contains("DELETE FROM \"public\".\"projection_dead_letters\""), "{dry}");
    assert_eq!(rows(&db), before);

    let done = db.pupctl(reset.iter().chain(&["--yes"])).success();
    assert!(done.stderr.contains("the read model is left as it is"), "{done}");
    assert_eq!(positions(&db), ["orders:0/2 0", "orders:1/2 0", "totals 4"]);
    assert_eq!(rows(&db).pop(), totals);
    let clean = "SELECT bool_and(events_handled = 0 AND last_error IS NULL
        AND failed_position IS NULL AND parked IS NULL)
        FROM projection_checkpoints WHERE projection = 'orders'";
    assert!(db.one::<bool>(clean));
    let letters = "SELECT string_agg(projection, ' ') FROM projection_dead_letters";
    assert_eq!(db.one::<String>(letters), "totals");
    // And once more, with the same end.
    db.pupctl(reset.iter().chain(&["--yes"])).success();
    assert_eq!(positions(&db), ["orders:0/2 0", "orders:1/2 0", "totals 4"]);
}

#[test]
fn a_position_has_to_be_settled() {
    let db = with_projection("orders", 1, &[]);
    append(&db, "Sales", 0..5);
    let reset = |to: &str| {
        db.pupctl(["projections", "reset", "orders", "--yes", "--to", to, "--patience", "300ms"])
    };
    reset("6").failure(1);
    reset("3").success();
    assert_eq!(positions(&db), ["orders 3"]);
    let mut writer = db.client();
    writer
        .batch_execute(
            "SET application_name = 'a writer'; BEGIN;
            LOCK TABLE events IN ROW EXCLUSIVE MODE",
        )
        .expect("a writer");
    let refused = reset("4").failure(1);
    assert!(refused.stderr.contains("a writer"), "{refused}");
    // A checkpoint of pupctl's has proven that.
    reset("2").success();
    writer.batch_execute("ROLLBACK").expect("an end");
    reset("end").success();
    assert_eq!(positions(&db), ["orders 5"]);
}

#[test]
fn the_tables_are_emptied_in_the_same_transaction() {
    let tables = "\"order totals\",other.\"\"\"x\"";
    let db = with_projection("orders", 2, &["--tables", tables]);
    db.execute(
        "CREATE TABLE \"order totals\" AS SELECT 1; CREATE SCHEMA other;
         CREATE TABLE other.\"\"\"x\" AS SELECT 2",
    );
    let reset = ["projections", "reset", "orders", "--truncate", "--yes"];
    db.pupctl(reset).success();
    let left = "SELECT (SELECT count(*) FROM \"order totals\")
        + (SELECT count(*) FROM other.\"\"\"x\")";
    assert_eq!(db.one::<i64>(left), 0);
    // Readers that come are not kept waiting behind it.
    let mut reader = db.client();
    reader.batch_execute("BEGIN; SELECT FROM \"order totals\"").expect("a reader");
    let gave_up = db.pupctl(reset.iter().chain(&["--patience", "500ms"])).failure(5);
    assert!(gave_up.stderr.contains("holds AccessShareLock on public.order totals"), "{gave_up}");
    reader.batch_execute("COMMIT").expect("an end");

    db.execute("DROP TABLE other.\"\"\"x\"; INSERT INTO \"order totals\" VALUES (3)");
    let missing = db.pupctl(reset).failure(1);
    assert!(missing.stderr.contains("are missing: other.\"\"\"x\""), "{missing}");
    assert_eq!(db.one::<i64>("SELECT count(*) FROM \"order totals\""), 1);
}

#[test]
fn what_is_no_read_model_is_not_emptied() {
    let db = store();
    db.execute(
        "CREATE VIEW seen AS SELECT 1 AS one; CREATE TABLE shared (id int);
         CREATE TABLE parts (id int) PARTITION BY LIST (id);
         CREATE TABLE part PARTITION OF parts DEFAULT",
    );
    append(&db, "Sales", 0..1);
    for (tables, words) in [
        ("events", "the store's own"),
        ("public.projection_dead_letters", "the store's own"),
        ("pupctl_layout", "the store's own"),
        ("seen", "is no table"),
        ("part", "is a partition"),
        ("shared", "fills public.shared too"),
        ("", "nobody said which tables"),
    ] {
        db.execute("DELETE FROM projection_checkpoints");
        db.pupctl(["projections", "init", "other", "--tables", "shared"]).success();
        let named: &[&str] = if tables.is_empty() { &[] } else { &["--tables", tables] };
        db.pupctl(["projections", "init", "orders"]).success();
        // As a worker may have noted it.
        db.execute(&format!(
            "UPDATE projection_checkpoints SET read_model = string_to_array('{}', ',')
             WHERE projection = 'orders'",
            named.get(1).unwrap_or(&"")
        ));
        for more in [&["reset", "--truncate"], &["delete", "--read-model"]] {
            let command = ["projections", more[0], "orders", more[1], "--yes"];
            let refused = db.pupctl(command).failure(1);
            assert!(refused.stderr.contains(words), "{tables}: {refused}");
        }
    }
    assert_eq!(db.one::<i64>("SELECT count(*) FROM events"), 1);
    assert_eq!(db.journal(), ["schema init: done"]);
}

#[test]
fn rows_of_other_libraries_are_reset_only_if_that_is_said() {
    let db = store();
    append(&db, "Sales", 0..5);
    db.execute(
        "INSERT INTO projection_checkpoints (projection_name, last_global_position)
         VALUES ('orders_p0', 4), ('orders_p1', 3), ('orders_px', 2)",
    );
    let reset = ["projections", "reset", "orders", "--yes"];
    let refused = db.pupctl(reset).failure(1);
    assert!(refused.stderr.contains("reset orders --foreign"), "{refused}");
    let before = "SELECT max(updated_at)::text FROM projection_checkpoints";
    let moved: String = db.one(before);
    db.pupctl(reset.iter().chain(&["--foreign", "--to", "1"])).success();
    // Or it would look as if a worker of the other library ran.
    assert_eq!(db.one::<String>(before), moved);
    assert_eq!(positions(&db), ["orders_p0 1", "orders_p1 1", "orders_px 2"]);
}

#[test]
fn slots_that_are_being_changed_are_left_alone() {
    let db = with_projection("orders", 2, &[]);
    db.execute("UPDATE projection_checkpoints SET drain_to = 7");
    let refused = db.pupctl(["projections", "reset", "orders", "--yes"]).failure(1);
    assert!(refused.stderr.contains("being changed, at position 7"), "{refused}");
    assert!(refused.stderr.contains("pupctl projections rescale orders --abort"), "{refused}");
}

/// An archive of events up to a position, of a context.
fn archived(db: &TestDatabase, name: &str, last: i64, phase: &str) {
    db.execute(&format!(
        "INSERT INTO pupctl_archives (name, folder, format, role, place, leaf, table_name,
            table_oid, replaced, phase, rows, first_position, last_position)
         VALUES ('{name}', '/tmp', 'copy', 'events', '[]', 'events_x', 'events_x', 1, false,
            '{phase}', 1, {last}, {last})"
    ));
}

#[test]
fn events_that_left_the_store_are_not_passed_over() {
    let db = with_projection("orders", 1, &["--tables", "totals"]);
    append(&db, "Sales", 0..5);
    db.execute(
        "CREATE TABLE totals AS SELECT 1;
         UPDATE projection_checkpoints SET last_global_position = 5",
    );
    archived(&db, "old", 3, "dropped");
    archived(&db, "back", 4, "restored");
    let reset = ["projections", "reset", "orders", "--truncate", "--yes"];
    for more in [&[][..], &["--to", "2"]] {
        let refused = db.pupctl(reset.iter().chain(more)).failure(1);
        assert!(refused.stderr.contains("pupctl restore old"), "{refused}");
        assert!(refused.stderr.contains("--allow-missing-events"), "{refused}");
        assert!(!refused.stderr.contains("restore back"), "{refused}");
    }
    assert_eq!(positions(&db), ["orders 5"]);
    db.pupctl(reset.iter().chain(&["--to", "3"])).success();
    let allow = ["projections", "reset", "orders", "--truncate", "--allow-missing-events"];
    let asks = db.pupctl(allow).failure(2);
    assert!(asks.stderr.contains("those of the archive old"), "{asks}");
    let dry = db.pupctl(allow.iter().chain(&["--dry-run"])).success();
    assert!(dry.stderr.contains("those of the archive old"), "{dry}");
    db.pupctl(allow.iter().chain(&["--yes"])).success();
    assert_eq!(positions(&db), ["orders 0"]);
    let made = db.pupctl(["projections", "init", "carts"]).success();
    assert!(made.stderr.contains("note: events behind position 0 are not in the store"), "{made}");
    let made = db.pupctl(["projections", "init", "late", "--from", "3"]).success();
    assert!(!made.stderr.contains("not in the store"), "{made}");
}

#[test]
fn forward_it_leaves_events_out_and_keeps_dead_letters_before_it() {
    let db = with_projection("orders", 2, &["--contexts", "Sales"]);
    append(&db, "Sales", 0..5);
    append(&db, "Billing", 5..9);
    add_letters(&db, "orders", 4);
    db.execute(
        "UPDATE projection_checkpoints SET parked = true,
            last_global_position = CASE slot WHEN 0 THEN 5 ELSE 9 END",
    );
    db.execute("UPDATE projection_dead_letters SET replay_at = now() WHERE global_position = 1");
    let back = db.pupctl(["projections", "reset", "orders", "--to", "3"]).failure(2);
    assert!(back.stderr.contains("its 1 dead letter "), "{back}");
    assert!(!back.stderr.contains("never handled"), "{back}");
    db.pupctl(["projections", "reset", "orders", "--to", "3", "--yes"]).success();
    let kept = "SELECT string_agg(global_position::text, ' ' ORDER BY id)
        FROM projection_dead_letters";
    assert_eq!(db.one::<String>(kept), "1 2 3");
    let flags = "SELECT bool_and(parked AND replay_at IS NOT NULL) FROM projection_checkpoints";
    assert!(db.one::<bool>(flags));
    // Two events of Sales lie between; those of Billing are not its own.
    let asks = db.pupctl(["projections", "reset", "orders", "--to", "end"]).failure(2);
    assert!(asks.stderr.contains("2 events are never handled"), "{asks}");
    assert!(asks.stderr.contains("3 dead letters at or before position 9 stay"), "{asks}");
    db.pupctl(["projections", "reset", "orders", "--to", "end", "--yes"]).success();
    assert_eq!(db.one::<String>(kept), "1 2 3");
    assert!(db.one::<bool>(flags));
}

#[test]
fn tables_to_which_others_refer_are_named() {
    let db = with_projection("orders", 1, &["--tables", "totals"]);
    db.execute(
        "CREATE TABLE totals (id int PRIMARY KEY);
         CREATE TABLE \"other's\" (id int REFERENCES totals)",
    );
    let reset = ["projections", "reset", "orders", "--truncate", "--yes"];
    let refused = db.pupctl(reset).failure(1);
    assert!(refused.stderr.contains("public.other's refers to public.totals"), "{refused}");
    assert!(!refused.stderr.contains("CASCADE"), "{refused}");
}
