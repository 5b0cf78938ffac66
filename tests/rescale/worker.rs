//! A small worker that keeps to the rules of the rows: it holds the row of its slot for as long as
//! its batch takes, and does not move it beyond its barrier.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use postgres::Client;
use pupctl::projection::Fnv1a;

use crate::support::{Output, TestDatabase, eventually};

const CLAIM: &str = "SELECT projection_name, last_global_position, slot, slots, slot_hash,
        least($2, coalesce(drain_to, $2))
    FROM projection_checkpoints
    WHERE projection = $1 AND paused_at IS NULL
        AND last_global_position < least($2, coalesce(drain_to, $2))
    ORDER BY last_global_position, random() LIMIT 1 FOR UPDATE SKIP LOCKED";

const READ: &str = "SELECT global_position, aggregate_id,
        (hashtextextended(aggregate_id, 0) & 9223372036854775807) % $3
    FROM events WHERE global_position > $1 AND global_position <= $2
    ORDER BY global_position LIMIT 40";

const HANDLE: &str = "INSERT INTO handled (projection, position, aggregate_id, slot, slots)
    SELECT $1, position, id, $4, $5 FROM unnest($2::bigint[], $3::text[]) AS event (position, id)";

const MOVE: &str = "UPDATE projection_checkpoints SET last_global_position = $2,
        updated_at = clock_timestamp(), events_handled = events_handled + $3
    WHERE projection_name = $1";

/// Workers of one projection, stopped when they are dropped.
pub(crate) struct Workers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// How many batches were handled.
    batches: Arc<AtomicU32>,
}

impl Workers {
    /// So many workers, each of which takes so long for a batch.
    pub(crate) fn start(
        db: &TestDatabase,
        projection: &str,
        workers: u32,
        batch: Duration,
    ) -> Self {
        let (stop, batches) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let threads = (0..workers).map(|_| {
            let (stop, batches) = (Arc::clone(&stop), Arc::clone(&batches));
            let (mut client, projection) = (db.client(), projection.to_owned());
            let name = format!("pupctl/projection {projection}");
            client.execute("SELECT set_config('application_name', $1, false)", &[&name]).expect("");
            std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    if work(&mut client, &projection, batch).expect("a batch") {
                        batches.fetch_add(1, Ordering::SeqCst);
                    } else {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
            })
        });
        let threads = threads.collect();
        Self { stop, threads, batches }
    }

    /// How many batches were handled by now.
    pub(crate) fn batches(&self) -> u32 {
        self.batches.load(Ordering::SeqCst)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "a worker failed");
        }
    }
}

/// One batch of one slot; false where there is nothing to do.
fn work(client: &mut Client, projection: &str, batch: Duration) -> Result<bool, postgres::Error> {
    // There is one writer, so what is visible is settled. In a statement before the rows.
    let sql = "SELECT coalesce(max(global_position), 0) FROM events";
    let settled: i64 = client.query_one(sql, &[])?.get(0);
    let mut transaction = client.transaction()?;
    let Some(row) = transaction.query_opt(CLAIM, &[&projection, &settled])? else {
        return Ok(false);
    };
    let (name, position, up_to): (String, i64, i64) = (row.get(0), row.get(1), row.get(5));
    let (slot, slots): (i32, i32) = (row.get(2), row.get(3));
    let is_server = row.get::<_, String>(4) != Fnv1a::NAME;
    let rows = transaction.query(READ, &[&position, &up_to, &i64::from(slots)])?;
    let (mut positions, mut ids) = (Vec::new(), Vec::new());
    for row in &rows {
        let (at, id, servers): (i64, String, i64) = (row.get(0), row.get(1), row.get(2));
        let fnv = i64::from(Fnv1a::slot_of(&id, u32::try_from(slots).expect("slots")));
        if i64::from(slot) == if is_server { servers } else { fnv } {
            positions.push(at);
            ids.push(id);
        }
    }
    let count = i64::try_from(positions.len()).expect("few");
    transaction.execute(HANDLE, &[&projection, &positions, &ids, &slot, &slots])?;
    std::thread::sleep(batch);
    let to = if rows.len() == 40 { rows[39].get(0) } else { up_to };
    assert_eq!(transaction.execute(MOVE, &[&name, &to, &count])?, 1, "{name} is gone");
    transaction.commit()?;
    Ok(true)
}

/// Runs a change of slots, with workers from the moment at which there is a barrier: those that had
/// begun before might have caught up before the change looks.
pub(crate) fn change(db: &TestDatabase, projection: &str, arguments: &[&str]) -> Output {
    let line = [&["projections", "rescale", projection], arguments].concat();
    let mut run = db.command(line).spawn();
    let barrier = "SELECT EXISTS (SELECT FROM projection_checkpoints WHERE drain_to IS NOT NULL)";
    eventually("the barrier, or the end", || !run.is_running() || db.one(barrier));
    let workers = Workers::start(db, projection, 3, Duration::ZERO);
    let done = run.wait().success();
    wait_until_caught_up(db, projection);
    drop(workers);
    done
}

/// Lets workers run until all slots have handled all events.
pub(crate) fn catch_up(db: &TestDatabase, projection: &str) {
    let workers = Workers::start(db, projection, 2, Duration::ZERO);
    wait_until_caught_up(db, projection);
    drop(workers);
}

/// Waits until all slots have handled all events.
pub(crate) fn wait_until_caught_up(db: &TestDatabase, projection: &str) {
    let sql = "SELECT NOT EXISTS (SELECT FROM projection_checkpoints WHERE projection = $1
        AND last_global_position < (SELECT max(global_position) FROM events))";
    let mut client = db.client();
    let is_done = || client.query_one(sql, &[&projection]).expect("an answer").get(0);
    eventually("all is handled", is_done);
}
