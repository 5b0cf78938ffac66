//! Appends events to a store: `cargo run --example append`.
//!
//! Connects as pupctl does. With a private server:
//!
//! ```console
//! $ pupctl schema init --embedded --partition-by month
//! $ export PUPCTL_DATABASE_URL=$(pupctl embedded url)
//! $ cargo run --example append
//! ```

use std::io::{Write, stdout};

use postgres::Client;
use pupctl::db::connect::{Session, Sources, Target};
use pupctl::store::{AppendError, Appended, ExpectedVersion, NewEvent, Store, StreamId};
use serde_json::json;
use uuid::Uuid;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let target = Target::resolve(&Sources::from_process(None, None))?;
    run(&mut target.connect(&Session::of("example append"))?, &mut stdout())
}

/// Places an order, pays it, and shows what happens to a writer that is late.
pub fn run(client: &mut Client, out: &mut impl Write) -> Result<(), Box<dyn std::error::Error>> {
    // The statements live on this connection: one `Store` for each connection of a pool.
    let store = Store::open(client, "public")?;
    let id = new_id(client)?.to_string();
    let order = StreamId::new("Sales", "Order", id.as_str());

    // With the client itself, an append is a transaction of its own.
    let placed = NewEvent::new(order.clone(), new_id(client)?, "OrderPlaced")
        .payload(br#"{"total": 250}"#)
        .metadata(json!({"user": "u-17"}));
    let Appended { last_version, .. } =
        store.append(client, ExpectedVersion::NoStream, &[placed])?;

    // Beside other writes, it is part of their transaction. Any number of events is one statement.
    let paid = NewEvent::new(order.clone(), new_id(client)?, "OrderPaid").correlation_id("pay-9");
    let shipped = NewEvent::new(order.clone(), new_id(client)?, "OrderShipped");
    let mut transaction = client.transaction()?;
    let appended =
        store.append(&mut transaction, ExpectedVersion::Exact(last_version), &[paid, shipped])?;
    transaction.commit()?;
    writeln!(out, "{order} is at version {}", appended.last_version)?;

    // This writer read version 1 and did not see what came since.
    let cancelled = NewEvent::new(order, new_id(client)?, "OrderCancelled");
    match store.append(client, ExpectedVersion::Exact(last_version), &[cancelled]) {
        Err(AppendError::ConcurrencyConflict { actual: Some(version), .. }) => {
            writeln!(out, "somebody was faster: it is at version {version}")?;
        }
        Err(error) => return Err(error.into()),
        Ok(_) => return Err("a late writer must be refused".into()),
    }
    Ok(())
}

/// A random id. An application has a generator of its own, as `Uuid::now_v7`.
fn new_id(client: &mut Client) -> Result<Uuid, postgres::Error> {
    Ok(client.query_one("SELECT gen_random_uuid()", &[])?.get(0))
}
