//! A store in use: what writers and readers notice while `ensure` makes months for them, and
//! which locks it takes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use postgres::Client;
use serde_json::Value;

use crate::leaving;
use crate::machine::{Database, Machine, contexts, partition_of, run_in_transactions};
use crate::report::{milliseconds, percentile, say, table};

const CONTEXTS: usize = 9;

/// What `schema init` makes ahead of the current month.
const MONTHS_AT_FIRST: i32 = 3;

/// The locks of PostgreSQL, weakest first.
const MODES: [&str; 8] = [
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
];

/// How often the locks are looked up: often enough to see every transaction many times.
const SAMPLE_EVERY: Duration = Duration::from_millis(5);

pub(crate) fn run(machine: &Machine, quick: bool) -> Result<()> {
    let months = if quick { 40 } else { 120 };
    let calm_time = Duration::from_secs(if quick { 2 } else { 5 });
    let live = store(machine, "live")?;
    let naive = store(machine, "naive")?;
    let ahead = (MONTHS_AT_FIRST + months).to_string();
    let ensure_months = ["partitions", "ensure", "--months", &ahead];
    let planned = planned_locks(&live, &ensure_months)?;

    let (calm, ()) = beside_traffic(&live, || {
        thread::sleep(calm_time);
        Ok(())
    })?;
    let (ours, seen) = beside_traffic(&live, || {
        let running = AtomicBool::new(true);
        thread::scope(|scope| {
            let sampler = scope.spawn(|| sample_locks(&live, &running));
            let done = live.pupctl(&ensure_months);
            running.store(false, Ordering::Relaxed);
            done?;
            sampler.join().expect("the sampler does not panic")
        })
    })?;
    let first = naive.month()?.plus(MONTHS_AT_FIRST + 1);
    let mut statements = Vec::new();
    for context in contexts(CONTEXTS) {
        let new = first.through(first.plus(months - 1));
        statements.extend(new.map(|month| partition_of(&context, month)));
    }
    let (theirs, ()) =
        beside_traffic(&naive, || run_in_transactions(&mut naive.client()?, &statements))?;
    let count = |database: &Database| -> Result<i64> {
        let all = "SELECT count(*) FROM pg_class WHERE relispartition AND relkind = 'r'";
        Ok(database.client()?.query_one(all, &[])?.get(0))
    };
    ensure!(count(&live)? == count(&naive)?, "both stores must have the same leaves");

    let mut rows = Vec::new();
    for (name, [mut writer, mut reader]) in
        [("nothing", calm), ("partitions ensure", ours), ("CREATE TABLE … PARTITION OF", theirs)]
    {
        rows.push(row(name, "insert", &mut writer));
        rows.push(row(name, "select", &mut reader));
    }
    table(
        &format!("A writer and a reader while {months} months of {CONTEXTS} contexts are made"),
        &["meanwhile", "loop", "count", "p50", "p99", "longest", "longest / p50"],
        &rows,
    );
    say(format!(
        "\nStrongest lock of partitions ensure on what was there: planned {planned}, seen {} \
         ({} samples)",
        seen.strongest, seen.samples
    ));
    ensure!(planned == "SHARE_UPDATE_EXCLUSIVE", "it plans a stronger lock");
    ensure!(seen.strongest == "ShareUpdateExclusiveLock", "it takes another lock");
    leaving::run(machine, quick)
}

pub(crate) fn store(machine: &Machine, name: &str) -> Result<Database> {
    let database = machine.database(name)?;
    let contexts = contexts(CONTEXTS).join(",");
    let layout = ["--partition-by", "context,month", "--contexts", &contexts];
    database.pupctl(&[&["schema", "init"], layout.as_slice()].concat())?;
    database.client()?.batch_execute(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version, \
             event_id, event_type, payload) \
         SELECT 'C01', 'Order', 'seed-' || number, 1, gen_random_uuid(), 'Placed', '\\x00' \
         FROM generate_series(1, 1000) AS number",
    )?;
    Ok(database)
}

/// The strongest lock on tables of the catalog that `--dry-run` announces.
fn planned_locks(database: &Database, arguments: &[&str]) -> Result<String> {
    let dry = [arguments, ["--dry-run", "--output", "json"].as_slice()].concat();
    let plan: Value = serde_json::from_slice(&database.pupctl(&dry)?.stdout)?;
    let there: BTreeSet<String> = database
        .client()?
        .query("SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p')", &[])?
        .iter()
        .map(|row| row.get(0))
        .collect();
    let list = |value: &Value, key: &str| -> Vec<Value> {
        value[key].as_array().cloned().unwrap_or_default()
    };
    let steps = list(&plan, "steps");
    let statements = steps.iter().flat_map(|step| list(step, "statements"));
    statements
        .flat_map(|statement| list(&statement, "locks"))
        .filter(|lock| lock["on"]["name"].as_str().is_some_and(|name| there.contains(name)))
        .filter_map(|lock| lock["mode"].as_str().map(str::to_owned))
        // `SHARE_UPDATE_EXCLUSIVE` is the `ShareUpdateExclusiveLock` of pg_locks.
        .max_by_key(|mode| {
            let bare = format!("{}lock", mode.replace('_', "").to_lowercase());
            MODES.iter().position(|known| known.to_lowercase() == bare)
        })
        .context("the plan names no lock")
}

struct Seen {
    strongest: &'static str,
    samples: usize,
}

/// The strongest lock that pupctl holds or waits for on what is there when sampling begins.
fn sample_locks(database: &Database, running: &AtomicBool) -> Result<Seen> {
    let mut client = database.client()?;
    let there: Vec<u32> = client
        .query("SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace", &[])?
        .iter()
        .map(|row| row.get(0))
        .collect();
    // The journal and the history are pupctl's own.
    let modes = client.prepare(
        "SELECT DISTINCT lock.mode FROM pg_locks AS lock \
         JOIN pg_stat_activity AS activity ON activity.pid = lock.pid \
         JOIN pg_class AS class ON class.oid = lock.relation \
         WHERE starts_with(activity.application_name, 'pupctl/') \
            AND lock.relation = ANY ($1) AND NOT starts_with(class.relname, 'pupctl_')",
    )?;
    let mut seen = Seen { strongest: MODES[0], samples: 0 };
    while running.load(Ordering::Relaxed) {
        let rows = client.query(&modes, &[&there])?;
        seen.samples += usize::from(!rows.is_empty());
        for row in &rows {
            let found: String = row.get(0);
            let rank = |mode: &str| MODES.iter().position(|known| *known == mode);
            if rank(&found) > rank(seen.strongest) {
                seen.strongest =
                    MODES.iter().find(|known| **known == found).context("an unknown lock")?;
            }
        }
        thread::sleep(SAMPLE_EVERY);
    }
    Ok(seen)
}

/// How long each turn of a loop took.
type Times = Vec<Duration>;

/// Does the work while a writer and a reader go round, and gives back their times.
fn beside_traffic<T>(
    database: &Database,
    work: impl FnOnce() -> Result<T>,
) -> Result<([Times; 2], T)> {
    let running = AtomicBool::new(true);
    thread::scope(|scope| {
        let writer = scope.spawn(|| write(&mut database.client()?, &running));
        let reader = scope.spawn(|| read(database, &running));
        let done = work();
        running.store(false, Ordering::Relaxed);
        let writer = writer.join().expect("the writer does not panic")?;
        let reader = reader.join().expect("the reader does not panic")?;
        Ok(([writer, reader], done?))
    })
}

/// Inserts into the current month, through the parent, in the contexts in turn.
pub(crate) fn write(client: &mut Client, running: &AtomicBool) -> Result<Times> {
    let insert = client.prepare(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version, \
             event_id, event_type, payload) \
         VALUES ($1, 'Order', gen_random_uuid()::text, 1, gen_random_uuid(), 'Placed', '\\x00')",
    )?;
    let contexts = contexts(CONTEXTS);
    let mut times = Vec::new();
    for context in contexts.iter().cycle() {
        if !running.load(Ordering::Relaxed) {
            break;
        }
        let start = Instant::now();
        client.execute(&insert, &[context])?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// Reads an aggregate through the parent, pruned to one leaf while planning.
fn read(database: &Database, running: &AtomicBool) -> Result<Times> {
    let month = database.month()?;
    let mut client = database.client()?;
    let select = format!(
        "SELECT count(*) FROM events WHERE bounded_context = 'C01' \
         AND created_at >= '{month}-01 00:00+00' AND created_at < '{}-01 00:00+00' \
         AND aggregate_type = 'Order' AND aggregate_id = 'seed-500'",
        month.plus(1)
    );
    let mut times = Vec::new();
    while running.load(Ordering::Relaxed) {
        let start = Instant::now();
        client.simple_query(&select)?;
        times.push(start.elapsed());
    }
    Ok(times)
}

fn row(meanwhile: &str, name: &str, times: &mut Times) -> Vec<String> {
    let middle = percentile(times, 50);
    let longest = percentile(times, 100);
    vec![
        meanwhile.to_owned(),
        name.to_owned(),
        times.len().to_string(),
        milliseconds(middle),
        milliseconds(percentile(times, 99)),
        milliseconds(longest),
        format!("{:.0}", longest.as_secs_f64() / middle.as_secs_f64()),
    ]
}
