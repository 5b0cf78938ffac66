//! Reads a store: `cargo run --example read`. See `examples/append.rs` for a server.

use std::io::{Write, stdout};

use postgres::Client;
use pupctl::db::connect::{Session, Sources, Target};
use pupctl::store::Store;

/// How many events are read at once.
const BATCH: u32 = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let target = Target::resolve(&Sources::from_process(None, None))?;
    run(&mut target.connect(&Session::of("example read"))?, &mut stdout())
}

/// Counts all events, then shows the aggregate of the last one.
pub fn run(client: &mut Client, out: &mut impl Write) -> Result<(), Box<dyn std::error::Error>> {
    let store = Store::open(client, "public")?;

    // History in the order of positions. Where others write meanwhile it may skip events whose
    // transactions commit late: projections need a reader that waits for them.
    let (mut count, mut last) = (0, None);
    loop {
        let after =
            last.as_ref().map_or(0, |event: &pupctl::store::StoredEvent| event.global_position);
        let batch = store.read_all(client, after, BATCH)?;
        let Some(end) = batch.last() else { break };
        count += batch.len();
        last = Some(end.clone());
    }
    writeln!(out, "{count} events")?;

    // One aggregate: all its versions, or some, as `6..` for those after version 5.
    let Some(last) = last else { return Ok(()) };
    for event in store.read_stream(client, &last.stream(), ..)? {
        writeln!(
            out,
            "{} {} at {}: {}",
            event.aggregate_version,
            event.event_type,
            event.created_at,
            String::from_utf8_lossy(&event.payload)
        )?;
    }
    Ok(())
}
