//! Events that are not in the store cannot be folded, and some that come back are too late.

use crate::support::TestDatabase;
use crate::{REBUILD, SUMS, highest, nothing_left, reference, run, sums, write};

/// A store of months, the first of which is detached, and a projection that has handled both.
fn detached() -> (TestDatabase, String) {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "month", "--months", "2"]).success();
    for (month, version) in [("now()", 1), ("date_trunc('month', now()) + interval '1 month'", 2)] {
        db.execute(&format!(
            "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
                event_id, event_type, event_version, payload, created_at)
             SELECT 'Sales', 'Order', 'order-' || o, {version}, gen_random_uuid(), 'LineAdded', 1,
                convert_to(jsonb_build_object('amount', o)::text, 'UTF8'), {month}
             FROM generate_series(1, 10) AS o"
        ));
    }
    write(&db, "totals", SUMS);
    run(&db);
    let leaf = db.one::<String>(
        "SELECT tableoid::regclass::text FROM events WHERE aggregate_version = 1 LIMIT 1",
    );
    db.pupctl(["partitions", "detach", &leaf, "--yes"]).success();
    (db, leaf)
}

#[test]
fn a_month_that_left_is_named_with_the_command_that_brings_it_back() {
    let (db, leaf) = detached();
    let refused = db.pupctl(REBUILD).failure(1);
    assert!(refused.stderr.contains(&format!("pupctl partitions attach {leaf}")), "{refused}");
    assert!(refused.stderr.contains("--allow-missing-events"), "{refused}");
    nothing_left(&db);
    db.pupctl(REBUILD.iter().chain(&["--allow-missing-events"])).success();
    assert_eq!(sums(&db), reference(&db, highest(&db)));
    assert_eq!(db.one::<i64>("SELECT sum(lines)::bigint FROM totals"), 10);
    nothing_left(&db);
}

#[test]
fn a_month_that_comes_back_meanwhile_is_noticed() {
    let (db, leaf) = detached();
    let first =
        ["projections", "rebuild", "totals", "--no-swap", "--allow-missing-events", "--yes"];
    db.pupctl(first).success();
    db.pupctl(["partitions", "attach", &leaf, "--yes", "--behind-projections"]).success();
    let refused = db.pupctl(REBUILD).failure(1);
    assert!(refused.stderr.contains("10 events came in between"), "{refused}");
    db.pupctl(REBUILD.iter().chain(&["--restart"])).success();
    assert_eq!(sums(&db), reference(&db, highest(&db)));
    assert_eq!(db.one::<i64>("SELECT sum(lines)::bigint FROM totals"), 20);
    nothing_left(&db);
}
