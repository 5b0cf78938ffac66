//! `pupctl report`

mod chart;
mod page;
mod scale;
mod timeline;
mod words;

use std::path::Path;

use clap::Args;

use crate::cli::exit::Exit;
use crate::cli::output::{bytes, count, table};
use crate::command::context::Context;
use crate::command::file;
use crate::command::findings;
use crate::command::overview::{Look, take};
use crate::error::Error;
use crate::overview::Overview;

/// Show the whole store on one page: partitions, growth, projections, what is wrong
///
/// The page is one file that needs nothing else: no network, no fonts, no script to be read. It
/// replaces the file at once when it is whole; whatever goes wrong before leaves the old one. With
/// --output json the same picture is printed for machines. Reads only: nothing is changed in the
/// store, and no table of events is read through.
///
/// Examples:
///   pupctl report --html store.html
///   pupctl report --html store.html --title Shop
///   pupctl report --output json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ReportArgs {
    /// The file to write; - for standard output
    #[arg(long, value_name = "FILE")]
    html: Option<String>,

    /// The title of the page [default: the database and the schema]
    #[arg(long, value_name = "TEXT", requires = "html")]
    title: Option<String>,

    /// Exit with 3 when anything is found that is more than a notice
    #[arg(long)]
    exit_code: bool,
}

pub(super) fn run(args: &ReportArgs, context: &Context) -> anyhow::Result<Exit> {
    let output = &context.output;
    let to_stdout = args.html.as_deref() == Some("-");
    if to_stdout && output.is_json() {
        return Err(Error::invalid("standard output takes the page or JSON, not both")
            .hint("name a file for the page: --html store.html")
            .into());
    }
    if let Some(path) = args.html.as_deref().filter(|_| !to_stdout) {
        // Before the store is read, which may take a while.
        file::refuse_unwritable(Path::new(path))?;
    }
    let mut store = context.open()?;
    let mut overview = take(context, &mut store, Look::Thorough)?;
    drop(store);
    for finding in &mut overview.findings {
        finding.remedy = finding.remedy.take().map(|remedy| output.commands(&remedy));
    }
    if let Some(path) = &args.html {
        let page = page::page(&overview, args.title.as_deref());
        if to_stdout {
            output.data(&page)?;
        } else if !context.global.dry_run {
            file::replace(Path::new(path), &page)?;
        }
    }
    let summary = if args.html.is_some() { String::new() } else { text(&overview) };
    if !to_stdout {
        output.result(context.name, &overview, &summary)?;
    }
    for note in &overview.notes {
        output.say(format!("note: {note}"));
    }
    let problems = overview.problems();
    match args.html.as_deref() {
        Some("-") => {}
        Some(path) if context.global.dry_run => {
            output.say(format!("Dry run: {path} was not written"));
        }
        Some(path) => output.say(format!("Written: {path}, {} found", count(problems, "problem"))),
        None => output.say("The whole of it as a page: pupctl report --html store.html"),
    }
    if problems == 0 || !args.exit_code {
        return Ok(Exit::Done);
    }
    let text = findings::text(&overview.findings, false);
    Ok(output.found(&format!("{text}{} found", count(problems, "problem"))))
}

/// The same in a few lines.
fn text(overview: &Overview) -> String {
    let totals = &overview.totals;
    let size = bytes(totals.table_bytes + totals.index_bytes);
    let growth = &overview.growth;
    let behind = words::behind(&overview.projections);
    let rows = [
        ("events (est.)", words::rows(totals)),
        ("size", size),
        ("leaves", totals.leaves.to_string()),
        ("months", words::span(overview)),
        (
            "growth a month",
            format!("{} events, {}", growth.rows_per_month, bytes(growth.bytes_per_month)),
        ),
        ("months ahead", words::ahead(overview)),
        ("problems", overview.problems().to_string()),
        ("projections", format!("{}, {behind} behind", overview.projections.len())),
        ("archives", overview.archives.len().to_string()),
        ("held back", overview.held_back.len().to_string()),
    ];
    let rows = rows.into_iter().map(|(key, value)| vec![key.to_owned(), value]).collect();
    table(&["the store", ""], rows, 2)
}

#[cfg(test)]
mod tests;
