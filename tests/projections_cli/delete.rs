//! A projection is forgotten.

use crate::{add_letters, batch, positions, rows, store, with_projection};

#[test]
fn checkpoints_and_dead_letters_go() {
    let db = with_projection("orders", 4, &[]);
    db.pupctl(["projections", "init", "totals"]).success();
    add_letters(&db, "orders", 2);
    let delete = ["projections", "delete", "orders"];
    let worker = batch(&db, "orders", "0");
    let asks = db.pupctl(delete).failure(2);
    assert!(asks.stderr.contains("4 checkpoints of orders"), "{asks}");
    assert!(asks.stderr.contains("(1 worker connected: process "), "{asks}");
    drop(worker);
    let before = rows(&db);
    db.pupctl(delete.iter().chain(&["--dry-run"])).success();
    assert_eq!(rows(&db), before);
    let done = db.pupctl(delete.iter().chain(&["--yes", "-o", "json"])).success().json();
    assert_eq!(done["projections"], serde_json::json!(["orders"]));
    assert_eq!(positions(&db), ["totals 0"]);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM projection_dead_letters"), 0);
    let again = db.pupctl(delete.iter().chain(&["--yes"])).failure(1);
    assert!(again.stderr.contains("there is no projection orders"), "{again}");
    assert!(again.stderr.contains("there are totals"), "{again}");
    assert_eq!(db.journal(), ["schema init: done"]);
}

#[test]
fn the_tables_go_with_it() {
    let db = with_projection("orders", 2, &["--tables", "lines,public.heads"]);
    db.execute(
        "CREATE TABLE heads (id int PRIMARY KEY);
         CREATE TABLE lines (id int REFERENCES heads)",
    );
    let delete = ["projections", "delete", "orders", "--read-model", "--yes"];
    let dry = db.pupctl(delete.iter().chain(&["--dry-run"])).success();
    assert!(dry.stdout.contains("DROP TABLE \"public\".\"heads\", \"public\".\"lines\""), "{dry}");
    db.execute("CREATE VIEW report AS SELECT * FROM lines");
    let before = rows(&db);
    let refused = db.pupctl(delete).failure(1);
    assert!(refused.stderr.contains("view report depends on table lines"), "{refused}");
    assert_eq!(rows(&db), before);
    assert!(!refused.stderr.contains("CASCADE"), "{refused}");
    db.execute("DROP VIEW report; CREATE TABLE notes (id int REFERENCES heads)");
    let refused = db.pupctl(delete).failure(1);
    assert!(refused.stderr.contains("public.notes refers to public.heads"), "{refused}");
    assert_eq!(rows(&db), before);
    db.execute("DROP TABLE notes");
    db.pupctl(delete).success();
    assert!(positions(&db).is_empty());
    assert!(db.one::<bool>("SELECT to_regclass('lines') IS NULL AND to_regclass('heads') IS NULL"));
    let journal = db.journal();
    assert_eq!(journal.len(), 3, "{journal:?}");
    assert_eq!(journal[2], "projections delete: done");
}

#[test]
fn tables_that_are_gone_already_are_no_obstacle() {
    let db = with_projection("orders", 1, &["--tables", "totals"]);
    let delete = ["projections", "delete", "orders", "--read-model", "--yes"];
    let done = db.pupctl(delete).success();
    assert!(done.stderr.contains("gone already"), "{done}");
    assert!(positions(&db).is_empty());
}

#[test]
fn rows_of_other_libraries_go_only_if_that_is_said() {
    let db = store();
    db.execute("INSERT INTO projection_checkpoints VALUES ('orders', 4), ('orders_p0', 3)");
    let delete = ["projections", "delete", "orders", "--yes"];
    let refused = db.pupctl(delete).failure(1);
    assert!(refused.stderr.contains("delete orders --foreign"), "{refused}");
    db.pupctl(delete.iter().chain(&["--foreign"])).success();
    assert!(positions(&db).is_empty());
}
