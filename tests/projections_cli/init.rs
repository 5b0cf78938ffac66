//! The rows of a projection are made once, all or none.

use crate::support::TestDatabase;
use crate::{add_letters, append, positions, rows, store, with_projection};

/// Takes away what the newest migration of pupctl's own tables brought.
fn make_older(db: &TestDatabase) {
    db.execute(
        "ALTER TABLE projection_checkpoints DROP COLUMN projection, DROP COLUMN slot,
            DROP COLUMN slots, DROP COLUMN slot_hash, DROP COLUMN epoch,
            DROP COLUMN bounded_contexts, DROP COLUMN aggregate_types, DROP COLUMN read_model,
            DROP COLUMN paused_at, DROP COLUMN drain_to, DROP COLUMN parked,
            DROP COLUMN replay_at, DROP COLUMN worker, DROP COLUMN events_handled,
            DROP COLUMN events_per_second, DROP COLUMN last_error, DROP COLUMN failed_at,
            DROP COLUMN failed_position;
         DROP TABLE projection_dead_letters;
         DELETE FROM pupctl_history WHERE version = 4",
    );
}

#[test]
fn a_projection_gets_a_row_for_each_slot() {
    let db = store();
    let init = [
        "projections",
        "init",
        "orders",
        "--slots",
        "4",
        "--contexts",
        "Sales,Billing",
        "--aggregates",
        "Order",
        "--tables",
        "order_totals",
    ];
    let made = db.pupctl(init.iter().chain(&["-o", "json"])).success().json();
    assert_eq!(made["changed"], true);
    assert_eq!(made["projections"], serde_json::json!(["orders"]));
    assert_eq!(positions(&db), ["orders:0/4 0", "orders:1/4 0", "orders:2/4 0", "orders:3/4 0"]);
    let third: serde_json::Value = serde_json::from_str(&rows(&db)[2]).expect("JSON");
    for (column, value) in [
        ("projection", serde_json::json!("orders")),
        ("slot", serde_json::json!(2)),
        ("slots", serde_json::json!(4)),
        ("slot_hash", serde_json::json!("hashtextextended")),
        ("bounded_contexts", serde_json::json!(["Billing", "Sales"])),
        ("aggregate_types", serde_json::json!(["Order"])),
        ("read_model", serde_json::json!(["order_totals"])),
    ] {
        assert_eq!(third[column], value, "{column}");
    }
    let before = rows(&db);
    let again = db.pupctl(init).success();
    assert!(again.stderr.contains("Nothing to do"), "{again}");
    let less = db.pupctl(["projections", "init", "orders"]).success();
    assert!(less.stderr.contains("Nothing to do"), "{less}");
    assert_eq!(rows(&db), before);
}

#[test]
fn what_is_there_otherwise_is_not_changed() {
    let db = with_projection("orders", 4, &["--contexts", "Sales"]);
    let before = rows(&db);
    for (arguments, hint) in [
        (["--slots", "8"], "pupctl projections rescale orders --slots 8"),
        (["--hash", "fnv1a32"], "pupctl projections rescale orders --hash fnv1a32"),
        (["--contexts", "Billing"], "delete it and make it anew"),
        (["--aggregates", "Order"], "delete it and make it anew"),
    ] {
        let refused = db.pupctl(["projections", "init", "orders"].iter().chain(&arguments));
        let refused = refused.failure(1);
        assert!(refused.stderr.contains(hint), "{refused}");
    }
    assert_eq!(rows(&db), before);
    // What it fills is only noted.
    db.pupctl(["projections", "init", "orders", "--tables", "totals"]).success();
    let noted = "SELECT bool_and(read_model = '{totals}') FROM projection_checkpoints";
    assert!(db.one::<bool>(noted));
}

#[test]
fn a_position_is_not_passed_over() {
    let db = with_projection("orders", 2, &["--from", "0"]);
    append(&db, "Sales", 0..5);
    db.pupctl(["projections", "init", "orders", "--from", "0"]).success();
    let refused = db.pupctl(["projections", "init", "orders", "--from", "3"]).failure(1);
    assert!(refused.stderr.contains("pupctl projections reset orders --to 3"), "{refused}");
    assert_eq!(positions(&db), ["orders:0/2 0", "orders:1/2 0"]);
}

#[test]
fn dead_letters_of_before_are_not_overlooked() {
    let db = store();
    append(&db, "Sales", 0..5);
    add_letters(&db, "orders", 4);
    let init = ["projections", "init", "orders", "--slots", "2", "--from", "2"];
    let done = db.pupctl(init).success();
    assert!(done.stderr.contains("2 dead letters of a former orders"), "{done}");
    assert_eq!(db.one::<i64>("SELECT max(global_position) FROM projection_dead_letters"), 2);
    assert!(db.one::<bool>("SELECT bool_and(parked) FROM projection_checkpoints"));
    db.pupctl(["projections", "init", "carts"]).success();
    let parked = "SELECT parked IS NULL FROM projection_checkpoints WHERE projection = 'carts'";
    assert!(db.one::<bool>(parked));
}

#[test]
fn names_are_looked_at() {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "context", "--contexts", "Sales"]).success();
    for scope in [["--aggregates", "Order, Invoice"], ["--contexts", "Sales, Billing"]] {
        for verb in [&["init", "orders"][..], &["adopt", "orders", "--total", "1"]] {
            let line = ["projections"].iter().chain(verb).chain(&scope);
            let refused = db.pupctl(line).failure(2);
            assert!(refused.stderr.contains("starts or ends with a space"), "{refused}");
        }
    }
    let tables = ["projections", "init", "orders", "--tables", "events"];
    let refused = db.pupctl(tables).failure(1);
    assert!(refused.stderr.contains("the store's own"), "{refused}");
    let warned = db.pupctl(["projections", "init", "orders", "--contexts", "Sales,Biling"]);
    let warned = warned.success();
    assert!(warned.stderr.contains("the store has no context Biling"), "{warned}");
    assert!(!warned.stderr.contains("no context Sales"), "{warned}");
}

#[test]
fn rows_of_pupsourcing_are_not_overlooked() {
    for row in ["orders", "orders_p3"] {
        let db = store();
        db.execute(&format!("INSERT INTO projection_checkpoints VALUES ('{row}', 7)"));
        let refused = db.pupctl(["projections", "init", "orders"]).failure(1);
        assert!(refused.stderr.contains(&format!("the rows are called {row}")), "{refused}");
        assert!(refused.stderr.contains("pupctl projections adopt orders --total"), "{refused}");
        db.pupctl(["projections", "init", "order"]).success();
    }
}

#[test]
fn a_projection_begins_where_nothing_can_appear_any_more() {
    let db = store();
    append(&db, "Sales", 0..5);
    db.pupctl(["projections", "init", "end", "--from", "end"]).success();
    db.pupctl(["projections", "init", "start", "--from", "start"]).success();
    db.pupctl(["projections", "init", "two", "--from", "2", "--slots", "2"]).success();
    assert_eq!(positions(&db), ["end 5", "start 0", "two:0/2 2", "two:1/2 2"]);
    let beyond = db.pupctl(["projections", "init", "later", "--from", "6"]).failure(1);
    assert!(beyond.stderr.contains("beyond the end of the store, which is 5"), "{beyond}");
    db.pupctl(["projections", "init", "later", "--from", "never"]).failure(2);

    // An event with position 6 may still come.
    let mut writer = db.client();
    writer
        .batch_execute(
            "SET application_name = 'a writer'; BEGIN; SELECT nextval(
            pg_get_serial_sequence('events', 'global_position'));
            LOCK TABLE events IN ROW EXCLUSIVE MODE",
        )
        .expect("a position");
    let init = ["projections", "init", "later", "--from", "end", "--patience", "300ms"];
    let refused = db.pupctl(init).failure(1);
    assert!(refused.stderr.contains("a writer"), "{refused}");
    writer.batch_execute("ROLLBACK").expect("an end");
    db.pupctl(init).success();
    assert!(positions(&db).contains(&"later 6".to_owned()), "{:?}", positions(&db));
}

#[test]
fn an_older_store_is_brought_up_to_date() {
    let db = store();
    make_older(&db);
    db.execute("INSERT INTO projection_checkpoints VALUES ('totals', 3)");
    for command in [
        &["list"][..],
        &["status"],
        &["pause", "orders"],
        &["resume", "--all"],
        &["reset", "orders", "--yes"],
        &["delete", "orders", "--yes"],
        &["status", "--wait", "--position", "head"],
    ] {
        let refused = db.pupctl(["projections"].iter().chain(command)).failure(1);
        assert!(refused.stderr.contains("pupctl projections init"), "{refused}");
    }
    let dry = db.pupctl(["projections", "init", "orders", "--slots", "2", "--dry-run"]).success();
    assert!(dry.stdout.contains("ADD COLUMN IF NOT EXISTS projection"), "{dry}");
    assert!(dry.stdout.contains("'orders:1/2'"), "{dry}");
    let foreign = db.pupctl(["projections", "init", "totals", "--dry-run"]).failure(1);
    assert!(foreign.stderr.contains("adopt totals"), "{foreign}");
    assert_eq!(positions(&db), ["totals 3"]);

    let done = db.pupctl(["projections", "init"]).success();
    assert!(done.stderr.contains("Done:"), "{done}");
    let again = db.pupctl(["projections", "init"]).success();
    assert!(again.stderr.contains("Nothing to do"), "{again}");
    let journal = db.journal();
    assert_eq!(journal.last().map(String::as_str), Some("projections init: done"));

    make_older(&db);
    db.pupctl(["projections", "init", "orders", "--slots", "2"]).success();
    assert_eq!(positions(&db), ["orders:0/2 0", "orders:1/2 0", "totals 3"]);
}

#[test]
fn a_dry_run_is_what_would_run() {
    let db = store();
    let init = ["projections", "init", "it's", "--slots", "3", "--contexts", "Sales"];
    let before = rows(&db);
    let dry = db.pupctl(init.iter().chain(&["--dry-run"])).success();
    assert_eq!(rows(&db), before);
    let file = db.folder().join("init.sql");
    std::fs::write(&file, &dry.stdout).expect("a file");
    db.psql(["-f", "init.sql"]).success();
    let by_hand = rows(&db);
    db.execute("DELETE FROM projection_checkpoints");
    db.pupctl(init).success();
    assert_eq!(rows(&db), by_hand);
}
