//! `pupctl projections adopt`

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::cli::argument::duration;
use crate::cli::confirm::confirm;
use crate::cli::exit::Exit;
use crate::cli::output::{count, green, table};
use crate::command::context::Context;
use crate::error::Error;
use crate::finding::holder::Holder;
use crate::projection::control::adopt::{
    Cost, Look, Plan, Request, Source, Start, Wish, refuse_moving,
};
use crate::projection::control::rescale::{Target, Way};
use crate::projection::control::row::NewRow;
use crate::projection::{Fnv1a, ServerHash};
use crate::render::RenderedStep;

use super::place::Place;
use super::steer::warn_of_unknown;

/// Take over the checkpoints of a projection that pupsourcing's workers have filled
///
/// pupsourcing keeps one row for a projection, or one for each of its partitions (orders_p0,
/// orders_p1 …), and does not write down how many partitions there are: --total says it. Stop its
/// workers first. The rows become the slots of a projection of pupctl's in one transaction, each at
/// the position of the row from which it comes; before that the command shows what is lost or
/// repeated, and asks.
///
/// As many slots as partitions, or a multiple, lose and repeat nothing: so adopt with --total
/// alone, and change the slots with projections rescale. With any other number --from says where
/// all slots begin, unless the rows stand at one position.
///
/// Examples:
///   pupctl projections adopt orders --total 4 --dry-run
///   pupctl projections adopt orders --total 4
///   pupctl projections adopt orders --total 1 --slots 8 --contexts Sales --tables order_totals
///   pupctl projections adopt orders --total 4 --slots 3 --from lowest
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct AdoptArgs {
    /// The projection, without _p0
    #[arg(value_name = "NAME")]
    name: String,

    /// How many partitions its workers have had: their TOTAL_PARTITIONS, or 1
    #[arg(long, value_name = "NUMBER")]
    total: u32,

    /// How many slots it is to have [default: as many as partitions]
    #[arg(long, value_name = "NUMBER")]
    slots: Option<u32>,

    /// By which hash events are divided among the slots [default: fnv1a32, that of pupsourcing;
    /// hashtextextended where there was one partition]
    #[arg(long, value_name = "NAME")]
    hash: Option<String>,

    /// Where the slots begin, if the rows stand at different positions and cannot just be split
    #[arg(long, value_enum, value_name = "WHERE")]
    from: Option<From>,

    /// Rows that do not matter: missing ones count as position 0, others are removed
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    ignore_rows: Vec<String>,

    /// Even if rows moved less than a minute ago, or NAME looks like one of several partitions
    #[arg(long)]
    force: bool,

    /// The contexts that it reads [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    contexts: Vec<String>,

    /// The types of aggregates that it reads [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    aggregates: Vec<String>,

    /// The tables that it fills
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    tables: Vec<String>,

    /// How long to wait for transactions that write events, and for the rows
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    patience: Duration,
}

/// Where slots begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    /// At the lowest position: events are handled once more.
    Lowest,
    /// At the highest position: events are never handled. Needs --yes.
    Highest,
}

#[derive(Serialize)]
struct Report<'a> {
    dry_run: bool,
    changed: bool,
    projection: &'a str,
    total: u32,
    /// In which way the rows become slots.
    way: Option<Way>,
    /// Where the slots begin, where that had to be chosen.
    from: Option<Start>,
    lost: i64,
    repeated: i64,
    before: &'a [Source],
    after: &'a [NewRow],
    steps: Vec<RenderedStep>,
    notes: Vec<String>,
}

impl AdoptArgs {
    fn wish(&self) -> Wish {
        // As workers write down what they read.
        let sorted = |names: &[String]| -> Vec<String> {
            names.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect()
        };
        let default = if self.total == 1 { ServerHash::NAME } else { Fnv1a::NAME };
        let hash = self.hash.clone().unwrap_or_else(|| default.to_owned());
        Wish {
            projection: self.name.clone(),
            total: self.total,
            target: Target { slots: self.slots.unwrap_or(self.total), hash },
            start: self.from.map(|from| match from {
                From::Lowest => Start::Lowest,
                From::Highest => Start::Highest,
            }),
            ignore_rows: self.ignore_rows.iter().cloned().collect(),
            contexts: sorted(&self.contexts),
            aggregates: sorted(&self.aggregates),
            tables: sorted(&self.tables),
        }
    }
}

pub(super) fn run(args: &AdoptArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut place = Place::open(context, !context.global.dry_run)?;
    let wish = args.wish();
    let (checkpoints, events) = (place.checkpoints.clone(), place.events.clone());
    let request =
        Request { checkpoints: &checkpoints, events: &events, wish: &wish, force: args.force };
    let (output, interrupt) = (&context.output, &context.interrupt);
    let mut on_wait = |holders: &[Holder]| {
        let words: Vec<_> = holders.iter().map(ToString::to_string).collect();
        output.say(format!("Waiting for writers: {}", words.join("; ")));
    };
    warn_of_unknown(context, &place.layout, &wish.contexts);
    let look = request.look(&mut place.client, args.patience, interrupt, &mut on_wait)?;
    let (plan, cost) = match look {
        Look::Rows(plan, cost) => (plan, cost),
        Look::Adopted(group) => {
            let mut report = report(&wish, None, Cost::default());
            report.dry_run = context.global.dry_run;
            output.result(context.name, &report, "")?;
            let slots = count(group.rows.len(), "slot");
            output.say(format!("Nothing to do: {} is pupctl's, with {slots}", args.name));
            return Ok(Exit::Done);
        }
    };
    let report = report(&wish, Some(&plan), cost);
    if context.global.dry_run {
        return dry_run(context, &request, &plan, report);
    }
    // Shown before it asks; what machines read comes at the end.
    if !output.is_json() {
        output.result(context.name, &report, &tables(&plan))?;
    }
    for note in &report.notes {
        output.say(format!("note: {note}"));
    }
    refuse_moving(&request, &plan)?;
    ask(args, context, &plan, cost)?;
    place.watched(context, |client| request.run(client, &plan, args.patience, interrupt))?;
    if output.is_json() {
        output.json(context.name, &report)?;
    }
    let slots = count(plan.after.len(), "slot");
    output.say(format!("{} {} is pupctl's, with {slots}", green("Done:"), args.name));
    Ok(Exit::Done)
}

fn ask(args: &AdoptArgs, context: &Context, plan: &Plan, cost: Cost) -> anyhow::Result<()> {
    let events = |number: i64| count(usize::try_from(number).unwrap_or(0), "event");
    if cost.lost > 0 && !context.global.yes {
        let lost = events(cost.lost);
        return Err(Error::invalid(format!("{lost} would never be handled"))
            .hint("add --yes if that is meant; --from lowest handles events again instead")
            .into());
    }
    let rows = count(plan.sources.len(), "row");
    let question = if cost.repeated > 0 {
        format!("Handle {} of {} again?", events(cost.repeated), args.name)
    } else {
        format!("Take over {rows} of {}?", args.name)
    };
    Ok(confirm(&context.output, context.global.yes, &question)?)
}

fn report<'a>(wish: &'a Wish, plan: Option<&'a Plan>, cost: Cost) -> Report<'a> {
    Report {
        dry_run: false,
        changed: plan.is_some(),
        projection: &wish.projection,
        total: wish.total,
        way: plan.map(|plan| plan.way),
        from: plan.and_then(|plan| plan.start),
        lost: cost.lost,
        repeated: cost.repeated,
        before: plan.map_or(&[], |plan| &plan.sources),
        after: plan.map_or(&[], |plan| &plan.after),
        steps: Vec::new(),
        notes: plan.map(|plan| notes(wish, plan, cost)).unwrap_or_default(),
    }
}

fn dry_run(
    context: &Context,
    request: &Request<'_>,
    plan: &Plan,
    report: Report<'_>,
) -> anyhow::Result<Exit> {
    let (output, script) = (&context.output, request.script(plan));
    let report = Report { dry_run: true, steps: script.steps.clone(), ..report };
    if output.is_json() {
        output.json(context.name, &report)?;
    } else {
        output.data(&script.to_sql(context.name))?;
    }
    for note in &report.notes {
        output.say(format!("note: {note}"));
    }
    if let Err(refusal) = refuse_moving(request, plan) {
        output.say(format!("note: it would be refused now: {}", refusal.message()));
    }
    output.say(format!("Dry run: {}, nothing was changed", count(script.steps.len(), "step")));
    Ok(Exit::Done)
}

/// What is lost or repeated, and why.
fn notes(wish: &Wish, plan: &Plan, cost: Cost) -> Vec<String> {
    let mut notes = Vec::new();
    let scope = if wish.contexts.is_empty() && wish.aggregates.is_empty() {
        " (of all contexts; --contexts and --aggregates narrow it)"
    } else {
        ""
    };
    notes.push(match plan.start {
        None => "no event is lost and none repeated: every slot begins where the partition stands \
                 from which its events come"
            .to_owned(),
        Some(Start::Lowest) => format!(
            "{} events{scope} are handled once more, which the read model has to bear; none is \
             lost",
            cost.repeated
        ),
        Some(Start::Highest) => {
            format!("{} events{scope} are never handled; none is repeated", cost.lost)
        }
    });
    notes.push(
        "pupsourcing's reader may have passed events below its checkpoint that were committed \
         late: those stay unread"
            .to_owned(),
    );
    for source in plan.sources.iter().filter(|source| source.row.is_none()) {
        notes.push(format!("{} is missing and counts as position 0", source.name));
    }
    for row in &plan.surplus {
        notes.push(format!("{} at position {} is removed", row.name, row.position));
    }
    for row in plan.moving() {
        notes.push(format!("{} moved less than a minute ago: a worker seems to run", row.name));
    }
    notes
}

/// The rows before and after.
fn tables(plan: &Plan) -> String {
    let before = plan.sources.iter().map(|source| {
        let moved = source.row.as_ref().map(|row| row.moved_at.format("%F %T UTC").to_string());
        let moved = moved.unwrap_or_else(|| "missing".to_owned());
        vec![source.name.clone(), moved, source.position.to_string()]
    });
    let mut text = table(&["before", "moved", "position"], before.collect(), 2);
    let after = plan.after.iter().map(|row| vec![row.name.clone(), row.position.to_string()]);
    text.push_str(&table(&["after", "position"], after.collect(), 1));
    text
}
