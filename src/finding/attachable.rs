//! Why a table cannot become a partition of events as it is: what only its owner can decide, with
//! the statement that mends it. What can be put right without a question, attaching puts right.

use crate::catalog::detached::Standalone;
use crate::catalog::index::Index;
use crate::catalog::relation::{Relation, RelationKind};
use crate::catalog::trigger::TableTrigger;
use crate::catalog::{Catalog, Column};
use crate::error::{Error, Result};
use crate::layout::levels::Level;
use crate::layout::protection::Trigger;
use crate::layout::{Layout, Role};
use crate::render::{mend, protection};

/// Refuses a table that cannot be attached to `parent`, with all that is in the way.
pub fn refuse(
    layout: &Layout,
    catalog: &Catalog,
    table: &Standalone,
    parent: &Relation,
) -> Result<()> {
    let mut lines = kind(layout, catalog, table);
    // The rest makes sense for an ordinary table alone.
    if lines.is_empty() {
        let root = catalog.events.as_ref().map_or(parent, |events| &events.root);
        lines.extend(columns(root, &table.relation));
        lines.extend(keys(parent, &table.relation));
        lines.extend(additions(root, parent, table));
    }
    if lines.is_empty() {
        return Ok(());
    }
    let name = &table.relation.name;
    Err(Error::refused(format!("{name} cannot be a partition of events as it is"))
        .details(lines)
        .hint("put that right, then run the command again"))
}

fn kind(layout: &Layout, catalog: &Catalog, table: &Standalone) -> Vec<String> {
    let relation = &table.relation;
    let name = relation.name.name.as_str();
    let own = [
        &layout.tables.events,
        &layout.tables.aggregate_heads,
        &layout.tables.projection_checkpoints,
    ];
    let mut lines = Vec::new();
    if own.iter().any(|own| *own == name) || name.starts_with("pupctl_") {
        lines.push("it is one of the tables of the store itself".to_owned());
    }
    match relation.kind {
        RelationKind::Table => {}
        RelationKind::Partitioned => lines.push("it is divided into partitions itself".to_owned()),
        RelationKind::Other => lines.push("it is no ordinary table of this server".to_owned()),
    }
    if let Some(parent) = &table.parent {
        lines.push(format!("it belongs to the table {parent} already"));
    }
    if table.has_children {
        lines.push("other tables inherit from it".to_owned());
    }
    if table.typed {
        lines.push("its columns are those of a composite type".to_owned());
    }
    if !relation.owned {
        lines.push(format!(
            "it belongs to {}, and the role {} may not change it",
            relation.owner, catalog.server.role
        ));
    }
    lines
}

fn columns(root: &Relation, table: &Relation) -> Vec<String> {
    let mut lines = Vec::new();
    for wanted in &root.details.columns {
        match table.details.columns.iter().find(|have| have.name == wanted.name) {
            None => lines.push(format!(
                "it has no column {}: {}",
                wanted.name,
                mend::add_column(&table.name, wanted)
            )),
            Some(have) => lines.extend(column(table, have, wanted)),
        }
    }
    let others = table
        .details
        .columns
        .iter()
        .filter(|have| !root.details.columns.iter().any(|wanted| wanted.name == have.name));
    lines.extend(others.map(|other| {
        format!(
            "events has no column {}; where it should have it: {}",
            other.name,
            mend::add_column(&root.name, other)
        )
    }));
    lines
}

fn column(table: &Relation, have: &Column, wanted: &Column) -> Vec<String> {
    let name = &wanted.name;
    let mut lines = Vec::new();
    if have.data_type != wanted.data_type || have.collation != wanted.collation {
        let words = |column: &Column| {
            let collation = column.collation.as_ref().map(|name| format!(" COLLATE {name}"));
            format!("{}{}", column.data_type, collation.unwrap_or_default())
        };
        let fix = mend::column_type(&table.name, wanted);
        let (have, want) = (words(have), words(wanted));
        lines.push(format!("its column {name} is {have}, that of events {want}: {fix}"));
    }
    if have.generated != wanted.generated || (have.generated && have.default != wanted.default) {
        lines.push(format!("its column {name} is not generated as that of events"));
    }
    if have.identity {
        let fix = mend::drop_identity(&table.name, name);
        lines.push(format!("its column {name} numbers its rows itself: {fix}"));
    }
    lines
}

fn keys(parent: &Relation, table: &Relation) -> Vec<String> {
    // One that keeps events or positions apart may stay where the parent has none: by time.
    let by_time = parent.partition_key == Some(Level::Month.partition_key());
    let stays = |index: &&Index| {
        !by_time || !Role::Events.unique_columns().iter().any(|column| index.is_key_on(&[column]))
    };
    let other = table.other_primary_key(Role::Events.key_columns()).filter(stays);
    let line = |constraint: &String, columns: &[String]| {
        format!(
            "its primary key is on ({}), where partitions have one on ({}): {}",
            columns.join(", "),
            Role::Events.key_columns().join(", "),
            mend::drop_constraint(&table.name, constraint)
        )
    };
    let named = other.and_then(|index| Some(line(index.constraint.as_ref()?, &index.columns)));
    named.into_iter().collect()
}

/// What a table has that its rows, or statements on them, would be treated by in another way.
fn additions(root: &Relation, parent: &Relation, table: &Standalone) -> Vec<String> {
    let relation = &table.relation;
    let name = &relation.name;
    let mut lines = Vec::new();
    let is_own = |found: &TableTrigger| Trigger::ALL.iter().any(|own| own.name() == found.name);
    let of_parent = |found: &TableTrigger| {
        let same = parent.triggers.iter().find(|wanted| wanted.name == found.name);
        // One for rows comes with the parent, and a table cannot have two of one name.
        same.is_some_and(|wanted| !wanted.is_for_rows())
    };
    for trigger in relation.triggers.iter().filter(|found| !is_own(found) && !of_parent(found)) {
        lines.push(format!(
            "it has the trigger {} of its own: {};",
            trigger.name,
            protection::drop_trigger(name, &trigger.name)
        ));
    }
    for rule in &relation.details.rules {
        lines.push(format!("it has the rule {rule}: {}", mend::drop_rule(name, rule)));
    }
    if relation.row_security && !root.row_security {
        let fix = mend::row_security(name, false);
        lines.push(format!("row security is enabled on it, and not on events: {fix}"));
    }
    if relation.details.force_row_security && !root.details.force_row_security {
        let fix = mend::row_security(name, true);
        lines.push(format!("row security is forced on its owner, and not on events: {fix}"));
    }
    if relation.details.unlogged {
        let fix = mend::logged(name);
        lines.push(format!("it is unlogged, so a crash of the server empties it: {fix}"));
    }
    lines
}
