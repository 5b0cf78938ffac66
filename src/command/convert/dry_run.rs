//! What `convert start --dry-run` tells a team before it begins.

use chrono::{DateTime, Utc};
use postgres::Client;
use serde::Serialize;

use crate::catalog::Catalog;
use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::command::context::Context;
use crate::error::Result;
use crate::layout::{Layout, Role};
use crate::operation::convert::record::{self, Record};
use crate::plan::convert::attach;
use crate::plan::convert::belongings::{Fate, OfTable};
use crate::plan::convert::survey::Survey;
use crate::plan::convert::{Replaced, Strategy};
use crate::render::convert as statements;
use crate::render::convert::mend::hint;
use crate::render::{RenderedStep, Script};

use super::preflight::Preflight;
use super::work::none;

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "as every command names it")]
struct DryRun<'a> {
    dry_run: bool,
    changed: bool,
    strategy: Strategy,
    /// From when on events go into months, where the old table stays.
    cutover: Option<DateTime<Utc>>,
    layout: &'a Layout,
    events: i64,
    parts: &'a Survey,
    partitions: usize,
    bytes: u64,
    belongings: &'a [OfTable],
    notes: &'a [String],
    steps: Vec<RenderedStep>,
}

/// Shows the statements, and says what they take.
pub(super) fn show(
    context: &Context,
    preflight: &Preflight,
    catalog: &Catalog,
) -> anyhow::Result<Exit> {
    let steps = steps(preflight, catalog);
    let partitions = preflight.build.partitions.new_partitions().count();
    let report = DryRun {
        dry_run: true,
        changed: true,
        strategy: preflight.strategy,
        cutover: preflight.cutover,
        layout: &preflight.target.layout,
        events: preflight.survey.rows(),
        parts: &preflight.survey,
        partitions,
        bytes: size(preflight, catalog),
        belongings: &preflight.belongings,
        notes: &preflight.notes,
        steps,
    };
    if context.output.is_json() {
        context.output.result(context.name, &report, "")?;
    } else {
        context.output.data(&Script { steps: report.steps.clone() }.to_read(context.name))?;
    }
    for line in explained(&report) {
        context.output.say(line);
    }
    Ok(Exit::Done)
}

/// The space that the new tables will take, about; a table that stays takes none.
fn size(preflight: &Preflight, catalog: &Catalog) -> u64 {
    if preflight.strategy == Strategy::Attach {
        return 0;
    }
    let sizes = preflight.target.tables.iter().filter_map(|table| {
        let size = catalog.table(table.role)?.root.size?;
        Some(size.table + size.indexes)
    });
    sizes.sum()
}

fn steps(preflight: &Preflight, catalog: &Catalog) -> Vec<RenderedStep> {
    let mut steps = Script::of(&preflight.plan).steps;
    let target = &preflight.target;
    let schema = &catalog.schema_name;
    if !target.layout.triggers().is_empty() {
        steps.push(statements::functions(schema, &target.layout, catalog.event_ids.there));
    }
    steps.extend(statements::build(&target.layout, &preflight.build, &preflight.surroundings));
    if preflight.strategy == Strategy::Attach {
        let heaps = heaps(preflight, catalog);
        steps.extend(heaps.iter().flat_map(|heap| statements::attach::prepare(heap, false)));
        steps.push(statements::attach::shown(target, &heaps));
        return steps;
    }
    let names = |role| {
        let columns = catalog.table(role).into_iter().flat_map(|table| &table.columns);
        columns.map(|column| column.name.clone()).collect::<Vec<_>>()
    };
    steps.extend(statements::freeze(target, &names(Role::Heads)));
    steps.extend(statements::shown(target, &names(Role::Events), &preflight.build));
    steps
}

/// The old tables as partitions to be.
fn heaps(preflight: &Preflight, catalog: &Catalog) -> Vec<attach::Heap> {
    let layout = &preflight.target.layout;
    let Some(bound) = attach::bound(layout, preflight.cutover) else { return Vec::new() };
    let heap = |table: &Replaced| {
        Some(attach::heap(layout, table, &catalog.table(table.role)?.root, &bound))
    };
    preflight.target.tables.iter().filter_map(heap).collect()
}

/// What a team reads before it begins.
fn explained(report: &DryRun<'_>) -> Vec<String> {
    let events = usize::try_from(report.events).unwrap_or(usize::MAX);
    // Copying, building and comparing on two cores, by the project's own figures.
    let minutes = |rate: usize| events / (rate * 60) + 1;
    let mut lines: Vec<_> = report.notes.iter().map(|note| format!("note: {note}")).collect();
    lines.extend(report.belongings.iter().map(
        |OfTable { table, belonging }| match &belonging.fate {
            Fate::Carried { .. } => format!("carried over: {table}: {belonging}"),
            Fate::Left { .. } => format!("note: {table}: {belonging}"),
            Fate::Refused { mend, .. } => {
                format!("note: {table}: {belonging}; before the start: {}", hint(mend))
            }
        },
    ));
    if report.strategy == Strategy::Copy {
        lines.push(format!(
            "Space: about {} more, until `convert finish` drops the old tables; the log of the \
             server grows by as much",
            humansize(report.bytes)
        ));
        lines.push(format!(
            "Time: {} with two sessions on two cores; appends go on",
            match (minutes(100_000), minutes(40_000)) {
                (_, 1) => "less than a minute".to_owned(),
                (few, many) => format!("about {few} to {many} minutes"),
            }
        ));
        lines.push(
            "Locks: writers wait for three moments (a trigger on each table, and the swap), \
             readers for the swap alone; a try takes 50 ms at most, more only after several"
                .to_owned(),
        );
        lines.push(
            "Applications: events cannot be changed, deleted or truncated until the swap (55000); \
             prepared statements go on after it; an upsert needs a key that the new table has"
                .to_owned(),
        );
    } else {
        lines.push(
            "Space and time: those of the indexes that are missing, built while everybody goes on"
                .to_owned(),
        );
        lines.push(
            "Locks: everybody waits for two moments (a CHECK, and the swap); a try takes 50 ms \
             at most, more only after several"
                .to_owned(),
        );
        lines.extend(report.cutover.map(|cutover| {
            format!(
                "Applications: from the beginning on, events with a created_at of {} or later are \
                 refused until the swap, which has to come before then",
                cutover.format("%F %H:%M UTC")
            )
        }));
    }
    lines.push(format!(
        "Dry run: {} into {}, {}; nothing was changed",
        count(events, "event"),
        count(report.partitions, "partition"),
        count(report.steps.len(), "step")
    ));
    lines
}

fn humansize(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} kB", bytes.div_ceil(1024)),
        1_048_576..10_737_418_240 => format!("{} MB", bytes.div_ceil(1_048_576)),
        _ => format!("{} GB", bytes.div_ceil(1_073_741_824)),
    }
}

/// Shows what `swap`, `rollback` or `finish` would do with the conversion that there is.
pub(super) fn show_next(
    context: &Context,
    write_down: impl FnOnce(&mut Client, &Record) -> Result<Vec<RenderedStep>>,
) -> anyhow::Result<Exit> {
    let mut store = context.open()?;
    let found = record::open(&mut store.client, &store.schema)?.ok_or_else(none)?;
    let steps = write_down(&mut store.client, &found)?;
    let number = count(steps.len(), "step");
    if context.output.is_json() {
        let report = Next { dry_run: true, changed: false, conversion: &found, steps };
        context.output.result(context.name, &report, "")?;
    } else {
        context.output.data(&Script { steps }.to_read(context.name))?;
    }
    context.output.say(format!("Dry run: {number}, nothing was changed"));
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Next<'a> {
    dry_run: bool,
    changed: bool,
    conversion: &'a Record,
    steps: Vec<RenderedStep>,
}
