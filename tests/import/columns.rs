//! Columns that a team added to the events table.

use insta::assert_snapshot;

use crate::event::{event, lines};
use crate::{file, refused, store};

#[test]
fn columns_of_any_type_come_out_as_they_went_in() {
    let db = store(["--partition-by", "none"]);
    db.execute(
        "ALTER TABLE events ADD tenant text, ADD amount numeric, ADD tags text[],
            ADD note jsonb, ADD notes jsonb[], ADD until timestamptz, ADD flag boolean",
    );
    let fields = [
        event(1, 1)
            .with("tenant", "a\tb\\ \n\"")
            .with("amount", 12)
            .with("note", "123")
            .with("flag", true)
            .with("until", "2026-11-21T00:00:00+00:00"),
        event(2, 1)
            .with("tags", ["x", "NULL", "a,\"b\\"])
            .with("notes", [serde_json::json!("1"), serde_json::json!([1, {"a": null}])])
            .with("note", serde_json::json!({"a": ["b"]})),
        event(3, 1),
    ];
    let source = file(&db, lines(&fields));
    db.pupctl(["events", "import", source, "--extra-columns"]).success();
    let kinds = "SELECT string_agg(concat_ws(' ', jsonb_typeof(note), flag, amount, tenant IS NULL,
        cardinality(tags), cardinality(notes)), '; ' ORDER BY global_position) FROM events";
    assert_eq!(db.one::<String>(kinds), "string t 12 f; object t 3 2; t");
    let exported = db.pupctl(["events", "export", "--extra-columns"]).success().stdout;

    let other = store(["--partition-by", "hash", "--hash-partitions", "2"]);
    other.execute(
        "ALTER TABLE events ADD tenant text, ADD amount numeric, ADD tags text[],
            ADD note jsonb, ADD notes jsonb[], ADD until timestamptz, ADD flag boolean",
    );
    let source = file(&other, &exported);
    other.pupctl(["events", "import", source, "--extra-columns"]).success();
    let again = other.pupctl(["events", "export", "--extra-columns"]).success().stdout;
    assert_eq!(again, exported);
}

#[test]
fn a_field_without_a_place_or_with_a_wrong_value_is_refused_with_its_line() {
    let db = store(["--partition-by", "none"]);
    db.execute("ALTER TABLE events ADD amount int, ADD twice int GENERATED ALWAYS AS (2) STORED");
    let with = |name: &str, value: &str| lines(&[event(1, 1), event(2, 1).with(name, value)]);
    let all = [
        refused(&db, with("amount", "1"), &[]),
        refused(&db, with("amuont", "1"), &["--extra-columns"]),
        refused(&db, with("amount", "much"), &["--extra-columns"]),
    ];
    assert_snapshot!(all.join("\n"), @r#"
    error: events.ndjson, line 2: the field `amount` is not one of an event's
    hint: the table has a column of that name: --extra-columns fills it

    error: events.ndjson, line 2: the field `amuont` is not one of an event's
    hint: leave it out, or add a column of that name to the events table and use --extra-columns

    error: events.ndjson, line 2: failed while checking the events of the file: invalid input syntax for type integer: "much" (SQLSTATE 22P02)
      where: COPY pupctl_import_extra, line 2, column amount: "much"
    "#);
    let generated = file(&db, with("twice", "4"));
    let failed = db.pupctl(["events", "import", generated, "--extra-columns"]).failure(1);
    assert!(failed.stderr.contains("cannot insert"), "{failed}");
    assert_eq!(db.journal().last().expect("a row"), "events import: failed");
    assert_eq!(db.one::<i64>("SELECT count(*) FROM events"), 0);
}
