//! A partition that leaves and comes back while writers go on: how long the longest of them waits,
//! with and without a reader whose transactions last two seconds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::live::{store, write};
use crate::machine::{Database, Machine};
use crate::report::{median, milliseconds, percentile, table};

/// How long nothing is done, to know what the machine itself does to a writer.
const CALM: Duration = Duration::from_secs(2);

/// How many events the partition has.
const EVENTS: i64 = 200_000;

/// What is done, in an order in which each finds what it needs.
const TURNS: [&str; 8] = [
    "nothing",
    "partitions detach",
    "partitions attach",
    "partitions detach --at-once",
    "partitions attach, of that one",
    "plain DETACH",
    "plain ATTACH",
    "DROP of a detached table",
];

/// How often all of it is done: a single turn may meet something else that the machine does.
const ROUNDS: usize = 5;

pub(crate) fn run(machine: &Machine, quick: bool) -> Result<()> {
    let events = if quick { EVENTS / 10 } else { EVENTS };
    let mut rows = Vec::new();
    for reader in [false, true] {
        let database = store(machine, if reader { "leaving_read" } else { "leaving" })?;
        let month = database.month()?.plus(-2);
        let name = format!("events_c01_{}", month.suffix());
        let mut seen: Vec<Seen> = TURNS.iter().map(|_| Seen::default()).collect();
        for round in 0..ROUNDS {
            // The last turn of a round drops it.
            database.pupctl(&["partitions", "ensure", "--from", &month.to_string()])?;
            fill(&database, &month.to_string(), events, round)?;
            for (turn, seen) in TURNS.iter().zip(&mut seen) {
                let work = || take(&database, turn, &name, &month.to_string());
                let (mut waits, took) = beside_writers(&database, reader, work)?;
                seen.longest.push(percentile(&mut waits, 100));
                seen.took.push(took);
                seen.waits.extend(waits);
            }
        }
        rows.extend(TURNS.iter().zip(seen).map(|(turn, seen)| seen.row(turn, reader)));
    }
    let head = ["meanwhile", "beside", "took", "inserts", "p50", "p99", "longest", "of all"];
    let title = "A writer of the current month while a past month leaves and comes";
    table(&format!("{title}: {events} events, medians of {ROUNDS} rounds"), &head, &rows);
    Ok(())
}

/// What a writer noticed of one of the turns, in all rounds.
#[derive(Default)]
struct Seen {
    took: Vec<Duration>,
    waits: Vec<Duration>,
    longest: Vec<Duration>,
}

impl Seen {
    fn row(mut self, turn: &str, reader: bool) -> Vec<String> {
        vec![
            turn.to_owned(),
            if reader { "2 s reader" } else { "-" }.to_owned(),
            format!("{:.1} s", median(&mut self.took).as_secs_f64()),
            self.waits.len().to_string(),
            milliseconds(percentile(&mut self.waits, 50)),
            milliseconds(percentile(&mut self.waits, 99)),
            milliseconds(median(&mut self.longest)),
            milliseconds(percentile(&mut self.longest, 100)),
        ]
    }
}

/// Events of new aggregates: the heads of those that were dropped are still there.
fn fill(database: &Database, month: &str, events: i64, round: usize) -> Result<()> {
    database.client()?.batch_execute(&format!(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version, \
             event_id, event_type, payload, created_at) \
         SELECT 'C01', 'Order', 'past-{round}-' || number, 1, gen_random_uuid(), 'Placed', \
             '\\x00', '{month}-03 00:00:00+00' \
         FROM generate_series(1, {events}) AS number"
    ))?;
    Ok(())
}

fn take(database: &Database, turn: &str, name: &str, month: &str) -> Result<()> {
    let bounds = |database: &Database| -> Result<String> {
        let next = format!("SELECT ('{month}-01'::date + interval '1 month')::date::text");
        let next: String = database.client()?.query_one(&next, &[])?.get(0);
        Ok(format!("FOR VALUES FROM ('{month}-01 00:00:00+00') TO ('{next} 00:00:00+00')"))
    };
    match turn {
        "nothing" => thread::sleep(CALM),
        "partitions detach" => drop(database.pupctl(&["partitions", "detach", name])?),
        "partitions detach --at-once" => {
            drop(database.pupctl(&["partitions", "detach", name, "--at-once"])?);
        }
        "plain DETACH" => {
            let sql = format!("ALTER TABLE events_c01 DETACH PARTITION {name}");
            database.client()?.batch_execute(&sql)?;
        }
        "plain ATTACH" => {
            let bounds = bounds(database)?;
            let sql = format!("ALTER TABLE events_c01 ATTACH PARTITION {name} {bounds}");
            database.client()?.batch_execute(&sql)?;
        }
        "DROP of a detached table" => {
            database.pupctl(&["partitions", "detach", name])?;
            database.client()?.batch_execute(&format!("DROP TABLE {name}"))?;
        }
        _ => drop(database.pupctl(&["partitions", "attach", name, "--no-analyze"])?),
    }
    Ok(())
}

/// Does the work while one session writes, and another reads where that is wanted; gives back how
/// long each insert took, and the work.
fn beside_writers(
    database: &Database,
    reader: bool,
    work: impl FnOnce() -> Result<()>,
) -> Result<(Vec<Duration>, Duration)> {
    let running = AtomicBool::new(true);
    thread::scope(|scope| {
        let writer = scope.spawn(|| write(&mut database.client()?, &running));
        let reader = reader.then(|| scope.spawn(|| read(database, &running)));
        // Whatever is done meets a transaction that is under way.
        thread::sleep(Duration::from_millis(300));
        let start = Instant::now();
        let done = work();
        let took = start.elapsed();
        // Whoever was kept waiting is heard.
        thread::sleep(Duration::from_millis(500));
        running.store(false, Ordering::Relaxed);
        if let Some(reader) = reader {
            reader.join().expect("the reader does not panic")?;
        }
        let times = writer.join().expect("the writer does not panic")?;
        done?;
        Ok((times, took))
    })
}

/// Transactions of two seconds that have used all of the table, one after the other.
fn read(database: &Database, running: &AtomicBool) -> Result<()> {
    let mut client = database.client()?;
    while running.load(Ordering::Relaxed) {
        let read = "BEGIN; SELECT count(*) FROM events; SELECT pg_sleep(2); COMMIT";
        client.batch_execute(read)?;
    }
    Ok(())
}
