//! What every writing command does with its plan: show it, ask, execute it, report it.

use serde::Serialize;

use crate::catalog::Catalog;
use crate::cli::confirm::confirm;
use crate::cli::exit::Exit;
use crate::cli::output::{self, count};
use crate::cli::progress::{Bar, units};
use postgres::Client;

use crate::db::Locked;
use crate::db::inspect::Depth;
use crate::db::watch::Watch;
use crate::error::{Error, Kind, Result};
use crate::finding;
use crate::layout::Role;
use crate::layout::bounds::Bound;
use crate::operation;
use crate::plan::{MigrationSet, Plan, Transaction};
use crate::render::quote::shown;
use crate::render::{RenderedStep, Script};

use super::context::{Context, Store};

/// More partitions than this are told as a number instead of a list.
const LISTED_MAX: usize = 30;

/// What a writing command did, or with `--dry-run` would do.
#[derive(Debug, Serialize)]
pub struct Changes {
    /// Whether nothing was written because of `--dry-run`.
    pub dry_run: bool,
    /// Whether there was anything to do.
    pub changed: bool,
    /// The migrations that were applied or recorded.
    pub migrations: Vec<MigrationChange>,
    /// The partitions that were made.
    pub partitions: Vec<PartitionChange>,
    /// The statements, with `--dry-run`.
    pub steps: Vec<RenderedStep>,
    /// What the user should know.
    pub notes: Vec<String>,
    /// What was left undone.
    pub problems: Vec<String>,
}

/// A migration that was applied or recorded.
#[derive(Debug, Serialize)]
pub struct MigrationChange {
    /// Whose tables it makes.
    pub set: MigrationSet,
    /// Its version.
    pub version: i64,
    /// Its name.
    pub name: String,
    /// The file that holds it, where it is not one of pupctl's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// A partition that was made.
#[derive(Debug, Serialize)]
pub struct PartitionChange {
    /// Of which table.
    pub table: Role,
    /// Its name, with the schema.
    pub name: String,
    /// Its parent.
    pub parent: String,
    /// What it holds.
    pub bound: Bound,
    /// Whether it holds rows itself.
    pub leaf: bool,
}

/// Plans under the lock of the store and executes the plan; with `--dry-run` only plans, and
/// takes no lock. Gives back the catalog from before and what was changed.
pub fn write(
    context: &Context,
    plan: impl FnOnce(&Catalog) -> Result<Plan>,
) -> anyhow::Result<(Catalog, Changes)> {
    let written = write_wish(context, Wish::default(), |catalog, _| plan(catalog))?;
    let changes = changes(&written.plan, written.script);
    Ok((written.catalog, changes))
}

/// What a command wants to know of the catalog, and what it asks before it destroys anything.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// How deep the catalog is read.
    pub depth: Depth,
    /// The question.
    pub question: &'static str,
}

impl Default for Wish {
    fn default() -> Self {
        Self { depth: Depth::default(), question: "This destroys data. Go on?" }
    }
}

/// What was written.
#[derive(Debug)]
pub struct Written {
    /// The catalog from before.
    pub catalog: Catalog,
    /// What was planned.
    pub plan: Plan,
    /// The statements, where nothing was executed because of `--dry-run`.
    pub script: Option<Script>,
}

/// The same for a command that reports in a form of its own.
pub fn write_wish(
    context: &Context,
    wish: Wish,
    plan: impl FnOnce(&Catalog, &mut Client) -> Result<Plan>,
) -> anyhow::Result<Written> {
    let mut store = context.open_for_writing()?;
    if context.global.dry_run {
        let catalog = context.inspect(&mut store.client, &store.schema, wish.depth)?;
        let plan = plan(&catalog, &mut store.client)?;
        let script = Some(Script::of(&plan));
        return Ok(Written { catalog, plan, script });
    }
    let (mut locked, catalog) = lock_at(context, store, wish.depth)?;
    let plan = plan(&catalog, locked.client())?;
    if plan.is_empty() {
        operation::settle(&mut locked, &catalog, context.name, None)?;
    } else {
        refuse_without_rights(&catalog)?;
        if plan.destroys() {
            confirm(&context.output, context.global.yes, wish.question)?;
        }
        execute(context, &mut locked, &plan)?;
    }
    locked.release()?;
    Ok(Written { catalog, plan, script: None })
}

/// Takes the lock of the store and reads the catalog under it.
pub(super) fn lock(context: &Context, store: Store) -> Result<(Locked, Catalog)> {
    lock_at(context, store, Depth::default())
}

pub(super) fn lock_at(
    context: &Context,
    mut store: Store,
    depth: Depth,
) -> Result<(Locked, Catalog)> {
    // Before the lock, which a standby could not give.
    refuse_read_only(&mut store.client)?;
    let schema = store.schema.clone();
    let mut locked = context.lock(store)?;
    let catalog = context.inspect(locked.client(), &schema, depth)?;
    finding::conversion::refuse_meanwhile(&catalog, context.name)?;
    Ok((locked, catalog))
}

pub(super) fn execute(context: &Context, locked: &mut Locked, plan: &Plan) -> Result<()> {
    let script = Script::of(plan);
    let limits = context.config.lock_limits(context.global.lock_budget)?;
    let total = script.steps.iter().map(units).sum();
    let mut bar = Bar::new(&context.output, total);
    let watch = watch(context, locked, &script, &bar);
    let outcome =
        operation::run(locked, context.name, &script, limits, &context.interrupt, &mut bar);
    outcome.map_err(|error| match &watch {
        // The locks of a file are known to nobody but the server.
        Some(watch) if error.kind() == Kind::LockTimeout && has_files(&script) => {
            error.details(watch.seen().into_iter().map(|line| format!("waited for {line}")))
        }
        _ => error,
    })
}

fn is_file(step: &RenderedStep) -> bool {
    step.migration.as_ref().is_some_and(|migration| migration.file.is_some())
}

fn has_files(script: &Script) -> bool {
    script.steps.iter().any(is_file)
}

/// Tells for whom the server waits, where it waits within a statement. Nobody misses much when
/// there is no session for it.
pub(super) fn watch(
    context: &Context,
    locked: &mut Locked,
    script: &Script,
    bar: &Bar,
) -> Option<Watch> {
    let waits = |step: &RenderedStep| step.transaction == Transaction::Concurrent || is_file(step);
    if !script.steps.iter().any(waits) {
        return None;
    }
    let begun = context.second_session().and_then(|session| {
        let say = bar.teller();
        Ok::<_, anyhow::Error>(Watch::begin(locked.client(), session, say)?)
    });
    begun.inspect_err(|error| tracing::warn!("nobody tells who is waited for: {error:#}")).ok()
}

/// Refuses a server, or a session, on which nothing can be written.
pub(super) fn refuse_read_only(client: &mut Client) -> Result<()> {
    let server = crate::db::inspect::server(client)?;
    if server.read_only { Err(read_only(server.standby)) } else { Ok(()) }
}

fn read_only(standby: bool) -> Error {
    if standby {
        Error::refused("the server is a standby: it replays another server and takes no writes")
            .hint("connect to the primary server")
    } else {
        Error::refused("sessions of this role or database are read-only").hint(
            "connect with another role, or ALTER ROLE … SET default_transaction_read_only = off",
        )
    }
}

/// What the role lacks, told before the first statement instead of by it.
pub(super) fn refuse_without_rights(catalog: &Catalog) -> Result<()> {
    let role = &catalog.server.role;
    let schema = &catalog.schema_name;
    if !catalog.schema.may_create {
        let (what, mend) = if catalog.schema.exists {
            (format!("tables in the schema {schema}"), format!("SCHEMA {}", shown(schema)))
        } else {
            (
                format!("the schema {schema}"),
                format!("DATABASE {}", shown(&catalog.server.database)),
            )
        };
        return Err(Error::refused(format!("the role {role} may not create {what}"))
            .hint(format!("as its owner, run: GRANT CREATE ON {mend} TO {}", shown(role))));
    }
    for table in [&catalog.events, &catalog.heads, &catalog.checkpoints].into_iter().flatten() {
        if !table.root.owned {
            return Err(Error::refused(format!(
                "the role {role} does not own {}, which {} owns",
                table.root.name, table.root.owner
            ))
            .hint(format!("work as the owner: --role {}", table.root.owner)));
        }
    }
    Ok(())
}

/// What a plan changes; with a script, only what it would.
pub(super) fn changes(plan: &Plan, script: Option<Script>) -> Changes {
    Changes {
        dry_run: script.is_some(),
        changed: !plan.is_empty(),
        migrations: migrations(plan),
        partitions: plan
            .new_partitions()
            .map(|partition| PartitionChange {
                table: partition.role,
                name: partition.name.to_string(),
                parent: partition.parent.to_string(),
                bound: partition.bound.clone(),
                leaf: partition.level.is_none(),
            })
            .collect(),
        steps: script.map(|script| script.steps).unwrap_or_default(),
        notes: plan.notes.clone(),
        problems: plan.problems.clone(),
    }
}

fn migrations(plan: &Plan) -> Vec<MigrationChange> {
    let own = plan.migrations().map(|migration| MigrationChange {
        set: migration.set,
        version: migration.version,
        name: migration.name.to_owned(),
        file: None,
    });
    let files = plan.files().map(|file| MigrationChange {
        set: MigrationSet::Store,
        version: file.version,
        name: file.name.clone(),
        file: Some(file.path.clone()),
    });
    own.chain(files).collect()
}

/// Prints what was done, or the SQL; a command that left anything undone has failed.
pub fn report(context: &Context, changes: &Changes, done: &str, nothing: &str) -> Result<Exit> {
    let output = &context.output;
    if changes.dry_run && !output.is_json() {
        let script = Script { steps: changes.steps.clone() };
        if changes.changed {
            output.data(&script.to_sql(context.name))?;
        }
    } else {
        output.result(context.name, changes, &listed(&changes.partitions))?;
    }
    for note in &changes.notes {
        output.say(format!("note: {note}"));
    }
    match (changes.dry_run, changes.changed) {
        (true, true) => {
            let steps = count(changes.steps.len(), "step");
            output.say(format!("Dry run: {steps}, nothing was changed"));
        }
        (_, false) if changes.problems.is_empty() => output.say(nothing),
        (_, false) => {}
        (false, true) => output.say(format!("{} {done}", output::green("Done:"))),
    }
    if changes.problems.is_empty() {
        return Ok(Exit::Done);
    }
    // Only for people: the one JSON object has the problems already.
    output.tell_failure(
        &Error::refused(format!("{} left undone", count(changes.problems.len(), "partition")))
            .details(changes.problems.clone())
            .hint("pupctl partitions check says more"),
    );
    Ok(Exit::Failed)
}

fn listed(partitions: &[PartitionChange]) -> String {
    if partitions.is_empty() || partitions.len() > LISTED_MAX {
        return String::new();
    }
    let rows = partitions
        .iter()
        .map(|made| {
            let kind = if made.leaf { "leaf" } else { "branch" };
            vec![made.name.clone(), kind.to_owned(), made.bound.to_string()]
        })
        .collect();
    output::table(&["partition", "kind", "holds"], rows, 3)
}

/// `7 partitions of events and 2 of aggregate heads`, for the closing line.
#[must_use]
pub fn made(changes: &Changes) -> String {
    let of = |role| changes.partitions.iter().filter(|made| made.table == role).count();
    match (of(Role::Events), of(Role::Heads)) {
        (0, 0) => "no partition was needed".to_owned(),
        (events, 0) => format!("{} of events made", count(events, "partition")),
        (0, heads) => format!("{} of aggregate heads made", count(heads, "partition")),
        (events, heads) => {
            format!("{} of events and {heads} of aggregate heads made", count(events, "partition"))
        }
    }
}
