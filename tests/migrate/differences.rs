//! A folder that does not go with what was applied.

use crate::support::{Output, TestDatabase};
use crate::{migrate, recorded, remove, write};

fn applied() -> TestDatabase {
    let db = TestDatabase::new();
    db.pupctl(["schema", "generate", "--partition-by", "hash", "--hash-partitions", "2"]).success();
    write(&db, "V10__orders.sql", "CREATE TABLE orders ()");
    migrate(&db).success();
    db
}

#[track_caller]
fn refused(db: &TestDatabase, words: &str) -> Output {
    let before = db.dump();
    let output = migrate(db).failure(1);
    assert!(output.stderr.contains(words), "{words}\n{output}");
    let plan = db.pupctl(["schema", "plan", "--exit-code"]).failure(3);
    assert!(plan.stderr.contains(words), "{words}\n{plan}");
    let status = db.pupctl(["schema", "status", "--dir", "migrations"]).success();
    assert!(status.stdout.contains(words), "{words}\n{status}");
    assert_eq!(db.dump(), before);
    output
}

#[test]
fn a_file_that_was_changed() {
    let db = applied();
    write(&db, "V10__orders.sql", "CREATE TABLE orders ();");
    let output = refused(&db, "migrations/V10__orders.sql is not what was applied on 20");
    assert!(output.stderr.contains("the checksum recorded is"), "{output}");
    assert!(output.stderr.contains("such as V11__orders_again.sql"), "{output}");
}

#[test]
fn a_generated_file_that_was_changed() {
    let db = applied();
    let file = db.folder().join("migrations/V2__events.sql");
    let text = std::fs::read_to_string(&file).expect("the file");
    for changed in [
        text.replace("payload bytea", "payload jsonb"),
        text.replace("MODULUS 2, REMAINDER 1", "MODULUS 3, REMAINDER 1"),
        format!("{text} "),
    ] {
        std::fs::write(&file, changed).expect("the file");
        refused(&db, "migrations/V2__events.sql is not what was applied on 20");
    }
}

#[test]
fn a_file_that_is_gone() {
    let db = applied();
    remove(&db, "V10__orders.sql");
    let output = refused(&db, "V10__orders was applied on 20");
    assert!(output.stderr.contains("there is no file for it"), "{output}");
    assert!(output.stderr.contains("bring V10__orders.sql back"), "{output}");
    write(&db, "V10__orders.sql", "CREATE TABLE orders ()");
    remove(&db, "V2__events.sql");
    let output = refused(&db, "V2__events was applied on 20");
    assert!(output.stderr.contains("pupctl schema generate"), "{output}");
}

#[test]
fn a_file_that_was_renamed() {
    let db = applied();
    remove(&db, "V10__orders.sql");
    write(&db, "V10__order.sql", "CREATE TABLE orders ()");
    refused(&db, "migrations/V10__order.sql: version 10 was applied as V10__orders");
}

#[test]
fn a_file_that_comes_too_late() {
    let db = applied();
    write(&db, "V9__late.sql", "CREATE TABLE late ()");
    let output = refused(&db, "migrations/V9__late.sql comes before V10__orders");
    assert!(output.stderr.contains("such as 11"), "{output}");
}

#[test]
fn several_problems_are_told_together() {
    let db = applied();
    write(&db, "V9__late.sql", "CREATE TABLE late ()");
    write(&db, "V10__orders.sql", "SELECT 1");
    let output = migrate(&db).failure(1);
    assert!(output.stderr.contains("disagree in 2 points"), "{output}");
    assert_eq!(recorded(&db).len(), 5);
}

#[test]
fn a_folder_for_another_layout_than_the_store_s() {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "month"]).success();
    db.pupctl(["schema", "generate", "--partition-by", "none"]).success();
    let output = migrate(&db).failure(1);
    assert!(output.stderr.contains("V2__events.sql is not what was applied"), "{output}");
    assert!(output.stderr.contains("its own layout options"), "{output}");
}

#[test]
fn a_folder_for_the_same_tables_of_another_layout() {
    let month = ["--partition-by", "context,month", "--contexts", "A"];
    for (init, generate, words) in [
        (&month[..], &["--partition-by", "context,month", "--contexts", "A,B"][..], "context B"),
        (&month, &[&month[..], &["--event-ids"]].concat(), "event ids: the store has off"),
        (&month, &[&month[..], &["--immutable"]].concat(), "immutable: the store has off"),
        (
            &["--partition-by", "hash", "--hash-partitions", "2"],
            &["--partition-by", "hash", "--hash-partitions", "4"],
            "levels: the store has",
        ),
    ] {
        let db = TestDatabase::new();
        db.pupctl([&["schema", "init"], init].concat()).success();
        db.pupctl([&["schema", "generate"], generate].concat()).success();
        let output = refused(&db, words);
        if !words.starts_with("event ids") && !words.starts_with("immutable") {
            let words = "V5__layout.sql is for another layout than the store has";
            assert!(output.stderr.contains(words), "{output}");
        }
    }
}

#[test]
fn a_generated_file_whose_other_part_was_changed() {
    for migrated in [false, true] {
        let db = TestDatabase::new();
        let options = ["--partition-by", "context", "--contexts", "A"];
        db.pupctl([&["schema", "init"], &options[..]].concat()).success();
        db.pupctl([&["schema", "generate"], &options[..]].concat()).success();
        if migrated {
            migrate(&db).success();
        }
        let file = db.folder().join("migrations/V2__events.sql");
        let text = std::fs::read_to_string(&file).expect("the file");
        assert!(text.contains("-- pupctl: partitions"), "{text}");
        std::fs::write(&file, format!("{text}DROP TABLE events;\n")).expect("the file");
        refused(&db, "migrations/V2__events.sql was changed after it was generated");
        std::fs::write(&file, text).expect("the file");
        migrate(&db).success();
    }
}
