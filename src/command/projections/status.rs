//! `pupctl projections status`

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::cli::argument::{duration, value};
use crate::cli::exit::Exit;
use crate::cli::output::{bold, count, green, printable, red, table, yellow};
use crate::cli::progress::PositionBar;
use crate::command::context::Context;
use crate::error::Error;
use crate::projection::control::checkpoint::{self, Checkpoint};
use crate::projection::control::head::Head;
use crate::projection::control::status::{self, CheckpointStatus, ProjectionStatus, State, Status};
use crate::projection::control::wait::{self, Goal, Reached, Wish};
use crate::render::quote::shell_word;

use super::steer::{Opened, open};
use super::words;

/// How long a deployment waits unless told otherwise.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Show what projections do: how far each slot is, who works on it, what failed
///
/// Of every slot: its position, how many events of its scope lie ahead (counted up to 100,000) and
/// how old the oldest of them is, how fast it is, who works on it, the last error. Above it, which
/// transactions keep all projections from going on at the moment.
///
/// With --wait and --position it waits until every slot is there, or fails: a gate for a
/// deployment. Without a NAME it waits for all projections that are not paused. It fails where
/// there is none, and where events up to the position are among the dead letters.
///
/// Examples:
///   pupctl projections status
///   pupctl projections status order_totals --wait --position head --timeout 5m
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct StatusArgs {
    /// The projection [default: all]
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// With --wait: the position to wait for, or head for the last one that there is now
    #[arg(long, value_name = "POSITION", value_parser = value::<Goal>)]
    position: Option<Goal>,

    /// With --wait: fail after this time [default: that of --wait, else 60s]
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "position")]
    timeout: Option<Duration>,

    /// With --wait: even if events up to the position failed, or wait behind such
    #[arg(long, requires = "position")]
    ignore_dead_letters: bool,
}

#[derive(Serialize)]
struct Waited {
    #[serde(flatten)]
    reached: Reached,
    seconds: f64,
}

pub(super) fn run(args: &StatusArgs, context: &Context) -> anyhow::Result<Exit> {
    let name = args.name.as_deref();
    match (context.global.wait, args.position) {
        (Some(time), Some(goal)) => Ok(gate(args, context, goal, time)?),
        (None, None) => {
            let Opened { mut client, tables, .. } = open(context, false)?;
            let status = status::look(&mut client, &tables, name, true, &context.interrupt)?;
            context.output.result(context.name, &status, &text(&status))?;
            if status.projections.is_empty() {
                context.output.say("No projections");
            }
            Ok(Exit::Done)
        }
        (Some(_), None) => Err(Error::invalid("--wait does not say for which position to wait")
            .hint("wait for all that there is now: --wait --position head")
            .into()),
        (None, Some(_)) => Err(Error::invalid("--position without --wait means nothing")
            .hint("wait for it: --wait --position …")
            .into()),
    }
}

/// Waits for a position.
fn gate(args: &StatusArgs, context: &Context, goal: Goal, time: Duration) -> anyhow::Result<Exit> {
    let start = Instant::now();
    let timeout = args.timeout.unwrap_or(if time.is_zero() { TIMEOUT } else { time });
    let Opened { mut client, tables, .. } = open(context, false)?;
    let mut bar = PositionBar::new(&context.output);
    let reached = wait::wait(
        &mut client,
        &tables,
        Wish {
            name: args.name.as_deref(),
            goal,
            timeout,
            ignore_dead_letters: args.ignore_dead_letters,
        },
        &context.interrupt,
        &mut |row, position, goal| bar.at(row, position, goal),
    )?;
    drop(bar);
    let position = reached.position;
    let names = reached.projections.join(", ");
    let waited = Waited { reached, seconds: start.elapsed().as_secs_f64() };
    context.output.result(context.name, &waited, "")?;
    let Waited { reached, .. } = &waited;
    for left in &reached.left_out {
        context.output.say(format!("note: {} is {}, and was left out", left.name, left.why));
    }
    for found in &reached.dead_letters {
        let letters = words::number(found.letters, "dead letter");
        context.output.warn(format!("{} has {letters} up to the position", found.name));
    }
    for barrier in &reached.barriers {
        context.output.warn(barrier.words());
    }
    context.output.say(format!("{} {names} reached position {position}", green("Done:")));
    Ok(Exit::Done)
}

fn text(status: &Status) -> String {
    let mut text = head(&status.head);
    for projection in &status.projections {
        text.push('\n');
        describe(projection, &mut text);
    }
    text
}

fn head(head: &Head) -> String {
    let mut text = format!("{} {}", bold("Last position"), head.position);
    if head.settled {
        text.push_str(", settled\n");
        return text;
    }
    text.push('\n');
    if let Some(problem) = &head.problem {
        let _ = writeln!(text, "{} {}", yellow("unknown what is settled:"), printable(problem));
    }
    for holder in &head.held_by {
        let holder = printable(&holder.to_string());
        let _ = writeln!(text, "{} {holder}", yellow("not settled:"));
    }
    text
}

fn describe(projection: &ProjectionStatus, text: &mut String) {
    let name = printable(&projection.name);
    let state = match projection.state {
        State::Failing => red("failing"),
        State::Paused | State::Draining => yellow(&words::state(projection)),
        other => other.to_string(),
    };
    let _ = write!(text, "{}: {state}", bold(&name));
    for fact in facts(projection) {
        let _ = write!(text, "; {}", printable(&fact));
    }
    text.push('\n');
    let rows = projection.checkpoints.iter().map(row).collect();
    let header =
        ["checkpoint", "worker", "position", "events ahead", "oldest", "events/s", "handled"];
    text.push_str(&table(&header, rows, 2));
    if let Some(problem) = &projection.problem {
        let _ = writeln!(text, "{} {}", red("problem:"), printable(problem));
    }
    for failure in failures(&projection.checkpoints) {
        let _ = writeln!(text, "{} {}", red("failed:"), printable(&failure));
    }
}

/// What holds for the whole projection.
fn facts(projection: &ProjectionStatus) -> Vec<String> {
    let mut facts = Vec::new();
    if let (Some(slots), Some(hash)) = (projection.slots, &projection.slot_hash) {
        let slots = count(usize::try_from(slots).unwrap_or(0), "slot");
        facts.push(format!("{slots} by {hash}"));
        facts.push(format!("contexts: {}", words::names(&projection.bounded_contexts)));
        if !projection.aggregate_types.is_empty() {
            facts.push(format!("aggregates: {}", words::names(&projection.aggregate_types)));
        }
        let workers = projection.sessions.len();
        facts.push(match workers {
            0 => "no worker is connected".to_owned(),
            _ => format!("{} connected", count(workers, "worker")),
        });
    }
    if projection.checkpoints.len() > 1 {
        let (events, age) = (words::events(projection.lag), words::age(projection.lag));
        facts.push(format!("{events} events ahead, the oldest {age} old"));
    }
    if let Some(since) = projection.paused_at {
        facts.push(format!("paused since {}", since.format("%F %T UTC")));
    }
    if let Some(position) = projection.drain_to {
        facts.push(format!(
            "its slots are being changed, at position {position} (or not: pupctl projections \
             rescale {} --abort)",
            shell_word(&projection.name)
        ));
    }
    let letters = words::letters(projection.dead_letters);
    if !letters.is_empty() {
        facts.push(format!("dead letters: {letters}"));
    }
    facts
}

fn row(status: &CheckpointStatus) -> Vec<String> {
    let checkpoint = &status.checkpoint;
    let slot = checkpoint.slot.as_ref();
    let worker = slot.and_then(|slot| slot.worker.as_ref()).map(|worker| {
        if status.worker_connected { worker.clone() } else { format!("{worker} (gone)") }
    });
    vec![
        checkpoint.row.clone(),
        worker.unwrap_or_default(),
        checkpoint.position.to_string(),
        words::events(status.lag),
        words::age(status.lag),
        if slot.is_some() { format!("{:.0}", status.rate) } else { String::new() },
        slot.map_or_else(String::new, |slot| slot.events_handled.to_string()),
    ]
}

/// The errors, each with the slots that have it.
fn failures(rows: &[CheckpointStatus]) -> Vec<String> {
    let found = checkpoint::failures(rows.iter().map(|row| &row.checkpoint));
    let place = |name: &&str| {
        let row = rows.iter().find(|row| row.checkpoint.row == **name);
        row.map_or_else(String::new, |row| failed(&row.checkpoint))
    };
    let line = |(error, names): &(&str, Vec<&str>)| {
        let places: Vec<_> = names.iter().map(place).collect();
        format!("{}: {error}", places.join("; "))
    };
    found.iter().map(line).collect()
}

/// The row, where it failed, and when.
fn failed(row: &Checkpoint) -> String {
    let mut words = row.row.clone();
    let Some(slot) = &row.slot else { return words };
    if let Some(position) = slot.failed_position {
        let _ = write!(words, " at position {position}");
    }
    if let Some(when) = slot.failed_at {
        let _ = write!(words, ", {}", when.format("%F %T UTC"));
    }
    words
}
