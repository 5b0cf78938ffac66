//! `pupctl schema index reindex`

use clap::Args;

use super::{change, report, told};
use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::plan;
use crate::plan::index::Targets;

/// Build indexes anew, leaf by leaf, while readers and writers go on
///
/// For an index that has grown out of proportion, and for those that the server does not use
/// because their build failed. What interrupted runs left is cleaned up, and an index that lacks
/// some of its leaves is finished.
///
/// Examples:
///   pupctl schema index reindex events_created_at_idx
///   pupctl schema index reindex --all-invalid
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ReindexArgs {
    /// The index, of a table with all of its partitions or of a single leaf
    #[arg(required_unless_present = "all_invalid")]
    name: Option<String>,

    /// All indexes that the server does not use
    #[arg(long, conflicts_with = "name")]
    all_invalid: bool,
}

pub(super) fn run(args: &ReindexArgs, context: &Context) -> anyhow::Result<Exit> {
    let targets = args.name.clone().map_or(Targets::Invalid, Targets::Named);
    let written = change(context, "Go on?", |catalog, _| plan::index::reindex(catalog, &targets))?;
    let done = format!("every index is valid that was asked for; {}", told(&written.plan));
    Ok(report(context, written, &done, "Nothing to do: every index is valid")?)
}
