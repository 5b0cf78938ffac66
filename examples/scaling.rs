//! From one worker to many while events come in: nothing is told to those that run already.
//!
//! The handler is slow (2 ms an event), so that one worker falls behind the writer. Every step
//! starts one more worker, as a process of its own: it claims its share of the slots, batch by
//! batch. In the end the writer stops, the rest is handled, and the workers are stopped by SIGTERM.
//! Ends by itself. See `examples/user_count.rs` for a server.
//!
//! ```console
//! $ cargo run --example scaling
//! $ cargo run --example scaling -- --workers 6 --step 5s --per-second 2000
//! ```

mod support;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Parser;
use postgres::Client;
use pupctl::db::connect::Target;
use pupctl::projection::{Event, HandlerError, ProcessorConfig, Projection, Runner, Transaction};
use support::{Process, Result, Writer, connect, count, make_tables, say, target, wait_until};

const TABLES: &str = "CREATE TABLE IF NOT EXISTS scaled_orders (
    customer text PRIMARY KEY, orders bigint NOT NULL)";

const PLACED: &str = "SELECT count(*) FROM events WHERE bounded_context = 'Sales'";
const HANDLED: &str = "SELECT coalesce(sum(orders), 0)::bigint FROM scaled_orders";
const LAG: &str = "SELECT coalesce(max(e.last) - min(last_global_position), 0)
    FROM projection_checkpoints, (SELECT max(global_position) AS last FROM events) AS e
    WHERE projection = 'scaled_orders'";

/// Add workers while events come in
#[derive(Parser)]
struct Arguments {
    /// How many workers to end with.
    #[arg(long, default_value_t = 4)]
    workers: usize,
    /// How long until the next one.
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    step: Duration,
    /// How many events come in.
    #[arg(long, default_value_t = 1000)]
    per_second: usize,
    /// Be a worker, until SIGTERM.
    #[arg(long, hide = true)]
    worker: bool,
}

struct Orders;

impl Projection for Orders {
    fn name(&self) -> &'static str {
        "scaled_orders"
    }

    fn bounded_contexts(&self) -> Vec<&str> {
        vec!["Sales"]
    }

    fn read_model(&self) -> Vec<&str> {
        vec!["scaled_orders"]
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        sleep(Duration::from_millis(2));
        tx.execute(
            "INSERT INTO scaled_orders VALUES ($1, 1)
             ON CONFLICT (customer) DO UPDATE SET orders = scaled_orders.orders + 1",
            &[&event.aggregate_id],
        )?;
        Ok(())
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    support::show(if arguments.worker { work() } else { scale(&arguments) })
}

fn work() -> Result {
    support::log();
    // More slots than there will ever be workers, and what `pupctl projections rescale` makes of
    // them later; a slow handler wants small batches.
    let config = ProcessorConfig::default().initial_slots(16).batch_size(20);
    let mut runner = Runner::new(target()?);
    runner.add(Orders, config, 1)?.stop_on_signals()?;
    runner.run()?;
    Ok(())
}

fn scale(arguments: &Arguments) -> Result {
    let target = target()?;
    let mut client = connect(&target)?;
    make_tables(&mut client, TABLES)?;

    let done = AtomicBool::new(false);
    let mut workers = std::thread::scope(|scope| -> Result<_> {
        let writer = scope.spawn(|| write(&target, arguments.per_second, &done));
        let workers = add_workers(arguments, &mut client);
        done.store(true, Ordering::Relaxed);
        writer.join().map_err(|_| "the writer panicked")??;
        workers
    })?;
    let placed = count(&mut client, PLACED)?;
    wait_until("all is handled", || {
        // One that has ended would be waited for in vain. It has said why.
        workers.iter_mut().try_for_each(Process::check)?;
        Ok(count(&mut client, HANDLED)? >= placed)
    })?;
    workers.into_iter().try_for_each(Process::stop)?;
    say(format_args!("{placed} events placed, {} handled", count(&mut client, HANDLED)?))
}

fn add_workers(arguments: &Arguments, client: &mut Client) -> Result<Vec<Process>> {
    let mut workers = Vec::new();
    for number in 1..=arguments.workers {
        workers.push(Process::start(&["--worker"])?);
        let (start, before) = (Instant::now(), count(client, HANDLED)?);
        sleep(arguments.step);
        workers.iter_mut().try_for_each(Process::check)?;
        let handled = f64::from(u32::try_from(count(client, HANDLED)? - before)?);
        say(format_args!(
            "workers: {number}, {:.0} events/s, {} behind",
            handled / start.elapsed().as_secs_f64(),
            count(client, LAG)?
        ))?;
    }
    Ok(workers)
}

fn write(target: &Target, per_second: usize, done: &AtomicBool) -> Result {
    let mut writer = Writer::open(target)?;
    while !done.load(Ordering::Relaxed) {
        let start = Instant::now();
        writer.place_orders(per_second / 10, 20)?;
        sleep(Duration::from_millis(100).saturating_sub(start.elapsed()));
    }
    Ok(())
}
