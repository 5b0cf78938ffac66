//! A strategy of one's own: the region of an aggregate says which slot its events belong to.
//!
//! Ids begin with the region, as in `eu-4711`. Each region has a worker, which in real life runs
//! near the database of that region. Ends by itself. See `examples/user_count.rs` for a server.
//!
//! ```console
//! $ cargo run --example region_strategy
//! ```

mod support;

use std::process::ExitCode;

use pupctl::projection::{
    Event, Fnv1a, HandlerError, PartitionStrategy, ProcessorConfig, Projection, Runner, Transaction,
};
use pupctl::store::StreamId;
use serde_json::json;
use support::{Result, Writer, connect, make_tables, say, target};

const TABLES: &str = "CREATE TABLE IF NOT EXISTS orders_by_region (
    region text, served_by text, orders bigint NOT NULL, PRIMARY KEY (region, served_by))";

/// The regions with a slot of their own, in its order. Never change the order: checkpoints belong
/// to slots. Another division is another strategy, with another name.
const REGIONS: [&str; 3] = ["us", "eu", "ap"];

struct ByRegion;

impl PartitionStrategy for ByRegion {
    fn name(&self) -> &'static str {
        "region-1"
    }

    fn slot(&self, event: &Event, slots: u32) -> u32 {
        let id = &event.aggregate_id;
        let region = id.split_once('-').map_or("", |(region, _)| region);
        match (0..).zip(REGIONS).find(|(_, name)| *name == region) {
            Some((slot, _)) => slot % slots,
            // What comes from anywhere else is spread over all.
            None => Fnv1a::slot_of(id, slots),
        }
    }
}

/// The worker of a region: an instance for each, since it knows where it runs.
struct Orders {
    served_by: &'static str,
}

impl Projection for Orders {
    fn name(&self) -> &'static str {
        "orders_by_region"
    }

    fn bounded_contexts(&self) -> Vec<&str> {
        vec!["Sales"]
    }

    fn aggregate_types(&self) -> Vec<&str> {
        vec!["RegionalOrder"]
    }

    fn read_model(&self) -> Vec<&str> {
        vec!["orders_by_region"]
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        let region = event.aggregate_id.split_once('-').map_or("", |(region, _)| region);
        tx.execute(
            "INSERT INTO orders_by_region VALUES ($1, $2, 1) ON CONFLICT (region, served_by)
             DO UPDATE SET orders = orders_by_region.orders + 1",
            &[&region, &self.served_by],
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
    for (orders, region) in [(30, "us"), (20, "eu"), (10, "ap")] {
        let order = StreamId::new("Sales", "RegionalOrder", format!("{region}-4711"));
        writer.append(&order, "OrderPlaced", &vec![json!({"cents": 250}); orders])?;
    }

    let mut runner = Runner::new(target);
    for (slot, served_by) in (0..).zip(REGIONS) {
        // Pinned: the worker in Europe never takes over what belongs to America.
        let config = ProcessorConfig::default().pinned(slot, 3).strategy(ByRegion);
        runner.add(Orders { served_by }, config, 1)?;
    }
    runner.stop_on_signals()?;
    runner.run_until_caught_up()?;
    let sql = "SELECT region, served_by, orders FROM orders_by_region ORDER BY region, served_by";
    for row in client.query(sql, &[])? {
        let (region, served_by, orders): (String, String, i64) =
            (row.get(0), row.get(1), row.get(2));
        say(format_args!("{region}: {orders} orders, served by {served_by}"))?;
    }
    Ok(())
}
