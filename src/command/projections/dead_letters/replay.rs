//! `pupctl projections dead-letters replay`

use std::cell::RefCell;
use std::time::Duration;

use clap::Args;
use postgres::Client;
use serde::Serialize;

use crate::cli::argument::duration;
use crate::cli::exit::Exit;
use crate::cli::output::green;
use crate::cli::progress::ArchiveBar;
use crate::command::context::Context;
use crate::command::projections::steer::{Opened, PatienceArgs, Steered, open, report, steer};
use crate::error::{Error, Result};
use crate::operation::archive::Progress;
use crate::projection::control::Tables;
use crate::projection::control::letters::replay::{self, Outcome, Replay};
use crate::render::quote::shell_word;

use super::list::short;
use super::{WhichArgs, letters};

/// How long workers are waited for unless told otherwise.
const TIMEOUT: Duration = Duration::from_mins(1);

/// How many letters a failure lists.
const LISTED_MAX: usize = 10;

/// Let workers handle dead letters once more
///
/// What handles events is the application's code, so this asks for it: the workers of the
/// projection do it before their next batch, in order, each event in a savepoint of the transaction
/// that takes it from the list. What fails again stays, with what waits behind it. Events of the
/// aggregate that come before the one at --position come along; what was skipped is replayed only
/// by its own position.
///
/// With --wait it waits until they were handled, and fails where one failed again.
///
/// Examples:
///   pupctl projections dead-letters replay order_totals --all --wait
///   pupctl projections dead-letters replay order_totals --aggregate Billing/Order/17
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ReplayArgs {
    #[command(flatten)]
    which: WhichArgs,

    /// With --wait: fail after this time [default: that of --wait, else 60s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,

    #[command(flatten)]
    patience: PatienceArgs,
}

#[derive(Serialize)]
struct Replayed {
    #[serde(flatten)]
    steered: Steered,
    /// How many letters are meant.
    letters: i64,
    /// How many workers were connected.
    workers: i64,
    /// What has become of them, with --wait.
    #[serde(flatten)]
    outcome: Option<Outcome>,
}

pub(super) fn run(args: &ReplayArgs, context: &Context) -> anyhow::Result<Exit> {
    let timeout = timeout(args, context)?;
    let Opened { mut client, tables, .. } = open(context, true)?;
    let (name, wish) = (&args.which.name, args.which.wish.wish());
    let planned = RefCell::new(None);
    let steered = steer(context, &mut client, args.patience.patience, None, &mut |transaction| {
        let replay = replay::plan(transaction, &tables, name, &wish)?;
        let change = replay.change.clone();
        planned.replace(Some(replay));
        Ok(change)
    })?;
    let Some(replay) = planned.into_inner() else { return Ok(Exit::Done) };
    let number = replay.letters;
    let nothing = if number == 0 {
        format!("no dead letter {}", wish.words(name))
    } else {
        format!("{} asked for already", letters(number))
    };
    let workers = replay::workers(&mut client, name)?;
    let goes_on = !context.global.dry_run && number > 0;
    if !context.output.is_json() {
        let done = format!("{} asked for: workers handle them next", letters(number));
        report(context, &steered, &done, &nothing)?;
    }
    if goes_on && workers == 0 {
        context
            .output
            .warn(format!("no worker of {name} is connected: they are handled when one comes"));
    }
    let outcome = match timeout.filter(|_| goes_on) {
        Some(timeout) => Some(wait(context, &mut client, &tables, &replay, timeout)?),
        None => None,
    };
    if context.output.is_json() {
        let outcome = outcome.clone();
        let replayed = Replayed { steered, letters: number, workers, outcome };
        context.output.json(context.name, &replayed)?;
    }
    Ok(outcome.map_or(Exit::Done, |outcome| told(context, name, &outcome, timeout)))
}

fn timeout(args: &ReplayArgs, context: &Context) -> Result<Option<Duration>> {
    match (context.global.wait, args.timeout) {
        (Some(time), None) if time.is_zero() => Ok(Some(TIMEOUT)),
        (Some(time), timeout) => Ok(Some(timeout.unwrap_or(time))),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Error::invalid("--timeout without --wait means nothing")
            .hint("wait for the workers: --wait --timeout …")),
    }
}

fn wait(
    context: &Context,
    client: &mut Client,
    tables: &Tables,
    replay: &Replay,
    timeout: Duration,
) -> Result<Outcome> {
    let mut bar = ArchiveBar::new(&context.output);
    bar.phase("Waiting for the workers", None);
    let mut told = 0;
    replay::wait(client, tables, replay, timeout, &context.interrupt, &mut |left| {
        if std::mem::replace(&mut told, left) == left {
            return;
        }
        bar.phase(&format!("Waiting for the workers: {} left", letters(left)), None);
    })
}

/// Tells what has become of the letters.
fn told(context: &Context, name: &str, outcome: &Outcome, timeout: Option<Duration>) -> Exit {
    let output = &context.output;
    if outcome.is_whole() {
        output.say(format!("{} {} handled", green("Done:"), letters(outcome.handled)));
        return Exit::Done;
    }
    let mut lines: Vec<_> = outcome
        .failures
        .iter()
        .take(LISTED_MAX)
        .map(|letter| {
            let error = short(letter.error.as_deref().unwrap_or("no error is known"));
            format!("position {} of {}: {error}", letter.position, letter.aggregate)
        })
        .collect();
    let more = outcome.failed.saturating_sub(i64::try_from(lines.len()).unwrap_or(0));
    lines.extend((more > 0).then(|| format!("and {more} more")));
    lines.extend(
        (outcome.waiting > 0).then(|| format!("{} behind them wait on", letters(outcome.waiting))),
    );
    let word = shell_word(name);
    let error = if outcome.pending > 0 {
        let time = humantime::format_duration(timeout.unwrap_or_default()).to_string();
        Error::refused(format!(
            "workers of {name} have not looked at {} within {time}",
            letters(outcome.pending)
        ))
        .hint(format!("see who works on it, and why not: pupctl projections status {word}"))
    } else {
        Error::refused(format!(
            "{} of {name} failed again, {} handled",
            letters(outcome.failed),
            outcome.handled
        ))
        .hint(format!(
            "mend the handler and replay them, or forget an event: pupctl projections dead-letters \
             discard {word} --position POSITION"
        ))
    };
    output.tell_failure(&error.details(lines));
    Exit::Failed
}
