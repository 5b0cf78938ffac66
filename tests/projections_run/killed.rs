//! Killed at any moment, it goes on where it was.

use std::thread;
use std::time::Duration;

use crate::{CATCH_UP, TOTALS, append, reference, store_with, totals};

#[test]
fn killed_at_each_point_it_goes_on() {
    for point in [
        "projection::sql_made",
        "projection::handled",
        "projection::before_commit",
        "projection::committed",
    ] {
        for passed in [0, 2] {
            let db = store_with(TOTALS);
            append(&db, "Sales", 40);
            let passed = if point == "projection::sql_made" { 0 } else { passed };
            let kill = db
                .command(CATCH_UP.iter().chain(&["--batch-size", "5"]))
                .failpoints(&format!("{point}={passed}*off->return"));
            kill.run().killed();
            db.pupctl(CATCH_UP).success();
            assert_eq!(totals(&db), reference(&db), "{point} after {passed}");
            let given: i64 = db.one("SELECT sum(events)::bigint FROM projection_audit");
            assert_eq!(given, 40, "{point} after {passed}");
        }
    }
}

#[test]
fn killed_at_random_under_writers_it_is_right_in_the_end() {
    let db = store_with(TOTALS);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..2).map(|_| scope.spawn(|| append_slowly(&db))).collect();
        let mut pause = 60;
        while writers.iter().any(|writer| !writer.is_finished()) {
            let run =
                db.command(["projections", "run", "--batch-size", "3", "--workers", "2"]).spawn();
            thread::sleep(Duration::from_millis(pause));
            pause = (pause * 7) % 500 + 40;
            run.kill();
        }
        for writer in writers {
            writer.join().expect("no panic");
        }
    });
    db.pupctl(CATCH_UP).success();
    assert_eq!(totals(&db), reference(&db));
}

/// Appends, each time to an order of its own thread; some are committed late, some not at all.
fn append_slowly(db: &crate::support::TestDatabase) {
    let mut client = db.client();
    let id = format!("{:?}", thread::current().id());
    for number in 1..=150_i64 {
        let mut open = client.transaction().expect("a transaction");
        let insert = "INSERT INTO events (bounded_context, aggregate_type, aggregate_id,
                aggregate_version, event_id, event_type, payload)
             VALUES ('Sales', 'Order', $1, $2, gen_random_uuid(), 'OrderPlaced', '')";
        open.execute(insert, &[&format!("{id} {}", number % 7), &number]).expect("an event");
        thread::sleep(Duration::from_millis(if number % 20 == 0 { 60 } else { 2 }));
        if number % 11 != 0 {
            open.commit().expect("committed");
        }
    }
}
