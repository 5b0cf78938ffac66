//! A hot worker, and a cold one that takes over when it is gone.
//!
//! Both are pinned to the same slot. Whoever holds the lock of its checkpoint works; the other one
//! passes by and looks again. When the hot one is killed in the middle of a batch, the server takes
//! that batch back and frees the lock, and the cold one goes on from the last commit: no lease has
//! to run out, and nothing is handled twice. Ends by itself. See `examples/user_count.rs` for a
//! server.
//!
//! ```console
//! $ cargo run --example hot_cold
//! ```

mod support;

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use pupctl::projection::{Event, HandlerError, ProcessorConfig, Projection, Runner, Transaction};
use support::{Process, Result, Writer, connect, count, make_tables, say, target, wait_until};

/// An event that is handled twice would violate the key, and stop the projection.
const TABLES: &str = "CREATE TABLE IF NOT EXISTS hot_cold (
    position bigint PRIMARY KEY, handled_by text NOT NULL, at timestamptz NOT NULL)";

const HANDLED: &str = "SELECT count(*) FROM hot_cold";
const BY_COLD: &str = "SELECT count(*) FROM hot_cold WHERE handled_by = 'cold'";
const LEFT: &str = "SELECT count(*) FROM events
    WHERE bounded_context = 'Sales' AND NOT EXISTS (
        SELECT FROM hot_cold WHERE position = global_position)";

/// Kill a worker and see another one take over
#[derive(Parser)]
struct Arguments {
    /// Be a worker, until SIGTERM.
    #[arg(long)]
    role: Option<Role>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    Hot,
    Cold,
}

struct Orders(Role);

impl Projection for Orders {
    fn name(&self) -> &'static str {
        "hot_cold"
    }

    fn bounded_contexts(&self) -> Vec<&str> {
        vec!["Sales"]
    }

    fn read_model(&self) -> Vec<&str> {
        vec!["hot_cold"]
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        let name = match self.0 {
            Role::Hot => "hot",
            Role::Cold => "cold",
        };
        tx.execute(
            "INSERT INTO hot_cold VALUES ($1, $2, clock_timestamp())",
            &[&event.global_position, &name],
        )?;
        Ok(())
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    support::show(arguments.role.map_or_else(demonstrate, work))
}

fn work(role: Role) -> Result {
    support::log();
    let mut runner = Runner::new(target()?);
    runner.add(Orders(role), ProcessorConfig::default().pinned(0, 1), 1)?.stop_on_signals()?;
    runner.run()?;
    Ok(())
}

fn demonstrate() -> Result {
    let target = target()?;
    let mut client = connect(&target)?;
    make_tables(&mut client, TABLES)?;
    let mut writer = Writer::open(&target)?;
    let by_cold = count(&mut client, BY_COLD)?;

    writer.place_orders(100, 10)?;
    let mut hot = Process::start(&["--role", "hot"])?;
    wait_until("the hot one has handled all", || {
        hot.check()?;
        Ok(count(&mut client, LEFT)? == 0)
    })?;
    let before = count(&mut client, HANDLED)?;
    let mut cold = Process::start(&["--role", "cold"])?;
    writer.place_orders(1000, 10)?;
    wait_until("they work", || Ok(count(&mut client, HANDLED)? >= before + 100))?;

    // Dropped, it is killed as by `kill -9`, wherever it is.
    drop(hot);
    let (killed, at_kill) = (Instant::now(), count(&mut client, HANDLED)?);
    writer.place_orders(100, 10)?;
    wait_until("the cold one takes over", || Ok(count(&mut client, HANDLED)? > at_kill))?;
    say(format_args!("the cold one went on after {} ms", killed.elapsed().as_millis()))?;
    wait_until("all is handled", || {
        cold.check()?;
        Ok(count(&mut client, LEFT)? == 0)
    })?;
    cold.stop()?;
    say(format_args!(
        "the cold one handled {} of {} events, each handled once",
        count(&mut client, BY_COLD)? - by_cold,
        count(&mut client, HANDLED)? - before
    ))
}
