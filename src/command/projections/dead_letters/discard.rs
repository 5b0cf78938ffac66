//! `pupctl projections dead-letters discard`

use std::cell::Cell;

use clap::Args;
use serde::Serialize;

use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::command::projections::steer::{Opened, PatienceArgs, Steered, open, report, steer};
use crate::projection::control::change::{self, Planner};
use crate::projection::control::letters::discard;

use super::{WhichArgs, letters};

/// Forget dead letters: their events are never handled
///
/// What waits behind an event that is forgotten stays, and can be replayed without it. Waits for
/// the batches that run at the moment. Asks (--yes).
///
/// Examples:
///   pupctl projections dead-letters discard order_totals --position 4711
///   pupctl projections dead-letters discard order_totals --all --yes
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct DiscardArgs {
    #[command(flatten)]
    which: WhichArgs,

    #[command(flatten)]
    patience: PatienceArgs,
}

#[derive(Serialize)]
struct Discarded {
    #[serde(flatten)]
    steered: Steered,
    /// How many letters are meant.
    letters: i64,
}

pub(super) fn run(args: &DiscardArgs, context: &Context) -> anyhow::Result<Exit> {
    let Opened { mut client, tables, .. } = open(context, true)?;
    let (name, wish) = (&args.which.name, args.which.wish.wish());
    let number = Cell::new(0);
    let plan: Planner<'_> = &mut |transaction| {
        let planned = discard::plan(transaction, &tables, name, &wish)?;
        number.set(planned.letters);
        Ok(planned.change)
    };
    change::preview(&mut client, plan)?;
    let are = if number.get() == 1 { "is" } else { "are" };
    let question =
        format!("{} of {name} {are} forgotten, and never handled. Go on?", letters(number.get()));
    let steered = steer(context, &mut client, args.patience.patience, Some(&question), plan)?;
    let number = number.get();
    if context.output.is_json() {
        context.output.json(context.name, &Discarded { steered, letters: number })?;
        return Ok(Exit::Done);
    }
    let done = format!("{} of {name} forgotten", letters(number));
    Ok(report(context, &steered, &done, &format!("no dead letter {}", wish.words(name)))?)
}
