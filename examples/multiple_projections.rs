//! Several projections in one process: each has its own scope, checkpoint and pace.
//!
//! One counts users and reads events of one context; one counts all events by type, a batch in one
//! statement; one keeps an audit log of all. They share the settled position, and nothing else: one
//! that fails does not stop the others. The fourth adds up orders, of which one says no number:
//! that one is parked with the later ones of its customer, and all others are handled. Ends by
//! itself. See `examples/user_count.rs` for a server.
//!
//! ```console
//! $ cargo run --example multiple_projections
//! ```

mod support;

use std::process::ExitCode;

use postgres::Client;
use pupctl::projection::{
    ErrorPolicy, Event, HandlerError, ProcessorConfig, Projection, Runner, Transaction,
};
use pupctl::store::StreamId;
use serde::Deserialize;
use serde_json::json;
use support::{Result, Writer, connect, count, make_tables, say, target};

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS users (id text PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS event_statistics (
        event_type text PRIMARY KEY, events bigint NOT NULL);
    CREATE TABLE IF NOT EXISTS audit_log (
        position bigint PRIMARY KEY, at timestamptz NOT NULL, line text NOT NULL);
    CREATE TABLE IF NOT EXISTS turnover (customer text PRIMARY KEY, cents bigint NOT NULL)";

const LETTERS: &str = "SELECT state, aggregate_id, error FROM projection_dead_letters
    WHERE projection = 'turnover' ORDER BY global_position";

struct Users;

impl Projection for Users {
    fn name(&self) -> &'static str {
        "users"
    }

    fn bounded_contexts(&self) -> Vec<&str> {
        vec!["Identity"]
    }

    fn aggregate_types(&self) -> Vec<&str> {
        vec!["User"]
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        if event.event_type == "UserRegistered" {
            tx.execute("INSERT INTO users VALUES ($1)", &[&event.aggregate_id])?;
        }
        Ok(())
    }
}

struct Statistics;

impl Projection for Statistics {
    fn name(&self) -> &'static str {
        "event_statistics"
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        self.handle_batch(tx, std::slice::from_ref(event))
    }

    // One statement for a batch, instead of one for each event: ten times as fast.
    fn handle_batch(&self, tx: &mut Transaction<'_>, events: &[Event]) -> Result<(), HandlerError> {
        let types: Vec<&str> = events.iter().map(|event| event.event_type.as_str()).collect();
        tx.execute(
            "INSERT INTO event_statistics
             SELECT event_type, count(*) FROM unnest($1::text[]) AS event_type GROUP BY event_type
             ON CONFLICT (event_type)
             DO UPDATE SET events = event_statistics.events + excluded.events",
            &[&types],
        )?;
        Ok(())
    }
}

struct AuditLog;

impl Projection for AuditLog {
    fn name(&self) -> &'static str {
        "audit_log"
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        let line = format!("{} {}", event.stream(), event.event_type);
        tx.execute(
            "INSERT INTO audit_log VALUES ($1, $2, $3)",
            &[&event.global_position, &event.created_at, &line],
        )?;
        Ok(())
    }
}

#[derive(Deserialize)]
struct Order {
    cents: i64,
}

struct Turnover;

impl Projection for Turnover {
    fn name(&self) -> &'static str {
        "turnover"
    }

    fn bounded_contexts(&self) -> Vec<&str> {
        vec!["Sales"]
    }

    // An error here is one event's, not the projection's: it was added with `ErrorPolicy::Park`.
    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        let order: Order = serde_json::from_slice(&event.payload)?;
        tx.execute(
            "INSERT INTO turnover VALUES ($1, $2)
             ON CONFLICT (customer) DO UPDATE SET cents = turnover.cents + excluded.cents",
            &[&event.aggregate_id, &order.cents],
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
    make_tables(&mut client, TABLES)?;
    let mut writer = Writer::open(&target)?;
    writer.place_orders(20, 5)?;
    let unreadable = StreamId::new("Sales", "Order", "customer-of-old");
    writer.append(&unreadable, "OrderPlaced", &[json!({"cents": "a lot"}), json!({"cents": 1})])?;
    for id in writer.ids(3)? {
        let user = StreamId::new("Identity", "User", id.to_string());
        writer.append(&user, "UserRegistered", &[json!({})])?;
    }

    let mut runner = Runner::new(target);
    runner.add(Users, ProcessorConfig::default(), 1)?;
    runner.add(Statistics, ProcessorConfig::default().batch_size(1000), 1)?;
    runner.add(AuditLog, ProcessorConfig::default(), 1)?;
    runner.add(Turnover, ProcessorConfig::default().on_error(ErrorPolicy::Park), 1)?;
    runner.stop_on_signals()?;
    for report in runner.run_until_caught_up()? {
        say(format_args!("{}: {} events handled", report.projection, report.events))?;
    }
    say(format_args!(
        "{} users, {} types of events, {} lines in the audit log, {} cents",
        count(&mut client, "SELECT count(*) FROM users")?,
        count(&mut client, "SELECT count(*) FROM event_statistics")?,
        count(&mut client, "SELECT count(*) FROM audit_log")?,
        count(&mut client, "SELECT sum(cents)::bigint FROM turnover")?
    ))?;
    show_letters(&mut client)
}

/// What `pupctl projections dead-letters list turnover` does. With a handler that understands them,
/// `pupctl projections dead-letters replay turnover --all` has them handled.
fn show_letters(client: &mut Client) -> Result {
    for row in client.query(LETTERS, &[])? {
        let (state, customer): (&str, &str) = (row.get("state"), row.get("aggregate_id"));
        let error: Option<&str> = row.get("error");
        let why = error.unwrap_or("an earlier one of the customer failed");
        say(format_args!("dead letter of {customer}: {state}, {why}"))?;
    }
    Ok(())
}
