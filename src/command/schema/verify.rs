//! `pupctl schema verify`

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::command::context::{Context, layout_of};
use crate::command::findings;
use crate::db::inspect::Depth;
use crate::finding::{self, Finding};
use crate::render::quote;

/// Compare the tables and every partition with the layout, and print what mends them
///
/// Keys, indexes and their storage parameters, columns and defaults, constraints, owners, grants,
/// row security, replica identity, publications and storage parameters of every leaf are compared
/// with the layout and with the table that it belongs to. Which months there are is no difference:
/// that is what partitions check looks at. Reads only.
///
/// Examples:
///   pupctl schema verify --exit-code
///   pupctl schema verify --sql
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct VerifyArgs {
    /// Exit with 3 when anything differs
    #[arg(long)]
    exit_code: bool,

    /// Print only the statements that mend it, as psql runs them
    #[arg(long)]
    sql: bool,
}

#[derive(Serialize)]
struct Verification {
    findings: Vec<Finding>,
}

pub(super) fn run(args: &VerifyArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut store = context.open()?;
    let depth = Depth { definitions: true, details: true, ..Depth::default() };
    let catalog = context.inspect(&mut store.client, &store.schema, depth)?;
    let layout = layout_of(&catalog)?;
    let mut findings = finding::verify(layout, &catalog)?;
    let found = findings.len();
    let output = &context.output;
    let mut text = String::new();
    if args.sql && !output.is_json() {
        if found > 0 {
            output.data(&script(context, &findings))?;
        }
    } else {
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        text = findings::text(&findings, true);
        output.result(context.name, &Verification { findings }, &text)?;
    }
    if found > 0 {
        let last = format!("{} found", count(found, "difference"));
        output.say(&last);
        text.push_str(&last);
    } else {
        let relations = catalog.roots().map(|root| root.walk().count()).sum();
        output.say(format!("No difference found in {}", count(relations, "table")));
    }
    Ok(if found > 0 && args.exit_code { output.found(&text) } else { Exit::Done })
}

/// The statements in the order in which they can run, each on its own.
fn script(context: &Context, findings: &[Finding]) -> String {
    let command = quote::comment(context.name);
    let mut text = format!("-- pupctl {command}\n\\set ON_ERROR_STOP on\n");
    for finding in findings {
        let Finding { check, object, message, .. } = finding;
        let line = quote::comment(&format!("{check} {object}: {message}"));
        let _ = writeln!(text, "\n-- {line}.");
        if let Some(remedy) = &finding.remedy {
            let remedy = context.output.commands(remedy);
            let _ = writeln!(text, "-- Run: {}", quote::comment(&remedy));
        }
        for statement in &finding.mend {
            // A build that gives up while it waits leaves an invalid index.
            let waits = statement.contains(" CONCURRENTLY ");
            let _ = writeln!(text, "SET lock_timeout = '{}';", if waits { "0" } else { "5s" });
            let _ = writeln!(text, "{statement}");
        }
    }
    text
}
