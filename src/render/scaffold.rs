//! The file that a new projection begins with.

use std::collections::BTreeMap;

use minijinja::Value;

use super::environment::{quoted, render};
use super::quote;

/// What a new projection is called, and what it reads.
#[derive(Debug)]
pub struct Header<'a> {
    /// Its name.
    pub name: &'a str,
    /// The contexts that it reads.
    pub contexts: &'a [String],
    /// The types of aggregates that it reads.
    pub aggregates: &'a [String],
    /// How many slots it begins with.
    pub slots: Option<u32>,
    /// The table that it fills.
    pub table: &'a str,
}

/// Statements below a header, which is a comment: no value of it has more than one line.
#[must_use]
pub fn projection(header: &Header<'_>) -> String {
    let comment = |text: &str| quoted(quote::comment(text));
    let values = [
        ("name", comment(header.name)),
        ("contexts", comment(&listed(header.contexts))),
        ("types", comment(&listed(header.aggregates))),
        ("slots", header.slots.into()),
        ("table", quoted(written(header.table))),
        ("one_context", (header.contexts.len() == 1).into()),
        ("one_type", (header.aggregates.len() == 1).into()),
    ];
    render("projection/sql/scaffold", &Value::from(BTreeMap::from(values))) + "\n"
}

/// A list with commas; a name with one stands in double quotes.
fn listed(names: &[String]) -> String {
    let item = |name: &String| {
        let needs_quotes = name.contains([',', '"']) || name.trim() != name;
        if needs_quotes { quote::ident(name) } else { name.clone() }
    };
    names.iter().map(item).collect::<Vec<_>>().join(", ")
}

/// A name as SQL has it. In quotes where it might be a word of SQL: those with an underline are
/// few, and begin alike.
fn written(name: &str) -> String {
    let is_word = ["current_", "session_", "system_"].iter().any(|word| name.starts_with(word));
    if name.contains('_') && !is_word { quote::shown(name) } else { quote::ident(name) }
}
