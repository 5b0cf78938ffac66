//! What `archive --dry-run` shows: who stands in the way, and the statements.

use std::time::Duration;

use postgres::Client;

use crate::catalog::Catalog;
use crate::cli::exit::Exit;
use crate::cli::output::{self, count};
use crate::command::context::Context;
use crate::db::fence;
use crate::error::Result;
use crate::layout::name::QualifiedName;
use crate::layout::{Layout, Role};
use crate::operation::archive::{HEADS, Request};
use crate::operation::archives::Phase;
use crate::plan::{self, Plan};
use crate::render::Script;

use super::items::Wanted;
use super::report::{Held, Report, tell_held};
use super::run::subject;

/// Asks who stands in the way of the leaves, and tells it in words.
fn ask_fence(
    context: &Context,
    client: &mut Client,
    layout: &Layout,
    catalog: &Catalog,
    request: &Request,
    found: &Wanted<'_>,
) -> Result<Vec<Held>> {
    let schema = &catalog.schema_name;
    let events = layout.table(schema, Role::Events);
    let heads = layout.table(schema, Role::Heads);
    let checkpoints = layout.checkpoints(schema);
    let checkpoints = catalog.checkpoints.is_some().then_some(&checkpoints);
    let mut held = Vec::new();
    for item in &found.items {
        let Some(leaf) = &item.leaf else { continue };
        let leaf = &leaf.relation.name;
        let place = fence::Place { leaf, events: &events, heads: &heads, checkpoints };
        let options = fence::Options { patience: Duration::ZERO, ..request.fence.clone() };
        let fence = fence::look(client, place, &options, &context.interrupt, &mut |_| {})?;
        if let Some(refusal) = fence.refusal().filter(|_| !request.copy_only) {
            held.push(Held {
                leaf: leaf.name.clone(),
                reason: refusal.message().to_owned(),
                details: refusal.detail_lines().to_vec(),
                hint: refusal.hint_text().map(str::to_owned),
            });
        }
    }
    Ok(held)
}

pub(super) fn show(
    context: &Context,
    client: &mut Client,
    layout: &Layout,
    catalog: &Catalog,
    request: &Request,
    found: &Wanted<'_>,
) -> anyhow::Result<Exit> {
    let mut plan = Plan { steps: plan::init::own_tables(layout, catalog)?, ..Plan::default() };
    let mut notes = Vec::new();
    let mut leaves = Vec::new();
    for item in &found.items {
        let subject = subject(item);
        if let Some(leaf) = &item.leaf
            && !request.copy_only
        {
            let (retire, drop) = (request.retire, item.drop);
            plan.steps.extend(plan::archive::shown(layout, catalog, leaf, retire, drop)?);
        }
        if let Some(record) = item
            .record
            .as_ref()
            .filter(|record| item.drop && item.leaf.is_none() && record.phase == Phase::Published)
        {
            let table = QualifiedName::new(&*catalog.schema_name, &*record.table_name);
            plan.steps.push(plan::archive::removal(&table, &record.name));
            notes.push(format!("{subject}: compared with its archive, then dropped"));
            leaves.push(subject);
            continue;
        }
        if let Some(record) = item.record.as_ref().filter(|record| record.role == HEADS) {
            let dropped = if item.drop { ", and the table dropped" } else { "" };
            notes.push(format!("{subject}: the heads of {}{dropped}", record.place));
            leaves.push(subject);
            continue;
        }
        notes.push(format!(
            "{subject}: {} in {}, read back and compared{}",
            request.format.file_name(),
            request.folder.join(&subject).display(),
            if item.drop { ", and the table dropped" } else { "" }
        ));
        leaves.push(subject);
    }
    if let Some(name) = &found.retire {
        plan.steps.extend(plan::contexts::retire(layout, catalog, name).steps);
    }
    let notes = output::at_most(notes);
    let script = Script::of(&plan);
    let report = Report {
        dry_run: true,
        changed: !found.items.is_empty() || found.retire.is_some(),
        archives: Vec::new(),
        leaves,
        empty: Vec::new(),
        held: ask_fence(context, client, layout, catalog, request, found)?,
        steps: script.steps.clone(),
        notes: notes.clone(),
    };
    if context.output.is_json() {
        context.output.json(context.name, &report)?;
    } else if !script.steps.is_empty() {
        context.output.data(&script.to_sql(context.name))?;
    }
    for note in notes {
        context.output.say(format!("note: {note}"));
    }
    tell_held(context, &report.held, "would be refused");
    let what = count(found.items.len(), "leaf").replace("leafs", "leaves");
    context.output.say(format!("Dry run: {what}, nothing was changed"));
    Ok(Exit::Done)
}
