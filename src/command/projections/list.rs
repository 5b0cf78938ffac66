//! `pupctl projections list`

use clap::Args;
use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::output::{printable, table};
use crate::command::context::Context;
use crate::projection::control::status::{self, ProjectionStatus, Status};

use super::steer::{Opened, open};
use super::words;

/// List the projections: how far each is, and what it does
///
/// One row each: of those of other libraries, which keep a checkpoint alone, one for each of their
/// rows. The lag is in positions up to the last one that was drawn; projections status counts the
/// events.
#[derive(Debug, Args)]
pub struct ListArgs {}

#[derive(Serialize)]
struct List {
    head: i64,
    projections: Vec<ProjectionStatus>,
}

pub(super) fn run(_args: &ListArgs, context: &Context) -> anyhow::Result<Exit> {
    let Opened { mut client, tables, .. } = open(context, false)?;
    let Status { head, projections } =
        status::look(&mut client, &tables, None, false, &context.interrupt)?;
    let list = List { head: head.position, projections };
    let rows: Vec<_> = list.projections.iter().map(row).collect();
    let header = ["projection", "state", "reads", "slots", "position", "lag", "dead letters"];
    let text = if rows.is_empty() { String::new() } else { table(&header, rows, 3) };
    context.output.result(context.name, &list, &text)?;
    for found in &list.projections {
        if let Some(problem) = &found.problem {
            context.output.warn(format!("{}: {}", found.name, printable(problem)));
        }
    }
    if list.projections.is_empty() {
        context.output.say("No projections");
    }
    Ok(Exit::Done)
}

fn row(found: &ProjectionStatus) -> Vec<String> {
    vec![
        found.name.clone(),
        words::state(found),
        found.slots.map_or_else(String::new, |_| words::scope(found)),
        found.slots.map_or_else(String::new, |slots| slots.to_string()),
        found.position.to_string(),
        found.lag_positions.to_string(),
        found.dead_letters.total().to_string(),
    ]
}
