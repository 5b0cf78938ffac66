//! Whatever stands in the columns comes back as it was.

use crate::support::TestDatabase;
use crate::{archive, count, events, everywhere, leaf, restore, store, verified};

const COLUMNS: &str = r#"
    CREATE TYPE mood AS ENUM ('so so', 'it''s "fine"');
    ALTER TABLE events
        ADD COLUMN amount numeric, ADD COLUMN price numeric(12, 3), ADD COLUMN tags text[],
        ADD COLUMN counts int[], ADD COLUMN mood mood, ADD COLUMN takes interval,
        ADD COLUMN valid_until timestamptz, ADD COLUMN "it's ""quoted""" text,
        ADD COLUMN real real, ADD COLUMN double double precision, ADD COLUMN day date,
        ADD COLUMN range int4range, ADD COLUMN address inet, ADD COLUMN moods mood[],
        ADD COLUMN json json, ADD COLUMN yes boolean, ADD COLUMN small smallint DEFAULT 3,
        ADD COLUMN total numeric GENERATED ALWAYS AS (amount * 2) STORED"#;

/// The values of the columns that are set, row by row; what is not there is NULL or the default.
const ROWS: [&str; 4] = [
    r#"payload => (SELECT string_agg(set_byte('\x00', 0, n), '' ORDER BY n)
            FROM generate_series(0, 255) AS n);
        metadata => '{"big": 123456789012345678901234567890.5, "small": 1e-300, "null": null,
            "text": "🐘 \u00e9 \\ \"", "list": [1, [2, {}]], "not ascii ü": -0.0}';
        created_at => '<month>-01 00:00:00+00'; amount => 'NaN'; price => 1.230;
        tags => ARRAY['a', NULL, '"', '\', 'ü,{}']; counts => '[0:2]={1,NULL,-2147483648}';
        mood => 'so so'; takes => '1 mon -2 days 03:04:05.000006'; valid_until => 'infinity';
        "it's ""quoted""" => ''; real => 'NaN'; double => '-Infinity'; day => 'infinity';
        range => '[1,5)'; address => '::1'; moods => '{so so,NULL}'; json => '{"a": 1,  "a": 2}';
        yes => true"#,
    r#"payload => '\x'; metadata => '{}'; created_at => '<month>-15 12:34:56.789012+00';
        amount => 12345678901234567890.12345678901234567890; price => -0.001; tags => '{}';
        counts => '{{1,2},{3,4}}'; mood => 'it''s "fine"'; takes => '-178000000 years';
        valid_until => '-infinity'; "it's ""quoted""" => E'tab\t\n\\N'; real => 1e-40;
        double => 0.1; day => '0044-03-15 BC'; range => 'empty'; address => '10.0.0.0/8';
        moods => '{}'; json => 'null'; yes => false; small => -32768"#,
    r"payload => '\x00'; created_at => '<month>-28 23:59:59.999999+00'; metadata => NULL;
        trace_id => ''; small => NULL",
    r#"payload => '{"json": "in bytes"}'; created_at => '<month>-07 00:00:00.000001+00';
        amount => 1e-100; double => -0.0; takes => '00:00:00'; valid_until => '0001-01-01 BC';
        correlation_id => 'Ω'; causation_id => E'\u0001'"#,
];

fn odd_rows(db: &TestDatabase) {
    for (number, row) in ROWS.iter().enumerate() {
        let row = row.replace("<month>", &db.month(-2));
        let (names, values): (Vec<_>, Vec<_>) =
            row.split(';').filter_map(|pair| pair.split_once("=>")).unzip();
        db.execute(&format!(
            "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
                event_id, event_type, {}) VALUES ('A', 'Täglich', 'Ω \"{number}''', 1,
                md5('{number}')::uuid, 'Placed 🐘', {})",
            names.join(","),
            values.join(",")
        ));
    }
}

#[test]
fn of_every_kind_in_both_formats() {
    for layout in ["month", "context"] {
        for format in ["parquet", "copy"] {
            let db = store(layout, &["--immutable"]);
            db.execute(COLUMNS);
            odd_rows(&db);
            let month = db.month(-2);
            let part = if layout == "month" { month.as_str() } else { "A" };
            let before = (everywhere::of_store(&db), texts(&db));
            archive(&db, &[part, "--drop", "--format", format]).success();
            assert_eq!(count(&db, "events"), 0);
            db.pupctl(["archive", "verify"]).success();
            restore(&db, &[part]).success();
            assert_eq!((everywhere::of_store(&db), texts(&db)), before, "{layout} {format}");
            assert_eq!(everywhere::outside(&db), Vec::<String>::new());
            verified(&db);
        }
    }
}

/// The rows as the server prints them, generated columns included.
fn texts(db: &TestDatabase) -> Vec<String> {
    db.texts("SELECT event::text FROM public.events AS event ORDER BY global_position")
}

#[test]
fn a_column_that_was_added_gets_its_default() {
    for (layout, rows) in [("month", 6), ("context", 6)] {
        let db = store(layout, &[]);
        events(&db, "A", -2, 3);
        let month = db.month(-2);
        let part = if layout == "month" { month.as_str() } else { "A" };
        for drop in [true, false] {
            let more: &[&str] = if drop { &["--drop"] } else { &[] };
            archive(&db, &[&[part], more].concat()).success();
            let name = format!("added_{drop}");
            db.execute(&format!("ALTER TABLE events ADD COLUMN {name} int NOT NULL DEFAULT 7"));
            let restored = restore(&db, &[part]);
            if drop {
                let restored = restored.success();
                assert!(restored.stderr.contains(&name), "{restored}");
                let sevens = format!("events WHERE {name} = 7");
                assert_eq!(count(&db, &sevens), rows);
                verified(&db);
            } else {
                // The kept table lacks the column: that is told, and the rows are where they were.
                assert!(restored.code == Some(0) || restored.stderr.contains(&name), "{restored}");
            }
        }
    }
}

#[test]
fn a_column_that_is_another_is_refused_and_the_rehearsal_works() {
    let db = store("month", &[]);
    db.execute("ALTER TABLE events ADD COLUMN extra int, ADD COLUMN other int");
    events(&db, "A", -2, 3);
    let (month, before) = (db.month(-2), everywhere::of_store(&db));
    archive(&db, &[&month, "--drop"]).success();
    db.execute("ALTER TABLE events DROP COLUMN extra, ALTER COLUMN other TYPE text");
    let refused = restore(&db, &[&month]).failure(1);
    for words in ["the column extra (integer)", "the column other was integer, and is text now"] {
        assert!(refused.stderr.contains(words), "{refused}");
    }
    assert!(refused.stderr.contains("--into"), "{refused}");
    assert_eq!(everywhere::outside(&db), Vec::<String>::new());
    restore(&db, &[&month, "--into", "it's \"a\" rehearsal"]).success();
    let leaf = leaf(&db, "events", -2);
    let table = format!("\"it's \"\"a\"\" rehearsal\".{leaf}");
    assert_eq!(count(&db, &table), before.rows);
    let extra: i64 = db.one(&format!("SELECT count(*) - count(extra) FROM {table}"));
    assert_eq!(extra, 6);
    // Once more: it says that it is there, and how to have it again.
    let again = restore(&db, &[&month, "--into", "it's \"a\" rehearsal"]);
    assert!(again.code == Some(0) || again.stderr.contains("hint"), "{again}");
    assert!(!again.stderr.contains("db error"), "{again}");
}
