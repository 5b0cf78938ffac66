//! A store that gets months as partitions while its writers go on: the copy beside the same by
//! hand, what writers notice, the attachment of the old table, and its division afterwards.

mod attach;
mod by_hand;
mod old;
mod watch;
mod writers;

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};

use crate::machine::{Database, Machine};
use crate::report::{median, milliseconds, ratio, say, seconds, table};

use by_hand::leaves;
use watch::{Run, run as watched};

/// How often the copy is made, in turns with the limit.
const ROUNDS: usize = 3;

/// What no run may hold, in bytes.
const MEMORY_MAX: u64 = 100 << 20;

/// What is wanted of the layout in every command.
const MONTHS: [&str; 2] = ["--partition-by", "month"];

/// What is tried beside writers, after the name of the command.
const VARIANTS: [&[&str]; 2] = [&[], &["--jobs", "1", "--load", "25"]];

/// How long the writers are alone.
const CALM: Duration = Duration::from_secs(10);

pub(crate) fn run(_: &Machine, quick: bool) -> Result<()> {
    // What a copy does to the commits of others shows only where these wait for the disk.
    let machine = &Machine::durable()?;
    let events = if quick { 200_000 } else { 2_000_000 };
    let database = old::store(machine, "convert_copy", events)?;
    copy(&database, events, if quick { 1 } else { ROUNDS })?;
    beside_writers(&database, quick)?;
    machine.remove(&database)?;
    attach::run(machine, quick)
}

/// Every phase, beside the same by hand.
fn copy(database: &Database, events: i64, rounds: usize) -> Result<()> {
    let mut times: [Vec<Duration>; 7] = Default::default();
    let mut peak = 0;
    for _ in 0..rounds {
        let start = convert(database, "start", &[])?;
        let leaves = leaves(&mut database.client()?)?;
        let swap = watched(database, &["convert", "swap"])?;
        watched(database, &["convert", "rollback"])?;
        database.client()?.batch_execute("CHECKPOINT")?;
        let [copied, built] = by_hand::copy(database, &leaves)?;
        database.client()?.batch_execute("CHECKPOINT")?;
        peak = peak.max(start.peak).max(swap.peak);
        let found = [
            start.between("copying", "indexing")?,
            copied,
            start.between("indexing", "verifying")?,
            built,
            start.between("copying", "verifying")?,
            copied + built,
            start.took + swap.took,
        ];
        times.iter_mut().zip(found).for_each(|(times, found)| times.push(found));
    }
    let times = times.each_mut().map(|times| median(times));
    let line = |name: &str, own: usize, limit: usize| {
        let rate = |time: Duration| format!("{:.0}", per_second(events, time));
        let (own, limit) = (times[own], times[limit]);
        let [own_rate, limit_rate] = [rate(own), rate(limit)];
        vec![name.to_owned(), ratio(limit, own), seconds(own), seconds(limit), own_rate, limit_rate]
    };
    table(
        &format!("Conversion of {events} events to months, two sessions"),
        &["what", "limit / pupctl", "pupctl", "limit", "rows/s", "rows/s of the limit"],
        &[
            line("the copy", 0, 1),
            line("keys and indexes", 2, 3),
            line("both", 4, 5),
            line("all of it, proven and swapped", 6, 5),
        ],
    );
    say(format!("\nMemory of pupctl: at most {} MiB", peak >> 20));
    ensure!(peak < MEMORY_MAX, "it holds more than {} MiB", MEMORY_MAX >> 20);
    Ok(())
}

fn convert(database: &Database, verb: &str, more: &[&str]) -> Result<Run> {
    // Others may use the machine as well.
    let patience = ["--lock-budget", "2m"].as_slice();
    let arguments = [&["convert", verb], MONTHS.as_slice(), patience, more].concat();
    watched(database, &arguments)
}

/// What writers notice of a whole conversion.
fn beside_writers(database: &Database, quick: bool) -> Result<()> {
    let calm = if quick { CALM / 4 } else { CALM };
    let (mut rows, mut phases) = (Vec::new(), Vec::new());
    let nothing = || {
        std::thread::sleep(calm);
        Ok(())
    };
    let (before, ()) = writers::beside(database, "calm", nothing)?;
    rows.push(row("nothing", calm, &before, None));
    for (number, more) in VARIANTS.iter().enumerate() {
        let name = format!("convert run {}", more.join(" "));
        let work = || convert(database, "run", more);
        let (seen, run) = writers::beside(database, &format!("run{number}"), work)?;
        rows.push(row(&name, run.took, &seen, Some(&run)));
        phases.extend(in_phases(&name, &seen, &run));
        if number == 0 {
            let leaves = leaves(&mut database.client()?)?;
            watched(database, &["convert", "rollback"])?;
            let work = || by_hand::copy(database, &leaves);
            let (seen, [copied, built]) = writers::beside(database, "hand", work)?;
            rows.push(row("the copy by hand, no swap", copied + built, &seen, None));
        } else {
            watched(database, &["convert", "rollback"])?;
        }
    }
    let (after, ()) = writers::beside(database, "after", nothing)?;
    rows.push(row("nothing", calm, &after, None));
    let head = ["meanwhile", "took", "appends", "p50", "p99", "longest", "again", "writers out"];
    table("Writers at 2,000 appends a second, 8 connections", &head, &rows);
    let head = ["command", "phase", "took", "appends", "p50", "p99", "longest"];
    table("The same by phases", &head, &phases);
    Ok(())
}

fn row(name: &str, took: Duration, seen: &writers::Seen, run: Option<&Run>) -> Vec<String> {
    let mut row = vec![name.to_owned(), seconds(took)];
    row.extend(writers::cells(&mut seen.all()));
    row.push(seen.failed.to_string());
    let stall = run.and_then(|run| run.stall("writers_us").ok());
    row.push(stall.map_or("-".to_owned(), milliseconds));
    row
}

fn in_phases(name: &str, seen: &writers::Seen, run: &Run) -> Vec<Vec<String>> {
    let ends = run.phases.iter().skip(1).map(|(_, at)| *at);
    let ends = ends.chain([SystemTime::now()]);
    let phase = |((phase, from), to): (&(String, SystemTime), SystemTime)| {
        let took = to.duration_since(*from).unwrap_or_default();
        let mut row = vec![name.to_owned(), phase.clone(), seconds(took)];
        row.extend(writers::cells(&mut seen.within(*from, to)));
        row
    };
    run.phases.iter().zip(ends).map(phase).collect()
}

#[allow(clippy::cast_precision_loss)]
fn per_second(events: i64, time: Duration) -> f64 {
    events as f64 / time.as_secs_f64()
}
