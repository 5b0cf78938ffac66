//! The old table as the first partition, and its division into months.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::machine::{Database, Machine};
use crate::report::{median, milliseconds, ratio, seconds, table};

use super::old;
use super::watch::{Run, run as watched};
use super::writers::{self, cells};
use super::{MEMORY_MAX, ROUNDS, convert, per_second};

const ATTACH: [&str; 2] = ["--strategy", "attach"];

/// What a run found.
struct Found {
    events: i64,
    preparation: Duration,
    limit: Duration,
    swap: Duration,
    split: Run,
    exchange: Duration,
}

pub(super) fn run(machine: &Machine, quick: bool) -> Result<()> {
    let sizes: &[i64] = if quick { &[20_000, 200_000] } else { &[200_000, 2_000_000] };
    let mut found = Vec::new();
    for events in sizes {
        let database = old::store(machine, &format!("convert_attach_{events}"), *events)?;
        found.push(measure(&database, *events, if quick { 2 } else { ROUNDS })?);
        machine.remove(&database)?;
    }
    let rows = found.iter().map(|found| {
        vec![
            found.events.to_string(),
            ratio(found.limit, found.preparation),
            seconds(found.preparation),
            seconds(found.limit),
            milliseconds(found.swap),
        ]
    });
    table(
        "The old table as the first partition",
        &["events", "limit / preparation", "preparation", "limit", "everybody out"],
        &rows.collect::<Vec<_>>(),
    );
    let rows = found.iter().map(|found| {
        vec![
            found.events.to_string(),
            seconds(found.split.took),
            format!("{:.0}", per_second(found.events, found.split.took)),
            milliseconds(found.exchange),
            format!("{} MiB", found.split.peak >> 20),
        ]
    });
    table(
        "The division of that partition into months",
        &["events", "took", "rows/s", "writers out", "memory"],
        &rows.collect::<Vec<_>>(),
    );
    ensure!(found.iter().all(|found| found.split.peak < MEMORY_MAX), "it holds too much");
    beside_writers(machine, sizes[1])
}

fn measure(database: &Database, events: i64, rounds: usize) -> Result<Found> {
    let mut times: [Vec<Duration>; 3] = Default::default();
    let mut heap = String::new();
    let statements = preparation(database)?;
    // The limit is measured between two rounds: the last one is kept, and divided.
    for round in 0..=rounds {
        let start = convert(database, "start", &ATTACH)?;
        let swap = watched(database, &["convert", "swap"])?;
        times[0].push(start.between("indexing", "verifying")?);
        times[1].push(swap.stall("everybody_us")?);
        heap = first_partition(&swap.said)?;
        if round < rounds {
            watched(database, &["convert", "rollback"])?;
            times[2].push(by_hand(database, &statements)?);
        }
    }
    watched(database, &["convert", "finish"])?;
    let split = watched(database, &["partitions", "split", &heap, "-v"])?;
    let exchange = exchange(&split.stderr)?;
    let [preparation, swap, limit] = times.each_mut().map(|times| median(times));
    Ok(Found { events, preparation, limit, swap, split, exchange })
}

/// What `convert start` does to the table that is there, for somebody who does it by hand.
fn preparation(database: &Database) -> Result<Vec<String>> {
    let dry = ["convert", "start", "--partition-by", "month", "--strategy", "attach", "--dry-run"];
    let plan = watched(database, &dry)?.said;
    let steps = plan["steps"].as_array().context("the plan has no steps")?;
    let all = steps.iter().flat_map(|step| step["statements"].as_array().into_iter().flatten());
    let texts = all.filter_map(|statement| statement["sql"].as_str());
    let wanted = ["CREATE INDEX CONCURRENTLY", "CREATE UNIQUE INDEX CONCURRENTLY", " CHECK "];
    let found: Vec<String> = texts
        .filter(|sql| wanted.iter().any(|word| sql.contains(word)) || sql.contains("VALIDATE"))
        .filter(|sql| !sql.contains("CREATE TABLE"))
        .map(str::to_owned)
        .collect();
    ensure!(found.len() >= 3, "the plan prepares nothing: {found:?}");
    Ok(found)
}

/// The same statements in one session, and how long they take. Takes back what they did.
fn by_hand(database: &Database, statements: &[String]) -> Result<Duration> {
    let mut client = database.client()?;
    client.batch_execute("SET maintenance_work_mem = '256MB'")?;
    let indexes = "SELECT format('DROP INDEX %s', indexrelid::regclass) FROM pg_index \
        WHERE indrelid = 'events'::regclass";
    let names = |client: &mut postgres::Client| -> Result<Vec<String>> {
        Ok(client.query(indexes, &[])?.iter().map(|row| row.get(0)).collect())
    };
    let before = names(&mut client)?;
    let start = Instant::now();
    for statement in statements {
        client.batch_execute(statement)?;
    }
    let took = start.elapsed();
    for drop in names(&mut client)?.into_iter().filter(|drop| !before.contains(drop)) {
        client.batch_execute(&drop)?;
    }
    let checks = "SELECT format('ALTER TABLE events DROP CONSTRAINT %I', conname) \
        FROM pg_constraint WHERE conrelid = 'events'::regclass AND contype = 'c'";
    for row in client.query(checks, &[])? {
        client.batch_execute(row.get(0))?;
    }
    Ok(took)
}

/// The partition that the old table has become.
fn first_partition(said: &Value) -> Result<String> {
    let tables = said["conversion"]["tables"].as_array().context("the report names no tables")?;
    let events = tables.iter().find(|table| table["role"] == "events");
    let name = events.and_then(|table| table["retired"]["name"].as_str());
    Ok(name.context("the report names no old table")?.to_owned())
}

/// `writers waited 12.3 ms for the exchange`
fn exchange(stderr: &str) -> Result<Duration> {
    let rest = stderr.split_once("writers waited ").context("the split tells no wait")?.1;
    let word = rest.split(' ').next().unwrap_or_default();
    Ok(Duration::from_secs_f64(word.parse::<f64>()? / 1000.0))
}

/// What writers notice of the whole of it, on another store.
fn beside_writers(machine: &Machine, events: i64) -> Result<()> {
    let database = old::store(machine, "convert_attach_writers", events)?;
    let calm = Duration::from_secs(5);
    let nothing = || {
        std::thread::sleep(calm);
        Ok(())
    };
    let (before, ()) = writers::beside(&database, "calm", nothing)?;
    let work = || convert(&database, "run", &ATTACH);
    let (converting, run) = writers::beside(&database, "run", work)?;
    let heap = first_partition(&run.said)?;
    watched(&database, &["convert", "finish"])?;
    let work = || watched(&database, &["partitions", "split", &heap, "-v"]);
    let (splitting, split) = writers::beside(&database, "split", work)?;
    let (after, ()) = writers::beside(&database, "after", nothing)?;
    let out = |stall: Duration| milliseconds(stall);
    let rows = [
        ("nothing", calm, before, "-".to_owned()),
        ("convert run --strategy attach", run.took, converting, out(run.stall("writers_us")?)),
        ("partitions split", split.took, splitting, out(exchange(&split.stderr)?)),
        ("nothing", calm, after, "-".to_owned()),
    ];
    let rows = rows.map(|(name, took, seen, out)| {
        let mut row = vec![name.to_owned(), seconds(took)];
        row.extend(cells(&mut seen.all()));
        row.extend([seen.failed.to_string(), out]);
        row
    });
    let titles = ["meanwhile", "took", "appends", "p50", "p99", "longest", "again", "writers out"];
    table(&format!("Writers at 2,000 appends a second, {events} events"), &titles, &rows);
    machine.remove(&database)
}
