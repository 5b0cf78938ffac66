//! Events for which the store has no partition, or not the one of the layout.

use insta::assert_snapshot;

use crate::event::{Event, count, event, lines};
use crate::support::TestDatabase;
use crate::{file, refused, store};

/// First events of as many orders, in these months.
fn in_months(months: &[&str]) -> Vec<Event> {
    let at = |month: &&str| format!("{month}-15T00:00:00Z");
    (1..).zip(months).map(|(order, month)| event(order, 1).with("created_at", at(month))).collect()
}

fn import(db: &TestDatabase, events: &[Event]) -> crate::Output {
    let file = file(db, lines(events));
    db.pupctl(["events", "import", file, "--create-partitions"]).success()
}

#[test]
fn months_that_are_missing_are_listed() {
    let db = store(["--partition-by", "month"]);
    let some = in_months(&["2024-02", "2023-12", "2024-02", "1999-01"]);
    assert_snapshot!(refused(&db, lines(&some), &[]), @"
    error: events.ndjson, line 1: the store has no partition for 2024-02
      line 2: none for 2023-12
      line 4: none for 1999-01
    hint: make what the file needs: pupctl events import --create-partitions
    ");
    let names: Vec<_> = (2000..2024).map(|year| format!("{year}-06")).collect();
    let many = in_months(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let told = refused(&db, lines(&many), &[]);
    assert!(told.ends_with("--create-partitions\n"), "{told}");
    assert!(told.contains("line 11: none for 2010-06\n  … 24 are missing in all"), "{told}");
    // Those between the first and the last too, but for a hole of more than a year.
    let made = import(&db, &some);
    assert!(made.stderr.contains("4 partitions of events made"), "{made}");
    assert_eq!(count(&db), 4);
}

#[test]
fn contexts_that_are_missing_are_listed() {
    let db = store(["--partition-by", "context,month", "--contexts", "Billing"]);
    let events = in_months(&["2024-02", "2023-12"]);
    assert_snapshot!(refused(&db, lines(&events), &[]), @"
    error: events.ndjson, line 1: the store has no partition for Shop in 2024-02
      line 2: none for Shop in 2023-12
    hint: make what the file needs: pupctl events import --create-partitions
    ");
    import(&db, &events);
    assert_eq!(
        db.leaves("public.events").iter().filter(|leaf| leaf.contains("_shop_202")).count(),
        3 + 4
    );
    let contexts = db.pupctl(["contexts", "list"]).success();
    assert!(contexts.stdout.contains("Shop"), "{contexts}");
}

#[test]
fn contexts_that_cannot_be_are_refused() {
    let db = store(["--partition-by", "context"]);
    let odd = |name: &str| lines(&[event(1, 1).with("bounded_context", name)]);
    let long = "x".repeat(201);
    let all = ["a\tb", " ", &long].map(|name| refused(&db, odd(name), &["--create-partitions"]));
    assert_snapshot!(all.concat().replace(&long, "[long]"), @r#"
    error: events.ndjson, line 1: the bounded context name "a\tb" holds a control character
    error: events.ndjson, line 1: the name of a bounded context is empty
    error: events.ndjson, line 1: the bounded context `[long]` has 201 bytes; the limit is 200
    "#);
    // Where contexts are mere data, they are.
    let db = store(["--partition-by", "none"]);
    let file = file(&db, odd("a\tb"));
    db.pupctl(["events", "import", file]).success();
    assert_eq!(count(&db), 1);
}

#[test]
fn a_month_ends_in_utc() {
    let db = store(["--partition-by", "month"]);
    db.execute(&format!("ALTER DATABASE {} SET TimeZone = 'Pacific/Kiritimati'", db.name()));
    let times = [
        "2024-03-01T00:30:00+01:00",
        "2024-02-29T23:59:59.9999994Z",
        "2024-02-29T23:59:59.9999995Z",
        "2024-02-29t23:59:60Z",
        "2024-02-29T20:00:00-04:00",
    ];
    let events = (1..).zip(times).map(|(order, at)| event(order, 1).with("created_at", at));
    import(&db, &events.collect::<Vec<_>>());
    let found = db.texts(
        "SELECT tableoid::regclass::text || ' ' || created_at FROM public.events
         ORDER BY global_position",
    );
    assert_snapshot!(found.join("\n"), @"
    public.events_2024_02 2024-02-29 23:30:00+00
    public.events_2024_02 2024-02-29 23:59:59.999999+00
    public.events_2024_03 2024-03-01 00:00:00+00
    public.events_2024_03 2024-03-01 00:00:00+00
    public.events_2024_03 2024-03-01 00:00:00+00
    ");
}

#[test]
fn years_that_no_month_has() {
    let db = store(["--partition-by", "month"]);
    let ancient = lines(&[event(1, 1).with("created_at", "0001-01-01T00:00:00Z")]);
    assert_snapshot!(refused(&db, &ancient, &["--create-partitions"]), @"error: events.ndjson, line 1: `created_at` is 0001-01-01T00:00:00+00:00, outside of the years that are divided by month");
    let late = lines(&[event(1, 1).with("created_at", "9999-12-31T23:59:59.999999Z")]);
    assert_snapshot!(refused(&db, &late, &["--create-partitions"]), @"error: events.ndjson, line 1: `created_at` is 9999-12-31T23:59:59.999999+00:00, outside of the years that are divided by month");
}

#[test]
fn a_default_partition_is_looked_into() {
    let db = store(["--partition-by", "month", "--months", "0"]);
    db.execute("CREATE TABLE events_rest PARTITION OF events DEFAULT");
    let events = in_months(&["2024-02", "2023-12"]);
    let first = file(&db, lines(&events));
    db.pupctl(["events", "import", first]).success();
    let held = "SELECT count(*) FROM events_rest";
    assert_eq!(db.one::<i64>(held), 2);
    // What lies there is found again, and is in the way of its month.
    let told = refused(&db, lines(&events), &["--create-partitions"]);
    assert!(told.contains("line 1: the store has this event already"), "{told}");
    let next = [event(1, 2).with("created_at", "2024-02-20T00:00:00Z")];
    let next = file(&db, lines(&next));
    let create = db.pupctl(["events", "import", next, "--create-partitions"]).failure(1);
    assert_snapshot!(create.stderr, @r#"
    error: failed while running the step "Make events_2024_02": updated partition constraint for default partition "events_rest" would be violated by some row (SQLSTATE 23514)
    hint: a DEFAULT partition has rows that belong there: move them, pupctl partitions drain
    "#);
    assert_eq!(count(&db), 2);
    db.pupctl(["events", "import", next]).success();
    assert_eq!(db.one::<i64>(held), 3);
}

#[test]
fn partitions_of_a_year_and_of_a_week_take_their_events() {
    let db = store(["--partition-by", "month", "--months", "0"]);
    db.execute(
        "CREATE TABLE year PARTITION OF events
            FOR VALUES FROM ('2023-01-01Z') TO ('2024-01-01Z');
         CREATE TABLE week PARTITION OF events
            FOR VALUES FROM ('2024-02-12Z') TO ('2024-02-19Z')",
    );
    let inside = in_months(&["2023-05", "2024-02", "2023-12"]);
    let inside = file(&db, lines(&inside));
    db.pupctl(["events", "import", inside]).success();
    let held = "SELECT tableoid::regclass::text || ' ' || count(*) FROM public.events
        GROUP BY tableoid ORDER BY 1";
    assert_eq!(db.texts(held), ["public.week 1", "public.year 2"]);
    // Beside the week, in the same month, nothing can be made.
    let beside = [event(7, 1).with("created_at", "2024-02-20T00:00:00Z")];
    assert_snapshot!(refused(&db, lines(&beside), &[]), @"
    error: events.ndjson, line 1: the store has no partition for 2024-02
    hint: make what the file needs: pupctl events import --create-partitions
    ");
    assert_snapshot!(refused(&db, lines(&beside), &["--create-partitions"]), @"
    error: the partitions that the file needs cannot all be made
      2024-02 cannot be made: public.week (2024-02-12T00:00:00Z to 2024-02-19T00:00:00Z) lies across its bounds
    hint: pupctl partitions check says more
    ");
}

#[test]
fn a_leap_second_goes_where_the_server_puts_it() {
    let db = store(["--partition-by", "month"]);
    let leap = file(&db, lines(&[event(1, 1).with("created_at", "2016-12-31T23:59:60Z")]));
    db.pupctl(["events", "import", leap, "--create-partitions"]).success();
    assert_eq!(db.one::<i64>("SELECT count(*) FROM events_2017_01"), 1);
}

#[test]
fn many_contexts_share_the_partitions_of_a_layout_without_them() {
    let db = store(["--partition-by", "hash", "--hash-partitions", "2"]);
    let tenants: Vec<_> =
        (1..=12_000).map(|n| event(1, 1).with("bounded_context", format!("tenant {n}"))).collect();
    let ids = tenants
        .into_iter()
        .zip(1..)
        .map(|(event, n): (_, u128)| event.with("event_id", uuid::Uuid::from_u128(n).to_string()));
    let many = file(&db, lines(&ids.collect::<Vec<_>>()));
    let done = db.pupctl(["events", "import", many, "-o", "json"]).success();
    let report = done.json();
    assert_eq!(report["imported"], 12_000);
    assert!(report["contexts"].is_null(), "{}", report["contexts"]);
    db.pupctl(["events", "import", many, "--skip-existing"]).success();
}

#[test]
fn events_of_a_month_that_one_share_lacks_are_found_in_the_others() {
    let db = store(["--partition-by", "hash,month", "--hash-partitions", "2"]);
    let all: Vec<_> = (1..=20).map(|order| event(order, 1)).collect();
    let source = file(&db, lines(&all));
    db.pupctl(["events", "import", source, "--create-partitions"]).success();
    let leaf = "events_hash_01_2024_02";
    let lost = db.one::<i64>(&format!("SELECT count(*) FROM {leaf}"));
    let heads = "DELETE FROM aggregate_heads USING LEAF AS lost
        WHERE aggregate_heads.aggregate_id = lost.aggregate_id";
    db.execute(&heads.replace("LEAF", leaf));
    db.execute(&format!("DROP TABLE {leaf}"));
    let again = ["events", "import", source, "--create-partitions", "--skip-existing"];
    db.pupctl(again).success();
    assert!(lost > 0);
    assert_eq!(db.one::<i64>("SELECT count(DISTINCT event_id) FROM events"), 20);
}
