//! `pupctl embedded start`

use clap::Args;
use serde_json::json;

use crate::cli::exit::Exit;
use crate::command::context::Context;

/// Start the private server of this folder
///
/// Its cluster lives in .pupctl, is made at the first start and survives; it listens on a socket
/// that only you can reach. Needs the server programs of PostgreSQL 14 or newer.
#[derive(Debug, Args)]
pub struct StartArgs {}

pub(super) fn run(_args: &StartArgs, context: &Context) -> anyhow::Result<Exit> {
    let running = context.embedded().start()?;
    let value = json!({
        "started": running.started, "pid": running.server.pid,
        "server_version": running.server.version, "url": running.server.url,
    });
    let text = format!("{}\n", running.server.url);
    context.output.result(context.name, &value, &text)?;
    let state = if running.started { "Started" } else { "Running already" };
    context.output.say(format!(
        "{state}: PostgreSQL {}, process {}",
        running.server.version, running.server.pid
    ));
    Ok(Exit::Done)
}
