//! Counts users: a scoped projection, processed until it has caught up.
//!
//! Registers some users, lets the projection read them, and prints the count. Ends by itself; run
//! it again, and it goes on where it was. Connects as pupctl does. With a private server:
//!
//! ```console
//! $ pupctl schema init --embedded --partition-by month
//! $ export PUPCTL_DATABASE_URL=$(pupctl embedded url)
//! $ cargo run --example user_count
//! ```

mod support;

use std::process::ExitCode;

use pupctl::db::Interrupt;
use pupctl::projection::{
    Event, HandlerError, Processor, ProcessorConfig, Projection, Transaction,
};
use pupctl::store::StreamId;
use serde_json::json;
use support::{Result, Writer, connect, count, make_tables, say, target};

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS user_count (
        id boolean PRIMARY KEY DEFAULT true CHECK (id), users bigint NOT NULL)";

struct UserCount;

impl Projection for UserCount {
    fn name(&self) -> &'static str {
        "user_count"
    }

    // Events of other contexts and aggregates are never sent to this program.
    fn bounded_contexts(&self) -> Vec<&str> {
        vec!["Identity"]
    }

    fn aggregate_types(&self) -> Vec<&str> {
        vec!["User"]
    }

    fn read_model(&self) -> Vec<&str> {
        vec!["user_count"]
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        let change: i64 = match event.event_type.as_str() {
            "UserRegistered" => 1,
            "UserDeleted" => -1,
            _ => return Ok(()),
        };
        // Committed together with the checkpoint: it is added once, whatever happens. The table may
        // be empty, as it is at first and after `pupctl projections reset --truncate`.
        tx.execute(
            "INSERT INTO user_count (users) VALUES ($1)
             ON CONFLICT (id) DO UPDATE SET users = user_count.users + excluded.users",
            &[&change],
        )?;
        Ok(())
    }
}

fn main() -> ExitCode {
    support::show(run())
}

fn run() -> Result {
    let target = target()?;
    let mut writer = Writer::open(&target)?;
    let mut client = connect(&target)?;
    make_tables(&mut client, TABLES)?;

    for name in ["ada", "grace", "edsger"] {
        let id = writer.ids(1)?[0].to_string();
        let user = StreamId::new("Identity", "User", id);
        writer.append(&user, "UserRegistered", &[json!({ "name": name })])?;
        if name == "edsger" {
            writer.append(&user, "UserDeleted", &[json!({})])?;
        }
    }

    let processor = Processor::new(target, UserCount, ProcessorConfig::default())?;
    let report = processor.run_until_caught_up(&Interrupt::default())?;
    let users = count(&mut client, "SELECT users FROM user_count")?;
    say(format_args!("{} events handled, {users} users", report.events))
}
