//! The processor of projections beside plain SQL on the same tables: how fast it catches up, how
//! soon it handles an event, and what it costs when nothing happens.

mod catch_up;
mod handlers;
mod latency;
pub(crate) mod sql;

use anyhow::Result;
use postgres::{Client, NoTls};
use pupctl::projection::Connect;

use crate::machine::{Database, Machine};
use crate::store::store;

pub(crate) fn run(machine: &Machine, quick: bool) -> Result<()> {
    catch_up::run(machine, quick)?;
    latency::run(machine, quick)
}

/// How workers connect.
fn connect(database: &Database) -> impl Connect + 'static {
    let url = database.url().to_owned();
    move |application_name: &str| {
        let failed = |error| pupctl::Error::database("connecting", error);
        let mut client = Client::connect(&url, NoTls).map_err(failed)?;
        let name = application_name.replace('\'', "''");
        client.batch_execute(&format!("SET application_name = '{name}'")).map_err(failed)?;
        Ok(client)
    }
}

/// A store with the tables of the read models.
fn prepared(machine: &Machine, name: &str, arguments: &[&str]) -> Result<Database> {
    let database = store(machine, name, arguments, false)?;
    database.client()?.batch_execute(handlers::READ_MODELS)?;
    Ok(database)
}
