//! `pupctl partitions check`

use clap::Args;
use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::command::context::{Context, layout_of};
use crate::command::findings;
use crate::db::closed;
use crate::db::inspect::Depth;
use crate::finding::{self, Finding};

/// Look for missing months, gaps, lost keys and other problems
///
/// Missing months and gaps, missing contexts and hash partitions, interrupted detaches, rows in
/// DEFAULT partitions, partitions off the layout's grid, leaves without their keys, invalid or
/// missing indexes, and how full one statement makes the server's lock table. Reads only.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Exit with 3 when anything is found
    #[arg(long)]
    exit_code: bool,
}

#[derive(Serialize)]
struct Check {
    findings: Vec<Finding>,
}

pub(super) fn run(args: &CheckArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut store = context.open()?;
    let depth = Depth { default_rows: true, ..Depth::default() };
    let catalog = context.inspect(&mut store.client, &store.schema, depth)?;
    let layout = layout_of(&catalog)?;
    let mut check = Check { findings: finding::check(layout, &catalog)? };
    let closed = closed::list(&mut store.client, &store.schema)?;
    let unsealed = closed.into_iter().filter(|closed| !closed.sealed).map(|closed| closed.name);
    check.findings.extend(finding::closed::check(&unsealed.collect::<Vec<_>>()));
    let problems = check.findings.iter().filter(|finding| finding.is_problem()).count();
    let found = problems > 0;
    let mut text = findings::text(&check.findings, false);
    context.output.result(context.name, &check, &text)?;
    if found {
        let last = format!("{} found", count(problems, "problem"));
        context.output.say(&last);
        text.push_str(&last);
    } else {
        let leaves = catalog.events.as_ref().map_or(0, |table| table.root.leaves().count());
        let leaves = count(leaves, "leaf").replace("leafs", "leaves");
        context.output.say(format!("No problem found in {leaves} of events"));
    }
    Ok(if found && args.exit_code { context.output.found(&text) } else { Exit::Done })
}
