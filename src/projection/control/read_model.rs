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

/// A name as SQL writes it: `totals`, `sales.totals`, `"Totals"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenName {
    /// The schema, where it is said.
    pub schema: Option<String>,
    /// The table.
    pub name: String,
}

/// Reads a name as SQL writes it; none where it is not one.
#[must_use]
pub fn parse(text: &str) -> Option<WrittenName> {
    let (first, rest) = identifier(text)?;
    if rest.is_empty() {
        return Some(WrittenName { schema: None, name: first });
    }
    let (name, rest) = identifier(rest.strip_prefix('.')?)?;
    rest.is_empty().then_some(WrittenName { schema: Some(first), name })
}

/// The first identifier of a text, without its quotes, and what follows it.
fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii();
        let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
        let starts = |c: char| c.is_ascii_digit() || c == '$';
        if end == 0 || text.starts_with(starts) {
            return None;
        }
        return Some((text[..end].to_ascii_lowercase(), &text[end..]));
    };
    let mut name = String::new();
    loop {
        let end = rest.find('"')?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None if name.is_empty() => return None,
            None => return Some((name, rest)),
        }
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
    let texts: BTreeSet<_> = projection.slots().flat_map(|slot| &slot.read_model).collect();
    let refuse = |message: String| {
        let name = shell_word(&projection.name);
        Err(Error::refused(message).hint(format!(
            "say which tables it fills: pupctl projections init {name} --tables schema.table"
        )))
    };
    if texts.is_empty() {
        return refuse(format!("nobody said which tables {} fills", projection.name));
    }
    let mut wanted = Vec::new();
    for text in texts {
        match parse(text) {
            Some(name) => wanted.push((text, name)),
            None => return refuse(format!("{text:?} is no name of a table as SQL writes it")),
        }
    }
    let names: Vec<_> = wanted.iter().map(|(_, name)| name).collect();
    let found = resolve(transaction, tables, &names)?;
    let gone = wanted.iter().zip(&found).filter(|(_, table)| table.is_none());
    let missing: Vec<_> = gone.map(|((text, _), _)| text.as_str()).collect();
    if doing == Doing::Truncate && !missing.is_empty() {
        let missing = missing.join(", ");
        return refuse(format!("tables that {} fills are missing: {missing}", projection.name));
    }
    let found: BTreeSet<_> = found.into_iter().flatten().collect();
    for table in &found {
        refuse_others(tables, table)?;
    }
    refuse_shared(transaction, tables, projection, &found, all)?;
    refuse_referenced(transaction, &found, doing)?;
    Ok(found.into_iter().map(|found| found.table).collect())
}

/// What a name means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    table: QualifiedName,
    is_table: bool,
    is_partition: bool,
}

/// In the order of the names; none where there is no such table.
fn resolve(
    transaction: &mut Transaction<'_>,
    tables: &Tables,
    wanted: &[&WrittenName],
) -> Result<Vec<Option<Found>>> {
    let schemas: Vec<_> = wanted.iter().map(|wanted| wanted.schema.as_deref()).collect();
    let names: Vec<_> = wanted.iter().map(|wanted| wanted.name.as_str()).collect();
    let rows = transaction
        .query(
            include_str!("../../../sql/projection/tables.sql"),
            &[&schemas, &names, &tables.checkpoints.schema],
        )
        .map_err(|error| Error::database("looking for the tables of the read model", error))?;
    let mut found = vec![None; wanted.len()];
    for row in rows {
        let (schema, name): (String, String) = (row.get("schema"), row.get("name"));
        let number = usize::try_from(row.get::<_, i64>("number")).unwrap_or(usize::MAX);
        if let Some(place) = found.get_mut(number.wrapping_sub(1)) {
            *place = Some(Found {
                table: QualifiedName::new(schema, name),
                is_table: row.get("is_table"),
                is_partition: row.get("is_partition"),
            });
        }
    }
    Ok(found)
}

/// Refuses a name that means a table of the store, whatever it says otherwise.
pub(super) fn refuse_own(
    transaction: &mut Transaction<'_>,
    tables: &Tables,
    text: &str,
) -> Result<()> {
    let Some(name) = parse(text) else { return Ok(()) };
    let found = resolve(transaction, tables, &[&name])?;
    found.iter().flatten().try_for_each(|found| refuse_the_stores(tables, &found.table))
}

fn refuse_the_stores(tables: &Tables, table: &QualifiedName) -> Result<()> {
    let own = [&tables.events, &tables.heads, &tables.checkpoints, &tables.dead_letters];
    let is_pupctls = table.schema == tables.checkpoints.schema && table.name.starts_with("pupctl_");
    if own.contains(&table) || is_pupctls {
        return Err(Error::refused(format!("{table} is no read model but the store's own"))
            .hint("name the tables that the projection fills"));
    }
    Ok(())
}

/// Refuses what is no table of a read model.
fn refuse_others(tables: &Tables, found: &Found) -> Result<()> {
    let table = &found.table;
    refuse_the_stores(tables, table)?;
    if !found.is_table {
        return Err(Error::refused(format!("{table} is no table")));
    }
    if found.is_partition {
        return Err(Error::refused(format!("{table} is a partition of another table")));
    }
    Ok(())
}

fn refuse_shared(
    transaction: &mut Transaction<'_>,
    tables: &Tables,
    projection: &Projection,
    found: &BTreeSet<Found>,
    all: &[Projection],
) -> Result<()> {
    for other in all.iter().filter(|other| other.name != projection.name) {
        let texts: BTreeSet<_> = other.slots().flat_map(|slot| &slot.read_model).collect();
        let names: Vec<_> = texts.into_iter().filter_map(|text| parse(text)).collect();
        if names.is_empty() {
            continue;
        }
        let theirs = resolve(transaction, tables, &names.iter().collect::<Vec<_>>())?;
        if let Some(shared) = theirs.iter().flatten().find(|theirs| found.contains(theirs)) {
            return Err(Error::refused(format!("{} fills {} too", other.name, shared.table))
                .hint("empty or drop the tables yourself, as far as that is right"));
        }
    }
    Ok(())
}

/// A table that another one refers to can neither be emptied nor dropped without it.
fn refuse_referenced(
    transaction: &mut Transaction<'_>,
    found: &BTreeSet<Found>,
    doing: Doing,
) -> Result<()> {
    let schemas: Vec<_> = found.iter().map(|found| found.table.schema.as_str()).collect();
    let names: Vec<_> = found.iter().map(|found| found.table.name.as_str()).collect();
    let rows = transaction
        .query(include_str!("../../../sql/projection/references.sql"), &[&schemas, &names])
        .map_err(|error| Error::database("looking for foreign keys to the read model", error))?;
    let name = |row: &postgres::Row, schema: &str, name: &str| {
        QualifiedName::new(row.get::<_, String>(schema), row.get::<_, String>(name))
    };
    let lines: Vec<_> = rows
        .iter()
        .map(|row| {
            let key: String = row.get("key");
            let (from, to) = (name(row, "schema", "name"), name(row, "to_schema", "to_name"));
            format!("{from} refers to {to} by its foreign key {key}")
        })
        .collect();
    if lines.is_empty() {
        return Ok(());
    }
    let (verb, option) = match doing {
        Doing::Truncate => ("emptied", "--truncate"),
        Doing::Drop => ("dropped", "--read-model"),
    };
    let which = "tables of the read model, since other tables refer to them";
    Err(Error::refused(format!("nothing is {verb} of the {which}")).details(lines).hint(format!(
        "name these tables too, if the projection fills them: projections init NAME --tables; or \
         remove the foreign keys; or leave out {option}, and do it yourself"
    )))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_sql_writes_them() {
        let of = |text: &str| parse(text).map(|name| (name.schema, name.name));
        let plain = |name: &str| Some((None, name.to_owned()));
        assert_eq!(of("totals"), plain("totals"));
        assert_eq!(of("Totals_2"), plain("totals_2"));
        assert_eq!(of("\"Order \"\"totals\"\"\""), plain("Order \"totals\""));
        assert_eq!(of("Sales.\"a.b\""), Some((Some("sales".to_owned()), "a.b".to_owned())));
        assert_eq!(of("größe"), plain("größe"));
        for text in ["", "a b", "a.", ".a", "a.b.c", "1a", "\"a", "\"\"", "a;b", "a-b", " a"] {
            assert_eq!(of(text), None, "{text:?}");
        }
    }
}
