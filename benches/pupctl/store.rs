//! Stores for the measurements of the library, and writers that append to them.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use postgres::Client;

use crate::machine::{Database, Machine};

/// How often every way is measured; the figure is the one in the middle.
pub(crate) const ROUNDS: usize = 5;

/// How many appends an aggregate gets.
pub(crate) const APPENDS_EACH: usize = 10;

/// About what an event of a shop holds.
pub(crate) const PAYLOAD: &str = r#"{"customer": "c-20394", "currency": "EUR", "note": "",
    "lines": [{"sku": "P-000417", "count": 1, "cents": 1250},
        {"sku": "P-004112", "count": 3, "cents": 899}]}"#;

/// Makes a store. Where months divide it, `guarded` says whether it gets the guard.
pub(crate) fn store(
    machine: &Machine,
    name: &str,
    arguments: &[&str],
    guarded: bool,
) -> Result<Database> {
    let database = machine.database(name)?;
    let mut all = vec!["schema", "init", "--contexts", "Sales"];
    all.extend(arguments);
    if arguments.iter().any(|word| word.contains("month")) && !guarded {
        all.extend(["--guard", "none", "--allow-duplicate-versions"]);
    }
    database.pupctl(&all)?;
    Ok(database)
}

/// Appends a second, of so many writers at once that make so many each. `writer` connects, and
/// gives back what makes the append of a number.
pub(crate) fn throughput<W, A>(writers: usize, appends: usize, writer: W) -> Result<f64>
where
    W: Fn(usize) -> Result<A> + Sync,
    A: FnMut(usize) -> Result<()>,
{
    let barrier = Barrier::new(writers);
    let times: Vec<(Instant, Instant)> = thread::scope(|scope| {
        let running: Vec<_> = (0..writers)
            .map(|number| {
                let (writer, barrier) = (&writer, &barrier);
                scope.spawn(move || -> Result<(Instant, Instant)> {
                    let ready = writer(number);
                    // Also where it failed, so that the others do not wait forever.
                    barrier.wait();
                    let mut append = ready?;
                    let start = Instant::now();
                    (0..appends).try_for_each(&mut append)?;
                    Ok((start, Instant::now()))
                })
            })
            .collect();
        running.into_iter().map(|one| one.join().expect("no panic")).collect::<Result<_>>()
    })?;
    let start = times.iter().map(|(start, _)| *start).min().context("no writers")?;
    let end = times.iter().map(|(_, end)| *end).max().context("no writers")?;
    Ok(per_second(writers * appends, end - start))
}

/// So many a second.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// How a store is filled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filling {
    /// How many aggregates.
    pub(crate) aggregates: usize,
    /// How many events each has.
    pub(crate) events_each: usize,
    /// How many months up to the current one they lie in.
    pub(crate) months: i32,
}

impl Filling {
    pub(crate) fn events(self) -> usize {
        self.aggregates * self.events_each
    }

    /// Fills a store on the server. Aggregates with even numbers live for ten days, those with odd
    /// numbers from the first month to the last. The rows lie in the order of their times.
    pub(crate) fn fill(self, client: &mut Client) -> Result<()> {
        let Self { aggregates, events_each, months } = self;
        client.batch_execute("SET synchronous_commit = off; SET TimeZone = 'UTC'")?;
        client.batch_execute(&format!(
            "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, \
                 aggregate_version, event_id, event_type, payload, metadata, created_at) \
             SELECT 'Sales', 'Order', 'order-' || aggregate, version, gen_random_uuid(), \
                 'OrderChanged', convert_to('{PAYLOAD}', 'UTF8'), '{{\"user\": \"u-17\"}}', \
                 first + interval '1 microsecond' * aggregate + interval '1 second' * \
                 CASE WHEN aggregate % 2 = 0 \
                 THEN greatest(0, length * aggregate / {aggregates} \
                     - 864000 * ({events_each} - version)::float / {events_each}) \
                 ELSE length * (version - 1) / {events_each} END AS created_at \
             FROM (SELECT date_trunc('month', now()) - interval '1 month' * ({months} - 1)) \
                 AS months (first), \
                 LATERAL (SELECT extract(epoch FROM date_trunc('day', now()) - first)::float \
                     + 86400) AS time (length), \
                 generate_series(0, {aggregates} - 1) AS aggregate, \
                 generate_series(1, {events_each}) AS version \
             ORDER BY created_at"
        ))?;
        client.batch_execute(
            "INSERT INTO aggregate_heads (bounded_context, aggregate_type, aggregate_id, \
                 aggregate_version, updated_at) \
             SELECT bounded_context, aggregate_type, aggregate_id, max(aggregate_version), \
                 max(created_at) \
             FROM events GROUP BY 1, 2, 3",
        )?;
        Ok(client.batch_execute("VACUUM ANALYZE")?)
    }
}
