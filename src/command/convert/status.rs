//! `pupctl convert status`

use clap::Args;
use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::output::table;
use crate::command::context::Context;
use crate::db::{inspect, lock};
use crate::operation::convert::record::{self, Record, Speed};
use crate::plan::convert::{Phase, Strategy};

/// See how far a conversion is
///
/// The phase, how many events have been copied and how fast, and the time that is left.
#[derive(Debug, Args)]
pub struct StatusArgs {}

#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "a machine asks for each")]
struct Report<'a> {
    /// The one that goes on, else the last one.
    conversion: Option<&'a Record>,
    /// Whether somebody works on it at this moment.
    running: bool,
    copied: Option<Speed>,
    rows_per_second: Option<f64>,
    seconds_left: Option<u64>,
    /// Whether `swap`, `rollback` and `finish` are what may come next.
    can_swap: bool,
    can_roll_back: bool,
    can_finish: bool,
}

pub(super) fn run(_args: &StatusArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut store = context.open()?;
    let Some(found) = record::find(&mut store.client, &store.schema)? else {
        let report = Report {
            conversion: None,
            running: false,
            copied: None,
            rows_per_second: None,
            seconds_left: None,
            can_swap: false,
            can_roll_back: false,
            can_finish: false,
        };
        context.output.result(context.name, &report, "")?;
        context.output.say("The store was never converted");
        return Ok(Exit::Done);
    };
    let running = lock::is_held(&mut store.client, &store.schema)?;
    let copied = record::speed(&mut store.client, &store.schema, found.id)?;
    let rate = copied.per_second.filter(|_| found.phase == Phase::Copying && running);
    let left = found.rows.saturating_sub(copied.rows).max(0);
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let seconds = rate.filter(|rate| *rate > 0.0).map(|rate| (left as f64 / rate) as u64);
    let report = Report {
        conversion: Some(&found),
        running,
        copied: Some(copied),
        rows_per_second: rate,
        seconds_left: seconds,
        can_swap: found.phase == Phase::Ready,
        can_roll_back: !found.phase.is_over(),
        can_finish: found.phase == Phase::Swapped,
    };
    context.output.result(context.name, &report, &lines(&report, &found))?;
    let now = inspect::server(&mut store.client)?.now;
    context.output.say(next(&found, running, found.near_cutover(now).is_some()));
    Ok(Exit::Done)
}

fn lines(report: &Report<'_>, found: &Record) -> String {
    let mut rows = vec![
        ("layout", found.after.partition_by()),
        ("strategy", found.strategy.to_string()),
        ("phase", found.phase.to_string()),
        ("begun", found.began_at.format("%F %T UTC").to_string()),
    ];
    let copied = report.copied.map_or(0, |copied| copied.rows);
    if found.phase == Phase::Copying {
        let percent = copied.saturating_mul(100) / found.rows.max(1);
        rows.push(("copied", format!("{copied} of {} ({percent} %)", found.rows)));
        if let Some(rate) = report.rows_per_second {
            rows.push(("rows per second", format!("{rate:.0}")));
        }
        if let Some(seconds) = report.seconds_left {
            let left = std::time::Duration::from_secs(seconds);
            rows.push(("time left", humantime::format_duration(left).to_string()));
        }
    } else {
        rows.push(("events", found.rows.to_string()));
    }
    let paused = found.paused_at.filter(|_| found.phase < Phase::Ready);
    let cutover = found.cutover.filter(|_| !found.phase.is_over());
    for (name, at) in [
        ("paused", paused),
        ("cutover", cutover),
        ("swapped", found.swapped_at),
        ("ended", found.ended_at),
    ] {
        rows.extend(at.map(|at| (name, at.format("%F %T UTC").to_string())));
    }
    let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    table(&["", ""], rows, 2)
}

/// What to do next.
fn next(found: &Record, running: bool, is_near: bool) -> &'static str {
    match found.phase {
        _ if running => "Somebody works on the store at this moment",
        Phase::Ready if is_near => "The cutover is near: choose a later one: pupctl convert resume",
        Phase::Ready => "Put the new tables in place: pupctl convert swap",
        Phase::Swapped if found.strategy == Strategy::Attach => {
            "End it: pupctl convert finish; or go back: pupctl convert rollback"
        }
        Phase::Swapped => {
            "Drop the old tables: pupctl convert finish; or go back: pupctl convert \
                           rollback"
        }
        phase if phase.is_over() => "Nothing goes on",
        _ => "Go on: pupctl convert resume; or call it off: pupctl convert rollback",
    }
}
