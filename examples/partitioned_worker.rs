//! One worker of many processes, pinned to its partition as pupsourcing's workers are.
//!
//! Each process gets a key of its own and the same total, from the environment or by arguments, and
//! handles the aggregates whose FNV-1a hash says so. Logs each batch at info and each event at
//! debug (`RUST_LOG=pupctl=debug`). Runs until SIGTERM or SIGINT; with `--until-caught-up` it ends
//! by itself. See `examples/user_count.rs` for a server.
//!
//! ```console
//! $ cargo run --example partitioned_worker -- --append 1000
//! $ PARTITION_KEY=0 TOTAL_PARTITIONS=2 cargo run --example partitioned_worker
//! $ cargo run --example partitioned_worker -- --partition-key 1 --total-partitions 2
//! ```

mod support;

use std::process::ExitCode;

use clap::Parser;
use pupctl::projection::{Event, HandlerError, ProcessorConfig, Projection, Runner, Transaction};
use support::{Result, Writer, connect, make_tables, say, target};

const TABLES: &str = "CREATE TABLE IF NOT EXISTS partitioned_orders (
    customer text PRIMARY KEY, orders bigint NOT NULL, process integer NOT NULL)";

/// Handle the orders of one partition
#[derive(Parser)]
struct Arguments {
    /// Which partition, from 0; else PARTITION_KEY.
    #[arg(long, requires = "total_partitions")]
    partition_key: Option<u32>,
    /// Of how many; else TOTAL_PARTITIONS.
    #[arg(long, requires = "partition_key")]
    total_partitions: Option<u32>,
    /// End when everything is handled that is there by now.
    #[arg(long)]
    until_caught_up: bool,
    /// Append so many events and end, without handling any.
    #[arg(long)]
    append: Option<usize>,
}

struct Orders;

impl Projection for Orders {
    fn name(&self) -> &'static str {
        "partitioned_orders"
    }

    fn bounded_contexts(&self) -> Vec<&str> {
        vec!["Sales"]
    }

    fn read_model(&self) -> Vec<&str> {
        vec!["partitioned_orders"]
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        tx.execute(
            "INSERT INTO partitioned_orders VALUES ($1, 1, $2) ON CONFLICT (customer)
             DO UPDATE SET orders = partitioned_orders.orders + 1, process = excluded.process",
            &[&event.aggregate_id, &std::process::id().cast_signed()],
        )?;
        Ok(())
    }
}

fn main() -> ExitCode {
    support::show(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result {
    support::log();
    let target = target()?;
    make_tables(&mut connect(&target)?, TABLES)?;
    if let Some(events) = arguments.append {
        Writer::open(&target)?.place_orders(events, 50)?;
        return say(format_args!("{events} events appended"));
    }

    let config = ProcessorConfig::default();
    let config = match (arguments.partition_key, arguments.total_partitions) {
        (Some(key), Some(total)) => config.pinned(key, total),
        _ => config.pinned_by_environment()?,
    };
    let slots = config.slots;
    let mut runner = Runner::new(target);
    runner.add(Orders, config, 1)?.stop_on_signals()?;
    let reports =
        if arguments.until_caught_up { runner.run_until_caught_up()? } else { runner.run()? };
    say(format_args!("{slots:?}: {} events handled", reports[0].events))
}
