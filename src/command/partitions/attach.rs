//! `pupctl partitions attach`

use clap::Args;
use postgres::Client;
use serde::Serialize;

use crate::catalog::Catalog;
use crate::catalog::detached::Standalone;
use crate::catalog::relation::{Constraint, Relation};
use crate::cli::exit::Exit;
use crate::cli::output::{count, green};
use crate::command::context::{Context, layout_of};
use crate::command::write::{Wish, write_wish};
use crate::db::attach::survey;
use crate::db::inspect::{Depth, one_table};
use crate::error::{Error, Result};
use crate::finding::{self, attachable};
use crate::layout::Layout;
use crate::layout::name::{QualifiedName, validate_identifier};
use crate::layout::place::Place;
use crate::operation::archives::{self, Phase, Record};
use crate::plan::attach::{self, Request, Survey};
use crate::plan::ensure::analysis;
use crate::plan::lifecycle::{BoundsCheck, LifecycleAction, marked_place};
use crate::plan::step::Action;
use crate::plan::target::{Located, partitions};
use crate::plan::{self, Plan};
use crate::render::bounds_check::is_bounds;
use crate::render::tables::archives_table;
use crate::render::{RenderedStep, Script};

/// Make a table a partition of events, with the rows that it has
///
/// The table is made like its parent first: owner, grants, keys, indexes, triggers. Then the bounds
/// are proven by a CHECK, and one transaction of milliseconds attaches it, in which nothing is
/// read or built. Rows that would be lost, doubled or never read by a projection are refused
/// before anything is changed.
///
/// Where it belongs, pupctl knows of what it has detached itself, of a CHECK and of the name; --as
/// says it: 2026-01, Billing, Billing/2026-01, "hash 3 of 16", "Billing/hash 3 of 16".
///
/// Examples:
///   pupctl partitions attach events_2026_01
///   pupctl partitions attach restored --as Billing/2026-01
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct AttachArgs {
    /// The table, in the schema of the store
    #[arg(value_name = "TABLE")]
    table: String,

    /// Where it belongs
    #[arg(long = "as", value_name = "PLACE")]
    place: Option<String>,

    /// Attach it although projections have passed its positions, and will not read its events
    #[arg(long)]
    behind_projections: bool,

    /// Leave out the ANALYZE of the parent that follows
    #[arg(long)]
    no_analyze: bool,
}

#[derive(Debug, Serialize)]
struct Attachment {
    dry_run: bool,
    changed: bool,
    table: String,
    parent: String,
    place: String,
    rows: u64,
    heads_raised: u64,
    steps: Vec<RenderedStep>,
    notes: Vec<String>,
}

pub(super) fn run(args: &AttachArgs, context: &Context) -> anyhow::Result<Exit> {
    let depth = Depth { definitions: true, details: true, ..Depth::default() };
    let wish = Wish { depth, ..Wish::default() };
    let mut result = None;
    let written = write_wish(context, wish, |catalog, client| {
        let (plan, attachment) = args.plan(catalog, client)?;
        result = Some(attachment);
        Ok(plan)
    })?;
    let Some(mut result) = result else {
        return Err(Error::refused("nothing was planned").into());
    };
    result.changed = !written.plan.is_empty();
    result.notes = written.plan.notes;
    result.dry_run = written.script.is_some();
    result.steps = written.script.map(|script| script.steps).unwrap_or_default();
    Ok(result.report(context)?)
}

impl AttachArgs {
    fn plan(&self, catalog: &Catalog, client: &mut Client) -> Result<(Plan, Attachment)> {
        let layout = layout_of(catalog)?;
        let name = self.name(catalog)?;
        if let Some(there) = partitions(catalog).into_iter().find(|one| one.relation.name == name) {
            return self.already(layout, &there);
        }
        plan::tables::refuse_differences(layout, catalog)?;
        finding::detach::refuse_pending(catalog)?;
        let table =
            one_table(client, &name.schema, &name.name)?.ok_or_else(|| missing(catalog, &name))?;
        let place = self.place(layout, catalog, &table)?;
        let parent = attach::parent(layout, catalog, &place)
            .map_err(|error| with_emptiness(client, catalog, &place, error))?;
        attachable::refuse(layout, catalog, &table, parent)?;
        let survey = survey(client, layout, catalog, &table, &place)?;
        let request = Request {
            table: &table,
            place: &place,
            survey: &survey,
            behind_projections: self.behind_projections,
        };
        let mut attachment = attach::plan(layout, catalog, &request)?;
        if let Some(last) = attachment.steps.last_mut() {
            let oid = table.relation.oid;
            last.actions.extend(returned(client, &catalog.schema_name, oid, &name)?);
        }
        let mut plan = Plan { notes: attachment.notes, ..Plan::default() };
        plan.steps.extend(plan::init::own_tables(layout, catalog)?);
        plan.steps.extend(attachment.steps);
        if survey.rows > 0 && !self.no_analyze {
            plan.steps.push(analysis(layout, catalog));
        }
        Ok((plan, told(&table.relation.name, &parent.name, &place, &survey)))
    }

    fn name(&self, catalog: &Catalog) -> Result<QualifiedName> {
        let schema = &catalog.schema_name;
        let prefix = format!("{schema}.");
        let name = self.table.strip_prefix(&prefix).unwrap_or(&self.table);
        validate_identifier("table", name)?;
        Ok(QualifiedName::new(schema, name))
    }

    /// It is a partition already: there is nothing to do, unless it was meant to be another.
    fn already(&self, layout: &Layout, there: &Located<'_>) -> Result<(Plan, Attachment)> {
        let Located { relation, parent, place } = there;
        if relation.detach_pending {
            return Err(Error::refused(format!("the detach of {} is not finished", relation.name))
                .hint(format!("finish it first: pupctl partitions detach {}", relation.name)));
        }
        if let Some(word) = &self.place
            && attach::read(layout, word)? != *place
        {
            return Err(Error::refused(format!(
                "{} is a partition already, and holds {place}",
                relation.name
            ))
            .hint(format!("detach it first: pupctl partitions detach {}", relation.name)));
        }
        Ok((Plan::default(), told(&relation.name, &parent.name, place, &Survey::default())))
    }

    /// Where the table belongs: as the user says, or else as the table itself.
    fn place(&self, layout: &Layout, catalog: &Catalog, table: &Standalone) -> Result<Place> {
        if let Some(word) = &self.place {
            return attach::read(layout, word);
        }
        let relation = &table.relation;
        let marked = table.comment.as_deref().and_then(marked_place);
        marked
            .or_else(|| checked(layout, catalog, relation))
            .or_else(|| attach::guess_from_name(layout, catalog, &relation.name.name))
            .ok_or_else(|| {
                Error::invalid(format!("where {} belongs is not known", relation.name)).hint(
                    "say it with --as, as partitions list shows places: --as 2026-01, --as \
                     Billing, --as Billing/2026-01, --as \"hash 3 of 16\"",
                )
            })
    }
}

/// The place that a CHECK of the table proves.
fn checked(layout: &Layout, catalog: &Catalog, table: &Relation) -> Option<Place> {
    let root = &catalog.events.as_ref()?.root;
    let says = |constraint: &Constraint| {
        let place = attach::guess_from_check(layout, &constraint.definition)?;
        let check = BoundsCheck::of(root, &place)?;
        is_bounds(&constraint.definition, &check).then_some(place)
    };
    let mut checks = table.details.constraints.iter().filter(|c| c.kind == "c" && c.valid);
    checks.find_map(says)
}

/// A table that the list of archives knows as gone is back.
fn returned(
    client: &mut Client,
    schema: &str,
    oid: u32,
    table: &QualifiedName,
) -> Result<Option<Action>> {
    let is_gone = |record: &Record| {
        record.table_oid == oid
            && (record.phase == Phase::Published || record.phase.is_unfinished())
    };
    if !archives::all(client, schema)?.iter().any(is_gone) {
        return Ok(None);
    }
    let (archives, table) = (archives_table(schema), table.clone());
    Ok(Some(LifecycleAction::RecordReturn { archives, table, oid }.into()))
}

fn missing(catalog: &Catalog, name: &QualifiedName) -> Error {
    let error = Error::invalid(format!("there is no table {name}"));
    let known: Vec<_> =
        catalog.detached.iter().map(|one| format!("{} ({})", one.name, one.place)).collect();
    if known.is_empty() {
        return error.hint("name a table of the store's schema");
    }
    error.details(known).hint("these tables were detached from events")
}

/// Where an empty partition stands in the way, it is told that it is empty.
fn with_emptiness(client: &mut Client, catalog: &Catalog, place: &Place, error: Error) -> Error {
    let taken =
        partitions(catalog).into_iter().find(|one| one.relation.is_leaf() && one.place == *place);
    match taken.map(|one| crate::db::attach::is_empty(client, &one.relation.name)) {
        Some(Ok(true)) => error.detail("it is empty"),
        _ => error,
    }
}

fn told(
    table: &QualifiedName,
    parent: &QualifiedName,
    place: &Place,
    survey: &Survey,
) -> Attachment {
    Attachment {
        dry_run: false,
        changed: false,
        table: table.to_string(),
        parent: parent.to_string(),
        place: place.to_string(),
        rows: survey.rows,
        heads_raised: survey.heads_behind,
        steps: Vec::new(),
        notes: Vec::new(),
    }
}

impl Attachment {
    fn report(&self, context: &Context) -> Result<Exit> {
        let output = &context.output;
        if self.dry_run && !output.is_json() {
            if self.changed {
                let script = Script { steps: self.steps.clone() };
                output.data(&script.to_sql(context.name))?;
            }
        } else {
            output.result(context.name, self, "")?;
        }
        for note in &self.notes {
            output.say(format!("note: {note}"));
        }
        let Self { table, parent, place, .. } = self;
        match (self.dry_run, self.changed) {
            (true, true) => {
                let steps = count(self.steps.len(), "step");
                output.say(format!("Dry run: {steps}, nothing was changed"));
            }
            (_, false) => {
                output.say(format!("Nothing to do: {table} is a partition and holds {place}"));
            }
            (false, true) => {
                let rows = usize::try_from(self.rows).unwrap_or(usize::MAX);
                output.say(format!(
                    "{} {table} is a partition of {parent} and holds {place}: {}",
                    green("Done:"),
                    count(rows, "event")
                ));
            }
        }
        Ok(Exit::Done)
    }
}
