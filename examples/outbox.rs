//! An outbox: messages for another system, written with the checkpoint and sent from a table.
//!
//! The projection writes a message for each event that others want, exactly once. Senders take
//! messages with SKIP LOCKED, deliver them, and delete them in the same transaction. A sender that
//! dies between delivery and commit leaves the message to another one: it is delivered at least
//! once, always with the same key (the id of the event), by which the receiver knows it. Here one
//! sender dies on purpose. Ends by itself. See `examples/user_count.rs` for a server.
//!
//! ```console
//! $ cargo run --example outbox
//! ```

mod support;

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use postgres::Client;
use pupctl::projection::{Event, HandlerError, ProcessorConfig, Projection, Runner, Transaction};
use support::{Result, Writer, connect, count, make_tables, say, target};
use uuid::Uuid;

const TABLES: &str = "CREATE TABLE IF NOT EXISTS outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key uuid NOT NULL UNIQUE, topic text NOT NULL, body bytea NOT NULL)";

struct Outbox;

impl Projection for Outbox {
    fn name(&self) -> &'static str {
        "outbox"
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        if event.event_type == "OrderPlaced" {
            tx.execute(
                "INSERT INTO outbox (key, topic, body) VALUES ($1, 'orders', $2)",
                &[&event.event_id, &event.payload],
            )?;
        }
        Ok(())
    }
}

/// The other system. It keeps the first message of each key.
#[derive(Default)]
struct Broker {
    messages: Mutex<HashMap<Uuid, Vec<u8>>>,
    deliveries: Mutex<u32>,
}

impl Broker {
    fn deliver(&self, key: Uuid, body: Vec<u8>) {
        *self.deliveries.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert(body);
    }
}

/// Sends until nothing is left; with `dies` it ends in the middle of its first transaction.
///
/// With one sender messages leave in their order. With several, those of an aggregate may overtake
/// each other: where that matters, divide the outbox by a hash of the aggregate.
fn send(client: &mut Client, broker: &Broker, dies: &AtomicBool) -> Result {
    loop {
        let mut transaction = client.transaction()?;
        let messages = transaction.query(
            "SELECT id, key, body FROM outbox ORDER BY id LIMIT 10 FOR UPDATE SKIP LOCKED",
            &[],
        )?;
        for message in &messages {
            broker.deliver(message.get("key"), message.get("body"));
        }
        if dies.swap(false, Ordering::Relaxed) && !messages.is_empty() {
            return Ok(());
        }
        let ids: Vec<i64> = messages.iter().map(|message| message.get("id")).collect();
        transaction.execute("DELETE FROM outbox WHERE id = ANY ($1)", &[&ids])?;
        transaction.commit()?;
        if messages.is_empty() {
            return Ok(());
        }
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
    Writer::open(&target)?.place_orders(60, 6)?;

    let mut runner = Runner::new(target.clone());
    runner.add(Outbox, ProcessorConfig::default(), 1)?.stop_on_signals()?;
    let written = runner.run_until_caught_up()?[0].events;

    let (broker, dies) = (Broker::default(), AtomicBool::new(true));
    let left = "SELECT count(*) FROM outbox";
    while count(&mut client, left)? > 0 {
        std::thread::scope(|scope| -> Result {
            let sender = || send(&mut connect(&target)?, &broker, &dies);
            let senders = [scope.spawn(sender), scope.spawn(sender)];
            for sender in senders {
                sender.join().map_err(|_| "a sender panicked")??;
            }
            Ok(())
        })?;
        std::thread::sleep(Duration::from_millis(10));
    }
    let deliveries = *broker.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
    let messages = broker.messages.lock().unwrap_or_else(PoisonError::into_inner).len();
    say(format_args!("{written} events, {deliveries} deliveries, {messages} messages received"))
}
