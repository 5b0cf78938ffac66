//! What `archive` tells of what it did.

use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::output::{self, count};
use crate::command::context::Context;
use crate::operation::archive::Archiver;
use crate::operation::archives::{Phase, Record};
use crate::render::RenderedStep;

use super::WhatArgs;

/// What was done, or with `--dry-run` would be.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether nothing was written because of `--dry-run`.
    pub(super) dry_run: bool,
    /// Whether anything was done, or would be.
    pub(super) changed: bool,
    /// The archives, as they are now.
    pub(super) archives: Vec<Record>,
    /// Leaves that would be archived, with `--dry-run`.
    pub(super) leaves: Vec<String>,
    /// Leaves that are empty.
    pub(super) empty: Vec<String>,
    /// Leaves that were held back by the fence, and why.
    pub(super) held: Vec<Held>,
    /// The statements, with `--dry-run`.
    pub(super) steps: Vec<RenderedStep>,
    /// What the user should know.
    pub(super) notes: Vec<String>,
}

/// A leaf that was held back.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Held {
    /// Which.
    pub(super) leaf: String,
    /// Why.
    pub(super) reason: String,
    /// Who, and how to be rid of them.
    pub(super) details: Vec<String>,
    /// The command that mends it.
    pub(super) hint: Option<String>,
}

/// What became of the items.
#[derive(Default)]
pub(super) struct Done {
    pub(super) archives: Vec<Record>,
    /// How many rows were written and proven by this run.
    pub(super) written: i64,
    /// In how many archives.
    pub(super) files: usize,
    pub(super) empty: Vec<String>,
    pub(super) held: Vec<Held>,
    pub(super) notes: Vec<String>,
}

impl Done {
    pub(super) fn add(&mut self, archiver: &Archiver<'_>, record: Record) {
        if archiver.has_written(record.id) {
            self.written += record.rows.unwrap_or(0);
            self.files += 1;
        }
        self.archives.push(record);
    }
}

pub(super) fn report(
    context: &Context,
    args: &WhatArgs,
    done: Done,
    nothing: Option<String>,
    retired: bool,
) -> anyhow::Result<Exit> {
    let output = &context.output;
    let Done { archives, written, files, empty, held, mut notes } = done;
    let told = notes.clone();
    notes.extend(nothing.clone());
    let report = Report {
        dry_run: false,
        changed: !archives.is_empty() || retired,
        archives,
        leaves: Vec::new(),
        empty,
        held,
        steps: Vec::new(),
        notes,
    };
    output.result(context.name, &report, &table(&report.archives))?;
    for note in &told {
        output.say(format!("note: {note}"));
    }
    for leaf in &report.empty {
        output.say(format!("note: {leaf} has no events to archive"));
    }
    tell_held(context, &report.held, "is held back");
    output.say(close(&report, written, files, nothing));
    if report.held.is_empty() || !args.exit_code {
        return Ok(Exit::Done);
    }
    // What is held back was told as warnings, which `--quiet` leaves.
    Ok(output.found(""))
}

pub(super) fn tell_held(context: &Context, held: &[Held], how: &str) {
    let output = &context.output;
    for held in held {
        output.warn(format!("{} {how}: {}", held.leaf, held.reason));
        for line in &held.details {
            output.say(format!("  {line}"));
        }
        if let Some(hint) = &held.hint {
            output.say(format!("  hint: {hint}"));
        }
    }
}

pub(super) fn close(
    report: &Report,
    written: i64,
    files: usize,
    nothing: Option<String>,
) -> String {
    let dropped = report.archives.iter().filter(|r| r.phase == Phase::Dropped).count();
    let archives = (files > 0)
        .then(|| format!("{} of {written} rows written and proven", count(files, "archive")));
    let dropped = (dropped > 0).then(|| format!("{} dropped", count(dropped, "table")));
    let done: Vec<_> = archives.into_iter().chain(dropped).collect();
    if !done.is_empty() {
        return format!("{} {}", output::green("Done:"), done.join(", "));
    }
    if !report.held.is_empty() {
        return format!("Nothing done: {} held back", count(report.held.len(), "partition"));
    }
    let why = nothing.unwrap_or_else(|| "there is nothing to archive".to_owned());
    format!("Nothing to do: {why}")
}

/// The archives as a table.
pub(super) fn table(archives: &[Record]) -> String {
    if archives.is_empty() {
        return String::new();
    }
    let number = |number: Option<i64>| number.map_or("-".to_owned(), |number| number.to_string());
    let rows = archives.iter().map(|record| {
        vec![
            record.name.clone(),
            record.place.to_string(),
            record.phase.to_string(),
            number(record.rows),
            number(record.first_position),
            number(record.last_position),
            record.path().display().to_string(),
        ]
    });
    let header = ["archive", "holds", "state", "events", "first", "last", "folder"];
    output::table(&header, rows.collect(), 7)
}
