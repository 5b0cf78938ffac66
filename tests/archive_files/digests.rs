//! The digest of the server is that of pupctl, byte by byte.

use pupctl::archive::column::Column;
use pupctl::archive::contents::{Contents, Tally};
use pupctl::archive::select::Selection;
use pupctl::archive::{Format, prove};

use crate::support::TestDatabase;
use crate::table::{Table, pinned};

/// What pupctl finds in a stream, through a file.
fn found(table: &Table) -> Contents {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rows");
    let bytes = table.stream();
    let file = zstd::encode_all(bytes.as_slice(), 1).expect("compressed");
    std::fs::write(&path, file).expect("a file");
    prove(&path, Format::Copy, table.columns(), &mut |_| Ok(())).expect("proven")
}

#[test]
fn every_length_has_the_hash_of_the_server() {
    let db = TestDatabase::new();
    db.execute(
        "CREATE TABLE lengths (bytes bytea, note text);
         INSERT INTO lengths SELECT NULL, NULL",
    );
    for length in 0..=40 {
        db.execute(&format!(
            "TRUNCATE lengths; INSERT INTO lengths SELECT
                substr(decode(md5('a') || md5('b') || md5('c'), 'hex'), 1, {length}),
                CASE WHEN {length} % 2 = 0 THEN repeat('ü', {length}) END"
        ));
        let table = Table::of(db.url(), "public", "lengths");
        let contents = table.contents();
        assert_eq!(contents, found(&table), "{length}");
        assert_eq!(contents.rows, 1);
        assert_eq!((contents.first_position, contents.last_created_at), (None, None));
    }
    db.execute("TRUNCATE lengths");
    let table = Table::of(db.url(), "public", "lengths");
    let empty = found(&table);
    assert_eq!(table.contents(), empty);
    assert_eq!((empty.rows, empty.digest.0), (0, 0));
}

#[test]
fn every_odd_value_has_the_digest_of_the_server() {
    let db = TestDatabase::new();
    let table = Table::odd(&db);
    let contents = table.contents();
    assert_eq!(contents, found(&table));
    assert_eq!(contents.first_created_at.as_deref(), Some("-infinity"));
    assert_eq!(contents.last_position, Some(i64::MAX));
}

/// A sum below zero and one above 2^63 are the same number modulo 2^64 on both sides.
#[test]
fn sums_of_many_rows_agree() {
    let db = TestDatabase::new();
    let table = Table::events(&db, 20_000);
    let contents = table.contents();
    assert_eq!(contents, found(&table));
    assert_eq!((contents.rows, contents.first_position), (20_000, Some(1)));
    let half = Selection { after: Some(10_000), up_to: Some(15_000), ..table.selection.clone() };
    let half = Table { url: db.url().to_owned(), selection: half };
    assert_eq!(half.contents(), found(&half));
    assert_eq!((half.contents().rows, half.contents().first_position), (5000, Some(10_001)));
}

#[test]
fn settings_of_the_session_do_not_matter() {
    let db = TestDatabase::new();
    let table = Table::odd(&db);
    let contents = table.contents();
    db.execute(&format!(
        "ALTER DATABASE {name} SET TimeZone = 'Asia/Tokyo';
         ALTER DATABASE {name} SET DateStyle = 'German';
         ALTER DATABASE {name} SET IntervalStyle = 'iso_8601';
         ALTER DATABASE {name} SET bytea_output = 'escape';
         ALTER DATABASE {name} SET extra_float_digits = -5;
         ALTER DATABASE {name} SET quote_all_identifiers = on;
         ALTER DATABASE {name} SET search_path = 'O''Brien', public",
        name = db.name()
    ));
    assert_eq!(table.contents(), contents);
    assert_eq!(found(&table), contents);
}

/// Times at random, and where calendars turn.
#[test]
fn times_read_as_the_server_prints_them() {
    let db = TestDatabase::new();
    let mut client = db.client();
    let mut transaction = pinned(&mut client);
    let times = transaction.query(
        "SELECT made, made::text FROM (
            SELECT '4714-11-24 00:00+00 BC'::timestamptz
                + random() * 298000 * interval '365 days' + random() * interval '1 day'
            FROM generate_series(1, 2000)
            UNION ALL SELECT make_timestamptz(year, month, 1, 0, 0, 0) - interval '1 microsecond' * n
            FROM generate_series(-4712, 2801) AS year, generate_series(1, 12) AS month,
                generate_series(0, 1) AS n WHERE year <> 0 AND year % 97 IN (0, 1, 3)
        ) AS times (made)",
        &[],
    );
    let columns = [Column::new("created_at", "timestamp with time zone", true)];
    let mut count = 0;
    for row in times.expect("times") {
        let Micros(micros) = row.get(0);
        let field = [&[0, 1, 0, 0, 0, 8], micros.to_be_bytes().as_slice()].concat();
        let copy = [b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".as_slice(), &field, &[255, 255]].concat();
        let text: String = row.get(1);
        assert_eq!(first_time(&copy, &columns), text);
        count += 1;
    }
    assert!(count > 4000, "{count}");
}

/// What a stream of one time is told to begin with.
fn first_time(copy: &[u8], columns: &[Column]) -> String {
    // The rows of a stream are only to be had through a file.
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    std::io::Write::write_all(&mut file, &zstd::encode_all(copy, 1).expect("compressed"))
        .expect("written");
    let mut reader =
        pupctl::archive::Reader::open(file.path(), Format::Copy, columns).expect("a reader");
    let mut tally = Tally::new(columns);
    tally.batch(&reader.batch().expect("rows").expect("a row"));
    tally.contents().first_created_at.expect("a time")
}

/// A `timestamptz` as it is sent.
struct Micros(i64);

impl<'a> postgres::types::FromSql<'a> for Micros {
    fn from_sql(
        _: &postgres::types::Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?)))
    }

    fn accepts(_: &postgres::types::Type) -> bool {
        true
    }
}

/// The statement of a manifest, as people run it.
#[test]
fn psql_computes_the_digest_of_the_manifest() {
    let db = TestDatabase::new();
    let table = Table::odd(&db);
    let folder = tempfile::tempdir().expect("a folder");
    let archive = table.archive(folder.path(), "odd", Format::Parquet).expect("an archive");
    let sql = folder.path().join("digest.sql");
    std::fs::write(&sql, &archive.manifest.digest.sql).expect("a file");
    let output = db.psql(["-f", sql.to_str().expect("a name")]).success();
    let digest = archive.manifest.digest.value.to_string();
    assert!(output.stdout.contains(&digest), "{output}");
}
