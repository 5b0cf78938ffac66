//! Writers of every sort, which commit in any order; and a reader that does not think of that.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use postgres::{Client, NoTls};

use crate::Raise;
use crate::support::{TestDatabase, eventually};

/// How many sessions write at once.
const WRITERS: u64 = 8;

/// How many aggregates of each context they write to.
const AGGREGATES: u64 = 12;

/// Numbers that look random, the same ones at every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn milliseconds(&mut self, limit: u64) -> Duration {
        Duration::from_millis(self.below(limit))
    }
}

/// How long a torture lasts: some seconds, or as many as `PUPCTL_TEST_TORTURE_SECONDS` says.
pub(crate) fn duration() -> Duration {
    let seconds = std::env::var("PUPCTL_TEST_TORTURE_SECONDS").ok();
    Duration::from_secs(seconds.and_then(|text| text.parse().ok()).unwrap_or(5))
}

/// Eight writers and an unrelated one work, and go on after the server was away, while something
/// else is done. How many transactions committed.
pub(crate) fn beside_writers(db: &TestDatabase, work: impl FnOnce()) -> u64 {
    let (done, commits) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let raise = Raise(|| done.store(true, Ordering::SeqCst));
        for seed in 0..WRITERS {
            let (done, commits) = (&done, &commits);
            scope.spawn(move || {
                let mut writer = Writer::new(db, seed);
                while !done.load(Ordering::SeqCst) {
                    commits.fetch_add(u64::from(writer.turn()), Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| write_elsewhere(db, &done));
        work();
        drop(raise);
    });
    end_prepared(db);
    commits.into_inner()
}

/// Commits what is left prepared.
fn end_prepared(db: &TestDatabase) {
    let left = "SELECT 'COMMIT PREPARED ' || quote_literal(gid) FROM pg_prepared_xacts
        WHERE database = current_database()";
    for commit in db.texts(left) {
        db.execute(&commit);
    }
}

/// Transactions of seconds that have nothing to do with events.
fn write_elsewhere(db: &TestDatabase, done: &AtomicBool) {
    while !done.load(Ordering::SeqCst) {
        // It may be away.
        let Ok(mut client) = Client::connect(db.url(), NoTls) else { continue };
        let begin = "BEGIN; CREATE TABLE IF NOT EXISTS unrelated (number int);
            INSERT INTO unrelated VALUES (1)";
        if client.batch_execute(begin).is_err() {
            continue;
        }
        let open = Instant::now();
        while open.elapsed() < Duration::from_secs(3) && !done.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = client.batch_execute("COMMIT");
    }
}

/// One session that writes.
struct Writer<'a> {
    db: &'a TestDatabase,
    client: Client,
    random: Random,
    seed: u64,
    number: u64,
}

impl<'a> Writer<'a> {
    fn new(db: &'a TestDatabase, seed: u64) -> Self {
        Self { db, client: db.client(), random: Random::new(seed), seed, number: 0 }
    }

    /// One transaction. Whether it committed.
    fn turn(&mut self) -> bool {
        let committed = self.transaction();
        if self.client.is_closed() {
            eventually("the server takes sessions again", || {
                match Client::connect(self.db.url(), NoTls) {
                    Ok(client) => self.client = client,
                    Err(_) => return false,
                }
                true
            });
            self.end_prepared();
        } else if committed.is_err() {
            // Somebody else was quicker with this aggregate.
            let _ = self.client.batch_execute("ROLLBACK");
        }
        committed.unwrap_or(false)
    }

    /// Commits what it had prepared when the server went away, for which others wait.
    fn end_prepared(&mut self) {
        let sql = "SELECT 'COMMIT PREPARED ' || quote_literal(gid) FROM pg_prepared_xacts
            WHERE starts_with(gid, $1)";
        let prefix = format!("{} {} ", self.db.name(), self.seed);
        for row in self.client.query(sql, &[&prefix]).unwrap_or_default() {
            let _ = self.client.batch_execute(row.get(0));
        }
    }

    fn transaction(&mut self) -> Result<bool, postgres::Error> {
        self.number += 1;
        let random = &mut self.random;
        let context = if random.below(2) == 0 { "Sales" } else { "Billing" };
        let id = format!("o-{}", random.below(AGGREGATES));
        let commit = if random.below(5) == 0 { "off" } else { "on" };
        let begin = format!("BEGIN; SET LOCAL synchronous_commit = {commit}");
        self.client.batch_execute(&begin)?;
        for _ in 0..=random.below(3) {
            insert(&mut self.client, context, &id)?;
        }
        let slow = random.below(50) == 0;
        std::thread::sleep(random.milliseconds(if slow { 200 } else { 50 }));
        match random.below(100) {
            0..3 => self.client.batch_execute("ROLLBACK").map(|()| false),
            3..6 => {
                let gid = format!("{} {} {}", self.db.name(), self.seed, self.number);
                self.client.batch_execute(&format!("PREPARE TRANSACTION '{gid}'"))?;
                std::thread::sleep(random.milliseconds(300));
                self.client.batch_execute(&format!("COMMIT PREPARED '{gid}'")).map(|()| true)
            }
            _ => self.client.batch_execute("COMMIT").map(|()| true),
        }
    }
}

/// Adds an event of an aggregate, in the transaction that is open.
fn insert(client: &mut Client, context: &str, id: &str) -> Result<(), postgres::Error> {
    let insert = "INSERT INTO events (bounded_context, aggregate_type, aggregate_id,
            aggregate_version, event_id, event_type, payload)
        SELECT $1, 'Order', $2, coalesce(max(aggregate_version), 0) + 1, gen_random_uuid(),
            'OrderPlaced', ''
        FROM aggregate_heads
        WHERE bounded_context = $1 AND aggregate_type = 'Order' AND aggregate_id = $2
        RETURNING aggregate_version";
    let version: i64 = client.query_one(insert, &[&context, &id])?.get(0);
    let head = "INSERT INTO aggregate_heads (bounded_context, aggregate_type, aggregate_id,
            aggregate_version)
        VALUES ($1, 'Order', $2, $3)
        ON CONFLICT (bounded_context, aggregate_type, aggregate_id)
        DO UPDATE SET aggregate_version = excluded.aggregate_version";
    client.execute(head, &[&context, &id, &version])?;
    Ok(())
}

/// Reads as the processors do that know no settled position: everything after the last position
/// that was seen. The positions that it got.
pub(crate) fn read_naively(db: &TestDatabase, done: &AtomicBool) -> BTreeSet<i64> {
    let mut client = db.client();
    let mut read = BTreeSet::new();
    loop {
        let last_round = done.load(Ordering::SeqCst);
        let checkpoint = read.last().copied().unwrap_or(0_i64);
        let sql = "SELECT global_position FROM events WHERE global_position > $1
            ORDER BY global_position LIMIT 100";
        let rows = client.query(sql, &[&checkpoint]).expect("events");
        read.extend(rows.iter().map(|row| row.get::<_, i64>(0)));
        if rows.is_empty() {
            if last_round {
                return read;
            }
            std::thread::sleep(Duration::from_millis(4));
        }
    }
}
