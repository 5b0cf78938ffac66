//! Folders and names that cannot be right: told before a server is asked for anything.

use crate::support::{Output, TestDatabase};
use crate::{migrate, recorded, write};

#[track_caller]
fn refused(db: &TestDatabase, words: &str) -> Output {
    let output = migrate(db).failure(2);
    assert!(output.stderr.contains(words), "{output}");
    output
}

#[test]
fn a_folder_that_is_none() {
    let db = TestDatabase::new();
    let missing = refused(&db, "there is no folder migrations");
    assert!(missing.stderr.contains("pupctl schema generate --dir migrations"), "{missing}");
    std::fs::create_dir(db.folder().join("migrations")).expect("a folder");
    refused(&db, "there is no migration in migrations");
    write(&db, "README.md", "Only notes.");
    refused(&db, "there is no migration in migrations");
    std::fs::write(db.folder().join("file"), "").expect("a file");
    let file = db.pupctl(["schema", "migrate", "--dir", "file"]).failure(2);
    assert!(file.stderr.contains("file is a file, not a folder"), "{file}");
    assert_eq!(db.dump(), "", "nothing was written");
}

#[test]
fn names_that_do_not_fit() {
    for name in ["V1__create-events.sql", "create.sql", "V1_a.sql", "V1.1__a.sql", "V1__a.SQL"] {
        let db = TestDatabase::new();
        write(&db, name, "SELECT 1");
        let output = refused(&db, &format!("migrations/{name}"));
        assert!(output.stderr.contains("V<number>__<words>.sql"), "{output}");
    }
}

#[test]
fn all_wrong_files_are_told_at_once() {
    let db = TestDatabase::new();
    write(&db, "V1__a.sql", "SELECT 1");
    write(&db, "V001__b.sql", "SELECT 1");
    write(&db, "V2__empty.sql", "-- to be written\n");
    write(&db, "V3__two.sql", "-- pupctl: no-transaction\nVACUUM;\nVACUUM");
    write(&db, "V4__commit.sql", "SELECT 1;\nCOMMIT;\nSELECT 2");
    write(&db, "V5__latin.sql", "");
    std::fs::write(db.folder().join("migrations/V5__latin.sql"), b"SELECT '\xe4'").expect("a file");
    write(&db, "V6__index.sql", "-- pupctl: no-transaction\nCREATE INDEX CONCURRENTLY ON t (x)");
    let output = refused(&db, "6 files of migrations cannot be migrations");
    for words in [
        "migrations/V001__b.sql and migrations/V1__a.sql have the same version",
        "migrations/V2__empty.sql has no statement",
        "migrations/V3__two.sql:3: a second statement",
        "migrations/V4__commit.sql:2: COMMIT would end the transaction",
        "migrations/V5__latin.sql is not UTF-8 text",
        "migrations/V6__index.sql:2: the index has no name",
    ] {
        assert!(output.stderr.contains(words), "{words}\n{output}");
    }
    assert_eq!(db.dump(), "", "nothing was written");
}

#[test]
fn line_ends_of_windows_change_no_checksum() {
    let db = TestDatabase::new();
    write(&db, "V10__a.sql", "\u{feff}CREATE TABLE a ();\r\nCREATE TABLE b ();\r\n");
    migrate(&db).success();
    write(&db, "V10__a.sql", "CREATE TABLE a ();\nCREATE TABLE b ();\n");
    let again = migrate(&db).success();
    assert!(again.stderr.contains("Nothing to do"), "{again}");
    assert_eq!(recorded(&db), ["10 a"]);
}

#[test]
fn files_of_another_schema_and_versions_of_pupctl() {
    let db = TestDatabase::new();
    db.pupctl(["schema", "generate", "--partition-by", "none", "--schema", "es"]).success();
    refused(&db, "V5__layout.sql was generated for another schema than public");
    write(&db, "V4__mine.sql", "SELECT 1");
    let taken = db.pupctl(["schema", "migrate", "--schema", "es"]).failure(1);
    assert!(taken.stderr.contains("the versions up to 5 are pupctl's own"), "{taken}");
    assert!(taken.stderr.contains("from 6 on"), "{taken}");
    crate::remove(&db, "V4__mine.sql");
    db.pupctl(["schema", "migrate", "--schema", "es"]).success();
    db.pupctl(["partitions", "check", "--exit-code"]).success();
}

#[test]
fn the_configuration_names_the_folder() {
    let db = TestDatabase::new();
    std::fs::write(db.folder().join("pupctl.toml"), "[migrations]\ndir = \"sql\"\n")
        .expect("a file");
    let missing = migrate(&db).failure(2);
    assert!(missing.stderr.contains("there is no folder sql"), "{missing}");
}
