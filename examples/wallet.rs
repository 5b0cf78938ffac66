//! Wallets: balances, totals and numbers of transactions, by four workers.
//!
//! Each wallet is an aggregate, so all its events are in one slot and come in their order. Creates
//! two wallets, moves money, prints what the read model says, and deletes the projection and its
//! table. Ends by itself. See `examples/user_count.rs` for a server.
//!
//! ```console
//! $ cargo run --example wallet
//! ```

mod support;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use postgres::Client;
use pupctl::db::Interrupt;
use pupctl::db::inspect::{self, Depth};
use pupctl::layout::name::Tables as Names;
use pupctl::projection::control::Tables;
use pupctl::projection::control::change::{self, Waiting};
use pupctl::projection::control::delete::{self, Delete};
use pupctl::projection::{Event, HandlerError, ProcessorConfig, Projection, Runner, Transaction};
use pupctl::store::StreamId;
use serde::Deserialize;
use serde_json::json;
use support::{Result, Writer, connect, make_tables, say, target};

/// Money is counted in cents.
const TABLES: &str = "CREATE TABLE IF NOT EXISTS wallet_balance (
    wallet text PRIMARY KEY,
    balance bigint NOT NULL,
    debited bigint NOT NULL DEFAULT 0,
    credited bigint NOT NULL DEFAULT 0,
    transactions bigint NOT NULL DEFAULT 0)";

#[derive(Deserialize)]
struct Amount {
    cents: i64,
}

struct WalletBalance;

impl Projection for WalletBalance {
    fn name(&self) -> &'static str {
        "wallet_balance"
    }

    fn bounded_contexts(&self) -> Vec<&str> {
        vec!["Billing"]
    }

    fn aggregate_types(&self) -> Vec<&str> {
        vec!["Wallet"]
    }

    fn read_model(&self) -> Vec<&str> {
        vec!["wallet_balance"]
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        let sql = match event.event_type.as_str() {
            "WalletCreated" => "INSERT INTO wallet_balance (wallet, balance) VALUES ($1, $2)",
            "WalletDebited" => {
                "UPDATE wallet_balance SET balance = balance - $2, debited = debited + $2,
                    transactions = transactions + 1 WHERE wallet = $1"
            }
            "WalletCredited" => {
                "UPDATE wallet_balance SET balance = balance + $2, credited = credited + $2,
                    transactions = transactions + 1 WHERE wallet = $1"
            }
            _ => return Ok(()),
        };
        let Amount { cents } = serde_json::from_slice(&event.payload)?;
        tx.execute(sql, &[&event.aggregate_id, &cents])?;
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
    let ids: Vec<String> = writer.ids(2)?.iter().map(ToString::to_string).collect();
    for (wallet, event_type, euros) in [
        (0, "WalletCreated", 1000),
        (1, "WalletCreated", 500),
        (0, "WalletDebited", 100),
        (0, "WalletCredited", 50),
        (1, "WalletDebited", 200),
    ] {
        let stream = StreamId::new("Billing", "Wallet", ids[wallet].as_str());
        writer.append(&stream, event_type, &[json!({ "cents": euros * 100 })])?;
    }

    let mut runner = Runner::new(target);
    runner.add(WalletBalance, ProcessorConfig::default().initial_slots(4), 4)?.stop_on_signals()?;
    runner.run_until_caught_up()?;
    for (number, id) in (1..).zip(&ids) {
        show(&mut client, number, id)?;
    }
    forget(&mut client)
}

fn show(client: &mut Client, number: usize, id: &str) -> Result {
    let sql = "SELECT balance, debited, credited, transactions FROM wallet_balance
        WHERE wallet = $1";
    let row = client.query_one(sql, &[&id])?;
    let euros = |column: &str| {
        let cents: i64 = row.get(column);
        format!("{}.{:02}", cents / 100, cents % 100)
    };
    say(format_args!(
        "wallet {number}: {}, debited {}, credited {}, transactions {}",
        euros("balance"),
        euros("debited"),
        euros("credited"),
        row.get::<_, i64>("transactions")
    ))
}

/// What `pupctl projections delete wallet_balance --read-model` does, in a program.
fn forget(client: &mut Client) -> Result {
    let catalog = inspect::catalog(client, "public", &Names::default(), Depth::default())?;
    let tables = Tables::of(&catalog.layout.ok_or("there is no store")?, "public");
    let wish = Delete { name: "wallet_balance".to_owned(), foreign: false, read_model: true };
    // It waits for batches that run, and says whose they are.
    let mut waiting = Waiting {
        patience: Duration::from_secs(30),
        interrupt: &Interrupt::default(),
        look: &mut || None,
        tell: Arc::new(|who| tracing::info!("waiting for {who}")),
    };
    change::run(client, &mut waiting, &mut |tx| delete::plan(tx, &tables, &wish))?;
    say("the projection and its table are deleted")
}
