//! Writers that commit in any order, a reader that goes by the settled position, and beside it one
//! that goes by the last position it saw: the first loses nothing, the second does.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use postgres::Client;

use crate::support::{TestDatabase, TestServer};
use crate::{insert, store, wait};

/// How many sessions write at once.
const WRITERS: u64 = 8;

/// How long they write.
const DURATION: Duration = Duration::from_secs(6);

#[test]
fn a_reader_of_settled_positions_loses_nothing_where_a_naive_one_does() {
    let server = TestServer::private(&[("max_prepared_transactions", "20")]);
    let db = TestDatabase::on(&server);
    store(&db);
    let done = AtomicBool::new(false);
    let (settled, naive) = std::thread::scope(|scope| {
        let settled = scope.spawn(|| read_settled(&db, &done));
        let naive = scope.spawn(|| read_naively(&db, &done));
        let writers: Vec<_> = (1..=WRITERS).map(|seed| (seed, &db)).collect();
        let writers: Vec<_> = writers
            .into_iter()
            .map(|(seed, db)| {
                scope.spawn(move || write(db, Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))))
            })
            .collect();
        for writer in writers {
            writer.join().expect("a writer");
        }
        done.store(true, Ordering::SeqCst);
        (settled.join().expect("the reader"), naive.join().expect("the naive reader"))
    });
    let mut client = db.client();
    let all: BTreeSet<i64> = client
        .query("SELECT global_position FROM events", &[])
        .expect("the events")
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(all.len() > 500, "only {} events", all.len());
    let lost: Vec<_> = all.difference(&settled.read).collect();
    assert!(lost.is_empty(), "lost {lost:?} of {}", all.len());
    assert!(settled.rounds > 20, "only {} rounds", settled.rounds);
    assert!(settled.read.is_subset(&all));
    // Or this test could not fail.
    assert!(all.difference(&naive.read).count() > 0, "the naive reader lost nothing");
}

/// What a reader has read.
#[derive(Default)]
struct Reading {
    read: BTreeSet<i64>,
    rounds: usize,
}

impl Reading {
    fn take(&mut self, client: &mut Client, from: i64, to: i64) {
        let sql = "SELECT global_position FROM events
            WHERE global_position > $1 AND global_position <= $2";
        let rows = client.query(sql, &[&from, &to]).expect("events");
        for row in rows {
            assert!(self.read.insert(row.get(0)), "twice");
        }
        self.rounds += 1;
    }
}

fn read_settled(db: &TestDatabase, done: &AtomicBool) -> Reading {
    let mut client = db.client();
    let mut reading = Reading::default();
    let mut checkpoint = 0;
    loop {
        let last_round = done.load(Ordering::SeqCst);
        let position = wait(&mut client, Duration::from_secs(30)).expect("it settles");
        assert!(position >= checkpoint);
        reading.take(&mut client, checkpoint, position);
        checkpoint = position;
        if last_round {
            return reading;
        }
    }
}

fn read_naively(db: &TestDatabase, done: &AtomicBool) -> Reading {
    let mut client = db.client();
    let mut reading = Reading::default();
    let mut checkpoint = 0;
    loop {
        let last_round = done.load(Ordering::SeqCst);
        reading.take(&mut client, checkpoint, i64::MAX);
        checkpoint = reading.read.last().copied().unwrap_or(0);
        if last_round {
            return reading;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Transactions of every sort: of one event or several, into the table or a leaf, with savepoints,
/// in two phases, rolled back. Each thinks a while before its end.
fn write(db: &TestDatabase, mut random: Random) {
    let mut client = db.client();
    let begin = Instant::now();
    let mut number = 0;
    while begin.elapsed() < DURATION {
        number += 1;
        let mut sql = "BEGIN;".to_owned();
        for _ in 0..=random.below(3) {
            let (context, leaf) =
                if random.below(2) == 0 { ("A", "events_a") } else { ("B", "events_b") };
            let table = if random.below(4) == 0 { leaf } else { "events" };
            let insert = insert(table, context);
            match random.below(6) {
                0 => sql.extend(["SAVEPOINT s; ", &insert, "; RELEASE s;"]),
                1 => sql.extend(["SAVEPOINT s; ", &insert, "; ROLLBACK TO s;"]),
                _ => sql.extend([insert.as_str(), ";"]),
            }
        }
        client.batch_execute(&sql).expect("inserts");
        std::thread::sleep(Duration::from_millis(random.below(40)));
        let gid = format!("{}-{:x}-{number}", db.name(), random.0);
        let end = match random.below(10) {
            0 => "ROLLBACK".to_owned(),
            1 | 2 => {
                client.batch_execute(&format!("PREPARE TRANSACTION '{gid}'")).expect("prepared");
                std::thread::sleep(Duration::from_millis(random.below(40)));
                let end = if random.below(3) == 0 { "ROLLBACK" } else { "COMMIT" };
                format!("{end} PREPARED '{gid}'")
            }
            _ => "COMMIT".to_owned(),
        };
        client.batch_execute(&end).expect("its end");
    }
}
