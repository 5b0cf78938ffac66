//! Partitions that somebody else made with bounds of their own: reported, left alone, and what
//! they cover is not made again.

use insta::assert_snapshot;

use crate::support::TestDatabase;
use crate::{by_month, ensure, findings, found, start, suffix};

#[test]
fn one_partition_for_two_contexts() {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "context"]).success();
    db.execute("CREATE TABLE events_both PARTITION OF events FOR VALUES IN ('A', 'B')");
    db.pupctl(["contexts", "add", "A", "C"]).success();
    assert_snapshot!(db.tree("public.events"), @"
    events BY LIST (bounded_context)
      events_both IN ('A', 'B')
      events_c IN ('C')
    ");
    assert_eq!(
        findings(&db),
        [
            "missing_key public.events_both",
            "missing_key public.events_both",
            "off_grid public.events_both",
        ]
    );
    assert!(ensure(&db, &[]).success().stderr.contains("Nothing to do"));
}

#[test]
fn a_quarter_stands_for_its_months() {
    let db = by_month();
    db.execute(&format!(
        "CREATE TABLE quarter PARTITION OF events FOR VALUES FROM ({}) TO ({})",
        start(&db, 2),
        start(&db, 5)
    ));
    ensure(&db, &["--months", "5"]).success();
    assert_snapshot!(db.tree("public.events"), @"
    events BY RANGE (created_at)
      events_m0 FROM (<m0>) TO (<m1>)
      events_m1 FROM (<m1>) TO (<m2>)
      quarter FROM (<m2>) TO (<m5>)
      events_m5 FROM (<m5>) TO (<m6>)
    ");
    assert!(findings(&db).contains(&"off_grid public.quarter".to_owned()), "{:?}", findings(&db));
    assert!(ensure(&db, &["--months", "5"]).success().stderr.contains("Nothing to do"));
}

#[test]
fn history_since_ever_stands_for_the_months_before() {
    let db = by_month();
    db.execute(&format!(
        "CREATE TABLE history PARTITION OF events FOR VALUES FROM (MINVALUE) TO ({})",
        start(&db, -2)
    ));
    let from = db.month(-4);
    ensure(&db, &["--from", &from]).success();
    assert_snapshot!(db.tree("public.events"), @"
    events BY RANGE (created_at)
      events_m-2 FROM (<m-2>) TO (<m-1>)
      events_m-1 FROM (<m-1>) TO (<m0>)
      events_m0 FROM (<m0>) TO (<m1>)
      history FROM (MINVALUE) TO (<m-2>)
    ");
    assert!(findings(&db).contains(&"history public.history".to_owned()), "{:?}", findings(&db));
}

#[test]
fn an_infinite_bound_covers_the_months_before() {
    let db = by_month();
    db.execute(&format!(
        "CREATE TABLE history PARTITION OF events FOR VALUES FROM ('-infinity') TO ({})",
        start(&db, 0)
    ));
    let from = db.month(-4);
    let told = ensure(&db, &["--from", &from]).success().stderr;
    assert!(told.contains("Nothing to do"), "{told}");
    assert!(findings(&db).contains(&"history public.history".to_owned()), "{:?}", findings(&db));
}

#[test]
fn a_range_across_two_months_keeps_both_from_being_made() {
    let db = by_month();
    db.execute(&format!(
        "CREATE TABLE across PARTITION OF events FOR VALUES FROM ('{}-15 00:00:00+00') TO
            ('{}-15 00:00:00+00')",
        db.month(1),
        db.month(2)
    ));
    let refused = ensure(&db, &["--months", "3"]).failure(1);
    for month in [db.month(1), db.month(2)] {
        let message = format!("{month} cannot be made: public.across");
        assert!(refused.stderr.contains(&message), "{refused}");
    }
    assert!(refused.stderr.contains("2 partitions left undone"), "{refused}");
    let third =
        format!("SELECT count(*) FROM pg_class WHERE relname = 'events_{}'", suffix(&db, 3));
    assert_eq!(db.one::<i64>(&third), 1, "the third month is made all the same");
}

#[test]
fn a_context_that_is_divided_otherwise_is_reported() {
    let db = TestDatabase::new();
    let init = ["schema", "init", "--partition-by", "context,month", "--contexts", "A"];
    db.pupctl(init).success();
    db.execute(
        "DROP TABLE events_a;
         CREATE TABLE whole PARTITION OF events FOR VALUES IN ('A')",
    );
    let refused = ensure(&db, &[]).failure(1);
    let message = "public.whole holds A but is not divided by month, as the layout says";
    assert!(refused.stderr.contains(message), "{refused}");
    assert!(findings(&db).contains(&"off_grid public.whole".to_owned()), "{:?}", findings(&db));
}

#[test]
fn rows_in_a_default_partition_are_found() {
    let db = by_month();
    // Made as pupctl makes leaves, so that the rows are all that is wrong with it.
    db.execute(
        "CREATE TABLE events_default (LIKE events INCLUDING ALL,
            PRIMARY KEY (bounded_context, aggregate_type, aggregate_id, aggregate_version),
            UNIQUE (event_id), UNIQUE (global_position));
         CREATE TRIGGER pupctl_guard AFTER INSERT ON events_default REFERENCING NEW TABLE AS
            pupctl_added FOR EACH STATEMENT
            WHEN (current_setting('pupctl.maintenance', true) IS DISTINCT FROM 'on')
            EXECUTE FUNCTION pupctl_guard();
         ALTER TABLE events ATTACH PARTITION events_default DEFAULT",
    );
    assert_eq!(findings(&db), Vec::<String>::new(), "an empty one is no problem");
    // Months go past it: the server proves that none of its rows belongs to them.
    ensure(&db, &["--months", "1"]).success();
    let insert = format!(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload, created_at)
         VALUES ('A', 'B', 'C', 1, gen_random_uuid(), 'x', '', {})",
        start(&db, 2)
    );
    db.execute(&insert);
    assert_eq!(findings(&db), ["default_rows public.events_default"]);
    let before = db.tree("public.events");
    let refused = ensure(&db, &["--months", "2"]).failure(1);
    assert!(refused.stderr.contains("events_default"), "{refused}");
    assert_eq!(db.tree("public.events"), before);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM events_default"), 1);
    assert_eq!(found(&db)[0].2.as_deref(), Some("pupctl partitions drain"));
    db.pupctl(["partitions", "drain"]).success();
    assert_eq!(findings(&db), Vec::<String>::new());
    ensure(&db, &["--months", "2"]).success();
}
