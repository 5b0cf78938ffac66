//! `pupctl schema init`

use clap::Args;
use postgres::Client;

use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::command::context::Context;
use crate::command::write::{Wish, changes, made, report, write_wish};
use crate::db::heads::deviations;
use crate::error::{Error, Result};
use crate::finding;
use crate::layout::protection::Trigger;
use crate::layout::{Layout, Role};
use crate::plan;

use super::layout_args::LayoutArgs;

/// How many deviations are told.
const LISTED_MAX: u32 = 20;

/// Make the tables of the store and their first partitions
///
/// Makes events, aggregate_heads and projection_checkpoints, with keys on every leaf and a BRIN
/// index on created_at, then the partitions that the layout names. The parents are migrations
/// with a history; the layout is stored, and later commands read it. A second run says that
/// there is nothing to do; an interrupted one is finished by running it again.
///
/// Examples:
///   pupctl schema init --partition-by context --contexts Identity,Billing,Analytics
///   pupctl schema init --partition-by context,month --months 6 --dry-run
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct InitArgs {
    #[command(flatten)]
    layout: LayoutArgs,
}

pub(super) fn run(args: &InitArgs, context: &Context) -> anyhow::Result<Exit> {
    args.layout.check(&context.config)?;
    let written = write_wish(context, Wish::default(), |catalog, client| {
        finding::detach::refuse_pending(catalog)?;
        let layout = args.layout.layout(&context.config, Some(catalog))?;
        let months = plan::ensure::months(catalog, layout.months_ahead, None)?;
        let mut plan = plan::init::plan(&layout, catalog, &months)?;
        if catalog.events.is_some() && plan.installs(Trigger::Guard) {
            refuse_unguardable(client, &layout, &catalog.schema_name)?;
        }
        if catalog.events.is_some() && plan.switches_guard() {
            plan.notes.push(REOPEN.to_owned());
        }
        Ok(plan)
    })?;
    let changes = changes(&written.plan, written.script);
    let done = format!("the store is ready; {}", made(&changes));
    Ok(report(context, &changes, &done, "Nothing to do: the store is as the layout says")?)
}

/// What an application does when the guard comes or goes.
const REOPEN: &str = "programs that append through the library pupctl must open their stores \
                      again: who moves the head has changed";

/// The guard rests on the heads: a version beyond its head would be stored a second time under it.
fn refuse_unguardable(client: &mut Client, layout: &Layout, schema: &str) -> Result<()> {
    let [events, heads] = [Role::Events, Role::Heads].map(|role| layout.table(schema, role));
    let found = deviations(client, &events, &heads, LISTED_MAX, false)?;
    if found.total == 0 {
        return Ok(());
    }
    let what = format!("{} between {heads} and {events}", count(found.total, "deviation"));
    let mut error = Error::refused(format!("{what}: the guard could not keep versions unique"))
        .details(found.first.clone());
    if found.total > found.first.len() {
        error = error.detail(format!("and {} more", found.total - found.first.len()));
    }
    Err(error.hint(
        "move each head to the last version of its aggregate, renumber or remove events that share \
         a version, and run it again",
    ))
}
