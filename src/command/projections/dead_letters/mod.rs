//! `pupctl projections dead-letters …`

pub mod discard;
pub mod list;
pub mod replay;

use clap::{Args, Subcommand};

use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::projection::control::letters::Wish;

/// The verbs of `dead-letters`.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the words are those of the arguments, for the help too")]
pub enum DeadLettersCommand {
    List(list::ListArgs),
    Replay(replay::ReplayArgs),
    Discard(discard::DiscardArgs),
}

impl DeadLettersCommand {
    /// As the user types it, without the options.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::List(_) => "projections dead-letters list",
            Self::Replay(_) => "projections dead-letters replay",
            Self::Discard(_) => "projections dead-letters discard",
        }
    }
}

pub(super) fn run(command: &DeadLettersCommand, context: &Context) -> anyhow::Result<Exit> {
    match command {
        DeadLettersCommand::List(args) => list::run(args, context),
        DeadLettersCommand::Replay(args) => replay::run(args, context),
        DeadLettersCommand::Discard(args) => discard::run(args, context),
    }
}

/// Which letters of a projection are meant.
#[derive(Debug, Args)]
struct WhichArgs {
    /// The projection
    #[arg(value_name = "NAME")]
    name: String,

    #[command(flatten)]
    wish: WishArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct WishArgs {
    /// Those of an aggregate: its context, type and id
    #[arg(long, value_name = "CONTEXT/TYPE/ID", value_parser = aggregate)]
    aggregate: Option<String>,

    /// That of the event at this position
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(1..))]
    position: Option<i64>,

    /// All of the projection
    #[arg(long)]
    all: bool,
}

impl WishArgs {
    fn wish(&self) -> Wish {
        match (&self.aggregate, self.position) {
            (Some(aggregate), _) => Wish::Aggregate(aggregate.clone()),
            (None, Some(position)) => Wish::Position(position),
            (None, None) => Wish::All,
        }
    }
}

/// An id may have slashes too; without all three parts no aggregate is meant.
fn aggregate(text: &str) -> Result<String, String> {
    let parts: Vec<_> = text.splitn(3, '/').collect();
    if parts.len() == 3 && parts.iter().all(|part| !part.is_empty()) {
        return Ok(text.to_owned());
    }
    Err("an aggregate has three parts; write CONTEXT/TYPE/ID, for example Sales/Order/17"
        .to_owned())
}

fn letters(number: i64) -> String {
    crate::cli::output::count(usize::try_from(number).unwrap_or(usize::MAX), "dead letter")
}
