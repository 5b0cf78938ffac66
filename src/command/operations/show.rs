//! `pupctl operations show`

use clap::Args;
use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::output::table;
use crate::command::archive::archives_table;
use crate::command::context::Context;
use crate::operation::archives::{self, Record};
use crate::operation::journal::Operation;

/// Show one operation: its request, how far it came, and what is to be done about it
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Its number
    #[arg(value_name = "ID")]
    id: i64,
}

#[derive(Serialize)]
struct Shown {
    operation: Operation,
    /// The archives of the tables that it was about.
    archives: Vec<Record>,
}

pub(super) fn run(args: &ShowArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut store = context.open()?;
    let operation = super::find(&mut store, args.id)?;
    let tables = operation.tables();
    let mut archives = archives::all(&mut store.client, &store.schema)?;
    archives.retain(|record| tables.contains(&record.table_oid));
    let shown = Shown { operation, archives };
    let text = text(&shown);
    context.output.result(context.name, &shown, &text)?;
    if shown.operation.can_be_resumed() {
        let id = args.id;
        context.output.say(format!(
            "note: go on with it: pupctl operations resume {id}; or call it off: pupctl \
             operations abort {id}"
        ));
    }
    Ok(Exit::Done)
}

fn text(shown: &Shown) -> String {
    let Operation { id, command, pupctl_version, role, started_at, ended_at, outcome, .. } =
        &shown.operation;
    let time = |at: chrono::DateTime<chrono::Utc>| at.format("%F %T UTC").to_string();
    let mut rows = vec![
        ("id", id.to_string()),
        ("command", command.clone()),
        ("outcome", outcome.clone()),
        ("started", time(*started_at)),
        ("ended", ended_at.map_or_else(|| "-".to_owned(), time)),
        ("role", role.clone()),
        ("pupctl", pupctl_version.clone()),
    ];
    rows.extend(shown.operation.subject().map(|subject| ("subject", subject.to_owned())));
    rows.extend(shown.operation.request().map(|request| ("request", request.join(" "))));
    let confirmed = shown.operation.confirmed_at();
    rows.extend(confirmed.map(|at| ("nothing left to do", time(at))));
    rows.extend(shown.operation.detail.clone().map(|detail| ("detail", detail)));
    let rows = rows.into_iter().map(|(key, value)| vec![key.to_owned(), value]).collect();
    let mut text = table(&["operation", ""], rows, 2);
    text.push_str(&archives_table(&shown.archives));
    text
}
