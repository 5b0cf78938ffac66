//! `pupctl partitions ensure`

use clap::Args;

use crate::catalog::Catalog;
use crate::cli::argument::{months, value};
use crate::cli::exit::Exit;
use crate::command::context::{Context, layout_of};
use crate::command::write::{made, report, write};
use crate::error::Result;
use crate::finding;
use crate::layout::month::Month;
use crate::plan::ensure::analyze;
use crate::plan::{self, Plan};

/// Make the partitions that the layout names and the database lacks
///
/// From the earliest month that is there to so many months after the current one, gaps included;
/// contexts and hash partitions too. Months before a hole of more than 12 are history, imported
/// or restored: the hole stays, unless --from asks for it.
///
/// Readers and writers go on meanwhile: a partition is made beside its parent, then attached under
/// SHARE UPDATE EXCLUSIVE. Run it from cron as often as you like.
///
/// Examples:
///   pupctl partitions ensure --months 3
///   pupctl partitions ensure --from 2005-04
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct EnsureArgs {
    /// How many months after the current one [default: what the store keeps ready]
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, value_parser = months())]
    months: Option<u32>,

    /// The first month, for events of the past. Without it, what lies before a hole of more than
    /// 12 months is history, and the hole stays
    #[arg(long, value_name = "YYYY-MM", value_parser = value::<Month>)]
    from: Option<Month>,

    /// Leave out the ANALYZE of the parent that follows when there are rows
    #[arg(long)]
    no_analyze: bool,
}

pub(super) fn run(args: &EnsureArgs, context: &Context) -> anyhow::Result<Exit> {
    let (catalog, changes) = write(context, |catalog| args.plan(catalog))?;
    let done = made(&changes);
    let nothing = nothing(&catalog);
    Ok(report(context, &changes, &done, &nothing)?)
}

impl EnsureArgs {
    fn plan(&self, catalog: &Catalog) -> Result<Plan> {
        let layout = layout_of(catalog)?;
        plan::tables::refuse_differences(layout, catalog)?;
        finding::detach::refuse_pending(catalog)?;
        let ahead = self.months.unwrap_or(layout.months_ahead);
        let months = plan::ensure::months(catalog, ahead, self.from)?;
        let mut plan = Plan::default();
        plan.steps.extend(plan::init::own_tables(layout, catalog)?);
        let partitions = plan::ensure::plan(layout, catalog, &months)?;
        let analyze = analyze(layout, catalog, &partitions).filter(|_| !self.no_analyze);
        plan.steps.extend(partitions.steps);
        plan.steps.extend(analyze);
        plan.problems = partitions.problems;
        plan.notes = partitions.notes;
        if !layout.has_month_level() {
            plan.notes.push(format!(
                "the layout {} has no months: only what it names was looked at",
                layout.partition_by()
            ));
        }
        Ok(plan)
    }
}

fn nothing(catalog: &Catalog) -> String {
    let leaves = catalog.events.as_ref().map_or(0, |table| table.root.leaves().count());
    format!("Nothing to do: every partition is there ({leaves} of events)")
}
