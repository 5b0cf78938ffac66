//! `pupctl archive verify`

use clap::Args;
use serde::Serialize;

use crate::archive::folder::Archive;
use crate::cli::exit::Exit;
use crate::cli::output::{count, green, table};
use crate::cli::progress::ArchiveBar;
use crate::command::context::Context;
use crate::error::Result;
use crate::operation::archive::Progress as _;
use crate::operation::archives;

/// Read archives back and compare them with their manifests
///
/// Checksums of all files, then every row: how many, the positions and the digest. A folder needs
/// no server. Without WHAT all archives that the store has listed.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Folders, or names of archives
    #[arg(value_name = "WHAT")]
    what: Vec<String>,
}

#[derive(Serialize)]
struct Report {
    archives: Vec<Verified>,
}

#[derive(Serialize)]
struct Verified {
    archive: String,
    events: Option<u64>,
    digest: Option<String>,
    /// What is wrong; null where it is proven.
    problem: Option<String>,
    details: Vec<String>,
}

pub(super) fn run(args: &VerifyArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut archives = Vec::new();
    for (name, opened) in opened(args, context)? {
        archives.push(match opened.and_then(|archive| verify(context, &archive)) {
            Ok((events, digest)) => Verified {
                archive: name,
                events: Some(events),
                digest: Some(digest),
                problem: None,
                details: Vec::new(),
            },
            // Ctrl-C says nothing about an archive.
            Err(error) if error.kind() == crate::error::Kind::Interrupted => {
                return Err(error.into());
            }
            Err(error) => Verified {
                archive: name,
                events: None,
                digest: None,
                problem: Some(error.message().to_owned()),
                details: error.detail_lines().to_vec(),
            },
        });
    }
    report(context, &Report { archives })
}

fn opened(args: &VerifyArgs, context: &Context) -> anyhow::Result<Vec<(String, Result<Archive>)>> {
    if !args.what.is_empty() {
        let open = |what: &String| (what.clone(), super::one(context, what));
        return Ok(args.what.iter().map(open).collect());
    }
    let mut store = context.open()?;
    let records = archives::all(&mut store.client, &store.schema)?;
    let written = records.iter().filter(|record| record.published_at.is_some());
    Ok(written.map(|record| (record.name.clone(), Archive::open(&record.path()))).collect())
}

fn verify(context: &Context, archive: &Archive) -> Result<(u64, String)> {
    let mut bar = ArchiveBar::new(&context.output);
    bar.phase(&format!("Reading {}", archive.name()), Some(archive.manifest.rows));
    let found = archive.verify(&mut |rows| {
        bar.passed(rows);
        context.interrupt.check()
    })?;
    archive.note_proven();
    Ok((found.rows, found.digest.to_string()))
}

fn report(context: &Context, report: &Report) -> anyhow::Result<Exit> {
    let output = &context.output;
    let rows = report.archives.iter().map(|one| {
        let events = one.events.map_or_else(|| "-".to_owned(), |events| events.to_string());
        let state = one.problem.clone().unwrap_or_else(|| "proven".to_owned());
        vec![one.archive.clone(), events, state]
    });
    let text = table(&["archive", "events", "state"], rows.collect(), 3);
    output.result(context.name, report, &text)?;
    let bad: Vec<_> = report.archives.iter().filter(|one| one.problem.is_some()).collect();
    for one in &bad {
        for line in &one.details {
            output.say(format!("  {}: {line}", one.archive));
        }
    }
    if bad.is_empty() {
        let proven = count(report.archives.len(), "archive");
        output.say(format!("{} {proven} read back and proven", green("Done:")));
        return Ok(Exit::Done);
    }
    // With their names: under `--quiet` this is all that is told.
    let names = bad.iter().map(|one| one.archive.as_str()).collect::<Vec<_>>().join(", ");
    output.warn(format!("{} cannot be trusted: {names}", count(bad.len(), "archive")));
    Ok(Exit::Failed)
}
