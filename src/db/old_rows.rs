//! Asks what there is to know of the rows of a table that is to be copied. Every question reads the
//! whole table, or an index of it; nobody is locked out.

use postgres::{Client, Row};

use crate::catalog::surroundings::{Index, Surroundings};
use crate::error::{Error, Result};
use crate::layout::Role;
use crate::layout::name::QualifiedName;
use crate::plan::convert::belongings::store_columns;
use crate::plan::convert::rows::{LISTED_MAX, Offenders, Part, Rows};
use crate::render::environment::{render, values};

use super::heads::deviations;

/// Looks at the rows of a table; `heads` are compared with those of events.
pub fn read(
    client: &mut Client,
    role: Role,
    surroundings: &Surroundings,
    heads: Option<&QualifiedName>,
) -> Result<Rows> {
    let table = &surroundings.name;
    let mut rows = Rows {
        parts: parts(client, role, surroundings)?,
        nulls: nulls(client, role, surroundings)?,
        size: size(client, surroundings)?,
        ..Rows::default()
    };
    let keys = [role.key_columns()].into_iter();
    for columns in keys.chain(role.unique_columns().iter().map(std::slice::from_ref)) {
        if surroundings.indexes.iter().any(|index| is_key(index, columns)) {
            continue;
        }
        let (positions, limit) = (role == Role::Events, LISTED_MAX);
        let values = values! { table, columns, positions, limit };
        let found = offenders(client, &render("convert/rows/doubled", &values))?;
        rows.doubled.push((columns.iter().map(|&column| column.to_owned()).collect(), found));
    }
    rows.doubled.retain(|(_, offenders)| offenders.total > 0);
    if role == Role::Events {
        let limit = LISTED_MAX;
        let sql = render("convert/rows/timeless", &values! { table, limit });
        rows.timeless = offenders(client, &sql)?;
        if let Some(heads) = heads {
            let found = deviations(client, table, heads, LISTED_MAX, true)?;
            let total = u64::try_from(found.total).unwrap_or(u64::MAX);
            rows.deviating = Offenders { total, first: found.first };
        }
    }
    Ok(rows)
}

/// Whether the server itself refuses a second row with the same values.
fn is_key(index: &Index, columns: &[&str]) -> bool {
    let has = |column: &&str| index.columns.iter().any(|own| own == column);
    let is_unique = index.unique && index.valid && !index.partial;
    is_unique && index.columns.len() == columns.len() && columns.iter().all(has)
}

fn parts(client: &mut Client, role: Role, surroundings: &Surroundings) -> Result<Vec<Part>> {
    let columns: Vec<_> = surroundings.copied_columns().collect();
    let (table, times) = (&surroundings.name, role == Role::Events);
    let sql = render("convert/rows/parts", &values! { table, times, columns });
    let part = |row: &Row| Part {
        context: row.get::<_, Option<String>>("context").unwrap_or_default(),
        month: row.get::<_, Option<String>>("month").and_then(|text| text.parse().ok()),
        rows: number(row, "rows"),
        bytes: number(row, "bytes"),
    };
    Ok(client.query(&sql, &[]).map_err(failed)?.iter().map(part).collect())
}

/// What a store refuses to be NULL, where the table does not.
fn nulls(
    client: &mut Client,
    role: Role,
    surroundings: &Surroundings,
) -> Result<Vec<(String, Offenders)>> {
    let may_be_null = |name: &str| surroundings.column(name).is_some_and(|own| !own.not_null);
    let wanted = store_columns(role).iter().filter(|column| column.not_null);
    let mut found = Vec::new();
    for column in wanted.map(|column| column.name).filter(|name| may_be_null(name)) {
        let (table, key, limit) = (&surroundings.name, role.key_columns(), LISTED_MAX);
        let positions = role == Role::Events;
        let values = values! { table, key, column, positions, limit };
        let offenders = offenders(client, &render("convert/rows/nulls", &values))?;
        if offenders.total > 0 {
            found.push((column.to_owned(), offenders));
        }
    }
    Ok(found)
}

fn size(client: &mut Client, surroundings: &Surroundings) -> Result<u64> {
    let sql = include_str!("../../sql/catalog/sizes.sql");
    let row = client.query_one(sql, &[&vec![surroundings.table.oid]]).map_err(failed)?;
    Ok(number(&row, "table") + number(&row, "indexes"))
}

fn offenders(client: &mut Client, sql: &str) -> Result<Offenders> {
    let rows = client.query(sql, &[]).map_err(failed)?;
    let example = |row: &Row| row.get::<_, Option<String>>("example").unwrap_or_default();
    Ok(Offenders {
        total: rows.first().map_or(0, |row| number(row, "total")),
        first: rows.iter().map(example).collect(),
    })
}

fn number(row: &Row, column: &str) -> u64 {
    u64::try_from(row.get::<_, Option<i64>>(column).unwrap_or_default()).unwrap_or_default()
}

fn failed(error: postgres::Error) -> Error {
    Error::database("looking at the rows of a table", error)
}
