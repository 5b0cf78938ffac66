//! Stores with more partitions than the lock table holds at once.

use crate::support::{TestDatabase, TestServer};
use crate::{export, fill, init, positions, store, stored};

/// 120 locks in all, of which an export takes 60: a dozen leaves with their four indexes each.
const SMALL: [(&str, &str); 2] = [("max_locks_per_transaction", "10"), ("max_connections", "12")];

/// Stops the server and starts it with other settings.
fn restart(server: &TestServer, settings: &[(&str, &str)]) {
    server.embedded().stop().expect("it stops");
    let changed = server.embedded().clone().with_settings(settings.iter().copied());
    changed.start().expect("it starts");
}

/// Events of A and B in the order of time, as they arrive; each month one of A comes late.
fn fill_months(db: &TestDatabase, months: std::ops::RangeInclusive<i32>) {
    for ahead in months.clone() {
        let (month, before) = (db.month(ahead), db.month((ahead - 1).max(*months.start())));
        db.execute(&format!(
            "SET pupctl.maintenance = on;
             INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
                event_id, event_type, payload, created_at)
             SELECT context, 'Order', number || '{month}', 1, gen_random_uuid(), 'Placed', '1',
                '{month}-01Z'::timestamptz + interval '1 day' * (number % 20)
             FROM generate_series(1, 40) AS number, unnest(ARRAY['A', 'B']) AS context;
             INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
                event_id, event_type, payload, created_at)
             VALUES ('A', 'Order', 'late', {ahead} + 100, gen_random_uuid(), 'Placed', '2',
                '{before}-03Z')",
        ));
    }
}

#[test]
fn windows_give_what_one_statement_gives() {
    let server = TestServer::private(&[("max_connections", "12")]);
    let db = TestDatabase::on(&server);
    init(&db, "context,month");
    db.pupctl(["partitions", "ensure", "--from", &db.month(-20)]).success();
    fill_months(&db, -20..=3);
    let reads = |count| {
        let shown = export(&db, &["--dry-run", "-o", "json"]).success().json();
        assert_eq!(shown["reads"].as_array().map(Vec::len), Some(count), "{shown}");
    };
    reads(1);
    let whole = export(&db, &[]).success();
    assert_eq!(positions(&whole.stdout), stored(&db, "true"));
    assert_eq!(positions(&whole.stdout).len(), 24 * 81);

    // Now one statement for all would need twice what the table holds.
    restart(&server, &SMALL);
    reads(5);
    let windows = export(&db, &[]).success();
    assert!(windows.stdout == whole.stdout, "{windows}");
    let part = export(&db, &["--after-position", "500", "--up-to-position", "1500"]).success();
    assert!(positions(&part.stdout).into_iter().eq(501..=1500), "{part}");
}

/// Sorting would write every event to the disk of the server before the first one comes.
#[test]
fn leaves_are_merged_by_their_indexes_without_sorting() {
    for (by, arguments) in [
        ("none", &[] as &[&str]),
        ("none", &["--context", "A"]),
        ("hash", &["--context", "A", "--after-position", "5"]),
        ("context,month", &["--up-to-position", "500"]),
    ] {
        let db = store(by);
        fill(&db, 100);
        let json = export(&db, &[arguments, &["--dry-run", "-o", "json"]].concat()).success();
        let copy = json.json()["reads"][0]["sql"].as_str().expect("a statement").to_owned();
        let query =
            copy.trim_start_matches("COPY (").trim_end_matches(") TO STDOUT (FORMAT binary)");
        let mut client = db.pinned();
        client.batch_execute("SET enable_sort = off").expect("a setting");
        let plan = client.query(&format!("EXPLAIN {query}"), &[]).expect("a plan");
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        assert!(!plan.iter().any(|line| line.contains("Sort  (")), "{by}: {plan:#?}");
        assert!(plan.iter().any(|line| line.contains("Index Scan using")), "{by}: {plan:#?}");
    }
}

#[test]
fn too_many_partitions_at_one_position_are_refused_before_anything_is_written() {
    let server = TestServer::private(&SMALL);
    let db = TestDatabase::on(&server);
    db.pupctl(["schema", "init", "--partition-by", "hash", "--hash-partitions", "16"]).success();
    for batch in 0..2 {
        db.execute(&format!(
            "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
                event_id, event_type, payload)
             SELECT 'A', 'Order', number, {batch} + 1, gen_random_uuid(), 'Placed', '1'
             FROM generate_series(1, 200) AS number"
        ));
    }
    let refused = export(&db, &["all.jsonl"]).failure(1);
    assert!(
        refused.stderr.starts_with("error: merging the events of")
            && refused.stderr.contains("half of what the server's lock table holds is 60")
            && refused.stderr.contains("hint: set max_locks_per_transaction = "),
        "{refused}"
    );
    assert!(!db.folder().join("all.jsonl").exists());
    // One position lies in one partition.
    let few = export(&db, &["--up-to-position", "1"]).success();
    assert_eq!(positions(&few.stdout), [1]);
}
