//! Stores that are not there, are several, have another layout, or were changed by others.

use insta::assert_snapshot;

use super::{refused, store};
use crate::support::TestDatabase;

#[test]
fn without_a_store_the_way_to_one_is_told() {
    let db = TestDatabase::new();
    let told = refused(&db, ["partitions", "ensure"], 1);
    assert_snapshot!(told, @"
    error: there is no store in schema public
    hint: make one: pupctl schema init --partition-by context --contexts Identity,Billing
    ");
    assert_eq!(refused(&db, ["partitions", "list"], 1), told);
    assert_eq!(refused(&db, ["partitions", "check"], 1), told);
    assert_eq!(refused(&db, ["contexts", "list"], 1), told);
    assert_eq!(refused(&db, ["contexts", "add", "A"], 1), told);
}

#[test]
fn of_two_stores_one_must_be_chosen() {
    let db = store(["--partition-by", "none", "--schema", "shop"]);
    db.pupctl(["schema", "init", "-q", "--partition-by", "none", "--schema", "billing"]).success();
    assert_snapshot!(refused(&db, ["partitions", "ensure"], 2), @"
    error: the database has more than one store
      in the schemas billing, shop
    hint: choose one with --schema
    ");
    refused(&db, ["schema", "status"], 2);
    db.pupctl(["partitions", "ensure", "--schema", "shop"]).success();
}

#[test]
fn another_layout_than_the_stored_one() {
    let db = store(["--partition-by", "context,hash", "--contexts", "A", "--hash-partitions", "2"]);
    assert_snapshot!(refused(&db, ["schema", "init", "--partition-by", "context,month"], 1), @"
    error: the schema public has a store with another layout
      levels: the store has context, then hash(aggregate_type, aggregate_id; 2), the request says context, then month
      context A: the store has hash(aggregate_type, aggregate_id; 2), the request says month
    hint: run it without layout options to keep the stored layout, or use another schema: --schema
    ");
    let shares = ["schema", "init", "--partition-by", "context,hash", "--hash-partitions", "4"];
    let told = refused(&db, shares, 1);
    assert!(told.contains("the store has"), "{told}");
    let divided = refused(&db, ["contexts", "add", "A", "--partition-by", "none"], 1);
    assert_snapshot!(divided, @"
    error: the context A is there already, and divided otherwise
      the store has hash(aggregate_type, aggregate_id; 2), the request says whole
    ");
}

#[test]
fn a_layout_of_a_newer_pupctl() {
    let db = store(["--partition-by", "none"]);
    db.execute("UPDATE pupctl_layout SET layout = jsonb_set(layout::jsonb, '{form}', '3')");
    let told = refused(&db, ["partitions", "ensure"], 1);
    assert_snapshot!(told, @"
    error: a newer pupctl stored the layout of this store
    hint: install the newer version, or ask who made the store
    ");
    assert_eq!(refused(&db, ["schema", "init"], 1), told);
    assert_eq!(refused(&db, ["partitions", "list"], 1), told);
}

#[test]
fn a_layout_that_was_changed_by_hand() {
    let db = store(["--partition-by", "none"]);
    db.execute("UPDATE pupctl_layout SET layout = '{\"form\": 1, \"levels\": [\"weekly\"]}'");
    let told = refused(&db, ["partitions", "ensure"], 1);
    assert!(told.contains("error: the stored layout cannot be read: "), "{told}");
    assert!(told.contains("hint: the table pupctl_layout was changed by hand"), "{told}");
    db.execute("UPDATE pupctl_layout SET layout = '[]'");
    assert!(refused(&db, ["schema", "status"], 1).contains("the stored layout cannot be read"));
    db.execute("DELETE FROM pupctl_layout");
    assert!(refused(&db, ["partitions", "list"], 1).contains("public has no layout"));
}

#[test]
fn a_row_in_the_history_that_no_migration_wrote() {
    for table in ["pupctl_history", "pupctl_schema_history"] {
        let db = store(["--partition-by", "none"]);
        db.execute(&format!("INSERT INTO {table} (version, name) VALUES (7, 'by_hand')"));
        let told = refused(&db, ["schema", "init"], 1);
        assert!(told.contains(&format!("public.{table} holds a row that no migration wrote")));
        assert!(told.contains("hint: restore the row, or delete it"), "{told}");
    }
}

#[test]
fn own_tables_of_a_newer_pupctl() {
    let db = store(["--partition-by", "month"]);
    db.execute(
        "INSERT INTO pupctl_history SELECT 9, 'later', applied_on, checksum FROM pupctl_history
         WHERE version = 1",
    );
    let told = refused(&db, ["partitions", "ensure", "--months", "9"], 1);
    assert_snapshot!(told, @"
    error: a newer pupctl has changed the store's own tables (to version 9)
    hint: install that version of pupctl, or a later one
    ");
    assert_eq!(refused(&db, ["schema", "init"], 1), told);
    // What only reads goes on.
    db.pupctl(["partitions", "list"]).success();
}
