//! The rows that a trial is expected to leave behind: a file of JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::projection::sql::SqlProjection;

use super::compare::{Rows, object};
use super::{ReadModel, TableRows};

/// The rows that tables should have in the end: `{"table": [{"column": value, …}, …]}`, or the list
/// alone where the projection has one table.
///
/// A column that no row names is not compared, nor is a table that is not there. Values are read as
/// the columns read them, so that `"2026-01-31"` is a date and `12.5` is `12.50`.
#[derive(Debug, Clone)]
pub struct Expected {
    pub(super) file: String,
    /// Whether it is a list alone.
    is_list: bool,
    pub(super) tables: BTreeMap<String, Vec<ExpectedRow>>,
}

/// A row as it is written, and the columns that it names.
#[derive(Debug, Clone)]
pub(super) struct ExpectedRow {
    pub(super) json: String,
    pub(super) columns: Vec<String>,
}

impl Expected {
    /// Reads a file.
    pub fn read(path: &Path, projection: &SqlProjection) -> Result<Self> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::system(format!("{shown} cannot be read"), error)
                .hint("have it written: pupctl projections test … --update")
        })?;
        Self::parse(&shown, &text, projection)
    }

    /// Reads the text of a file. `file` is what errors call it.
    pub fn parse(file: &str, text: &str, projection: &SqlProjection) -> Result<Self> {
        let text = text.trim_start_matches('\u{feff}');
        let broken = |error: &serde_json::Error| {
            Error::invalid(format!("{file} does not hold the rows of tables: {error}")).hint(
                "write {\"table\": [{\"column\": 1}]}, or the list alone where there is one table",
            )
        };
        let is_list = text.trim_start().starts_with('[');
        let lists: BTreeMap<String, Vec<&RawValue>> = if is_list {
            let rows = serde_json::from_str(text).map_err(|error| broken(&error))?;
            let [table] = projection.tables() else {
                return Err(Error::invalid(format!(
                    "{file} is a list, and {} has several tables",
                    projection.name()
                ))
                .hint("write {\"table\": [{\"column\": 1}]}"));
            };
            BTreeMap::from([(table.clone(), rows)])
        } else {
            serde_json::from_str(text).map_err(|error| broken(&error))?
        };
        let mut tables = BTreeMap::new();
        for (table, rows) in lists {
            if !projection.tables().contains(&table) {
                return Err(Error::invalid(format!(
                    "{file} has rows of {table}, which is no table of {}",
                    projection.name()
                ))
                .hint(format!("its tables are {}", projection.tables().join(", "))));
            }
            let rows = (1..).zip(rows).map(|(number, row)| read(file, &table, number, row));
            tables.insert(table.clone(), rows.collect::<Result<_>>()?);
        }
        Ok(Self { file: file.to_owned(), is_list, tables })
    }

    /// Whether it has a table without rows, which names no columns.
    pub(super) fn leaves_columns_open(&self) -> bool {
        self.tables.values().any(Vec::is_empty)
    }

    /// What a file is to say so that this came out as expected. What no row of the former file
    /// names stays out of it, and so does what is otherwise in each run.
    #[must_use]
    pub fn written(former: Option<&Self>, found: &ReadModel) -> String {
        let mut lists = Vec::new();
        for TableRows { table, rows, unsteady } in &found.0 {
            let named = former.map(|former| former.tables.get(table));
            if named.is_some_and(|named| named.is_none()) {
                continue;
            }
            let which = columns(named.flatten(), rows, unsteady);
            let lines: Vec<_> =
                rows.rows.iter().filter_map(|row| object(&rows.columns, row, &which)).collect();
            lists.push((table, lines));
        }
        let is_list = former.is_some_and(|former| former.is_list);
        let mut text = String::new();
        for (number, (table, lines)) in lists.iter().enumerate() {
            let comma = if number == 0 { "" } else { ",\n" };
            let indent = if is_list { "  " } else { "    " };
            let rows: Vec<_> = lines.iter().map(|row| format!("{indent}{}", row.get())).collect();
            let rows = rows.join(",\n");
            let list = match (rows.is_empty(), is_list) {
                (true, _) => "[]".to_owned(),
                (false, true) => format!("[\n{rows}\n]"),
                (false, false) => format!("[\n{rows}\n  ]"),
            };
            let name = serde_json::Value::from(table.as_str());
            let _ = match is_list {
                true => write!(text, "{list}"),
                false => write!(text, "{comma}  {name}: {list}"),
            };
        }
        if is_list { format!("{text}\n") } else { format!("{{\n{text}\n}}\n") }
    }
}

/// The columns that a file names, or all that are the same in each run.
fn columns(named: Option<&Vec<ExpectedRow>>, rows: &Rows, unsteady: &[usize]) -> Vec<bool> {
    let is_meant = |(number, name): (usize, &String)| match named {
        Some(former) if !former.is_empty() => {
            former.iter().any(|row| row.columns.iter().any(|column| column == name))
        }
        _ => !unsteady.contains(&number),
    };
    rows.columns.iter().enumerate().map(is_meant).collect()
}

fn read(file: &str, table: &str, number: usize, row: &RawValue) -> Result<ExpectedRow> {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(row.get()).map_err(|_| {
        Error::invalid(format!("{file}: row {number} of {table} is no object"))
            .hint("a row is written {\"column\": value, …}")
    })?;
    Ok(ExpectedRow { json: row.get().to_owned(), columns: fields.into_keys().collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn projection(tables: &str) -> SqlProjection {
        let text = format!("-- name: p\n-- tables: {tables}\n-- handle\nSELECT 1;\n");
        SqlProjection::parse("p.sql", &text, &BTreeMap::new()).expect("a projection")
    }

    fn refused(text: &str, tables: &str) -> String {
        let refused = Expected::parse("r.json", text, &projection(tables)).expect_err("refused");
        refused.to_string()
    }

    #[test]
    fn a_list_is_the_rows_of_the_only_table() {
        let read = Expected::parse("r.json", "[{\"id\": 1}]", &projection("t")).expect("rows");
        assert_eq!(read.tables["t"][0].columns, ["id"]);
        assert_eq!(refused("[]", "t, u"), "r.json is a list, and p has several tables");
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(refused("{\"x\": []}", "t"), "r.json has rows of x, which is no table of p");
        assert_eq!(refused("{\"t\": [1]}", "t"), "r.json: row 1 of t is no object");
        assert!(refused("{\"t\": [\n}", "t").contains("at line 2 column 1"));
    }

    #[test]
    fn what_is_written_is_what_was_named_before() {
        let rows = Rows {
            columns: ["id", "n", "at"].map(str::to_owned).to_vec(),
            keys: vec![0],
            rows: vec![["\"a\"", "1", "9"].map(str::to_owned).to_vec()],
        };
        let found = |table: &str, unsteady| TableRows {
            table: table.to_owned(),
            rows: rows.clone(),
            unsteady,
        };
        let model = ReadModel(vec![found("t", vec![2]), found("u", vec![])]);
        assert_eq!(
            Expected::written(None, &model),
            "{\n  \"t\": [\n    {\"id\": \"a\", \"n\": 1}\n  ],\n  \"u\": [\n    \
             {\"id\": \"a\", \"n\": 1, \"at\": 9}\n  ]\n}\n"
        );
        let former = "{\"t\": [{\"id\": 5}]}";
        let former = Expected::parse("r.json", former, &projection("t, u")).expect("rows");
        assert_eq!(
            Expected::written(Some(&former), &model),
            "{\n  \"t\": [\n    {\"id\": \"a\"}\n  ]\n}\n"
        );
        let former = Expected::parse("r.json", "[]", &projection("t")).expect("rows");
        let model = ReadModel(vec![found("t", vec![])]);
        assert_eq!(
            Expected::written(Some(&former), &model),
            "[\n  {\"id\": \"a\", \"n\": 1, \"at\": 9}\n]\n"
        );
    }
}
