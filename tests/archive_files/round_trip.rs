//! What goes into a file comes back as it was.

use pupctl::archive::folder::Found;
use pupctl::archive::{Format, Reader, Stream, folder};
use pupctl::layout::name::QualifiedName;

use crate::support::TestDatabase;
use crate::table::{Table, load};

const FORMATS: [Format; 2] = [Format::Copy, Format::Parquet];

#[test]
fn every_odd_value_comes_back() {
    let db = TestDatabase::new();
    let table = Table::odd(&db);
    let archives = tempfile::tempdir().expect("a folder");
    for format in FORMATS {
        let archive =
            table.archive(archives.path(), &format.to_string(), format).expect("an archive");
        archive.verify(&mut |_| Ok(())).expect("verified");
        let copy = format!("copy of {format}");
        db.execute(&format!(
            "CREATE TABLE \"O'Brien\".\"{copy}\" (LIKE \"O'Brien\".\"odd \"\"table\"\"\"
                INCLUDING IDENTITY)"
        ));
        let target = QualifiedName::new("O'Brien", &copy);
        let sent = load(&mut db.client(), &archive, &target);
        let there = Table::of(db.url(), "O'Brien", &copy).contents();
        assert_eq!(sent, archive.manifest.contents());
        assert_eq!(there, table.contents(), "{format}");
        let text = |table: &str| {
            db.texts(&format!("SELECT row::text FROM \"O'Brien\".\"{table}\" AS row ORDER BY 1"))
        };
        assert_eq!(text(&copy), text("odd \"\"table\"\""), "{format}");
    }
}

#[test]
fn many_rows_come_back() {
    let db = TestDatabase::new();
    let table = Table::events(&db, 30_000);
    let archives = tempfile::tempdir().expect("a folder");
    for format in FORMATS {
        let archive =
            table.archive(archives.path(), &format.to_string(), format).expect("an archive");
        db.execute(&format!("CREATE TABLE copy_{format} (LIKE events)"));
        let target = QualifiedName::new("public", format!("copy_{format}"));
        load(&mut db.client(), &archive, &target);
        let there = Table::of(db.url(), "public", &format!("copy_{format}")).contents();
        assert_eq!(there, table.contents(), "{format}");
    }
}

#[test]
fn rows_larger_than_a_batch_come_back() {
    let db = TestDatabase::new();
    db.execute(
        "CREATE TABLE large (global_position bigint, payload bytea, note text);
         INSERT INTO large SELECT n, decode(repeat(md5(n::text), 200000 * (n % 3)), 'hex'), NULL
         FROM generate_series(1, 12) AS n",
    );
    let table = Table::of(db.url(), "public", "large");
    let archives = tempfile::tempdir().expect("a folder");
    for format in FORMATS {
        let archive =
            table.archive(archives.path(), &format.to_string(), format).expect("an archive");
        assert_eq!(archive.verify(&mut |_| Ok(())).expect("verified"), table.contents());
    }
}

#[test]
fn a_table_without_rows_makes_an_archive_without_rows() {
    let db = TestDatabase::new();
    let table = Table::events(&db, 0);
    let archives = tempfile::tempdir().expect("a folder");
    for format in FORMATS {
        let archive =
            table.archive(archives.path(), &format.to_string(), format).expect("an archive");
        let found = archive.verify(&mut |_| Ok(())).expect("verified");
        assert_eq!((found.rows, found.digest.0), (0, 0));
    }
    let found = folder::list(archives.path()).expect("a list");
    assert!(matches!(found.as_slice(), [Found::Archive(_), Found::Archive(_)]), "{found:?}");
}

#[test]
fn parts_of_an_archive_go_where_they_are_wanted() {
    let db = TestDatabase::new();
    let table = Table::events(&db, 5000);
    let archives = tempfile::tempdir().expect("a folder");
    for format in FORMATS {
        let archive =
            table.archive(archives.path(), &format.to_string(), format).expect("an archive");
        let reader: Reader = archive.reader().expect("a reader");
        let mut stream = Stream::new(reader, table.columns()).only(|position| position % 7 != 0);
        let mut pieces = Vec::new();
        while stream.has_more().expect("rows") {
            let mut bytes = Vec::new();
            pieces.push(stream.piece(&mut bytes, 1000).expect("a piece"));
            assert!(bytes.starts_with(b"PGCOPY\n") && bytes.ends_with(&[255, 255]));
        }
        let rows: Vec<_> = pieces.iter().map(|piece| piece.rows).collect();
        assert_eq!(rows, [1000, 1000, 1000, 1000, 286], "{format}");
        assert_eq!(pieces[0].last_position, Some(1166));
        db.execute("CREATE TABLE wanted AS SELECT * FROM events WHERE global_position % 7 <> 0");
        let wanted = Table::of(db.url(), "public", "wanted");
        assert_eq!(stream.sent(), wanted.contents());
        db.execute("DROP TABLE wanted");
    }
}

#[test]
fn parquet_refuses_what_it_cannot_hold() {
    let db = TestDatabase::new();
    let archives = tempfile::tempdir().expect("a folder");
    db.execute(
        "CREATE TABLE late AS SELECT 7::bigint AS global_position,
            '294276-12-31 23:59:59.999999+00'::timestamptz AS created_at",
    );
    let late = Table::of(db.url(), "public", "late");
    let error = late.archive(archives.path(), "late", Format::Parquet).expect_err("too late");
    assert_eq!(
        error.message(),
        "created_at of the event at position 7 is later than Parquet can tell"
    );
    assert!(error.hint_text().expect("a hint").contains("--format copy"));
    assert!(folder::list(archives.path()).expect("a list").is_empty());
    assert_eq!(std::fs::read_dir(archives.path()).expect("a folder").count(), 0);
    let archive = late.archive(archives.path(), "late", Format::Copy).expect("an archive");
    assert_eq!(
        archive.manifest.last_created_at.as_deref(),
        Some("294276-12-31 23:59:59.999999+00")
    );
}

/// PostgreSQL 18 has columns that refuse NULL and hold it from before. A file that says otherwise
/// would lie.
#[test]
fn parquet_refuses_a_null_where_none_may_be() {
    let db = TestDatabase::new();
    db.execute("CREATE TABLE notes AS SELECT NULL::text AS note");
    let mut table = Table::of(db.url(), "public", "notes");
    table.selection.columns[0].not_null = true;
    let archives = tempfile::tempdir().expect("a folder");
    let error = table.archive(archives.path(), "notes", Format::Parquet).expect_err("a NULL");
    assert_eq!(error.message(), "note of row 1 is NULL, which the column refuses");
    table.archive(archives.path(), "notes", Format::Copy).expect("an archive");
}

/// A database whose text is whatever bytes applications sent.
#[test]
fn text_that_is_not_utf_8_fits_into_copy_only() {
    let db = TestDatabase::new();
    let name = format!("{}_ascii", db.name());
    db.execute(&format!(
        "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
    ));
    let url = db.url().replacen(db.name(), &name, 1);
    let mut client = postgres::Client::connect(&url, postgres::NoTls).expect("a session");
    client
        .batch_execute("CREATE TABLE notes AS SELECT convert_from('\\xff', 'SQL_ASCII') AS note")
        .expect("a table");
    let table = Table::of(&url, "public", "notes");
    let archives = tempfile::tempdir().expect("a folder");
    let error = table.archive(archives.path(), "notes", Format::Parquet).expect_err("no UTF-8");
    assert_eq!(error.message(), "note of row 1 is not UTF-8, as all text in Parquet is");
    table.archive(archives.path(), "notes", Format::Copy).expect("an archive");
    drop(client);
    db.execute(&format!("DROP DATABASE {name} WITH (FORCE)"));
}
