//! `pupctl embedded url`

use clap::Args;
use serde_json::json;

use crate::cli::exit::Exit;
use crate::command::context::Context;

/// Print the URL of the private server of this folder
///
/// For other programs: psql "$(pupctl embedded url)"
#[derive(Debug, Args)]
pub struct UrlArgs {}

pub(super) fn run(_args: &UrlArgs, context: &Context) -> anyhow::Result<Exit> {
    let url = context.embedded().url();
    context.output.result(context.name, &json!({"url": url}), &format!("{url}\n"))?;
    Ok(Exit::Done)
}
