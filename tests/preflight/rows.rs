//! What is found in the rows themselves.

use pupctl::db::old_rows;
use pupctl::layout::Role;
use pupctl::layout::levels::Level;
use pupctl::plan::convert::Strategy;
use pupctl::plan::convert::rows::{Part, Rows, Terms, judge};

use super::support::TestDatabase;
use super::{layout, name, read, refusals, store};

/// Events without any key, so that everything can be in them.
const KEYLESS: &str = "
    ALTER TABLE events DROP CONSTRAINT events_pkey, DROP CONSTRAINT events_event_id_key;
    DO $$ DECLARE con text; BEGIN
        SELECT conname INTO con FROM pg_constraint WHERE conrelid = 'events'::regclass
            AND contype = 'u';
        EXECUTE format('ALTER TABLE events DROP CONSTRAINT %I', con);
    END $$;
    ALTER TABLE events ALTER event_type DROP NOT NULL, ALTER global_position DROP NOT NULL;
    ALTER TABLE aggregate_heads DROP CONSTRAINT aggregate_heads_pkey;";

/// A copy, of heads as they are.
const TERMS: Terms = Terms { strategy: Strategy::Copy, free: None, deviating: true };

fn seed(context: &str, id: &str, version: i64, position: i64, event: i64, time: &str) -> String {
    format!(
        "INSERT INTO events (global_position, bounded_context, aggregate_type, aggregate_id,
            aggregate_version, event_id, event_type, payload, created_at)
         VALUES ({position}, '{context}', 'Order', '{id}', {version},
            lpad('{event}', 32, '0')::uuid, 'Placed', 'abc', '{time}');"
    )
}

#[track_caller]
fn look(db: &TestDatabase) -> Rows {
    let heads = name("aggregate_heads");
    let events = read(db, "events");
    let found = old_rows::read(&mut db.client(), Role::Events, &events, Some(&heads));
    found.unwrap_or_else(|error| panic!("{error:?}"))
}

/// What is refused of the rows of events by context and month.
#[track_caller]
fn refused(rows: &Rows) -> Vec<String> {
    let layout = layout(vec![Level::Context, Level::Month]);
    refusals(&judge(&layout, rows, TERMS)).into_iter().map(|(words, _)| words).collect()
}

#[test]
fn a_sound_store_has_its_parts_counted() {
    let mut sql = seed("A", "a", 1, 1, 1, "2026-01-31 23:59:59+00");
    sql += &seed("A", "a", 2, 2, 2, "2026-02-01 00:00:00+00");
    sql += &seed("B''", "b", 1, 3, 3, "2026-02-01 00:00:00+00");
    sql += "INSERT INTO aggregate_heads VALUES ('A', 'Order', 'a', 2), ('B''', 'Order', 'b', 1)";
    let rows = look(&store(&sql));
    assert_eq!(refused(&rows), [""; 0]);
    let part = |part: &Part| {
        let month = part.month.map(|month| month.to_string());
        format!("{} {} {}", part.context, month.unwrap_or_default(), part.rows)
    };
    let parts: Vec<_> = rows.parts.iter().map(part).collect();
    assert_eq!(parts, ["A 2026-01 1", "A 2026-02 1", "B' 2026-02 1"]);
    assert_eq!((rows.count(), rows.deviating.total), (3, 0));
    assert!(rows.size > 0 && rows.parts.iter().all(|part| (50..500).contains(&part.bytes)));
}

#[test]
fn doubles_are_listed_where_no_key_forbids_them() {
    let time = "2026-01-01";
    let mut sql = KEYLESS.to_owned();
    sql += &seed("A", "a", 1, 1, 1, time);
    sql += &seed("A", "a", 1, 2, 2, time);
    sql += &seed("A", "b", 1, 3, 2, time);
    sql += &seed("A", "c", 1, 3, 4, time);
    let db = store(&sql);
    assert_eq!(
        refused(&look(&db)),
        [
            "doubled bounded_context, aggregate_type, aggregate_id, aggregate_version: A Order a 1: \
             2 rows, positions 1 to 2",
            "doubled event_id: 00000000-0000-0000-0000-000000000002: 2 rows, positions 2 to 3",
            "doubled global_position: 3: 2 rows, positions 3 to 3",
        ]
    );
    db.execute(
        "INSERT INTO aggregate_heads SELECT 'A', 'Order', 'h' || n % 25, 1
        FROM generate_series(1, 50) AS n",
    );
    let heads = read(&db, "aggregate_heads");
    let found = old_rows::read(&mut db.client(), Role::Heads, &heads, None).expect("an answer");
    let [(columns, offenders)] = &found.doubled[..] else { panic!("{found:?}") };
    assert_eq!(columns.join(" "), "bounded_context aggregate_type aggregate_id");
    assert_eq!((offenders.total, offenders.first.len()), (25, 20));
    assert!(refused(&found)[0].ends_with("; and 5 more"));
}

#[test]
fn nulls_times_and_names_that_have_no_place() {
    let mut sql = KEYLESS.to_owned();
    let times =
        ["infinity", "-infinity", "1969-12-31 23:59:59+00", "2201-01-01+00", "0044-03-15 BC"];
    for (number, time) in (1..).zip(times) {
        sql += &seed("A", "a", number, number, number, time);
    }
    sql += &seed(" A", "a", 1, 6, 6, "1970-01-01+00");
    sql += &seed("", "a", 1, 7, 7, "2200-12-31 23:59:59+00");
    sql += "UPDATE events SET event_type = NULL WHERE global_position > 5;";
    assert_eq!(
        refused(&look(&store(&sql))),
        [
            "NULL in event_type: position 6; position 7",
            "events outside every month: position 1: infinity; position 2: -infinity; \
             position 3: 1969-12-31 23:59:59 AD; position 4: 2201-01-01 00:00:00 AD; \
             position 5: 0044-03-15 00:00:00 BC",
            "contexts that cannot be named: \"\": 1 rows; \" A\": 1 rows",
        ]
    );
}

#[test]
fn holes_and_heads_are_told() {
    let time = "2026-01-01";
    let mut sql = seed("A", "a", 1, 1, 1, time);
    sql += &seed("A", "a", 3, 2, 2, time);
    sql += "INSERT INTO aggregate_heads VALUES ('A', 'Order', 'a', 3), ('A', 'Order', 'b', 1)";
    let rows = look(&store(&sql));
    assert_eq!(refused(&rows), [""; 0]);
    let told = judge(&layout(vec![Level::Month]), &rows, TERMS);
    assert_eq!(
        told[0].to_string(),
        "2 aggregates whose versions or heads deviate: they stay as they are: A Order a: head 3, 2 \
         events, versions 1 to 3; A Order b: head 1, no events"
    );
}
