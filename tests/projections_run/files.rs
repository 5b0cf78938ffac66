//! Files with which something is wrong: an error says what and where, and nothing is changed.

use crate::support::{TestDatabase, eventually};
use crate::{CATCH_UP, TOTALS, append, file, reference, store, store_with, totals};

/// What a file's first run says, which has changed nothing.
fn refused(text: &str, code: i32) -> String {
    let db = store_with(text);
    append(&db, "Sales", 3);
    let output = db.pupctl(CATCH_UP).failure(code);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM projection_definitions"), 0);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM projection_checkpoints"), 0);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM events"), 3);
    output.stderr
}

#[track_caller]
fn assert_says(stderr: &str, words: &[&str]) {
    for word in words {
        assert!(stderr.contains(word), "{word:?} is not in:\n{stderr}");
    }
}

#[test]
fn a_header_says_what_it_has_to() {
    let without = |line: &str| TOTALS.replace(line, "");
    let said = refused(&without("-- name: order_totals\n"), 2);
    assert_says(&said, &["order_totals.sql does not say its name", "-- name: order_totals"]);
    let said = refused(&without("-- tables: order_totals\n"), 2);
    assert_says(&said, &["does not say its tables"]);
    let said = refused(&without("-- handle\n").replace("-- init", "-- handle"), 2);
    assert_says(&said, &["CREATE has no place below -- handle", ":7:1", "stands below -- init"]);
    let said = refused("-- name: x\n-- tables: x\n", 2);
    assert_says(&said, &["has no line `-- handle`"]);
}

#[test]
fn a_typo_in_the_header_is_found() {
    let said = refused(&TOTALS.replace("-- contexts:", "-- context:"), 2);
    assert_says(
        &said,
        &[
            "the header has no key context",
            "order_totals.sql:2:4",
            "did you mean `-- contexts: Sales`?",
        ],
    );
    let said = refused(&TOTALS.replace("-- slots: 4", "-- slots: four"), 2);
    assert_says(&said, &["\"four\" is no number of slots", ":4:11"]);
    let said = refused(&format!("-- name: a\n{TOTALS}"), 2);
    assert_says(&said, &["the header says name twice"]);
    let said = refused(&TOTALS.replace("-- tables: order_totals", "-- tables: public.t"), 2);
    assert_says(&said, &["public.t names a schema", "-- schema:"]);
}

#[test]
fn two_files_of_one_name_are_refused() {
    let db = store_with(TOTALS);
    file(&db, "second.sql", TOTALS);
    let said = db.pupctl(CATCH_UP).failure(2).stderr;
    assert_says(&said, &["two files are called order_totals", "second.sql"]);
    let other = TOTALS.replace("-- name: order_totals", "-- name: other");
    file(&db, "second.sql", &other);
    let said = db.pupctl(CATCH_UP).failure(2).stderr;
    assert_says(&said, &["both fill the table order_totals"]);
    // One by one they are not looked at together, but the store knows who fills the table.
    db.pupctl(["projections", "run", "--until-caught-up", "--dir", "nowhere"]).failure(1);
    std::fs::remove_file(db.folder().join("projections/second.sql")).expect("removed");
    append(&db, "Sales", 1);
    db.pupctl(CATCH_UP).success();
    std::fs::remove_file(db.folder().join("projections/order_totals.sql")).expect("removed");
    file(&db, "second.sql", &other);
    let said = db.pupctl(CATCH_UP).failure(1).stderr;
    assert_says(&said, &["the table order_totals is filled by the projection order_totals"]);
}

#[test]
fn an_error_of_the_server_has_its_place() {
    let said = refused(&TOTALS.replace("FROM batch", "FROM bathc"), 1);
    assert_says(&said, &["relation \"bathc\" does not exist", "order_totals.sql:9:"]);
    assert_says(&said, &["FROM bathc GROUP BY 1", "^"]);
    let said = refused(&TOTALS.replace("text PRIMARY KEY", "txet PRIMARY KEY"), 1);
    assert_says(&said, &["type \"txet\" does not exist", "order_totals.sql:7:"]);
    let said = refused(&TOTALS.replace("GROUP BY 1", "GROUP BY 1 '"), 2);
    assert_says(&said, &["this quoted text does not end", "order_totals.sql:9:"]);
}

#[test]
fn a_table_that_init_does_not_make_is_missed() {
    let said =
        refused(&TOTALS.replace("-- tables: order_totals", "-- tables: order_totals, more"), 2);
    assert_says(&said, &["makes no table more"]);
}

#[test]
fn names_that_are_not_there_are_told() {
    let db = store_with(TOTALS);
    let said = db.pupctl(CATCH_UP.iter().chain(&["orders"])).failure(2).stderr;
    assert_says(&said, &["no file in projections has the name orders", "there is order_totals"]);
    let empty = store();
    let said = empty.pupctl(CATCH_UP).failure(1).stderr;
    assert_says(&said, &["the folder projections cannot be read", "pupctl projections new"]);
}

/// A store whose projection has handled events, and whose file was changed since.
fn changed(from: &str, to: &str) -> TestDatabase {
    let db = store_with(TOTALS);
    append(&db, "Sales", 20);
    db.pupctl(CATCH_UP).success();
    append(&db, "Sales", 10);
    file(&db, "order_totals.sql", &TOTALS.replace(from, to));
    db
}

#[test]
fn a_changed_file_is_refused_until_it_is_accepted() {
    let db = changed("count(*)", "2 * count(*)");
    let said = db.pupctl(CATCH_UP).failure(1).stderr;
    assert_says(
        &said,
        &[
            "is not what it was when order_totals began, and events up to 20 were handled",
            "pupctl projections rebuild order_totals",
            "--accept-changed",
        ],
    );
    assert_eq!(db.one::<i64>("SELECT sum(lines)::bigint FROM order_totals"), 20);
    db.pupctl(CATCH_UP.iter().chain(&["--accept-changed"])).failure(2);
    db.pupctl(CATCH_UP.iter().chain(&["order_totals", "--accept-changed"])).success();
    assert_eq!(db.one::<i64>("SELECT sum(lines)::bigint FROM order_totals"), 40);
    db.pupctl(CATCH_UP).success();
}

#[test]
fn comments_and_white_space_are_no_change() {
    let db = changed("-- handle\n", "-- handle\n  -- Counts lines.\n\n");
    db.pupctl(CATCH_UP).success();
    assert_eq!(totals(&db), reference(&db));
}

#[test]
fn a_read_model_that_is_gone_is_missed() {
    let db = changed("x", "x");
    db.execute("DROP TABLE order_totals");
    let said = db.pupctl(CATCH_UP).failure(1).stderr;
    assert_says(
        &said,
        &["handled events up to 20, and its table order_totals is gone", "projections rebuild"],
    );
}

#[test]
fn an_older_store_is_told_to_be_extended() {
    let db = store_with(TOTALS);
    db.execute(
        "DROP TABLE projection_definitions, projection_audit;
         DELETE FROM pupctl_history WHERE version = 5",
    );
    let said = db.pupctl(CATCH_UP).failure(1).stderr;
    assert_says(&said, &["pupctl projections init"]);
    db.pupctl(["projections", "init"]).success();
    db.pupctl(CATCH_UP).success();
}

#[test]
fn a_worker_of_the_earlier_file_stops_when_another_one_is_accepted() {
    let db = store_with(TOTALS);
    append(&db, "Sales", 10);
    let old = db.command(["projections", "run"]).spawn();
    eventually("the first events are handled", || {
        db.one("SELECT to_regclass('order_totals') IS NOT NULL") && totals(&db) == reference(&db)
    });
    file(&db, "order_totals.sql", &TOTALS.replace("count(*)", "100 * count(*)"));
    db.pupctl(CATCH_UP.iter().chain(&["order_totals", "--accept-changed"])).success();
    append(&db, "Sales", 10);
    let said = old.wait().failure(1).stderr;
    assert_says(&said, &["goes on with another file than this worker has"]);
    db.pupctl(CATCH_UP).success();
    assert_eq!(db.one::<i64>("SELECT sum(lines)::bigint FROM order_totals"), 10 + 10 * 100);
}

#[test]
fn another_file_is_refused_while_the_first_batch_of_one_runs() {
    let slow = TOTALS
        .replace("FROM batch GROUP", "FROM batch WHERE pg_sleep(0.1)::text IS NOT NULL GROUP");
    let db = store_with(&slow.replace("-- slots: 4\n", ""));
    append(&db, "Sales", 20);
    let first = db.command(CATCH_UP).spawn();
    eventually("its first batch runs", || {
        db.one(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'
            AND datname = current_database())",
        )
    });
    file(&db, "order_totals.sql", &TOTALS.replace("count(*)", "100 * count(*)"));
    let said = db.pupctl(CATCH_UP).failure(1).stderr;
    assert_says(&said, &["is not what it was when order_totals began, and events up to 20"]);
    first.wait().success();
    assert_eq!(db.one::<i64>("SELECT sum(lines)::bigint FROM order_totals"), 20);
}
