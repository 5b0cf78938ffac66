//! How soon after its commit an event is handled, what the writers notice, and what a processor
//! costs when nothing happens.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use postgres::Client;
use pupctl::projection::{ProcessorConfig, Projection, Runner};

use super::handlers::{Clock, Nothing};
use super::{connect, prepared};
use crate::machine::{Database, Machine};
use crate::report::{milliseconds, percentile, say, table};

/// How many writers share the load.
const WRITERS: u32 = 4;

/// What writers do.
#[derive(Debug, Clone, Copy)]
struct Load {
    name: &'static str,
    /// Events a second, of all writers.
    rate: u32,
    /// Whether other transactions are open, for one to three seconds each.
    others: bool,
}

const LOADS: [Load; 4] = [
    Load { name: "5 events/s", rate: 5, others: false },
    Load { name: "5 events/s, others' transactions", rate: 5, others: true },
    Load { name: "2,000 events/s", rate: 2_000, others: false },
    Load { name: "2,000 events/s, others' transactions", rate: 2_000, others: true },
];

pub(super) fn run(machine: &Machine, quick: bool) -> Result<()> {
    let seconds = if quick { 6 } else { 20 };
    let mut rows = Vec::new();
    for (layout, arguments) in
        [("none", &["--partition-by", "none"]), ("month", &["--partition-by", "month"])]
    {
        let database = prepared(machine, &format!("latency_{layout}"), arguments)?;
        for load in LOADS {
            rows.push(latency(&database, layout, load, Duration::from_secs(seconds))?);
        }
        machine.remove(&database)?;
    }
    table(
        &format!("From the commit of an event to its handler, PostgreSQL {}", machine.version()),
        &["layout", "writers", "events", "p50", "p99", "longest"],
        &rows,
    );
    writers(machine, Duration::from_secs(seconds))?;
    idle(machine, Duration::from_secs(seconds))
}

fn latency(database: &Database, layout: &str, load: Load, span: Duration) -> Result<Vec<String>> {
    let clock = Arc::new(Clock::default());
    let projection: Arc<dyn Projection> = clock.clone();
    let (committed, _) = beside(database, vec![projection], || write(database, load, span))?;
    let handled = clock.0.lock().ok().context("a panic")?;
    let mut times: Vec<Duration> = committed
        .iter()
        .filter_map(|(position, at)| Some(handled.get(position)?.saturating_duration_since(*at)))
        .collect();
    anyhow::ensure!(times.len() == committed.len(), "some events were not handled");
    Ok(vec![
        layout.to_owned(),
        load.name.to_owned(),
        times.len().to_string(),
        milliseconds(percentile(&mut times, 50)),
        milliseconds(percentile(&mut times, 99)),
        milliseconds(percentile(&mut times, 100)),
    ])
}

/// Does something while projections are processed; they have caught up at the end.
fn beside<T>(
    database: &Database,
    projections: Vec<Arc<dyn Projection>>,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let mut runner = Runner::new(connect(database));
    for projection in projections {
        runner.add_shared(projection, ProcessorConfig::default(), 1)?;
    }
    let stop = runner.stopper();
    let running = thread::spawn(move || runner.run());
    thread::sleep(Duration::from_millis(500));
    let done = work();
    thread::sleep(Duration::from_secs(1));
    stop.raise();
    running.join().ok().context("a panic")??;
    done
}

/// When positions were committed, and how long each append took.
type Written = (HashMap<i64, Instant>, Vec<Duration>);

fn write(database: &Database, load: Load, span: Duration) -> Result<Written> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| scope.spawn(move || pace(database, load, writer, span)))
            .collect();
        if load.others {
            scope.spawn(|| others(database, &done));
        }
        let mut all = Written::default();
        for writer in writers {
            let (committed, took) = writer.join().ok().context("a panic")??;
            all.0.extend(committed);
            all.1.extend(took);
        }
        done.store(true, Ordering::Relaxed);
        Ok(all)
    })
}

/// A writer at a fixed pace; what is late is made up for.
fn pace(database: &Database, load: Load, writer: u32, span: Duration) -> Result<Written> {
    let mut client = database.client()?;
    let insert = client.prepare(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
        VALUES ('Sales', 'Order', $1, 1, gen_random_uuid(), 'OrderPlaced', '{}')
        RETURNING global_position",
    )?;
    let interval = Duration::from_secs(1) * WRITERS / load.rate;
    let start = Instant::now() + interval * writer / WRITERS;
    let mut written = Written::default();
    let mut number = 0;
    loop {
        let due = start + interval * number;
        if due.duration_since(start) > span {
            return Ok(written);
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let id = format!("{}-{writer}-{number}-{span:?}", load.name);
        let position: i64 = client.query_one(&insert, &[&id])?.get(0);
        let now = Instant::now();
        written.0.insert(position, now);
        written.1.push(now - due);
        number += 1;
    }
}

/// Transactions that write something else, one to three seconds each.
fn others(database: &Database, done: &AtomicBool) -> Result<()> {
    let mut client: Client = database.client()?;
    let mut length = 1;
    while !done.load(Ordering::Relaxed) {
        let mut transaction = client.transaction()?;
        transaction.execute("INSERT INTO unrelated VALUES (1)", &[])?;
        let end = Instant::now() + Duration::from_secs(length);
        while Instant::now() < end && !done.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(50));
        }
        transaction.commit()?;
        length = length % 3 + 1;
    }
    Ok(())
}

/// What writers notice of a processor.
fn writers(machine: &Machine, span: Duration) -> Result<()> {
    let load = Load { name: "2,000 events/s", rate: 2_000, others: false };
    let database = prepared(machine, "latency_writers", &["--partition-by", "month"])?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    // In turns, since the machine is not the same all the time.
    for round in 0..4 {
        let load = Load { name: ["a", "b", "c", "d"][round], ..load };
        let part = span / 2;
        without.extend(write(&database, load, part)?.1);
        let again = Load { name: ["e", "f", "g", "h"][round], ..load };
        let projection: Arc<dyn Projection> = Arc::new(Nothing("nothing"));
        with.extend(beside(&database, vec![projection], || write(&database, again, part))?.1);
    }
    machine.remove(&database)?;
    let row = |name: &str, times: &mut [Duration]| {
        let of = |percent, times: &mut [Duration]| milliseconds(percentile(times, percent));
        vec![name.to_owned(), times.len().to_string(), of(50, times), of(99, times)]
    };
    let rows = [row("no processor", &mut without), row("a processor", &mut with)];
    table(
        "Appends at 2,000 a second, from the time when they were due",
        &["beside", "appends", "p50", "p99"],
        &rows,
    );
    let ratio =
        percentile(&mut with, 99).as_secs_f64() / percentile(&mut without, 99).as_secs_f64();
    say(format!("\np99 with / without: {ratio:.2}"));
    Ok(())
}

/// What two projections cost while nothing happens.
fn idle(machine: &Machine, span: Duration) -> Result<()> {
    let database = prepared(machine, "latency_idle", &["--partition-by", "month"])?;
    let projections: Vec<Arc<dyn Projection>> =
        vec![Arc::new(Nothing("one")), Arc::new(Nothing("two"))];
    let (queries, cpu) = beside(&database, projections, || {
        thread::sleep(Duration::from_secs(2));
        let before = cost(&database)?;
        thread::sleep(span);
        let after = cost(&database)?;
        Ok((after.0 - before.0, after.1.saturating_sub(before.1)))
    })?;
    machine.remove(&database)?;
    #[allow(clippy::cast_precision_loss)]
    let queries = queries as f64 / span.as_secs_f64();
    say(format!(
        "\nTwo projections on an idle store: {queries:.1} transactions a second, {:.2} % of a core \
         (process and sessions)",
        100.0 * cpu.as_secs_f64() / span.as_secs_f64()
    ));
    Ok(())
}

/// Transactions of the database so far, and processor time of this process and its sessions.
fn cost(database: &Database) -> Result<(i64, Duration)> {
    let mut client = database.client()?;
    // Sessions report their counts with some delay.
    thread::sleep(Duration::from_millis(1_200));
    let transactions = client
        .query_one(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database
             WHERE datname = current_database()",
            &[],
        )?
        .get(0);
    let sessions = client
        .query("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'pupctl/%'", &[])?;
    let mut cpu = processor_time("self");
    for session in sessions {
        cpu += processor_time(&session.get::<_, i32>(0).to_string());
    }
    Ok((transactions, cpu))
}

/// The processor time of a process so far.
fn processor_time(process: &str) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let ticks: u64 =
        after_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    // A tick is a hundredth of a second on every Linux that matters.
    Duration::from_millis(ticks * 10)
}
