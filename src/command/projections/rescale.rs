//! `pupctl projections rescale`

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::cli::argument::duration;
use crate::cli::exit::Exit;
use crate::cli::output::{count, green, table};
use crate::cli::progress::DrainBar;
use crate::command::context::Context;
use crate::projection::control::rescale::{self, Drain, Plan, Request, Way};
use crate::projection::control::row::{Group, NewRow, SlotRow};
use crate::render::{RenderedStep, Script};

use super::place::Place;
use super::words::number;

/// Change the number of slots of a projection, or their hash, while its workers run
///
/// No event is lost, and none is handled twice. With a multiple of the slots each is split, and
/// the parts begin where it stands: that is one transaction. With a divisor of their number slots
/// are merged, which first have to stand at one position; with any other number, or another hash,
/// all of them have to. The workers bring them there, none goes beyond, which is the barrier, and
/// the command waits.
///
/// After --patience it says which slot does not move, and why, and leaves the barrier in place: the
/// same command goes on. --abort takes the barrier away. Workers notice the new slots at their next
/// batch. A worker that was told a fixed number of slots refuses to go on with another.
///
/// Examples:
///   pupctl projections rescale orders --slots 8 --plan
///   pupctl projections rescale orders --slots 8
///   pupctl projections rescale orders --slots 4 --hash hashtextextended --patience 5m
///   pupctl projections rescale orders --abort
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct RescaleArgs {
    /// The projection
    #[arg(value_name = "NAME")]
    name: String,

    /// How many slots it is to have [default: with --hash, as many as it has]
    #[arg(long, value_name = "NUMBER", required_unless_present_any = ["abort", "hash"])]
    slots: Option<u32>,

    /// By which hash events are divided: hashtextextended, fnv1a32, or the name of an own one
    /// [default: the present one]
    #[arg(long, value_name = "NAME")]
    hash: Option<String>,

    /// Only show what would be done
    #[arg(long, conflicts_with = "abort")]
    plan: bool,

    /// How long to wait for the workers to reach the barrier
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    patience: Duration,

    /// Take away the barrier of a rescale that was not finished
    #[arg(long, conflicts_with_all = ["slots", "hash"])]
    abort: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    /// Whether nothing was written because of `--dry-run` or `--plan`.
    dry_run: bool,
    /// Whether the slots were changed.
    changed: bool,
    projection: &'a str,
    way: Way,
    /// Why nothing is lost and nothing repeated.
    why: &'static str,
    lost: u32,
    repeated: u32,
    before: &'a [SlotRow],
    drains: &'a [Drain],
    after: &'a [NewRow],
    steps: Vec<RenderedStep>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct AbortReport<'a> {
    dry_run: bool,
    /// Whether there was a barrier.
    changed: bool,
    projection: &'a str,
    /// The rows with their barriers, as they were before.
    before: &'a [SlotRow],
    steps: Vec<RenderedStep>,
}

pub(super) fn run(args: &RescaleArgs, context: &Context) -> anyhow::Result<Exit> {
    let reads = context.global.dry_run || args.plan;
    let mut place = Place::open(context, !reads)?;
    if args.abort {
        return abort(args, context, &mut place);
    }
    let checkpoints = place.checkpoints.clone();
    let request = Request {
        checkpoints: &checkpoints,
        projection: &args.name,
        slots: args.slots,
        hash: args.hash.as_deref(),
    };
    if reads {
        let plan = request.look(&mut place.client)?;
        return show(context, &request, &plan);
    }
    let interrupt = &context.interrupt;
    let mut bar = DrainBar::new(&context.output);
    let outcome = place.watched(context, |client| {
        rescale::run(client, &request, args.patience, interrupt, &mut |waiting| {
            bar.left(waiting.slots, waiting.positions);
        })
    })?;
    drop(bar);
    let plan = &outcome.plan;
    let report = Report { changed: outcome.changed, ..report(&request, plan, false) };
    context.output.result(context.name, &report, &tables(plan))?;
    let slots = count(plan.after.len(), "slot");
    context.output.say(if outcome.changed {
        format!("{} {} has {slots} now", green("Done:"), args.name)
    } else {
        format!("Nothing to do: {} has {slots}", args.name)
    });
    Ok(Exit::Done)
}

fn report<'a>(request: &Request<'a>, plan: &'a Plan, dry_run: bool) -> Report<'a> {
    Report {
        dry_run,
        changed: false,
        projection: request.projection,
        way: plan.way,
        why: plan.way.reason(),
        lost: 0,
        repeated: 0,
        before: &plan.before.rows,
        drains: &plan.drains,
        after: &plan.after,
        steps: Vec::new(),
        notes: Vec::new(),
    }
}

fn show(context: &Context, request: &Request<'_>, plan: &Plan) -> anyhow::Result<Exit> {
    let (output, script) = (&context.output, request.script(plan));
    let notes = notes(plan);
    let steps = script.steps.clone();
    let report = Report { steps, notes: notes.clone(), ..report(request, plan, true) };
    if output.is_json() {
        output.json(context.name, &report)?;
    } else if !context.global.dry_run {
        output.result(context.name, &report, &tables(plan))?;
    } else if !script.steps.is_empty() {
        output.data(&script.to_sql(context.name))?;
    }
    if plan.way == Way::Nothing {
        let slots = count(plan.after.len(), "slot");
        output.say(format!("Nothing to do: {} has {slots}", request.projection));
        return Ok(Exit::Done);
    }
    for note in notes {
        output.say(format!("note: {note}"));
    }
    let kind = if context.global.dry_run { "Dry run" } else { "Plan" };
    output.say(format!("{kind}: {}, nothing was changed", count(script.steps.len(), "step")));
    Ok(Exit::Done)
}

/// What the tables do not say.
fn notes(plan: &Plan) -> Vec<String> {
    let way = match plan.way {
        Way::Nothing => return Vec::new(),
        Way::Split => "each slot is split, in one transaction",
        Way::Merge => "slots are merged, those that become one at one position",
        Way::Barrier => "all slots go to one position, and new ones begin there",
    };
    let mut notes = vec![way.to_owned()];
    notes.push(format!("no event is lost and none repeated: {}", plan.way.reason()));
    let behind: Vec<_> = plan.behind().collect();
    let left: i64 = behind.iter().map(|drain| drain.left()).sum();
    if behind.is_empty() {
        return notes;
    }
    let slots = count(behind.len(), "slot");
    let left = number(left, "position");
    notes.push(format!("the workers first have to bring {slots} over {left}"));
    if let Some(since) = plan.before.paused_at() {
        let since = since.format("%F %T UTC");
        notes.push(format!("it would be refused now: the projection is paused since {since}"));
    }
    notes
}

/// The rows before and after.
fn tables(plan: &Plan) -> String {
    let drain = |row: &SlotRow| plan.drains.iter().find(|drain| drain.slot == row.slot);
    let cell = |value: Option<i64>| value.map_or("-".to_owned(), |value| value.to_string());
    let before = plan.before.rows.iter().map(|row| {
        let drain = drain(row);
        vec![
            row.name.clone(),
            row.position.to_string(),
            cell(drain.map(|drain| drain.to)),
            cell(drain.map(Drain::left)),
        ]
    });
    let head = ["before", "position", "drains to", "left"];
    let mut text = table(&head, before.collect(), 1);
    if plan.way == Way::Nothing {
        return text;
    }
    let (slots, new_slots) = (plan.before.slots, plan.after.len());
    let new_slots = u32::try_from(new_slots).unwrap_or(u32::MAX);
    let after = plan.after.iter().map(|row| {
        let feeds = |old: &u32| plan.way.feeds(*old, slots, row.slot, new_slots);
        let from: Vec<_> = (0..slots).filter(feeds).map(|old| old.to_string()).collect();
        let from = if plan.way == Way::Barrier { "all".to_owned() } else { from.join(", ") };
        vec![row.name.clone(), row.position.to_string(), from]
    });
    text.push_str(&table(&["after", "position", "from slots"], after.collect(), 1));
    text
}

fn abort(args: &RescaleArgs, context: &Context, place: &mut Place) -> anyhow::Result<Exit> {
    let checkpoints = place.checkpoints.clone();
    let dry_run = context.global.dry_run;
    let before: Group = if dry_run {
        rescale::barrier(&mut place.client, &checkpoints, &args.name)?
    } else {
        let interrupt = &context.interrupt;
        place.watched(context, |client| {
            rescale::abort(client, &checkpoints, &args.name, args.patience, interrupt)
        })?
    };
    let changed = before.barriers().iter().any(Option::is_some);
    let script = if dry_run && changed {
        rescale::abort_script(&checkpoints, &args.name)
    } else {
        Script::default()
    };
    let report = AbortReport {
        dry_run,
        changed,
        projection: &args.name,
        before: &before.rows,
        steps: script.steps.clone(),
    };
    if !script.steps.is_empty() && !context.output.is_json() {
        context.output.data(&script.to_sql(context.name))?;
    } else {
        context.output.result(context.name, &report, "")?;
    }
    context.output.say(match (changed, dry_run) {
        (false, _) => format!("Nothing to do: {} has no barrier", args.name),
        (true, true) => "Dry run: 1 step, nothing was changed".to_owned(),
        (true, false) => format!("{} the rescale of {} is called off", green("Done:"), args.name),
    });
    Ok(Exit::Done)
}
