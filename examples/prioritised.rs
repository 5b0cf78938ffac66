//! Projections of different weight: four workers for what matters, two and one for the rest.
//!
//! What nobody waits for gets few workers and large batches: it catches up later and takes little
//! of the server meanwhile. Ends by itself. See `examples/user_count.rs` for a server.
//!
//! ```console
//! $ cargo run --example prioritised
//! ```

mod support;

use std::process::ExitCode;
use std::time::Duration;

use pupctl::projection::{Event, HandlerError, ProcessorConfig, Projection, Runner, Transaction};
use support::{Result, Writer, connect, count, make_tables, say, target};

/// The name of a projection, its slots and workers, and its batches.
const PRIORITIES: [(&str, u32, usize); 3] =
    [("stock_levels", 4, 50), ("analytics", 2, 500), ("monthly_report", 1, 2000)];

/// A read model that counts, under one of these names.
struct Counter(&'static str);

impl Projection for Counter {
    fn name(&self) -> &'static str {
        self.0
    }

    fn bounded_contexts(&self) -> Vec<&str> {
        vec!["Sales"]
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        tx.execute(
            "INSERT INTO priorities VALUES ($1, $2, 1) ON CONFLICT (projection, customer)
             DO UPDATE SET orders = priorities.orders + 1",
            &[&self.0, &event.aggregate_id],
        )?;
        Ok(())
    }
}

fn main() -> ExitCode {
    support::show(run())
}

fn run() -> Result {
    support::log();
    let target = target()?;
    let mut client = connect(&target)?;
    make_tables(
        &mut client,
        "CREATE TABLE IF NOT EXISTS priorities (
            projection text, customer text, orders bigint NOT NULL,
            PRIMARY KEY (projection, customer))",
    )?;
    Writer::open(&target)?.place_orders(400, 40)?;

    let mut runner = Runner::new(target);
    for (name, slots, batch_size) in PRIORITIES {
        let config = ProcessorConfig::default().initial_slots(slots).batch_size(batch_size);
        // The report may look for news once a second; the stock is looked at every 50 ms.
        let config = if slots == 1 { config.poll_interval(Duration::from_secs(1)) } else { config };
        runner.add(Counter(name), config, slots as usize)?;
    }
    runner.stop_on_signals()?;
    let reports = runner.run_until_caught_up()?;
    for (report, (_, workers, _)) in reports.iter().zip(PRIORITIES) {
        say(format_args!(
            "{}: workers {workers}, events {}, up to position {}",
            report.projection, report.events, report.position
        ))?;
    }
    let whole = "SELECT count(*) FROM (
        SELECT FROM priorities GROUP BY projection HAVING sum(orders) =
            (SELECT count(*) FROM events WHERE bounded_context = 'Sales')) AS whole";
    say(format_args!("{} read models are complete", count(&mut client, whole)?))
}
