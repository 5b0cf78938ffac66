//! Plans the adoption of tables that were not made by pupctl: their migrations are recorded and
//! their layout is stored. Nothing is changed in them but that the checkpoints get columns for what
//! pupctl's projections keep there, which nobody has to know.

use crate::catalog::{Catalog, missing_keys};
use crate::error::{Error, Result};
use crate::layout::{Layout, Role};

use super::init::{self, GUARD, store_migrations};
use super::step::{Action, MigrationSet, Plan, Step};
use super::tables;

/// Plans the adoption, or refuses with the list of what would break pupctl.
pub fn plan(layout: &Layout, catalog: &Catalog) -> Result<Plan> {
    init::refuse_another_layout(layout, catalog)?;
    refuse_differences(layout, catalog)?;
    let mut plan = Plan::default();
    plan.steps.extend(init::own_tables(layout, catalog)?);
    if catalog.layout.is_none() {
        plan.steps.push(init::store_layout(layout, catalog));
    }
    let recorded = |version| catalog.store_migrations.iter().any(|row| row.version == version);
    // What protects the events beyond their keys comes with the next `schema init`.
    let missing = store_migrations(layout).filter(|(v, _)| *v != GUARD && !recorded(*v));
    for (version, name) in missing {
        let migration = init::migration(MigrationSet::Store, version, name, layout, catalog);
        plan.steps.push(Step::new(
            format!("Record migration {version}, {}", name.replace('_', " ")),
            "the tables are there already, as the layout needs them",
            vec![Action::RecordMigration(migration)],
        ));
    }
    if store_migrations(layout).any(|(version, _)| version == GUARD) && !recorded(GUARD) {
        plan.notes.push(format!(
            "migration {GUARD}, guard, is pending: without it partitions cannot be made, and \
             events are not protected beyond their keys; apply it with: pupctl schema init"
        ));
    }
    Ok(plan)
}

/// Refuses a schema in which a table of the store is missing.
pub fn refuse_missing(layout: &Layout, catalog: &Catalog) -> Result<()> {
    let lines = missing(layout, catalog)?;
    if lines.is_empty() { Ok(()) } else { Err(differ(layout, catalog, lines)) }
}

/// The tables that are missing; refused where all of them are.
fn missing(layout: &Layout, catalog: &Catalog) -> Result<Vec<String>> {
    let schema = &catalog.schema_name;
    let tables = [
        (layout.table(schema, Role::Events), catalog.events.is_some()),
        (layout.table(schema, Role::Heads), catalog.heads.is_some()),
        (layout.checkpoints(schema), catalog.checkpoints.is_some()),
    ];
    let missing = tables.iter().filter(|(_, there)| !there);
    let lines: Vec<_> = missing.map(|(name, _)| format!("{name}: is missing")).collect();
    if lines.len() == tables.len() {
        return Err(Error::refused(format!("there is no table of a store in schema {schema}"))
            .details(lines)
            .hint("make them with pupctl schema init, or name their schema: --schema"));
    }
    Ok(lines)
}

fn refuse_differences(layout: &Layout, catalog: &Catalog) -> Result<()> {
    let mut lines = missing(layout, catalog)?;
    lines.extend(tables::differences(layout, catalog).iter().map(ToString::to_string));
    for role in Role::ALL.into_iter().filter(|role| !layout.levels_of(*role).is_empty()) {
        let Some(table) = catalog.table(role) else { continue };
        for leaf in table.root.leaves() {
            lines.extend(
                missing_keys(leaf, role).iter().map(|columns| {
                    format!("{}: no valid key on ({})", leaf.name, columns.join(", "))
                }),
            );
        }
    }
    if lines.is_empty() { Ok(()) } else { Err(differ(layout, catalog, lines)) }
}

fn differ(layout: &Layout, catalog: &Catalog, lines: Vec<String>) -> Error {
    Error::refused(format!(
        "the tables in schema {} differ from what the layout {} needs",
        catalog.schema_name,
        layout.partition_by()
    ))
    .details(lines)
    .hint("mend the tables, choose the layout that they have, or make a store beside them")
}
