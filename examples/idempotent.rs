//! A read model in another database: handled at least once, counted once.
//!
//! The transaction of a batch ends with the store's checkpoint; another database commits by itself.
//! Where the batch is repeated after that, it gets the same events again. So it notes the ids of
//! those that it has, in the transaction that uses them. Here the connection to the store is lost
//! on purpose in the middle of a batch. The other database is the same one, on a connection of its
//! own. Ends by itself. See `examples/user_count.rs` for a server.
//!
//! ```console
//! $ cargo run --example idempotent
//! ```

mod support;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use postgres::Client;
use pupctl::projection::{
    Event, HandlerError, ProcessorConfig, Projection, Runner, Transaction, Transient,
};
use support::{Result, Writer, connect, count, make_tables, say, target};

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS processed_events (
        projection text, event_id uuid, at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (projection, event_id));
    CREATE TABLE IF NOT EXISTS remote_orders (customer text PRIMARY KEY, orders bigint NOT NULL)";

struct RemoteOrders {
    /// One connection for all workers, in turns; with many workers take a pool.
    remote: Mutex<Client>,
    calls: AtomicU64,
}

impl Projection for RemoteOrders {
    fn name(&self) -> &'static str {
        "remote_orders"
    }

    fn bounded_contexts(&self) -> Vec<&str> {
        vec!["Sales"]
    }

    // The transaction of the batch is not used.
    fn handle(&self, _: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        let mut remote = self.remote.lock().unwrap_or_else(PoisonError::into_inner);
        let mut transaction = remote.transaction()?;
        let is_new = transaction.execute(
            "INSERT INTO processed_events (projection, event_id) VALUES ($1, $2)
             ON CONFLICT DO NOTHING",
            &[&self.name(), &event.event_id],
        )?;
        if is_new == 1 {
            transaction.execute(
                "INSERT INTO remote_orders VALUES ($1, 1)
                 ON CONFLICT (customer) DO UPDATE SET orders = remote_orders.orders + 1",
                &[&event.aggregate_id],
            )?;
        }
        transaction.commit()?;
        if self.calls.fetch_add(1, Ordering::Relaxed) == 14 {
            // What passes by itself is tried again, on a fresh connection.
            return Err(Transient("the store is away, let us say".into()).into());
        }
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
    make_tables(&mut client, TABLES)?;
    Writer::open(&target)?.place_orders(50, 5)?;

    let remote = Mutex::new(connect(&target)?);
    let projection = Arc::new(RemoteOrders { remote, calls: AtomicU64::new(0) });
    let mut runner = Runner::new(target);
    runner.add_shared(projection.clone(), ProcessorConfig::default().batch_size(20), 1)?;
    runner.stop_on_signals()?;
    let reports = runner.run_until_caught_up()?;
    say(format_args!(
        "{} events, handled {} times",
        reports[0].events,
        projection.calls.load(Ordering::Relaxed)
    ))?;
    let placed = "SELECT count(*) FROM events WHERE bounded_context = 'Sales'";
    say(format_args!(
        "{} orders were placed, the other database has {}",
        count(&mut client, placed)?,
        count(&mut client, "SELECT sum(orders)::bigint FROM remote_orders")?
    ))
}
