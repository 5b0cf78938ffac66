//! Everything that is in the way, in one error.

use serde::Serialize;

use crate::error::Error;
use crate::layout::name::QualifiedName;
use crate::plan::tables::{Difference, Fix};

use super::{Belonging, Mend};

/// A thing, and on which table it hangs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OfTable {
    /// The table.
    pub table: QualifiedName,
    /// The thing.
    #[serde(flatten)]
    pub belonging: Belonging,
}

impl OfTable {
    /// All of these hang on one table.
    pub fn all(table: &QualifiedName, belongings: Vec<Belonging>) -> impl Iterator<Item = Self> {
        let of = |belonging| Self { table: table.clone(), belonging };
        belongings.into_iter().map(of)
    }
}

/// The ways in which tables are not as a conversion needs them, with what mends each.
#[must_use]
pub fn differing(differences: Vec<Difference>) -> Vec<OfTable> {
    differences
        .into_iter()
        .map(|Difference { table, what, fix }| {
            let mend = mend(&table, fix);
            OfTable { table, belonging: Belonging::refused("the table", what, mend) }
        })
        .collect()
}

fn mend(table: &QualifiedName, fix: Option<Fix>) -> Mend {
    let table = table.clone();
    match fix {
        Some(Fix::Default { column, expression }) => {
            Mend::ColumnDefault { table, column: column.to_owned(), default: expression.to_owned() }
        }
        Some(Fix::NotNull { column, not_null: true }) => {
            Mend::ColumnNotNull { table, column: column.to_owned() }
        }
        Some(Fix::NotNull { column, not_null: false }) => {
            Mend::ColumnNull { table, column: column.to_owned() }
        }
        Some(Fix::Key { columns, primary }) => {
            let columns = columns.into_iter().map(str::to_owned).collect();
            Mend::AddKey { table, columns, primary }
        }
        None => Mend::Words { words: "make the table as that of a store is".to_owned() },
    }
}

/// The error for everything that cannot be carried; `hint` writes what mends a thing.
#[must_use]
pub fn refusal(
    table: &QualifiedName,
    belongings: &[Belonging],
    hint: impl Fn(&Mend) -> String,
) -> Option<Error> {
    let of: Vec<_> = OfTable::all(table, belongings.to_vec()).collect();
    refusal_of_all(&of, hint)
}

/// The same for several tables, in one error.
#[must_use]
pub fn refusal_of_all(found: &[OfTable], hint: impl Fn(&Mend) -> String) -> Option<Error> {
    let refused: Vec<_> =
        found.iter().filter_map(|one| Some((one, one.belonging.mend()?))).collect();
    let (first, mend) = *refused.first()?;
    let of_one = refused.iter().all(|(one, _)| one.table == first.table);
    let line = |(OfTable { table, belonging }, mend): &(&OfTable, &Mend)| {
        let named = if of_one { belonging.to_string() } else { format!("{table}: {belonging}") };
        match refused.len() {
            1 => named,
            _ => format!("{named}; mend it: {}", hint(mend)),
        }
    };
    let what = if of_one {
        format!("{} has what a partitioned table in its place would not", first.table)
    } else {
        "the tables have what partitioned ones in their place would not".to_owned()
    };
    let advice = match (refused.len(), mend) {
        (1, Mend::Words { words } | Mend::Rights { words }) => format!("{words}, and try again"),
        (1, _) => format!("run this, and try again: {}", hint(mend)),
        _ => "mend what is listed, and try again".to_owned(),
    };
    Some(Error::refused(what).details(refused.iter().map(line).collect::<Vec<_>>()).hint(advice))
}
