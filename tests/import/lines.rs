//! Lines that are no events: told with file and line, and nothing of the file goes in.

use insta::assert_snapshot;

use crate::event::{Event, count, event, lines};
use crate::support::{TestDatabase, fingerprint};
use crate::{file, refused, store, told};

/// A file whose third line is this one.
fn with(line: &str) -> String {
    lines(&[event(1, 1), event(1, 2)]) + line + "\n" + &lines(&[event(1, 3)])
}

/// The first line of what is told of a file with this event.
#[track_caller]
fn first(db: &TestDatabase, event: &Event) -> String {
    let told = refused(db, with(&event.line()), &[]);
    told.lines().next().expect("a line").to_owned()
}

#[test]
fn a_line_that_is_no_event() {
    let db = store(["--partition-by", "none"]);
    let good = event(2, 1);
    let all = [
        first(&db, &good.clone().without("event_type")),
        first(&db, &good.clone().with("tenant", "a")),
        first(&db, &good.clone().with("created_at", "yesterday")),
        first(&db, &good.clone().with("created_at", "10000-01-01T00:00:00Z")),
        first(&db, &good.clone().with("created_at", "2024-02-03T04:05:06")),
        first(&db, &good.clone().with("aggregate_id", "a\0b")),
        first(&db, &good.clone().with("metadata", serde_json::json!({"a": ["\0"]}))),
        first(&db, &good.clone().with("aggregate_version", 0)),
        first(&db, &good.clone().with("aggregate_version", u64::MAX)),
        first(&db, &good.clone().with("event_version", i64::from(i32::MAX) + 1)),
        first(&db, &good.clone().with("event_id", "7")),
        first(&db, &good.with("aggregate_id", "x".repeat(10_000))),
    ];
    assert_snapshot!(all.join("\n"), @r"
    error: events.ndjson, line 3: the field `event_type` is missing
    error: events.ndjson, line 3: the field `tenant` is not one of an event's
    error: events.ndjson, line 3: `created_at` is no time: `yesterday` (premature end of input)
    error: events.ndjson, line 3: `created_at` is not in the years 1 to 9999: `10000-01-01T00:00:00Z`
    error: events.ndjson, line 3: `created_at` is no time: `2024-02-03T04:05:06` (premature end of input)
    error: events.ndjson, line 3: `aggregate_id` holds a NUL character, which PostgreSQL cannot store
    error: events.ndjson, line 3: `metadata` holds \u0000, which PostgreSQL cannot store
    error: events.ndjson, line 3: `aggregate_version` is 0, the first version is 1
    error: events.ndjson, line 3: `aggregate_version`: invalid value: integer `18446744073709551615`, expected a whole number
    error: events.ndjson, line 3: `event_version`: invalid value: integer `2147483648`, expected a whole number
    error: events.ndjson, line 3: `event_id` is `7`, not a UUID
    error: events.ndjson, line 3: context, type and id of the aggregate have 10009 bytes, an index holds 2600
    ");
}

#[test]
fn a_line_that_is_no_json() {
    let db = store(["--partition-by", "none"]);
    let good = event(2, 1).line();
    let all = [
        good.replace("o-2", "a\0b"),
        good[..good.len() - 1].to_owned(),
        good.clone() + &good,
        "[]".to_owned(),
        "null".to_owned(),
        format!("{good},"),
        "\0\0\0\0".to_owned(),
        good.replace("\"payload\"", "payload"),
    ]
    .map(|line| refused(&db, with(&line), &[]));
    assert_snapshot!(all.concat(), @r"
    error: events.ndjson, line 3: is not JSON: control character (\u0000-\u001F) found while parsing a string (column 69)
    error: events.ndjson, line 3: is not JSON: the line ends in the middle of the object
    error: events.ndjson, line 3: is not JSON: trailing characters (column 221)
    error: events.ndjson, line 3: invalid type: sequence, expected an event, which is a JSON object
    error: events.ndjson, line 3: invalid type: null, expected an event, which is a JSON object
    error: events.ndjson, line 3: is not JSON: trailing characters (column 221)
    error: events.ndjson, line 3: is not JSON: expected value (column 1)
    error: events.ndjson, line 3: is not JSON: key must be a string (column 172)
    ");
    let latin = with(&good.replace("o-2", "k\u{f6}ln"));
    let latin: Result<Vec<u8>, _> =
        latin.chars().map(|letter| u32::from(letter).try_into()).collect();
    assert_snapshot!(refused(&db, latin.expect("Latin-1"), &[]), @"error: events.ndjson, line 3: `aggregate_id`: invalid unicode code point");
}

#[test]
fn a_line_far_down_a_long_file() {
    let db = store(["--partition-by", "none"]);
    let good: Vec<_> = (1..=40_000).map(|version| event(1, version)).collect();
    let content = lines(&good) + "{\"bounded_context\": \"Shop\", oops\n" + &lines(&[event(2, 1)]);
    assert_snapshot!(refused(&db, content, &[]), @"error: events.ndjson, line 40001: is not JSON: key must be a string (column 29)");
    // Without that line it is a file like any other.
    let whole = file(&db, lines(&good));
    db.pupctl(["events", "import", whole]).success();
    assert_eq!(count(&db), 40_000);
}

#[test]
fn a_dry_run_lists_all_that_is_wrong() {
    let db = store(["--partition-by", "none"]);
    let bad = |number| event(number, 1).without("payload");
    let content = lines(&[event(1, 1), bad(2), event(1, 2), bad(3).with("created_at", "x")]);
    let file = file(&db, content + "{\n" + &lines(&[event(1, 3).with("event_id", "x")]));
    let before = fingerprint(&mut db.client());
    let real = told(&db.pupctl(["events", "import", file]).failure(1));
    let dry = told(&db.pupctl(["events", "import", file, "--dry-run"]).failure(1));
    assert_eq!(fingerprint(&mut db.client()), before);
    assert_eq!(real, "error: events.ndjson, line 2: the field `payload` is missing\n");
    assert_snapshot!(dry, @"
    error: events.ndjson, line 2: the field `payload` is missing
      events.ndjson, line 4: the field `payload` is missing
      events.ndjson, line 5: is not JSON: the line ends in the middle of the object
      events.ndjson, line 6: `event_id` is `x`, not a UUID
    ");
}

#[test]
fn a_dry_run_lists_no_more_than_one_can_read() {
    let db = store(["--partition-by", "none"]);
    let bad: Vec<_> = (1..=1000).map(|number| event(number, 1).without("payload")).collect();
    let file = file(&db, lines(&bad));
    let dry = told(&db.pupctl(["events", "import", file, "--dry-run"]).failure(1));
    assert_eq!(dry.lines().count(), 21, "{dry}");
    assert!(dry.ends_with("… only the first 20 are told\n"), "{dry}");
}
