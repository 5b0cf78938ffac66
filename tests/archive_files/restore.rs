//! `restore.sql`, with nothing but psql and zstd.

use std::path::Path;
use std::process::Command;

use pupctl::archive::Format;
use pupctl::archive::folder::Archive;

use crate::support::{Output, TestDatabase};
use crate::table::Table;

/// Runs the script of an archive as its first lines say.
fn restore(db: &TestDatabase, folder: &Path) -> Output {
    let zstd = Command::new("zstd").arg("--version").output();
    assert!(zstd.is_ok(), "the program zstd is missing; run scripts/setup");
    let script = format!("cd {} && exec psql -X -d \"$1\" -f restore.sql", folder.display());
    Output::of(Command::new("sh").args(["-c", &script, "sh", db.url()]))
}

fn archived(table: &Table, parent: &Path) -> Archive {
    table.archive(parent, "archive", Format::Copy).expect("an archive")
}

#[test]
fn psql_restores_events_and_odd_values() {
    let db = TestDatabase::new();
    let archives = tempfile::tempdir().expect("a folder");
    let table = Table::events(&db, 3000);
    let before = table.contents();
    let archive = archived(&table, archives.path());
    db.execute("DROP TABLE events");
    let output = restore(&db, &archive.folder).success();
    assert_eq!(
        output.stdout,
        format!(
            "rows:     3000 expected: 3000\ndigest:   {digest} expected: {digest}\n\
             Restored, and the same as it was archived.\n",
            digest = before.digest
        )
    );
    assert_eq!(table.contents(), before);
    // It is there, and stays as it is.
    let output = restore(&db, &archive.folder).failure(3);
    assert!(output.stderr.contains("already exists"), "{output}");
    assert_eq!(table.contents(), before);

    let odd = Table::odd(&db);
    let before = odd.contents();
    let archives = tempfile::tempdir().expect("a folder");
    let archive = archived(&odd, archives.path());
    db.execute("DROP TABLE \"O'Brien\".\"odd \"\"table\"\"\"");
    restore(&db, &archive.folder).success();
    assert_eq!(odd.contents(), before);
}

#[test]
fn a_name_with_a_line_break_is_restored() {
    let db = TestDatabase::new();
    db.execute(
        "CREATE TABLE \"two\nlines\" (\"a\nb\" integer); INSERT INTO \"two\nlines\" VALUES (1)",
    );
    let table = Table::of(db.url(), "public", "two\nlines");
    let before = table.contents();
    let archives = tempfile::tempdir().expect("a folder");
    let archive = archived(&table, archives.path());
    db.execute("DROP TABLE \"two\nlines\"");
    restore(&db, &archive.folder).success();
    assert_eq!(table.contents(), before);
}

#[test]
fn other_rows_are_not_restored() {
    let db = TestDatabase::new();
    let archives = tempfile::tempdir().expect("a folder");
    let table = Table::events(&db, 10);
    let archive = archived(&table, archives.path());
    db.execute("UPDATE events SET aggregate_id = 'other' WHERE global_position = 1");
    let other = zstd::encode_all(table.stream().as_slice(), 1).expect("compressed");
    std::fs::write(archive.rows_path(), other).expect("other rows");
    db.execute("DROP TABLE events");
    let output = restore(&db, &archive.folder).failure(3);
    assert!(output.stderr.contains("not the rows that were archived"), "{output}");
    assert_eq!(db.one::<Option<String>>("SELECT to_regclass('events')::text"), None);
}
