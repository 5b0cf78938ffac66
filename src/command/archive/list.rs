//! `pupctl archive list`

use clap::Args;
use serde::Serialize;

use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::operation::archives::{self, Record};

/// List the archives that left this store, with their state
///
/// `published` means that the file is proven and the table is kept, `dropped` that the table is
/// gone, `copied` that the events never left, `restored` that they are back.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those of this context, month, partition or place
    #[arg(value_name = "WHAT")]
    what: Option<String>,
}

#[derive(Serialize)]
struct List {
    archives: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    record: Record,
    /// Whether the folder is where it was written, seen from here.
    present: bool,
}

pub(super) fn run(args: &ListArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut store = context.open()?;
    let mut records = archives::all(&mut store.client, &store.schema)?;
    records.retain(|record| args.what.as_ref().is_none_or(|word| record.is_meant_by(word)));
    let text = super::archives_table(&records);
    let listed = |record: Record| Listed { present: record.path().is_dir(), record };
    let list = List { archives: records.into_iter().map(listed).collect() };
    context.output.result(context.name, &list, &text)?;
    for listed in list.archives.iter().filter(|listed| is_lost(listed)) {
        let path = listed.record.path();
        context.output.warn(format!("{} is not there", path.display()));
    }
    if list.archives.is_empty() {
        context.output.say("No archives");
    }
    Ok(Exit::Done)
}

fn is_lost(listed: &Listed) -> bool {
    !listed.present && listed.record.published_at.is_some()
}
