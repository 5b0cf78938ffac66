//! The store's three tables as they must be: with the columns that writers expect, divided as the
//! layout says, and with the key where it belongs. Tables that are like it are taken over.

use std::fmt;

use crate::catalog::index::Index;
use crate::catalog::{Catalog, Column, Table};
use crate::error::{Error, Result};
use crate::layout::levels::Level;
use crate::layout::name::QualifiedName;
use crate::layout::{Layout, Role};

/// A column: name, type, whether it refuses NULL, whether it has a default.
type Expected = (&'static str, &'static str, bool, bool);

const EVENTS: &[Expected] = &[
    ("global_position", "bigint", true, true),
    ("bounded_context", "text", true, false),
    ("aggregate_type", "text", true, false),
    ("aggregate_id", "text", true, false),
    ("aggregate_version", "bigint", true, false),
    ("event_id", "uuid", true, false),
    ("event_type", "text", true, false),
    ("event_version", "integer", true, true),
    ("payload", "bytea", true, false),
    ("trace_id", "text", false, false),
    ("correlation_id", "text", false, false),
    ("causation_id", "text", false, false),
    ("metadata", "jsonb", false, false),
    ("created_at", "timestamp with time zone", true, true),
];

const HEADS: &[Expected] = &[
    ("bounded_context", "text", true, false),
    ("aggregate_type", "text", true, false),
    ("aggregate_id", "text", true, false),
    ("aggregate_version", "bigint", true, false),
    ("updated_at", "timestamp with time zone", true, true),
];

const CHECKPOINTS: &[Expected] = &[
    ("projection_name", "text", true, false),
    ("last_global_position", "bigint", true, true),
    ("updated_at", "timestamp with time zone", true, true),
];

/// One way in which a table is not as the layout needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The table.
    pub table: QualifiedName,
    /// What differs.
    pub what: String,
    /// What puts it right, where one statement does.
    pub fix: Option<Fix>,
}

/// What puts a table right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fix {
    /// Give a column its default.
    Default {
        /// The column.
        column: &'static str,
        /// The expression.
        expression: &'static str,
    },
    /// Let a column refuse NULL, or allow it.
    NotNull {
        /// The column.
        column: &'static str,
        /// Whether it should refuse NULL.
        not_null: bool,
    },
    /// Add a key.
    Key {
        /// Its columns.
        columns: Vec<&'static str>,
        /// Whether it is the primary key.
        primary: bool,
    },
}

/// A difference in words, and what puts it right.
type Line = (String, Option<Fix>);

/// The default that the store's tables have for a column.
fn default_of(column: &str) -> Option<&'static str> {
    match column {
        "event_version" => Some("1"),
        "last_global_position" => Some("0"),
        "created_at" | "updated_at" => Some("now()"),
        // The sequence may have any name.
        _ => None,
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.table, self.what)
    }
}

/// In which ways existing tables differ from what the layout needs; a table that is missing is no
/// difference.
#[must_use]
pub fn differences(layout: &Layout, catalog: &Catalog) -> Vec<Difference> {
    differences_beside_columns(layout, catalog, &[])
}

/// The same without the columns of some tables, which were looked at more closely.
#[must_use]
pub fn differences_beside_columns(
    layout: &Layout,
    catalog: &Catalog,
    examined: &[Role],
) -> Vec<Difference> {
    let mut differences = Vec::new();
    for (role, expected) in [(Role::Heads, HEADS), (Role::Events, EVENTS)] {
        let Some(table) = catalog.table(role) else { continue };
        let expected = if examined.contains(&role) { Vec::new() } else { columns(table, expected) };
        differences.extend(named(table, [expected, shape(layout, role, table)]));
    }
    if let Some(table) = &catalog.checkpoints {
        let mut keys = Vec::new();
        if table.root.partition_key.is_some() {
            keys.push(("is partitioned, must not be".to_owned(), None));
        }
        if !table.root.indexes.iter().any(|index| index.is_key_on(&["projection_name"])) {
            let fix = Fix::Key { columns: vec!["projection_name"], primary: true };
            keys.push(("no key on (projection_name)".to_owned(), Some(fix)));
        }
        differences.extend(named(table, [columns(table, CHECKPOINTS), keys]));
    }
    differences
}

fn named(table: &Table, lines: [Vec<Line>; 2]) -> impl Iterator<Item = Difference> {
    let name = table.root.name.clone();
    lines.into_iter().flatten().map(move |(what, fix)| Difference {
        table: name.clone(),
        what,
        fix,
    })
}

/// Refuses to work on tables that are not as the stored layout says.
pub fn refuse_differences(layout: &Layout, catalog: &Catalog) -> Result<()> {
    let differences = differences(layout, catalog);
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::refused("the tables differ from the layout that is stored for them")
        .details(differences.iter().map(ToString::to_string))
        .hint("somebody changed them by hand: undo that, pupctl partitions check tells the rest"))
}

/// The indexes of migration 3 that are missing on tables which are there. On tables full of rows
/// they are not made in passing: the build would keep writers waiting.
#[must_use]
pub fn missing_indexes(catalog: &Catalog) -> Vec<Difference> {
    let wanted = [
        (catalog.events.as_ref(), "brin", "created_at"),
        (catalog.heads.as_ref(), "btree", "updated_at"),
        (catalog.checkpoints.as_ref(), "btree", "updated_at"),
    ];
    wanted
        .into_iter()
        .filter_map(|(table, method, column)| {
            let root = &table?.root;
            let there = root.indexes.iter().any(|index| index.is_on(method, &[column]));
            let what = format!("no {method} index on ({column})");
            (!there).then(|| Difference { table: root.name.clone(), what, fix: None })
        })
        .collect()
}

fn columns(table: &Table, expected: &[Expected]) -> Vec<Line> {
    let mut lines = Vec::new();
    let have = &table.columns;
    for &(name, data_type, not_null, default) in expected {
        let Some(column) = have.iter().find(|column| column.name == name) else {
            lines.push((format!("column {name} is missing"), None));
            continue;
        };
        if column.data_type != data_type {
            let what = format!("column {name} is {}, must be {data_type}", column.data_type);
            lines.push((what, None));
        }
        if column.not_null != not_null {
            let (have, want) = if not_null { ("allows", "must not") } else { ("refuses", "must") };
            let fix = Fix::NotNull { column: name, not_null };
            lines.push((format!("column {name} {have} NULL, {want} allow it"), Some(fix)));
        }
        if default && column.default.is_none() {
            let fix = default_of(name).map(|expression| Fix::Default { column: name, expression });
            lines.push((format!("column {name} has no default"), fix));
        }
    }
    // Writers know the store's columns alone; others they leave to NULL or the default.
    let is_other = |column: &&Column| !expected.iter().any(|(name, ..)| *name == column.name);
    let in_the_way = |column: &&Column| column.not_null && column.default.is_none();
    lines.extend(have.iter().filter(is_other).filter(in_the_way).map(|column| {
        let what = format!(
            "column {} is not one of the store's and must be filled, which its writers do not",
            column.name
        );
        (what, None)
    }));
    lines
}

fn shape(layout: &Layout, role: Role, table: &Table) -> Vec<Line> {
    let mut lines = Vec::new();
    let wanted = layout.levels_of(role).first().map(Level::partition_key);
    if table.root.partition_key != wanted {
        let words = |key: &Option<String>| {
            key.as_ref().map_or("not partitioned".to_owned(), |key| format!("partitioned by {key}"))
        };
        let what = format!("is {}, must be {}", words(&table.root.partition_key), words(&wanted));
        lines.push((what, None));
    }
    let key = role.key_columns();
    // A whole table may have its primary key elsewhere, as pupsourcing's has. Partitions take it
    // over from their parent, and it has to be this one there.
    let serves = |index: &Index| index.is_key_on(key) && (index.primary || wanted.is_none());
    if layout.root_has_key(role) && !table.root.indexes.iter().any(serves) {
        let kind = if wanted.is_none() { "unique" } else { "primary" };
        let primary = !table.root.indexes.iter().any(|index| index.primary);
        let fix = Fix::Key { columns: key.to_vec(), primary };
        lines.push((format!("no {kind} key on ({})", key.join(", ")), Some(fix)));
    }
    // A partition would get it too, and could not have its own beside it.
    if table.root.partition_key.is_some()
        && let Some(other) = table.root.other_primary_key(key)
    {
        let what = format!(
            "has its primary key on ({}), which partitions would get instead of one on ({})",
            other.columns.join(", "),
            key.join(", ")
        );
        lines.push((what, None));
    }
    if wanted.is_none() {
        for column in role.unique_columns() {
            if !table.root.indexes.iter().any(|index| index.is_key_on(&[column])) {
                let fix = Fix::Key { columns: vec![*column], primary: false };
                lines.push((format!("no unique key on ({column})"), Some(fix)));
            }
        }
    }
    lines
}
