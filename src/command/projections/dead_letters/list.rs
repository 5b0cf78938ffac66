//! `pupctl projections dead-letters list`

use clap::Args;

use crate::cli::exit::Exit;
use crate::cli::output::table;
use crate::command::context::Context;
use crate::command::projections::steer::{Opened, open};
use crate::projection::control::letters::Letter;
use crate::projection::control::letters::list::{Filter, list};

/// How much of an error has room in a line.
const ERROR_LENGTH_MAX: usize = 60;

/// List the events that could not be handled, and those that wait behind them
///
/// An event that fails is put aside, and so are the later ones of its aggregate, so that they are
/// handled in order once it works. With -o json the whole of each error is shown.
///
/// Examples:
///   pupctl projections dead-letters list
///   pupctl projections dead-letters list order_totals --aggregate Billing/Order/17
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ListArgs {
    /// Those of this projection [default: of all]
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// Those of an aggregate: its context, type and id
    #[arg(long, value_name = "CONTEXT/TYPE/ID", value_parser = super::aggregate)]
    aggregate: Option<String>,

    /// At most so many
    #[arg(long, value_name = "NUMBER", default_value_t = 20,
        value_parser = clap::value_parser!(i64).range(1..=100_000))]
    limit: i64,
}

pub(super) fn run(args: &ListArgs, context: &Context) -> anyhow::Result<Exit> {
    let Opened { mut client, tables, .. } = open(context, false)?;
    let (projection, aggregate) = (args.name.clone(), args.aggregate.clone());
    let filter = Filter { projection, aggregate, limit: args.limit };
    let found = list(&mut client, &tables, &filter)?;
    let rows: Vec<_> = found.letters.iter().map(row).collect();
    let header =
        ["position", "projection", "aggregate", "event", "state", "attempts", "since", "error"];
    let text = if rows.is_empty() { String::new() } else { table(&header, rows, 8) };
    context.output.result(context.name, &found, &text)?;
    let shown = found.letters.len();
    if shown == 0 {
        context.output.say("No dead letters");
    } else if usize::try_from(found.total).is_ok_and(|total| total > shown) {
        context
            .output
            .say(format!("{shown} of {}; more with --limit", super::letters(found.total)));
    }
    Ok(Exit::Done)
}

fn row(letter: &Letter) -> Vec<String> {
    let state = match letter.replay_at {
        Some(_) => format!("{}, to be replayed", letter.state),
        None => letter.state.clone(),
    };
    vec![
        letter.position.to_string(),
        letter.projection.clone(),
        letter.aggregate.to_string(),
        letter.event_type.clone(),
        state,
        letter.attempts.to_string(),
        letter.parked_at.format("%F %T UTC").to_string(),
        short(letter.error.as_deref().unwrap_or_default()),
    ]
}

/// The beginning of an error, in one line.
pub(super) fn short(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default();
    if line.chars().count() <= ERROR_LENGTH_MAX && line.len() == error.len() {
        return line.to_owned();
    }
    let begin: String = line.chars().take(ERROR_LENGTH_MAX - 1).collect();
    format!("{begin}…")
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn an_error_has_one_line() {
        assert_eq!(short("it failed"), "it failed");
        assert_eq!(short("it failed\nbadly"), "it failed…");
        assert_eq!(short(&"ä".repeat(60)), "ä".repeat(60));
        assert_eq!(short(&"ä".repeat(61)), format!("{}…", "ä".repeat(59)));
    }
}
