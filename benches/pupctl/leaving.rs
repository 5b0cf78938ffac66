//! A partition that leaves and comes back while writers go on: how long the longest of them waits,
//! with and without a reader whose transactions last two seconds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::live::{store, write};
use crate::machine::{Database, Machine};
use crate::report::{milliseconds, percentile, table};

/// How long nothing is done, to know what the machine itself does to a writer.
const CALM: Duration = Duration::from_secs(4);

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

pub(crate) fn run(machine: &Machine, quick: bool) -> Result<()> {
    let mut rows = Vec::new();
    for reader in [false, true] {
        let database = store(machine, if reader { "leaving_read" } else { "leaving" })?;
        let month = database.month()?.plus(-2);
        let from = month.to_string();
        database.pupctl(&["partitions", "ensure", "--from", &from])?;
        let events = if quick { EVENTS / 10 } else { EVENTS };
        fill(&database, &from, events)?;
        let name = format!("events_c01_{}", month.suffix());
        for turn in TURNS {
            let (mut waits, took) =
                beside_writers(&database, reader, || take(&database, turn, &name, &from))?;
            let longest = percentile(&mut waits, 100);
            rows.push(vec![
                turn.to_owned(),
                if reader { "2 s reader" } else { "-" }.to_owned(),
                format!("{:.1} s", took.as_secs_f64()),
                waits.len().to_string(),
                milliseconds(percentile(&mut waits, 50)),
                milliseconds(percentile(&mut waits, 99)),
                milliseconds(longest),
            ]);
        }
    }
    let head = ["meanwhile", "beside", "took", "inserts", "p50", "p99", "longest"];
    table(
        &format!("A writer of the current month while a month of {EVENTS} events leaves and comes"),
        &head,
        &rows,
    );
    Ok(())
}

fn fill(database: &Database, month: &str, events: i64) -> Result<()> {
    database.client()?.batch_execute(&format!(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version, \
             event_id, event_type, payload, created_at) \
         SELECT 'C01', 'Order', 'past-' || number, 1, gen_random_uuid(), 'Placed', '\\x00', \
             '{month}-03 00:00:00+00' \
         FROM generate_series(1, {events}) AS number"
    ))?;
    Ok(())
}

fn take(database: &Database, turn: &str, name: &str, month: &str) -> Result<()> {
    let bounds = |database: &Database| -> Result<String> {
        let next: String = database
            .client()?
            .query_one(
                &format!("SELECT ('{month}-01'::date + interval '1 month')::date::text"),
                &[],
            )?
            .get(0);
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
