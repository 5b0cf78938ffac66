//! The statements that read a table for an archive, prove it, and take its rows in again.

use crate::error::{Error, Result};
use crate::layout::name::QualifiedName;
use crate::render::environment::{render, values};
use crate::render::quote;

use super::column::{Carrier, Column, landmarks};

/// What every session runs, in a transaction, before it reads or proves a table or takes rows in:
/// otherwise times, numbers and bytes that travel as text read differently.
pub const SETTINGS: &str = include_str!("../../sql/archive/settings.sql");

/// Where rows wait that travel as text, in the temporary schema.
pub const STAGE: &str = "pupctl_archive_stage";

/// The rows of one table, without those of its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The table.
    pub table: QualifiedName,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Only positions above this one.
    pub after: Option<i64>,
    /// Only positions up to this one.
    pub up_to: Option<i64>,
}

impl Selection {
    /// All rows of a table.
    #[must_use]
    pub fn all(table: QualifiedName, columns: Vec<Column>) -> Self {
        Self { table, columns, after: None, up_to: None }
    }

    /// `COPY (SELECT …) TO STDOUT (FORMAT binary)`.
    #[must_use]
    pub fn read_sql(&self) -> String {
        self.render("archive/read")
    }

    /// One row that tells what the rows hold; see [`Contents`](super::contents::Contents).
    #[must_use]
    pub fn digest_sql(&self) -> String {
        self.render("archive/digest")
    }

    fn render(&self, template: &str) -> String {
        let Self { table, columns, .. } = self;
        let (position, created_at) = landmarks(columns);
        let name = |number: Option<usize>| number.map(|number| columns[number].name.clone());
        let (position, created_at) = (name(position), name(created_at));
        // A table without positions has no part of them.
        let after = self.after.filter(|_| position.is_some());
        let up_to = self.up_to.filter(|_| position.is_some());
        let values = values! { table, columns, position, created_at, after, up_to };
        render(template, &values).trim_end().to_owned()
    }
}

/// How the rows of an archive go into a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loading {
    /// A temporary table, which the end of the transaction drops; none where all columns travel
    /// as they are.
    pub stage: Option<String>,
    /// `COPY … FROM STDIN (FORMAT binary)`, into the table or the temporary one.
    pub copy: String,
    /// From the temporary table into the table, with casts.
    pub unstage: Option<String>,
}

impl Loading {
    /// Into the columns of a table. Refuses what is no name of a type.
    pub fn of(table: &QualifiedName, columns: &[Column]) -> Result<Self> {
        if columns.iter().any(|column| column.carrier == Carrier::AsText) {
            return Self::staged(table, columns);
        }
        Ok(Self { stage: None, copy: copy_in(table, columns), unstage: None })
    }

    /// Through a temporary table.
    pub fn staged(table: &QualifiedName, columns: &[Column]) -> Result<Self> {
        for Column { name, data_type, .. } in columns {
            if quote::data_type(data_type).is_none() {
                return Err(Error::refused(format!(
                    "the type of column {name} reads `{data_type}`, which is no name of a type"
                )));
            }
        }
        let (stage, names) = (STAGE, names(columns));
        Ok(Self {
            stage: Some(render("archive/stage", &values! { stage, columns })),
            copy: copy_in(&QualifiedName::new("pg_temp", STAGE), columns),
            unstage: Some(render("archive/unstage", &values! { stage, columns, table, names })),
        })
    }
}

fn copy_in(table: &QualifiedName, columns: &[Column]) -> String {
    render("archive/copy_in", &values! { table, names => names(columns) }).trim_end().to_owned()
}

fn names(columns: &[Column]) -> Vec<&str> {
    columns.iter().map(|column| column.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection() -> Selection {
        let columns = vec![
            Column::new("global_position", "bigint", true),
            Column::new("a \"b\"", "numeric(10,2)", false),
            Column::new("created_at", "timestamp with time zone", true),
        ];
        Selection::all(QualifiedName::new("public", "o'events"), columns)
    }

    #[test]
    fn what_travels_as_text_is_cast() {
        let mut selection = selection();
        assert_eq!(
            selection.read_sql(),
            "COPY (SELECT \"global_position\", \"a \"\"b\"\"\"::pg_catalog.text, \"created_at\" \
             FROM ONLY \"public\".\"o'events\") TO STDOUT (FORMAT binary)"
        );
        selection.up_to = Some(9);
        assert!(selection.read_sql().contains("WHERE \"global_position\" <= 9)"));
        selection.after = Some(-1);
        assert!(
            selection
                .digest_sql()
                .contains("WHERE \"global_position\" > -1 AND \"global_position\" <= 9\n")
        );
        selection.columns.remove(0);
        let digest = selection.digest_sql();
        assert!(!digest.contains("WHERE") && digest.contains("NULL::bigint"), "{digest}");
    }

    #[test]
    fn what_travels_as_text_is_cast_back() {
        let Selection { table, columns, .. } = selection();
        let loading = Loading::of(&table, &columns).expect("types");
        let stage = loading.stage.expect("a table");
        let lines: Vec<_> = stage.lines().map(str::trim).collect();
        assert_eq!(
            lines,
            [
                "CREATE TEMPORARY TABLE \"pupctl_archive_stage\" (",
                "\"global_position\" bigint,",
                "\"a \"\"b\"\"\" text,",
                "\"created_at\" timestamp with time zone",
                ") ON COMMIT DROP"
            ]
        );
        assert_eq!(
            loading.copy,
            "COPY \"pg_temp\".\"pupctl_archive_stage\" (\"global_position\", \"a \"\"b\"\"\", \
             \"created_at\") FROM STDIN (FORMAT binary)"
        );
        let unstage = loading.unstage.expect("casts");
        assert!(unstage.contains("\"a \"\"b\"\"\"::numeric(10,2), \"created_at\""), "{unstage}");
        let loading = Loading::of(&table, &columns[..1]).expect("types");
        assert!(loading.stage.is_none() && loading.unstage.is_none());
        assert!(loading.copy.starts_with("COPY \"public\".\"o'events\" ("), "{}", loading.copy);
        let odd = Column::new("x", "numeric); SELECT (1", false);
        let error = Loading::of(&table, &[odd]).expect_err("no type");
        assert!(error.message().starts_with("the type of column x reads"), "{error}");
    }
}
