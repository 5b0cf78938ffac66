//! A read model in another database: handled at least once, counted once.
//!
//! The transaction of a batch ends with the store's checkpoint; another database commits by itself.
//! Where the batch is repeated after that, it gets the same events again. So it notes the ids of
//! those that it has, in the transaction that uses them. Here the connection to the store is lost
//! on purpose after the first batch is there, and before the store knows. The other database is the
//! same one, on a connection of its own. Ends by itself. See `examples/user_count.rs` for a server.
//!
//! ```console
//! $ cargo run --example idempotent
//! ```

mod support;

use std::process::ExitCode;
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use postgres::Client;
use pupctl::projection::{
    Event, HandlerError, ProcessorConfig, Projection, Runner, Transaction, Transient,
};
use support::{Result, Writer, connect, count, make_tables, say, target};
use uuid::Uuid;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS processed_events (
        projection text, event_id uuid, at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (projection, event_id));
    CREATE TABLE IF NOT EXISTS remote_orders (customer text PRIMARY KEY, orders bigint NOT NULL)";

/// Notes the events and uses those that are new, in one statement: one commit.
const ADD: &str = "
    WITH new AS (
        INSERT INTO processed_events (projection, event_id) SELECT $1, unnest($2::uuid[])
        ON CONFLICT DO NOTHING
        RETURNING event_id)
    INSERT INTO remote_orders
    SELECT customer, count(*)
    FROM unnest($2::uuid[], $3::text[]) AS event (event_id, customer)
    JOIN new USING (event_id)
    GROUP BY customer ORDER BY customer
    ON CONFLICT (customer) DO UPDATE SET orders = remote_orders.orders + excluded.orders";

struct RemoteOrders {
    /// One connection for all workers, in turns; with many workers take a pool.
    remote: Mutex<Client>,
    calls: AtomicUsize,
    store_was_away: AtomicBool,
}

impl Projection for RemoteOrders {
    fn name(&self) -> &'static str {
        "remote_orders"
    }

    fn bounded_contexts(&self) -> Vec<&str> {
        vec!["Sales"]
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        self.handle_batch(tx, slice::from_ref(event))
    }

    // The transaction of the batch is not used. A commit of the other database for each event would
    // take milliseconds each; this is one for each batch.
    fn handle_batch(&self, _: &mut Transaction<'_>, events: &[Event]) -> Result<(), HandlerError> {
        let ids: Vec<Uuid> = events.iter().map(|event| event.event_id).collect();
        let customers: Vec<&str> = events.iter().map(|event| event.aggregate_id.as_str()).collect();
        let mut remote = self.remote.lock().unwrap_or_else(PoisonError::into_inner);
        remote.execute(ADD, &[&self.name(), &ids, &customers])?;
        self.calls.fetch_add(events.len(), Ordering::Relaxed);
        if !self.store_was_away.swap(true, Ordering::Relaxed) {
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
    let (calls, store_was_away) = (AtomicUsize::new(0), AtomicBool::new(false));
    let projection = Arc::new(RemoteOrders { remote, calls, store_was_away });
    let mut runner = Runner::new(target);
    runner.add_shared(projection.clone(), ProcessorConfig::default().batch_size(500), 1)?;
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
