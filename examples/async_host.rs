//! Projections inside an asynchronous program: tokio in front, threads behind.
//!
//! The processor is synchronous. An asynchronous program gives it a thread with `spawn_blocking`,
//! and stops it by raising the `stopper`. Nothing of it may run on a thread of the runtime itself,
//! connecting neither. Ends by itself when all is handled; with `--forever` it runs until SIGTERM
//! or SIGINT. See `examples/user_count.rs` for a server.
//!
//! ```console
//! $ cargo run --example async_host
//! ```

mod support;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use pupctl::db::connect::Target;
use pupctl::projection::{Event, HandlerError, ProcessorConfig, Projection, Runner, Transaction};
use support::{Result, Writer, connect, count, make_tables, say, target};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;

const TABLES: &str = "CREATE TABLE IF NOT EXISTS async_orders (
    customer text PRIMARY KEY, orders bigint NOT NULL)";

const LEFT: &str = "SELECT (SELECT count(*) FROM events WHERE bounded_context = 'Sales')
    - (SELECT coalesce(sum(orders), 0)::bigint FROM async_orders)";

/// Run projections beside tokio
#[derive(Parser)]
struct Arguments {
    /// Run until SIGTERM or SIGINT.
    #[arg(long)]
    forever: bool,
}

#[derive(Default)]
struct Orders {
    handled: AtomicU64,
}

impl Projection for Orders {
    fn name(&self) -> &'static str {
        "async_orders"
    }

    fn bounded_contexts(&self) -> Vec<&str> {
        vec!["Sales"]
    }

    fn read_model(&self) -> Vec<&str> {
        vec!["async_orders"]
    }

    // A handler is synchronous too: it runs on a thread that may block.
    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        tx.execute(
            "INSERT INTO async_orders VALUES ($1, 1)
             ON CONFLICT (customer) DO UPDATE SET orders = async_orders.orders + 1",
            &[&event.aggregate_id],
        )?;
        self.handled.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    support::show(run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> Result {
    support::log();
    let (target, events) = spawn_blocking(prepare).await??;
    let orders = Arc::new(Orders::default());
    let mut runner = Runner::new(target);
    runner.add_shared(orders.clone(), ProcessorConfig::default().initial_slots(4), 2)?;
    let stopper = runner.stopper();
    let projections = spawn_blocking(move || runner.run());

    // What else the program does goes on meanwhile. The signals are its own business.
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut ticks = 0;
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while arguments.forever || orders.handled.load(Ordering::Relaxed) < events {
        tokio::select! {
            _ = tick.tick() => ticks += 1,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
        if projections.is_finished() {
            break;
        }
    }
    stopper.raise();
    let reports = projections.await??;
    say(format_args!("{} events handled, {ticks} ticks meanwhile", reports[0].events))
}

/// Makes the table, and appends events. The database, and how many events are to be handled.
fn prepare() -> Result<(Target, u64)> {
    let target = target()?;
    let mut client = connect(&target)?;
    make_tables(&mut client, TABLES)?;
    Writer::open(&target)?.place_orders(200, 20)?;
    let left = count(&mut client, LEFT)?;
    Ok((target, left.try_into()?))
}
