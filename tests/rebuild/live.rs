//! The old read model serves, with workers of its own, until the new one takes its place.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::eventually;
use crate::{
    COUNTS, REBUILD, SUMS, append, highest, nothing_left, old, reference, run, store, sums, write,
};

/// Raised at the end of a scope, however it ends.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn readers_see_the_old_rows_and_then_the_new_ones() {
    let db = store(20, 20);
    write(&db, "totals", COUNTS);
    let old_worker = db.command(["projections", "run", "--poll-interval", "5ms"]).spawn();
    let there = "SELECT to_regclass('totals') IS NOT NULL";
    eventually("it has begun", || db.one::<bool>(there));
    // Its file is read.
    let done = "SELECT coalesce(min(last_global_position), 0) FROM projection_checkpoints";
    eventually("it has caught up", || db.one::<i64>(done) >= 400);
    write(&db, "totals", SUMS);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = Raise(&stop);
        let writer = scope.spawn(|| {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                append(&db, &format!("live-{number}"), 2, 3);
                number += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let reader = scope.spawn(|| {
            let mut client = db.client();
            let mut seen_new = 0;
            while !stop.load(Ordering::Relaxed) {
                // One statement, so one snapshot: what is there is what the position says.
                let found = client.query_one(
                    "SELECT max(last_global_position) = min(last_global_position) AS level,
                        max(epoch) AS epoch,
                        (SELECT sum(lines)::bigint FROM totals) AS lines,
                        (SELECT count(*) FROM events WHERE global_position <= (
                            SELECT max(last_global_position) FROM projection_checkpoints
                            WHERE projection = 'totals')) AS events
                    FROM projection_checkpoints WHERE projection = 'totals'",
                    &[],
                );
                let row = found.expect("the old rows or the new ones");
                if row.get::<_, bool>("level") {
                    assert_eq!(row.get::<_, i64>("lines"), row.get::<_, i64>("events"));
                }
                seen_new = seen_new.max(row.get::<_, i32>("epoch"));
                std::thread::sleep(Duration::from_millis(3));
            }
            seen_new
        });
        std::thread::sleep(Duration::from_millis(300));
        let mut kills = 0;
        let outcome = loop {
            let running = db.command(REBUILD).spawn();
            if kills < 3 {
                kills += 1;
                std::thread::sleep(Duration::from_millis(150 * kills));
                let _ = running.kill();
                continue;
            }
            let ended = running.wait();
            // The server may not have noticed yet that the killed one is gone.
            if ended.code != Some(4) {
                break ended;
            }
        };
        outcome.success();
        let position = db.one::<i64>(
            "SELECT min(last_global_position) FROM projection_checkpoints WHERE projection = 'totals'",
        );
        assert_eq!(sums(&db), reference(&db, position), "exactly at its position");
        std::thread::sleep(Duration::from_millis(200));
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("the writer");
        assert_eq!(reader.join().expect("the reader"), 2);
    });
    // The old worker wrote nothing into the new tables, and ends by itself.
    let ended = old_worker.wait().failure(1);
    assert!(ended.stderr.contains("goes on with another file than this worker has"), "{ended}");
    run(&db);
    assert_eq!(sums(&db), reference(&db, highest(&db)));
    nothing_left(&db);
}

#[test]
fn a_worker_with_the_same_file_goes_on() {
    let db = store(10, 10);
    write(&db, "totals", SUMS);
    let mut worker = db.command(["projections", "run", "--poll-interval", "5ms"]).spawn();
    let done = "SELECT coalesce(min(last_global_position), 0) FROM projection_checkpoints";
    let there = "SELECT to_regclass('totals') IS NOT NULL";
    eventually("it has begun", || db.one::<bool>(there));
    eventually("it has caught up", || db.one::<i64>(done) >= 100);
    db.pupctl(REBUILD).success();
    append(&db, "more", 5, 5);
    eventually("it goes on", || db.one::<i64>(done) >= highest(&db));
    assert!(worker.is_running());
    assert_eq!(sums(&db), reference(&db, highest(&db)));
    let _ = worker.kill();
}

#[test]
fn a_swap_that_cannot_have_the_tables_gives_up_without_harm() {
    let db = store(10, 10);
    write(&db, "totals", COUNTS);
    run(&db);
    write(&db, "totals", SUMS);
    let before = old(&db);
    let mut reader = db.client();
    reader.batch_execute("BEGIN; SELECT FROM totals").expect("a reader");
    let gave_up = db.pupctl(REBUILD.iter().chain(&["--patience", "1s"])).failure(5);
    assert!(gave_up.stderr.contains("public.totals"), "{gave_up}");
    assert_eq!(old(&db), before);
    reader.batch_execute("COMMIT").expect("the end");
    let done = db.pupctl(REBUILD).success();
    assert!(done.stderr.contains("Going on"), "{done}");
    assert_eq!(sums(&db), reference(&db, highest(&db)));
    nothing_left(&db);
}

#[test]
fn an_event_that_cannot_be_handled_stops_it_or_is_parked() {
    let db = store(5, 5);
    write(&db, "totals", COUNTS);
    run(&db);
    write(&db, "totals", SUMS);
    let before = old(&db);
    db.execute(
        "UPDATE events SET payload = convert_to('{\"amount\": \"much\"}', 'UTF8')
         WHERE aggregate_id = 'order-3' AND aggregate_version = 2",
    );
    let stopped = db.pupctl(REBUILD).failure(1);
    assert!(stopped.stderr.contains("stopped at position"), "{stopped}");
    assert_eq!(old(&db), before);
    let done = db.pupctl(REBUILD.iter().chain(&["--on-error", "park"])).success();
    assert!(done.stderr.contains("Done:"), "{done}");
    let letters =
        "SELECT string_agg(state, ' ' ORDER BY global_position) FROM projection_dead_letters
        WHERE projection = 'totals'";
    assert_eq!(db.one::<String>(letters), "failed waiting waiting waiting");
    nothing_left(&db);
    // They are handled again once they can be.
    db.execute(
        "UPDATE events SET payload = convert_to('{\"amount\": 5}', 'UTF8')
         WHERE aggregate_id = 'order-3' AND aggregate_version = 2",
    );
    db.pupctl(["projections", "dead-letters", "replay", "totals", "--all", "--yes"]).success();
    run(&db);
    assert_eq!(sums(&db), reference(&db, highest(&db)));
}
