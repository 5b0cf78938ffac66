//! Many workers in one process: a pool that shares the slots of one projection.
//!
//! Appends orders, and lets the pool handle them. One instance of the projection serves all
//! workers, so what it keeps in memory is atomic. Ends by itself. See `examples/user_count.rs` for
//! a server.
//!
//! ```console
//! $ cargo run --example worker_pool
//! $ cargo run --example worker_pool -- --workers 8 --slots 8 --handler-time 5ms
//! ```

mod support;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Parser;
use pupctl::projection::{Event, HandlerError, ProcessorConfig, Projection, Runner, Transaction};
use support::{Result, Writer, connect, count, make_tables, say, target};

const TABLES: &str = "CREATE TABLE IF NOT EXISTS pool_orders (
    customer text PRIMARY KEY, orders bigint NOT NULL)";

/// Handle orders with many workers
#[derive(Parser)]
struct Arguments {
    /// How many workers, each with a thread and a connection.
    #[arg(long, default_value_t = 4)]
    workers: usize,
    /// How many slots, where the projection starts for the first time.
    #[arg(long, default_value_t = 8)]
    slots: u32,
    /// How many events to append before.
    #[arg(long, default_value_t = 1000)]
    events: usize,
    /// Of how many customers they are: each one's events are in one slot.
    #[arg(long, default_value_t = 100)]
    customers: usize,
    /// The most events of a batch.
    #[arg(long, default_value_t = 100)]
    batch_size: usize,
    /// What the handler takes for an event beside its statement, as a call of another system would.
    #[arg(long, default_value = "0ms", value_parser = humantime::parse_duration)]
    handler_time: Duration,
}

struct Orders {
    /// All workers add to it, at the same time.
    handled: AtomicU64,
    handler_time: Duration,
}

impl Projection for Orders {
    fn name(&self) -> &'static str {
        "pool_orders"
    }

    fn bounded_contexts(&self) -> Vec<&str> {
        vec!["Sales"]
    }

    fn read_model(&self) -> Vec<&str> {
        vec!["pool_orders"]
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        sleep(self.handler_time);
        // A customer's events are all in one slot, so no two workers want the same row.
        tx.execute(
            "INSERT INTO pool_orders VALUES ($1, 1)
             ON CONFLICT (customer) DO UPDATE SET orders = pool_orders.orders + 1",
            &[&event.aggregate_id],
        )?;
        self.handled.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn main() -> ExitCode {
    support::show(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result {
    support::log();
    let target = target()?;
    let mut client = connect(&target)?;
    make_tables(&mut client, TABLES)?;
    Writer::open(&target)?.place_orders(arguments.events, arguments.customers)?;

    let orders =
        Arc::new(Orders { handled: AtomicU64::new(0), handler_time: arguments.handler_time });
    let config =
        ProcessorConfig::default().initial_slots(arguments.slots).batch_size(arguments.batch_size);
    let mut runner = Runner::new(target);
    runner.add_shared(orders.clone(), config, arguments.workers)?;
    runner.stop_on_signals()?;
    let start = Instant::now();
    let reports = runner.run_until_caught_up()?;
    let seconds = start.elapsed().as_secs_f64();

    let handled = orders.handled.load(Ordering::Relaxed);
    say(format_args!(
        "{} workers handled {handled} events in {} batches: {:.0} events/s",
        arguments.workers,
        reports[0].batches,
        f64::from(u32::try_from(handled)?) / seconds
    ))?;
    let placed = "SELECT count(*) FROM events WHERE bounded_context = 'Sales'";
    say(format_args!(
        "{} orders were placed, {} are in the read model",
        count(&mut client, placed)?,
        count(&mut client, "SELECT sum(orders)::bigint FROM pool_orders")?
    ))
}
