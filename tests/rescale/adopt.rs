//! Rows of pupsourcing's processors become slots.

use std::collections::BTreeMap;

use pupctl::projection::{Fnv1a, ServerHash};

use crate::support::{Background, TestDatabase, eventually, fingerprint};
use crate::worker::catch_up;
use crate::{events, exactly_once, handle_before, projections, rows, store};

/// Rows as pupsourcing's processors write them, which moved two minutes ago.
pub(crate) fn foreign(db: &TestDatabase, rows: &[(&str, i64)]) {
    for (name, position) in rows {
        db.client()
            .execute(
                "INSERT INTO projection_checkpoints
                    (projection_name, last_global_position, updated_at)
                 VALUES ($1, $2, now() - interval '2 minutes')",
                &[name, position],
            )
            .expect("a row");
    }
}

const FOUR: [(&str, i64); 4] =
    [("orders_p0", 60), ("orders_p1", 100), ("orders_p2", 20), ("orders_p3", 100)];

#[test]
fn as_many_slots_as_partitions_go_on_where_those_stand() {
    let db = store();
    events(&db, 150, 30);
    foreign(&db, &FOUR);
    handle_before(&db, "orders", Fnv1a::NAME, &[60, 100, 20, 100]);
    let line = ["adopt", "orders", "--total", "4", "--yes"];
    let run = projections(&db, &line).success();
    for words in
        ["no event is lost and none repeated", "committed late", "is pupctl's, with 4 slots"]
    {
        assert!(run.stderr.contains(words), "{words}: {run}");
    }
    assert!(run.stdout.contains("orders_p2"), "{run}");
    assert_eq!(rows(&db), ["orders:0/4@60", "orders:1/4@100", "orders:2/4@20", "orders:3/4@100"]);
    let before = fingerprint(&mut db.client());
    let again = projections(&db, &line).success();
    assert!(again.stderr.contains("Nothing to do: orders is pupctl's, with 4 slots"), "{again}");
    assert_eq!(fingerprint(&mut db.client()), before);
    catch_up(&db, "orders");
    exactly_once(&db, "orders");
}

#[test]
fn the_only_row_is_extended() {
    let db = store();
    events(&db, 50, 10);
    foreign(&db, &[("orders", 20), ("orders_total", 1), ("orders_position", 2)]);
    db.execute("ALTER TABLE projection_checkpoints ADD COLUMN note text");
    db.execute("UPDATE projection_checkpoints SET note = 'ours' WHERE projection_name = 'orders'");
    let moved = "SELECT updated_at::text FROM public.projection_checkpoints
        WHERE projection_name = 'orders'";
    let before = db.texts(moved);
    let scope = ["--contexts", "Sales,it's", "--aggregates", "Order", "--tables", "totals"];
    let line = [&["adopt", "orders", "--total", "1", "--yes"][..], &scope].concat();
    projections(&db, &line).success();
    assert_eq!(db.texts(moved), before);
    let row = db.texts(
        "SELECT concat_ws(' ', last_global_position, projection, slot, slots, slot_hash, epoch,
            bounded_contexts, aggregate_types, read_model, note)
         FROM public.projection_checkpoints WHERE projection_name = 'orders'",
    );
    assert_eq!(row, ["20 orders 0 1 hashtextextended 1 {Sales,it's} {Order} {totals} ours"]);
    // Projections whose names only begin so are others.
    assert_eq!(rows(&db).len(), 3);
}

#[test]
fn a_multiple_of_the_partitions_is_split() {
    let db = store();
    events(&db, 150, 30);
    foreign(&db, &[("orders_p0", 60), ("orders_p1", 100)]);
    handle_before(&db, "orders", Fnv1a::NAME, &[60, 100]);
    projections(&db, &["adopt", "orders", "--total", "2", "--slots", "6", "--yes"]).success();
    assert_eq!(rows(&db).len(), 6);
    catch_up(&db, "orders");
    exactly_once(&db, "orders");
    let db = store();
    events(&db, 150, 30);
    foreign(&db, &[("orders", 60)]);
    handle_before(&db, "orders", ServerHash::NAME, &[60]);
    projections(&db, &["adopt", "orders", "--total", "1", "--slots", "3", "--yes"]).success();
    catch_up(&db, "orders");
    exactly_once(&db, "orders");
}

#[test]
fn what_is_lost_or_repeated_is_counted_as_by_hand() {
    for (from, field) in [("lowest", "repeated"), ("highest", "lost")] {
        let db = store();
        events(&db, 150, 30);
        foreign(&db, &FOUR);
        let positions = [60, 100, 20, 100];
        handle_before(&db, "orders", Fnv1a::NAME, &positions);
        let line = ["adopt", "orders", "--total", "4", "--slots", "3", "--yes"];
        let refused = projections(&db, &line).failure(1);
        assert!(refused.stderr.contains("cannot become 3 slots"), "{refused}");
        let line = [&line[..], &["--from", from, "-o", "json"]].concat();
        let expected = db
            .client()
            .query("SELECT global_position, aggregate_id FROM events", &[])
            .expect("the events")
            .iter()
            .filter(|row| {
                let (position, id): (i64, String) = (row.get(0), row.get(1));
                let reached = positions[Fnv1a::slot_of(&id, 4) as usize];
                match from {
                    "lowest" => position > 20 && position <= reached,
                    _ => position > reached && position <= 100,
                }
            })
            .count();
        let dry = projections(&db, &[&line[..], &["--dry-run"]].concat()).success().json();
        let json = projections(&db, &line).success().json();
        for json in [dry, json] {
            assert_eq!(json[field], expected, "{json}");
            let other = if field == "lost" { "repeated" } else { "lost" };
            assert_eq!(json[other], 0, "{json}");
        }
        catch_up(&db, "orders");
        // What was told is what happens.
        let times = db.texts(
            "SELECT count(handled.id)::text FROM public.events
             LEFT JOIN public.handled ON position = global_position GROUP BY global_position",
        );
        let mut counts = BTreeMap::new();
        for times in times {
            *counts.entry(times).or_insert(0_usize) += 1;
        }
        let wrong = if from == "lowest" { "2" } else { "0" };
        assert_eq!(counts.get(wrong), Some(&expected), "{counts:?}");
        assert_eq!(counts.get("1"), Some(&(150 - expected)), "{counts:?}");
    }
}

#[test]
fn a_scope_narrows_what_is_counted() {
    let db = store();
    events(&db, 150, 30);
    foreign(&db, &FOUR);
    let line = ["adopt", "orders", "--total", "4", "--slots", "3", "--from", "lowest", "--dry-run"];
    let narrow = [&line[..], &["-o", "json", "--contexts", "Billing"]].concat();
    assert_eq!(projections(&db, &narrow).success().json()["repeated"], 0);
    let narrow = [&line[..], &["-o", "json", "--aggregates", "Order"]].concat();
    assert!(projections(&db, &narrow).success().json()["repeated"].as_i64() > Some(0));
}

#[test]
fn events_are_given_up_only_with_yes_and_nothing_without_an_answer() {
    let db = store();
    events(&db, 150, 30);
    foreign(&db, &FOUR);
    let before = fingerprint(&mut db.client());
    let line = ["adopt", "orders", "--total", "4", "--slots", "3", "--from", "highest"];
    let refused = projections(&db, &line).failure(2);
    assert!(refused.stderr.contains("would never be handled"), "{refused}");
    let refused = projections(&db, &["adopt", "orders", "--total", "4"]).failure(2);
    assert!(refused.stderr.contains("Take over 4 rows of orders?"), "{refused}");
    assert_eq!(fingerprint(&mut db.client()), before);
}

#[test]
fn rows_that_do_not_fit_the_total_are_refused() {
    let db = store();
    events(&db, 150, 30);
    foreign(&db, &FOUR);
    foreign(&db, &[("orders_p7", 5), ("orders", 1)]);
    let refused = projections(&db, &["adopt", "orders", "--total", "5", "--yes"]).failure(1);
    for words in ["orders_p4 is missing", "orders_p7 is there too", "orders is there too"] {
        assert!(refused.stderr.contains(words), "{words}: {refused}");
    }
    let ignore = ["--yes", "--ignore-rows", "orders_p4,orders_p7,orders"];
    let line = [&["adopt", "orders", "--total", "5"][..], &ignore].concat();
    projections(&db, &line).success();
    let slots = ["60", "100", "20", "100", "0"];
    let slots: Vec<_> =
        slots.iter().enumerate().map(|(slot, at)| format!("orders:{slot}/5@{at}")).collect();
    assert_eq!(rows(&db), slots);
    projections(&db, &line).success();
    // A worker that nobody stopped writes its row anew.
    foreign(&db, &[("orders_p1", 110)]);
    let refused = projections(&db, &["adopt", "orders", "--total", "5", "--yes"]).failure(1);
    assert!(refused.stderr.contains("its workers seem still to run"), "{refused}");
    let refused = projections(&db, &["adopt", "totals", "--total", "2", "--yes"]).failure(1);
    assert!(refused.stderr.contains("there is no row of the projection totals"), "{refused}");
}

#[test]
fn a_worker_that_seems_to_run_is_told() {
    let db = store();
    events(&db, 150, 30);
    foreign(&db, &[("orders_p0", 60), ("orders_p1", 100)]);
    db.execute(
        "UPDATE projection_checkpoints SET updated_at = now() WHERE projection_name ~ '_p1'",
    );
    let before = fingerprint(&mut db.client());
    let line = ["adopt", "orders", "--total", "2", "--yes"];
    let refused = projections(&db, &line).failure(1);
    assert!(refused.stderr.contains("orders_p1 moved less than a minute ago"), "{refused}");
    assert!(!refused.stderr.contains("orders_p0 moved less"), "{refused}");
    let dry = projections(&db, &[&line[..], &["--dry-run"]].concat()).success();
    assert!(dry.stderr.contains("it would be refused now"), "{dry}");
    assert_eq!(fingerprint(&mut db.client()), before);
    projections(&db, &[&line[..], &["--force"]].concat()).success();
}

#[test]
fn positions_that_are_not_settled_are_waited_for() {
    let db = store();
    events(&db, 20, 5);
    foreign(&db, &[("orders", 20)]);
    let mut writer = db.client();
    let mut open = writer.transaction().expect("a transaction");
    open.batch_execute("LOCK TABLE events IN ROW EXCLUSIVE MODE").expect("a lock");
    let line = ["projections", "adopt", "orders", "--total", "1", "--yes"];
    let late = db.command(line.iter().chain(&["--patience", "300ms"])).run().failure(1);
    assert!(late.stderr.contains("may still appear"), "{late}");
    let mut run = db.command(line).spawn();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(run.is_running());
    open.commit().expect("the end");
    run.wait().success();
    // Beyond the end of the store nothing is settled.
    foreign(&db, &[("totals", 21)]);
    let line = ["adopt", "totals", "--total", "1", "--yes"];
    let refused = projections(&db, &line).failure(1);
    assert!(
        refused.stderr.contains("beyond the last position of the store, which is 20"),
        "{refused}"
    );
}

#[test]
fn a_row_that_moves_under_the_locks_is_noticed() {
    let db = store();
    events(&db, 100, 10);
    foreign(&db, &[("orders_p0", 40), ("orders_p1", 90)]);
    let mut processor = db.client();
    let mut batch = processor.transaction().expect("a batch");
    let upsert = "UPDATE projection_checkpoints SET last_global_position = 50
        WHERE projection_name = 'orders_p0'";
    batch.batch_execute(upsert).expect("a batch");
    let run = db.command(["projections", "adopt", "orders", "--total", "2", "--yes"]).spawn();
    eventually("it waits for the row", || {
        db.one(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                AND datname = current_database() AND application_name LIKE 'pupctl%')",
        )
    });
    batch.commit().expect("the end of the batch");
    let refused = run.wait().failure(1);
    assert!(refused.stderr.contains("have moved meanwhile"), "{refused}");
    assert_eq!(rows(&db), ["orders_p0@50", "orders_p1@90"]);
}

#[test]
fn two_adoptions_together_are_one() {
    for total in ["1", "2"] {
        let db = store();
        events(&db, 100, 10);
        foreign(&db, &if total == "1" { vec![("a", 9)] } else { vec![("a_p0", 9), ("a_p1", 8)] });
        let line = ["projections", "adopt", "a", "--total", total, "--yes"];
        let spawn = || db.command(line).spawn();
        let done = [spawn(), spawn(), spawn()].map(Background::wait);
        let changed = done.iter().filter(|run| run.stderr.contains("Done:")).count();
        assert_eq!(changed, 1, "{done:#?}");
        for run in &done {
            let fine = run.code == Some(0) || run.stderr.contains("by somebody else meanwhile");
            assert!(fine, "{run}");
        }
        assert_eq!(rows(&db).len().to_string(), total);
    }
}

#[test]
fn the_sql_of_a_dry_run_does_what_the_command_does() {
    for (name, total, rows_there) in [
        ("it's \\ x", "1", vec![("it's \\ x", 9)]),
        ("\"x\"", "2", vec![("\"x\"_p0", 9), ("\"x\"_p1", 7)]),
    ] {
        let [by_psql, by_pupctl] = [store(), store()];
        for db in [&by_psql, &by_pupctl] {
            events(db, 20, 3);
            foreign(db, &rows_there);
        }
        let line = ["adopt", name, "--total", total, "--yes", "--contexts", "it's"];
        let dry = projections(&by_psql, &[&line[..], &["--dry-run"]].concat()).success();
        std::fs::write(by_psql.folder().join("script.sql"), &dry.stdout).expect("a script");
        by_psql.psql(["-f", "script.sql"]).success();
        projections(&by_pupctl, &line).success();
        let all = |db: &TestDatabase| {
            db.texts(
                "SELECT (to_jsonb(c) - 'updated_at')::text FROM public.projection_checkpoints c
                 ORDER BY slot",
            )
        };
        assert_eq!(all(&by_psql), all(&by_pupctl));
        let again = by_psql.psql(["-f", "script.sql"]).failure(3);
        assert!(again.stderr.contains("have changed since"), "{again}");
    }
}

#[test]
fn one_of_several_partitions_is_not_taken_for_the_whole() {
    let db = store();
    foreign(&db, &FOUR);
    let line = ["adopt", "orders_p1", "--total", "1", "--yes"];
    let refused = projections(&db, &line).failure(1);
    assert!(refused.stderr.contains("orders_p3 is at position 100"), "{refused}");
    assert!(refused.stderr.contains("pupctl projections adopt orders --total 4"), "{refused}");
    let ignores = [&line[..], &["--ignore-rows", "orders_p0"]].concat();
    projections(&db, &ignores).failure(1);
    for verb in ["pause", "rescale"] {
        let line =
            [&[verb, "orders_p1"][..], if verb == "pause" { &[] } else { &["--slots", "2"] }];
        let refused = projections(&db, &line.concat()).failure(1);
        assert!(refused.stderr.contains("adopt orders --total 4"), "{refused}");
    }
    assert_eq!(rows(&db).len(), 4);
}

#[test]
fn patience_counts_whatever_the_role_says() {
    let db = store();
    foreign(&db, &[("orders", 0)]);
    let mut worker = db.client();
    worker.batch_execute("BEGIN; SELECT FROM projection_checkpoints FOR UPDATE").expect("a batch");
    db.execute(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET statement_timeout = 300',
            current_database()); END $$",
    );
    let line = ["adopt", "orders", "--total", "1", "--yes", "--patience", "20s"];
    let adopt = db.command(["projections"].iter().chain(&line)).spawn();
    std::thread::sleep(std::time::Duration::from_secs(2));
    worker.batch_execute("ROLLBACK").expect("an end");
    adopt.wait().success();
}
