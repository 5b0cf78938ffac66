//! Columns of partitions that are not like those of their table. The server sees to it that names
//! and types agree; defaults and NULL may differ.

use crate::catalog::{Catalog, Column};
use crate::layout::Role;
use crate::layout::name::QualifiedName;
use crate::render::mend;

use super::Finding;

/// Partitions whose columns have other defaults than the table, or refuse NULL where it does not.
#[must_use]
pub fn check(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in Role::ALL.into_iter().filter_map(|role| catalog.table(role)) {
        for partition in table.root.walk().skip(1) {
            for wanted in &table.root.details.columns {
                let columns = &partition.details.columns;
                if let Some(have) = columns.iter().find(|column| column.name == wanted.name) {
                    findings.extend(compare(&partition.name, have, wanted));
                }
            }
        }
    }
    findings
}

fn compare(table: &QualifiedName, have: &Column, wanted: &Column) -> Vec<Finding> {
    let name = &wanted.name;
    let mut findings = Vec::new();
    if have.data_type != wanted.data_type {
        let (have, want) = (&have.data_type, &wanted.data_type);
        let message = format!("column {name} is {have}, that of the table {want}");
        findings.push(Finding::error("column_differs", table, message));
    }
    if have.default != wanted.default {
        let words = |default: &Option<String>| default.clone().unwrap_or("none".to_owned());
        let message = format!(
            "column {name} has the default {}, that of the table {}: inserts into the partition \
             itself get it",
            words(&have.default),
            words(&wanted.default)
        );
        let expression = wanted.default.as_deref();
        findings.push(
            Finding::warning("column_differs", table, message)
                .mend([mend::column_default(table, name, expression, true)]),
        );
    }
    if have.not_null && !wanted.not_null {
        let message = format!("column {name} refuses NULL, which the table allows: inserts fail");
        findings.push(
            Finding::error("column_differs", table, message)
                .mend([mend::column_not_null(table, name, false)]),
        );
    }
    findings
}
