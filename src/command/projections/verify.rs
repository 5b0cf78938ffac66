//! `pupctl projections verify`

use std::fmt::Write as _;

use clap::Args;
use postgres::Client;
use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::output::{bold, cyan, green, printable, red, yellow};
use crate::cli::progress::PositionBar;
use crate::command::context::Context;
use crate::db::inspect::Depth;
use crate::error::{Error, Result};
use crate::projection::control::Tables;
use crate::projection::control::change;
use crate::projection::control::verify::{self, Difference, Kind, Known, Verified, Wish, repair};
use crate::render::quote::shell_word;
use crate::render::{RenderedStep, Script};

use super::steer::{Opened, PatienceArgs, Steered, carry_out, open, tables_of};
use super::words::number;

/// How many ranges of positions are shown.
const RANGES_SHOWN: usize = 10;

/// Compare what projections were given with the events of the store
///
/// Finds events that a projection should have been given and was not (lost): that committed late,
/// were imported or attached below its checkpoint, or were passed over by whoever moved it. And
/// those that it was given more than once (doubled), at whose position another event is now
/// (other), or that are neither in the store nor in an archive any more (vanished). Compares up to
/// the lowest checkpoint, from where on it was noted what was given. Exit code 3 when it finds any.
///
/// With --repair lost events become dead letters that workers handle next, in the order of their
/// positions: late, for later events of their aggregates were handled already.
///
/// Examples:
///   pupctl projections verify order_totals
///   pupctl projections verify --all --output json
///   pupctl projections verify order_totals --repair --dry-run
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct VerifyArgs {
    /// The projections
    #[arg(value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
    names: Vec<String>,

    /// All projections of pupctl's
    #[arg(long)]
    all: bool,

    /// Begin with this position
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(1..))]
    from: Option<i64>,

    /// End with this position
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(1..))]
    to: Option<i64>,

    /// Let workers handle the lost events after all
    #[arg(long)]
    repair: bool,

    #[command(flatten)]
    patience: PatienceArgs,
}

/// A projection in the report.
#[derive(Serialize)]
struct Reported {
    #[serde(flatten)]
    verified: Verified,
    /// What was done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    repair: Option<Repaired>,
}

#[derive(Serialize)]
struct Repaired {
    #[serde(flatten)]
    steered: Steered,
    /// How many events workers handle now.
    events: i64,
}

#[derive(Serialize)]
struct Report {
    projections: Vec<Reported>,
}

pub(super) fn run(args: &VerifyArgs, context: &Context) -> anyhow::Result<Exit> {
    if !args.repair && context.global.dry_run {
        return Err(Error::invalid("--dry-run without --repair means nothing")
            .hint("verify changes nothing; leave it out, or add --repair")
            .into());
    }
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from > to
    {
        return Err(Error::invalid(format!("position {from} lies behind {to}"))
            .hint("say the lower one with --from")
            .into());
    }
    let Opened { mut client, tables, .. } = open(context, args.repair)?;
    let schema = &tables.events.schema;
    let wish = Wish { names: args.names.clone(), from: args.from, to: args.to };
    let verified = compare(context, &mut client, schema, &wish)?;
    let mut reported = Vec::new();
    for verified in verified {
        let repair = (args.repair && verified.repairable() > 0)
            .then(|| mend(args, context, &mut client, schema, &verified))
            .transpose()?;
        reported.push(Reported { verified, repair });
    }
    let report = Report { projections: reported };
    tell(context, &report)?;
    if report.projections.iter().all(Reported::is_settled) {
        return Ok(Exit::Done);
    }
    let text: String = report.projections.iter().map(Reported::text).collect();
    Ok(context.output.found(&text))
}

impl Reported {
    /// Whether nothing is left that is wrong.
    fn is_settled(&self) -> bool {
        let Verified { findings, ambiguous, .. } = &self.verified;
        findings.is_empty()
            || (self.repair.is_some()
                && *ambiguous == 0
                && findings.iter().all(|found| found.kind == Kind::Lost))
    }
}

/// The tables as they are now.
fn look(context: &Context, client: &mut Client, schema: &str) -> Result<Tables> {
    let depth = Depth { indexes: false, ..Depth::default() };
    tables_of(&context.inspect(client, schema, depth)?, schema)
}

fn compare(
    context: &Context,
    client: &mut Client,
    schema: &str,
    wish: &Wish,
) -> Result<Vec<Verified>> {
    let mut refresh = |client: &mut Client| look(context, client, schema);
    let mut bar: Option<(String, PositionBar)> = None;
    let mut progress = |name: &str, position: i64, goal: i64| {
        if bar.as_ref().is_none_or(|(known, _)| known != name) {
            bar = Some((name.to_owned(), PositionBar::new(&context.output)));
        }
        if let Some((_, bar)) = &mut bar {
            bar.at(name, position, goal);
        }
    };
    verify::look(client, &mut refresh, wish, &context.interrupt, &mut progress)
}

/// Queues what was lost; with `--dry-run` only says how.
fn mend(
    args: &VerifyArgs,
    context: &Context,
    client: &mut Client,
    schema: &str,
    verified: &Verified,
) -> Result<Repaired> {
    repair::check(verified)?;
    let tables = look(context, client, schema)?;
    let mut plan =
        |transaction: &mut postgres::Transaction<'_>| repair::plan(transaction, &tables, verified);
    let steered = if context.global.dry_run {
        Steered::planned(change::preview(client, &mut plan)?)
    } else {
        carry_out(context, client, args.patience.patience, &mut plan)?
    };
    let events = if steered.changed { verified.repairable() } else { 0 };
    Ok(Repaired { steered, events })
}

fn tell(context: &Context, report: &Report) -> Result<()> {
    let output = &context.output;
    if output.is_json() {
        return output.json(context.name, report);
    }
    if context.global.dry_run {
        let steps: Vec<RenderedStep> =
            report.projections.iter().flat_map(Reported::steps).cloned().collect();
        if !steps.is_empty() {
            output.data(&Script { steps }.to_sql(context.name))?;
        }
    } else {
        let text: String = report.projections.iter().map(Reported::text).collect();
        output.result(context.name, report, &text)?;
    }
    if report.projections.is_empty() {
        output.say("No projections");
    }
    for reported in &report.projections {
        reported.conclude(context);
    }
    Ok(())
}

impl Reported {
    fn steps(&self) -> impl Iterator<Item = &RenderedStep> {
        self.repair.iter().flat_map(|repair| repair.steered.steps())
    }

    fn text(&self) -> String {
        let Verified { projection, after, up_to, events, findings, archived, .. } = &self.verified;
        let mut text = format!("{}: ", bold(&printable(projection)));
        let compared = if up_to > after {
            let events = number(*events, "event");
            format!("positions {} to {up_to} compared, {events}", after + 1)
        } else {
            "nothing to compare".to_owned()
        };
        let state =
            if findings.is_empty() { green("all right") } else { red("not as it should be") };
        let state = if up_to > after { format!(", {state}") } else { String::new() };
        let _ = writeln!(text, "{compared}{state}");
        for found in findings {
            describe(found, &mut text);
        }
        for absent in archived {
            let events = number(absent.events, "event");
            let _ = writeln!(text, "  {events} in {}", printable(&absent.name));
        }
        for note in self.notes() {
            let _ = writeln!(text, "  {} {}", yellow("note:"), printable(&note));
        }
        for mend in self.remedies() {
            let _ = writeln!(text, "  mend it: {}", cyan(&printable(&mend)));
        }
        text
    }

    /// What was not compared, and why.
    fn notes(&self) -> Vec<String> {
        let Verified { projection, audited_from, file, ambiguous, .. } = &self.verified;
        let anew = repair::anew(file.is_some(), &shell_word(projection));
        let mut notes = Vec::new();
        match audited_from {
            None => notes.push(
                "nobody noted so far what it was given: that begins when a worker starts"
                    .to_owned(),
            ),
            Some(0) => {}
            Some(from) => notes.push(format!(
                "up to position {from} it is not known what it was given; to be sure of that make \
                 it anew: {anew}"
            )),
        }
        if *ambiguous > 0 {
            notes.push(format!(
                "{} at a position that another event has too cannot be given alone",
                number(*ambiguous, "lost event")
            ));
        }
        notes
    }

    fn remedies(&self) -> Vec<String> {
        let Verified { projection, file, findings, .. } = &self.verified;
        let name = shell_word(projection);
        let mut remedies = Vec::new();
        if self.verified.repairable() > 0 && self.repair.is_none() {
            remedies.push(format!("pupctl projections verify {name} --repair"));
        }
        let is_beyond = |found: &Difference| found.kind != Kind::Lost;
        if findings.iter().any(is_beyond) || self.verified.ambiguous > 0 {
            remedies.push(repair::anew(file.is_some(), &name));
        }
        remedies
    }

    /// What was done, and what is to be done next.
    fn conclude(&self, context: &Context) {
        let Some(repair) = &self.repair else { return };
        let output = &context.output;
        for note in &repair.steered.notes {
            output.say(format!("note: {note}"));
        }
        let name = &self.verified.projection;
        let events = number(repair.events, "lost event");
        if context.global.dry_run {
            output.say(format!("Dry run: {events} of {name}, nothing was changed"));
        } else if repair.events == 0 {
            output.say(format!("Nothing to do: {name} was given them meanwhile"));
        } else {
            output.say(format!("{} {events} of {name}: workers handle them next", green("Done:")));
            if self.verified.file.is_some() {
                output.say(format!(
                    "  unless workers run: pupctl projections run {} --until-caught-up",
                    shell_word(name)
                ));
            }
        }
    }
}

fn describe(found: &Difference, text: &mut String) {
    let Difference { kind, events, ranges, first } = found;
    let what = match kind {
        Kind::Lost => format!("{} not given", number(*events, "event")),
        Kind::Doubled => format!("{} given more than once", number(*events, "event")),
        Kind::Other => {
            format!("{} with other events than were given", number(*events, "block of positions"))
        }
        Kind::Vanished => {
            format!("{} given, and neither in the store nor archived", number(*events, "event"))
        }
    };
    let shown: Vec<_> = ranges
        .iter()
        .take(RANGES_SHOWN)
        .map(|range| match range.last - range.first {
            0 => range.first.to_string(),
            _ => format!("{} to {}", range.first, range.last),
        })
        .collect();
    let more = if ranges.len() > RANGES_SHOWN { ", …" } else { "" };
    let _ = writeln!(text, "  {} {what}: {}{more}", red(&kind.to_string()), shown.join(", "));
    for sample in first {
        let Some(Known { event_id, event_type, created_at, .. }) = &sample.event else { continue };
        let known = sample.event.as_ref().map(aggregate).unwrap_or_default();
        let when = created_at.format("%F %T UTC");
        let line = format!("{}: {event_type} of {known}, {when}, {event_id}", sample.position);
        let _ = writeln!(text, "    {}", printable(&line));
    }
}

fn aggregate(event: &Known) -> String {
    let Known { bounded_context, aggregate_type, aggregate_id, aggregate_version, .. } = event;
    format!("{bounded_context}/{aggregate_type}/{aggregate_id} version {aggregate_version}")
}
