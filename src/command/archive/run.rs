//! What `archive` does with its items, one after the other.

use std::time::Instant;

use postgres::Client;
use serde_json::{Value, json};

use crate::catalog::Catalog;
use crate::cli::confirm::confirm;
use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::cli::progress::ArchiveBar;
use crate::command::context::{Context, layout_of};
use crate::command::write;
use crate::db::Locked;
use crate::db::fence;
use crate::db::inspect::Depth;
use crate::error::{Error, Kind, Result};
use crate::finding;
use crate::layout::Layout;
use crate::operation::archive::{Archiver, Item, Outcome, Request};
use crate::operation::archives::{self, Phase, Record};
use crate::operation::{self, journal};
use crate::plan::{self, Plan};
use crate::render::Script;

use super::items::{self, Wanted};
use super::report::{Done, Held, report};
use super::{WhatArgs, dry_run, expired};

pub(super) fn run(args: &WhatArgs, context: &Context) -> anyhow::Result<Exit> {
    let request = request(args, context)?;
    let store = context.open_for_writing()?;
    if context.global.dry_run {
        let mut store = store;
        let catalog = context.inspect(&mut store.client, &store.schema, Depth::default())?;
        let layout = checked(&catalog)?;
        warn_of_unknown(context, &request, layout, &catalog, &mut store.client)?;
        let records = archives::all(&mut store.client, &store.schema)?;
        if args.expired {
            expired::refuse_future(&mut store.client, &catalog)?;
        }
        let found = find(args, context, layout, &catalog, &records)?;
        return dry_run::show(context, &mut store.client, layout, &catalog, &request, &found);
    }
    let (mut locked, catalog) = write::lock(context, store)?;
    let exit = locked_run(args, context, &request, &mut locked, &catalog)?;
    locked.release()?;
    Ok(exit)
}

fn request(args: &WhatArgs, context: &Context) -> Result<Request> {
    let configured = context.config.archive.allow_split_streams.unwrap_or(false);
    Ok(Request {
        folder: args.folder(context)?,
        format: args.format(context)?,
        copy_only: args.copy_only,
        retire: args.retire,
        fence: fence::Options {
            ignore_projections: args.ignore_projection.iter().cloned().collect(),
            ignore_slots: args.ignore_slot.iter().cloned().collect(),
            allow_split_streams: args.allow_split_streams || configured,
            patience: args.patience,
            ..fence::Options::default()
        },
        patience: args.patience,
        limits: context.config.lock_limits(context.global.lock_budget)?,
    })
}

/// The layout of a store whose tables are as it says. A detach that this command has begun is its
/// own business; others are not.
fn checked(catalog: &Catalog) -> Result<&Layout> {
    let layout = layout_of(catalog)?;
    plan::tables::refuse_differences(layout, catalog)?;
    Ok(layout)
}

/// A name with a typing error is not the one that is to be ignored.
fn warn_of_unknown(
    context: &Context,
    request: &Request,
    layout: &Layout,
    catalog: &Catalog,
    client: &mut Client,
) -> Result<()> {
    let checkpoints = layout.checkpoints(&catalog.schema_name);
    let checkpoints = catalog.checkpoints.is_some().then_some(&checkpoints);
    for unknown in fence::unknown(client, checkpoints, &request.fence)? {
        context.output.warn(unknown);
    }
    Ok(())
}

fn find<'a>(
    args: &WhatArgs,
    context: &Context,
    layout: &Layout,
    catalog: &'a Catalog,
    records: &[Record],
) -> Result<Wanted<'a>> {
    match &args.what {
        Some(word) => items::of_word(args, word, layout, catalog, records),
        None => expired::items(args, context, catalog, records),
    }
}

fn locked_run(
    args: &WhatArgs,
    context: &Context,
    request: &Request,
    locked: &mut Locked,
    catalog: &Catalog,
) -> anyhow::Result<Exit> {
    let layout = checked(catalog)?;
    warn_of_unknown(context, request, layout, catalog, locked.client())?;
    if args.expired {
        expired::refuse_future(locked.client(), catalog)?;
    }
    let schema = catalog.schema_name.clone();
    let records = archives::all(locked.client(), &schema)?;
    refuse_foreign_pending(catalog, &records)?;
    let words = args.words(request.format, &request.folder.to_string_lossy());
    let stopped = stopped(locked, catalog, &words)?;
    let mut found = find(args, context, layout, catalog, &records)?;
    if let Some((_, oids)) = &stopped {
        found.items = items::without_done(found.items, oids, &records);
    }
    if found.items.is_empty() && found.retire.is_none() {
        operation::settle(locked, catalog, context.name, Some(&words))?;
        forget(locked, &schema, stopped)?;
        return report(context, args, Done::default(), found.done, false);
    }
    write::refuse_without_rights(catalog)?;
    ask(context, &found)?;
    let script =
        Script::of(&Plan { steps: plan::init::own_tables(layout, catalog)?, ..Plan::default() });
    let mut bar = ArchiveBar::new(&context.output);
    let mut steps = ArchiveBar::new(&context.output);
    let max = expired::drops_max(args, context);
    let done = operation::run_with(
        locked,
        context.name,
        &script,
        request.limits,
        &context.interrupt,
        &mut steps,
        |locked, operation| {
            let archiver =
                Archiver::new(locked, layout, catalog, request, &context.interrupt, &mut bar);
            let done = work(args, archiver, &found, operation, &words, max)?;
            forget(locked, &schema, stopped)?;
            Ok(done)
        },
    )?;
    drop(bar);
    report(context, args, done, None, found.retire.is_some())
}

fn work(
    args: &WhatArgs,
    mut archiver: Archiver<'_>,
    found: &Wanted<'_>,
    operation: i64,
    words: &[String],
    max: Option<usize>,
) -> Result<Done> {
    let items = &found.items;
    let oid = |item: &Item<'_>| {
        let leaf = item.leaf.as_ref().map(|leaf| leaf.relation.oid);
        leaf.or(item.record.as_ref().map(|record| record.table_oid))
    };
    let oids: Vec<_> = items.iter().filter_map(oid).collect();
    let schema = archiver.catalog.schema_name.clone();
    let mut done = Done::default();
    let mut drops = 0;
    let mut held = Vec::new();
    archiver.survey(items)?;
    for item in items {
        let subject = subject(item);
        if item.drop && max.is_some_and(|max| drops >= max) {
            let reason = format!("one run drops at most {} (--max)", count(drops, "table"));
            held.extend(oid(item).map(|table| held_back(table, &subject, &reason)));
            done.held.push(Held { leaf: subject, reason, details: Vec::new(), hint: None });
            continue;
        }
        let state = json!({ "request": words, "subject": subject, "tables": oids });
        journal::note(archiver.locked.client(), &schema, operation, &state)?;
        let begun = Instant::now();
        match archiver.run(item) {
            Ok(Outcome::Done(record)) => {
                drops += usize::from(record.phase == Phase::Dropped);
                done.add(&archiver, *record);
            }
            Ok(Outcome::Empty(leaf)) => done.empty.push(leaf.name),
            // What one month waits for is no reason for the others to stay.
            Err(error) if args.expired && error.kind() == Kind::Refused => {
                archiver.waited(begun.elapsed());
                held.extend(oid(item).map(|table| held_back(table, &subject, error.message())));
                done.held.push(Held {
                    leaf: subject,
                    reason: error.message().to_owned(),
                    details: error.detail_lines().to_vec(),
                    hint: error.hint_text().map(str::to_owned),
                });
            }
            Err(error) => {
                forget_refused(&mut archiver, operation, &oids, &error)?;
                return Err(error.context(format!("archiving {subject}")));
            }
        }
    }
    if args.expired {
        // For whoever watches: `metrics` and `report` tell of them until they have left.
        let last = items.last().map(subject);
        let state = json!({ "request": words, "subject": last, "tables": oids, "held": held });
        journal::note(archiver.locked.client(), &schema, operation, &state)?;
    }
    if let Some(name) = &found.retire {
        let state = json!({ "request": words, "subject": name, "tables": oids });
        journal::note(archiver.locked.client(), &schema, operation, &state)?;
        archiver.retire(name)?;
        if args.with_heads
            && let Some(record) = archiver.heads(name, args.drop)?
        {
            done.add(&archiver, record);
        }
    }
    done.notes = std::mem::take(&mut archiver.notes);
    Ok(done)
}

fn held_back(table: u32, leaf: &str, reason: &str) -> journal::Held {
    journal::Held { table, leaf: leaf.to_owned(), reason: reason.to_owned() }
}

/// What was refused before anything was begun leaves nothing to go on with.
fn forget_refused(
    archiver: &mut Archiver<'_>,
    operation: i64,
    oids: &[u32],
    error: &Error,
) -> Result<()> {
    if !matches!(error.kind(), Kind::Refused | Kind::Invalid) {
        return Ok(());
    }
    let schema = &archiver.catalog.schema_name;
    let records = archives::all(archiver.locked.client(), schema)?;
    let is_begun =
        |record: &Record| oids.contains(&record.table_oid) && record.phase.is_unfinished();
    if records.iter().any(is_begun) {
        return Ok(());
    }
    journal::forget(archiver.locked.client(), schema, &[operation])
}

pub(super) fn subject(item: &Item<'_>) -> String {
    let leaf = item.leaf.as_ref().map(|leaf| leaf.relation.name.name.clone());
    leaf.or(item.record.as_ref().map(|record| record.table_name.clone())).unwrap_or_default()
}

/// Where the last run of the same request stopped: its row in the journal, and its tables.
fn stopped(
    locked: &mut Locked,
    catalog: &Catalog,
    words: &[String],
) -> Result<Option<(Vec<i64>, Vec<u32>)>> {
    if catalog.own_migrations.iter().all(|migration| migration.version < 2) {
        return Ok(None);
    }
    let rows = journal::unfinished(locked.client(), &catalog.schema_name, "archive")?;
    let same = |(_, state): &&(i64, Value)| state["request"] == json!(words);
    let Some((_, state)) = rows.iter().find(same) else { return Ok(None) };
    let oids: Vec<u32> = serde_json::from_value(state["tables"].clone()).unwrap_or_default();
    let ids = rows.iter().filter(same).map(|(id, _)| *id).collect();
    Ok(Some((ids, oids)))
}

fn forget(locked: &mut Locked, schema: &str, stopped: Option<(Vec<i64>, Vec<u32>)>) -> Result<()> {
    let Some((ids, _)) = stopped else { return Ok(()) };
    journal::forget(locked.client(), schema, &ids)
}

/// A pending detach that no archive has begun: somebody else has to finish it first.
fn refuse_foreign_pending(catalog: &Catalog, records: &[Record]) -> Result<()> {
    let ours = |oid: u32| {
        records.iter().any(|record| record.table_oid == oid && record.phase == Phase::Detaching)
    };
    let foreign = plan::target::partitions(catalog)
        .iter()
        .any(|one| one.relation.detach_pending && !ours(one.relation.oid));
    if foreign { finding::detach::refuse_pending(catalog) } else { Ok(()) }
}

fn ask(context: &Context, found: &Wanted<'_>) -> Result<()> {
    let dropped = found.items.iter().filter(|item| item.drop).count();
    if dropped > 0 {
        let tables = count(dropped, "table");
        let question = format!("Drop {tables} once the archives are proven?");
        confirm(&context.output, context.global.yes, &question)?;
    }
    if let Some(name) = &found.retire {
        let question = format!(
            "Take the context {name} out of the store? Inserts of its events fail from then on."
        );
        confirm(&context.output, context.global.yes, &question)?;
    }
    Ok(())
}
