//! The tables that a projection fills.

use std::collections::BTreeSet;

use postgres::Transaction;

use crate::error::{Error, Result};
use crate::layout::name::QualifiedName;
use crate::render::environment::{render, values};
use crate::render::quote::shell_word;
use crate::render::{Lock, LockMode, Statement};

use super::Tables;
use super::checkpoint::Projection;

/// What is to be done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// They are emptied; all have to be there.
    Truncate,
    /// They are dropped; what is gone already is.
    Drop,
}

/// A table by its name in a read model, `name` or `schema.name`, both as they are, without quotes.
/// One without a schema is in that of the store.
#[must_use]
pub fn table(schema: &str, name: &str) -> QualifiedName {
    match name.split_once('.') {
        Some((schema, name)) => QualifiedName::new(schema, name),
        None => QualifiedName::new(schema, name),
    }
}

/// The tables of a projection that are there. Refuses what is no table, what belongs to the store,
/// and what another projection fills too.
pub fn find(
    transaction: &mut Transaction<'_>,
    tables: &Tables,
    projection: &Projection,
    all: &[Projection],
    doing: Doing,
) -> Result<Vec<QualifiedName>> {
    let wanted = named(tables, projection);
    if wanted.is_empty() {
        return Err(Error::refused(format!("nobody said which tables {} fills", projection.name))
            .hint(name_them(projection)));
    }
    refuse_own(tables, &wanted)?;
    refuse_shared(tables, projection, &wanted, all)?;
    let found = existing(transaction, &wanted)?;
    let missing: Vec<_> = wanted.difference(&found).map(ToString::to_string).collect();
    if doing == Doing::Truncate && !missing.is_empty() {
        return Err(Error::refused(format!(
            "tables of the read model of {} are missing: {}",
            projection.name,
            missing.join(", ")
        ))
        .hint(name_them(projection)));
    }
    Ok(found.into_iter().collect())
}

fn name_them(projection: &Projection) -> String {
    let name = shell_word(&projection.name);
    format!("say which tables it fills: pupctl projections init {name} --tables schema.table")
}

fn refuse_shared(
    tables: &Tables,
    projection: &Projection,
    wanted: &BTreeSet<QualifiedName>,
    all: &[Projection],
) -> Result<()> {
    for other in all.iter().filter(|other| other.name != projection.name) {
        if let Some(shared) = named(tables, other).intersection(wanted).next() {
            return Err(Error::refused(format!("{} fills {shared} too", other.name))
                .hint("empty or drop the tables yourself, as far as that is right"));
        }
    }
    Ok(())
}

fn existing(
    transaction: &mut Transaction<'_>,
    wanted: &BTreeSet<QualifiedName>,
) -> Result<BTreeSet<QualifiedName>> {
    let schemas: Vec<_> = wanted.iter().map(|table| table.schema.as_str()).collect();
    let names: Vec<_> = wanted.iter().map(|table| table.name.as_str()).collect();
    let rows = transaction
        .query(include_str!("../../../sql/projection/tables.sql"), &[&schemas, &names])
        .map_err(|error| Error::database("looking for the tables of the read model", error))?;
    let mut found = BTreeSet::new();
    for row in rows {
        let (schema, name): (String, String) = (row.get("schema"), row.get("name"));
        let table = QualifiedName::new(schema, name);
        if !row.get::<_, bool>("is_table") {
            return Err(Error::refused(format!("{table} is no table")));
        }
        if row.get("is_partition") {
            return Err(Error::refused(format!("{table} is a partition of another table")));
        }
        found.insert(table);
    }
    Ok(found)
}

fn named(tables: &Tables, projection: &Projection) -> BTreeSet<QualifiedName> {
    let schema = &tables.checkpoints.schema;
    projection.slots().flat_map(|slot| &slot.read_model).map(|name| table(schema, name)).collect()
}

fn refuse_own(tables: &Tables, wanted: &BTreeSet<QualifiedName>) -> Result<()> {
    let own = [&tables.events, &tables.heads, &tables.checkpoints, &tables.dead_letters];
    let is_own = |table: &&QualifiedName| {
        own.contains(table)
            || table.schema == tables.checkpoints.schema && table.name.starts_with("pupctl_")
    };
    match wanted.iter().find(is_own) {
        Some(table) => Err(Error::refused(format!("{table} is no read model but the store's own"))),
        None => Ok(()),
    }
}

/// The statements, the first of which takes the locks.
#[must_use]
pub fn statements(tables: &[QualifiedName], doing: Doing) -> Vec<Statement> {
    if tables.is_empty() {
        return Vec::new();
    }
    let locks: Vec<_> =
        tables.iter().map(|on| Lock { mode: LockMode::AccessExclusive, on: on.clone() }).collect();
    let (template, why) = match doing {
        Doing::Truncate => ("projection/control/truncate", "The read model, as it was at first"),
        Doing::Drop => ("projection/control/drop_tables", "The read model"),
    };
    let values = values! { tables };
    vec![
        Statement {
            sql: render("projection/control/lock_tables", &values),
            why: "Readers of the tables wait from here on, if they come".to_owned(),
            locks: locks.clone(),
        },
        Statement { sql: render(template, &values), why: why.to_owned(), locks },
    ]
}
