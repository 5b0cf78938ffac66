//! Readers that come to the table by a view: they hold the view while they wait for the table.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::store;

/// How many read at the same time, so that the view is never free for long by itself.
const READERS: usize = 4;

#[test]
fn a_swap_comes_through_while_a_view_is_read_all_the_time() {
    let db = store(
        "CREATE TABLE projection_checkpoints (
            projection_name TEXT PRIMARY KEY, last_global_position BIGINT NOT NULL DEFAULT 0,
            updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW());
         INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
         SELECT 'A', 'Order', 'o', n, gen_random_uuid(), 'Placed', '' FROM generate_series(1, 9) AS n;
         INSERT INTO aggregate_heads VALUES ('A', 'Order', 'o', 9);
         CREATE VIEW recent AS SELECT * FROM events;
         CREATE VIEW above AS SELECT event_id FROM recent",
    );
    let (done, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                let mut client = db.client();
                while !done.load(Ordering::Relaxed) {
                    let look = "SELECT count(*) FROM above, pg_sleep(0.015)";
                    let row = client.query_one(look, &[]).expect("a reader notices nothing");
                    assert_eq!(row.get::<_, i64>(0), 9);
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let run = ["convert", "run", "--yes", "--partition-by", "month", "--lock-budget", "20s"];
        let forth = db.pupctl(run);
        let back = db.pupctl(["convert", "rollback", "--yes", "--lock-budget", "20s"]);
        done.store(true, Ordering::Relaxed);
        forth.success();
        back.success();
    });
    assert!(reads.into_inner() > 20, "the readers hardly read");
}
