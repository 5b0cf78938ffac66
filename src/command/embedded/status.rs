//! `pupctl embedded status`

use clap::Args;
use serde_json::json;

use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::server::Status;

/// Say whether the private server of this folder runs
#[derive(Debug, Args)]
pub struct StatusArgs {}

pub(super) fn run(_args: &StatusArgs, context: &Context) -> anyhow::Result<Exit> {
    let (value, text) = match context.embedded().status()? {
        Status::Absent => {
            (json!({"state": "absent"}), "absent: pupctl embedded start makes it\n".to_owned())
        }
        Status::Stopped => {
            (json!({"state": "stopped"}), "stopped: pupctl embedded start starts it\n".to_owned())
        }
        Status::Running(server) => (
            json!({
                "state": "running", "pid": server.pid, "server_version": server.version,
                "url": server.url, "folder": server.folder,
            }),
            format!(
                "running: PostgreSQL {}, process {}, in {}\n{}\n",
                server.version,
                server.pid,
                server.folder.display(),
                server.url
            ),
        ),
    };
    context.output.result(context.name, &value, &text)?;
    Ok(Exit::Done)
}
