//! Plans a new store: pupctl's own tables, the stored layout, the three parents as migrations,
//! then the partitions.

use crate::catalog::index::Index;
use crate::catalog::relation::{Details, Relation, RelationKind, ReplicaIdentity};
use crate::catalog::trigger::Function;
use crate::catalog::{AppliedMigration, Catalog, Table};
use crate::error::{Error, Result};
use crate::layout::levels::Level;
use crate::layout::name::QualifiedName;
use crate::layout::{Layout, Months, Role};

use super::ensure;
use super::step::{Action, Migration, MigrationSet, Plan, Step};
use super::tables;
use super::{contexts, protection};

/// The migrations of pupctl's own tables, by version.
pub const OWN_MIGRATIONS: &[(i64, &str)] = &[
    (1, "own_tables"),
    (2, "operation_state"),
    (3, "archives"),
    (PROJECTIONS, "projections"),
    (5, "read_models"),
    (6, "conversions"),
];

/// From this one on, migrations of pupctl's own name tables of the store, and so come after them.
pub(super) const PROJECTIONS: i64 = 4;

/// The migrations of the store's tables, by version. Generated files have the same numbers.
pub const STORE_MIGRATIONS: &[(i64, &str)] =
    &[(1, "heads_and_checkpoints"), (2, "events"), (3, "indexes"), (4, "guard")];

/// The migration that protects events: functions, and triggers on the parent.
pub(super) const GUARD: i64 = 4;

/// The migrations that a store of this layout needs: where nothing is to be protected beyond keys,
/// there is none for it.
pub fn store_migrations(layout: &Layout) -> impl Iterator<Item = (i64, &'static str)> {
    let needed = |&(version, _): &(i64, &str)| version != GUARD || !layout.triggers().is_empty();
    STORE_MIGRATIONS.iter().copied().filter(needed)
}

/// The migration that only files have: for whoever applies them without pupctl it stores what
/// `schema init` stores beside the tables.
pub const LAYOUT_MIGRATION: (i64, &str) = (5, "layout");

/// Whether this is a migration of pupctl's, applied by itself or from a file.
#[must_use]
pub fn is_own_name(version: i64, name: &str) -> bool {
    let mut known = STORE_MIGRATIONS.iter().chain([&LAYOUT_MIGRATION]);
    known.any(|known| *known == (version, name))
}

/// Plans what makes the store as `layout` says, or what an interrupted run left undone.
pub fn plan(layout: &Layout, catalog: &Catalog, months: &Months) -> Result<Plan> {
    refuse_another_layout(layout, catalog)?;
    let mut plan = Plan::default();
    if !catalog.schema.exists {
        plan.steps.push(Step::new(
            format!("Make the schema {}", catalog.schema_name),
            "the store lives in it",
            vec![Action::CreateSchema(catalog.schema_name.clone())],
        ));
    }
    let (extensions, own): (Vec<_>, Vec<_>) =
        own_steps(layout, catalog)?.into_iter().partition(extends_the_store);
    plan.steps.extend(own);
    if catalog.layout.as_ref() != Some(layout) {
        plan.steps.push(store_layout(layout, catalog));
    }
    let parents = parents(layout, catalog)?;
    let makes_guard = |action: &Action| {
        matches!(action, Action::Migrate(made)
            if made.set == MigrationSet::Store && made.version == GUARD)
    };
    let guarded_now = parents.iter().flat_map(|step| &step.actions).any(makes_guard);
    plan.steps.extend(parents);
    plan.steps.extend(extensions);
    let mended = protection::mend(layout, catalog, guarded_now);
    if guarded_now || !mended.is_empty() {
        protection::refuse_other_owner(catalog)?;
    }
    plan.steps.extend(mended);
    contexts::refuse_months_below_a_key(layout, catalog)?;
    let made = with_parents(layout, catalog);
    let partitions = ensure::plan(layout, &made, months)?;
    plan.steps.extend(partitions.steps);
    plan.notes = partitions.notes;
    plan.problems = partitions.problems;
    note_contexts(layout, &mut plan);
    Ok(plan)
}

/// The step that stores the layout.
#[must_use]
pub fn store_layout(layout: &Layout, catalog: &Catalog) -> Step {
    Step::new(
        "Store the layout",
        "later commands read it: the catalog alone cannot tell an empty store's layout",
        vec![Action::StoreLayout {
            schema: catalog.schema_name.clone(),
            layout: Box::new(layout.clone()),
        }],
    )
}

/// The steps that bring pupctl's own tables to this version. What extends a table of the store
/// waits until that table is there: it would be recorded without having done anything.
pub fn own_tables(layout: &Layout, catalog: &Catalog) -> Result<Vec<Step>> {
    let mut steps = own_steps(layout, catalog)?;
    steps.retain(|step| catalog.checkpoints.is_some() || !extends_the_store(step));
    Ok(steps)
}

fn own_steps(layout: &Layout, catalog: &Catalog) -> Result<Vec<Step>> {
    let newest = OWN_MIGRATIONS.last().map_or(0, |(version, _)| *version);
    if let Some(later) = catalog.own_migrations.iter().find(|m| m.version > newest) {
        return Err(Error::refused(format!(
            "a newer pupctl has changed the store's own tables (to version {})",
            later.version
        ))
        .hint("install that version of pupctl, or a later one"));
    }
    let missing = OWN_MIGRATIONS
        .iter()
        .filter(|(version, _)| !catalog.own_migrations.iter().any(|m| m.version == *version));
    Ok(missing
        .map(|&(version, name)| {
            let migration = migration(MigrationSet::Own, version, name, layout, catalog);
            let (title, why) = own_words(version);
            Step::new(title, why, vec![Action::Migrate(migration)])
        })
        .collect())
}

/// Whether a step of pupctl's own tables extends one of the store's.
pub(super) fn extends_the_store(step: &Step) -> bool {
    step.actions.iter().any(|action| {
        matches!(action, Action::Migrate(made)
            if made.set == MigrationSet::Own && made.version >= PROJECTIONS)
    })
}

/// What a migration of pupctl's own tables does, and why.
fn own_words(version: i64) -> (&'static str, &'static str) {
    match version {
        1 => ("Make pupctl's own tables", "they hold the layout and the journal of operations"),
        2 => ("Extend the journal of operations", "long operations keep there how far they are"),
        3 => {
            ("Make the list of archives", "it says what left the store, and what was sealed in it")
        }
        PROJECTIONS => (
            "Extend the checkpoints, and make the list of dead letters",
            "slots, pauses and failures of projections are kept there",
        ),
        5 => (
            "Make the tables of projections in SQL and of their audit, and pupctl_wait",
            "they say what a projection is and what it was given; the function waits for one",
        ),
        _ => ("Make the list of conversions", "it says how far the way to another layout is"),
    }
}

pub(super) fn migration(
    set: MigrationSet,
    version: i64,
    name: &'static str,
    layout: &Layout,
    catalog: &Catalog,
) -> Migration {
    Migration {
        set,
        version,
        name,
        schema: catalog.schema_name.clone(),
        layout: Box::new(layout.clone()),
    }
}

/// A layout that is stored may be replaced only while none of the tables exists.
pub(super) fn refuse_another_layout(layout: &Layout, catalog: &Catalog) -> Result<()> {
    let Some(stored) = &catalog.layout else { return Ok(()) };
    let differences = stored.differences(layout);
    let untouched = catalog.events.is_none() && catalog.heads.is_none();
    if differences.is_empty() || untouched {
        return Ok(());
    }
    Err(Error::refused(format!(
        "the schema {} has a store with another layout",
        catalog.schema_name
    ))
    .details(differences)
    .hint(
        "run it without layout options to keep the stored layout, or use another schema: --schema",
    ))
}

/// Migrations of others may have come first, with versions that the store's tables need.
fn refuse_taken_versions(catalog: &Catalog) -> Result<()> {
    let taken = |row: &&AppliedMigration| {
        STORE_MIGRATIONS.iter().any(|(v, name)| *v == row.version && *name != row.name)
    };
    let Some(row) = catalog.store_migrations.iter().find(taken) else { return Ok(()) };
    Err(Error::refused(format!(
        "version {} of the migrations in schema {} is {}, where pupctl has its own",
        row.version, catalog.schema_name, row.name
    ))
    .hint("make the store in a schema of its own: --schema"))
}

/// The steps that make, or only record, the three tables and their indexes.
fn parents(layout: &Layout, catalog: &Catalog) -> Result<Vec<Step>> {
    refuse_taken_versions(catalog)?;
    let recorded = |version| catalog.store_migrations.iter().any(|m| m.version == version);
    let there = [
        (1, layout.table(&catalog.schema_name, Role::Heads), catalog.heads.is_some()),
        (1, layout.checkpoints(&catalog.schema_name), catalog.checkpoints.is_some()),
        (2, layout.table(&catalog.schema_name, Role::Events), catalog.events.is_some()),
    ];
    if let Some((version, name, _)) = there.iter().find(|(v, _, is)| recorded(*v) && !is) {
        return Err(Error::refused(format!(
            "migration {version} was applied, but the table {name} is missing"
        ))
        .hint("somebody dropped it: bring it back from a backup"));
    }
    let adopts = |version| there.iter().any(|(v, _, is)| *v == version && *is);
    let mut differences = tables::differences(layout, catalog);
    let fit = differences.is_empty() && there.iter().all(|(_, _, is)| *is);
    if (adopts(1) && !recorded(1)) || (adopts(2) && !recorded(2)) {
        let missing = there.iter().filter(|(version, _, is)| !is && adopts(*version));
        differences.extend(missing.map(|(_, name, _)| tables::Difference {
            table: name.clone(),
            what: "is missing".to_owned(),
            fix: None,
        }));
        differences.extend(tables::missing_indexes(catalog));
    }
    if !differences.is_empty() {
        return Err(Error::refused(format!(
            "tables are there already in schema {}, and differ from what the layout needs",
            catalog.schema_name
        ))
        .details(differences.iter().map(ToString::to_string))
        .hint(if fit {
            "take them over as they are: pupctl schema baseline"
        } else {
            "choose another schema (--schema) or other table names ([tables] in pupctl.toml)"
        }));
    }
    let is_there = |version| match version {
        1 | 2 => adopts(version),
        GUARD => protection::is_complete(layout, catalog),
        _ => catalog.events.is_some() && tables::missing_indexes(catalog).is_empty(),
    };
    let pending = store_migrations(layout).filter(|(version, _)| !recorded(*version));
    Ok(pending
        .map(|(version, name)| {
            let migration = migration(MigrationSet::Store, version, name, layout, catalog);
            migration_step(migration, is_there(version))
        })
        .collect())
}

fn migration_step(migration: Migration, is_there: bool) -> Step {
    let Migration { version, name, .. } = &migration;
    let title = format!("migration {version}, {}", name.replace('_', " "));
    if is_there {
        Step::new(
            format!("Record {title}"),
            "the tables are there already, as the layout needs them",
            vec![Action::RecordMigration(migration)],
        )
    } else {
        let why = match *version {
            GUARD => "the keys of the leaves cannot refuse what two leaves hold, or a change",
            _ => "parents are made by migrations, partitions by `pupctl partitions ensure`",
        };
        Step::new(format!("Apply {title}"), why, vec![Action::Migrate(migration)])
    }
}

fn note_contexts(layout: &Layout, plan: &mut Plan) {
    if !layout.has_context_level() && !layout.contexts.is_empty() {
        plan.notes.push(format!(
            "the layout {} has no context level: the contexts are kept for later",
            layout.partition_by()
        ));
    }
    if layout.has_context_level() && layout.contexts.is_empty() {
        plan.notes.push(
            "no context yet, so no event can be stored: pupctl contexts add Identity,Billing"
                .to_owned(),
        );
    }
}

/// The catalog as it will be when the migrations are applied, so that the partitions below the
/// parents can be planned in one go.
fn with_parents(layout: &Layout, catalog: &Catalog) -> Catalog {
    let mut made = catalog.clone();
    let table = |role| Table { root: root(layout, role, catalog), columns: Vec::new() };
    made.heads.get_or_insert_with(|| table(Role::Heads));
    made.events.get_or_insert_with(|| table(Role::Events));
    let function = |trigger| Function { trigger, unchanged: true };
    made.functions = layout.triggers().into_iter().map(function).collect();
    made
}

fn root(layout: &Layout, role: Role, catalog: &Catalog) -> Relation {
    let key = Index {
        unique: true,
        primary: true,
        valid: true,
        method: "btree".to_owned(),
        columns: role.key_columns().iter().map(|&column| column.to_owned()).collect(),
        ..Index::default()
    };
    let name: QualifiedName = layout.table(&catalog.schema_name, role);
    let level = layout.levels_of(role).first().map(Level::partition_key);
    Relation {
        oid: 0,
        name,
        kind: if level.is_some() { RelationKind::Partitioned } else { RelationKind::Table },
        bound: None,
        partition_key: level,
        detach_pending: false,
        owner: catalog.server.role.clone(),
        owned: true,
        grants: Vec::new(),
        replica_identity: ReplicaIdentity::Default,
        row_security: false,
        tablespace: None,
        foreign_keys: Vec::new(),
        rows: None,
        size: None,
        indexes: if layout.root_has_key(role) { vec![key] } else { Vec::new() },
        triggers: Vec::new(),
        details: Details::default(),
        partitions: Vec::new(),
    }
}
