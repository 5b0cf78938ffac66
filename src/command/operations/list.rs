//! `pupctl operations list`

use clap::Args;
use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::output::table;
use crate::command::context::Context;
use crate::operation::journal::{self, Operation};

/// List what pupctl has written to the store, the latest first
///
/// One row a run. Of a long operation the phase is shown in which it is, or was when it ended.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those that were interrupted or failed and can be gone on with
    #[arg(long)]
    unfinished: bool,

    /// At most so many
    #[arg(long, value_name = "NUMBER", default_value_t = 20,
        value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
}

#[derive(Serialize)]
struct List {
    operations: Vec<Operation>,
}

pub(super) fn run(args: &ListArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut store = context.open()?;
    let mut operations = journal::latest(&mut store.client, &store.schema, args.limit)?;
    operations.retain(|operation| !args.unfinished || operation.can_be_resumed());
    let list = List { operations };
    let rows = list.operations.iter().map(|operation| {
        vec![
            operation.id.to_string(),
            operation.command.clone(),
            operation.subject().unwrap_or("-").to_owned(),
            operation.outcome.clone(),
            operation.started_at.format("%F %T UTC").to_string(),
            operation.detail.clone().unwrap_or_default(),
        ]
    });
    let header = ["id", "command", "subject", "outcome", "started", "detail"];
    let text =
        if list.operations.is_empty() { String::new() } else { table(&header, rows.collect(), 6) };
    context.output.result(context.name, &list, &text)?;
    if list.operations.is_empty() {
        context.output.say("No operations");
    }
    Ok(Exit::Done)
}
