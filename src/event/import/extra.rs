//! Fields that are not those of an event, for the columns that a team added to its table.
//!
//! Such a column may have any type, so its values are sent as text, which every type reads.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::value::RawValue;

use crate::catalog::Table;
use crate::error::Error;
use crate::event::model::{COLUMNS, Event};

/// A column of the table beside those of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    /// Its name, and that of the field.
    pub(super) name: String,
    is_array: bool,
    /// Whether it holds JSON, itself or in an array: then strings keep their quotes.
    is_json: bool,
}

impl Column {
    fn new(name: &str, data_type: &str) -> Self {
        let element = data_type.trim_end_matches("[]");
        Self {
            name: name.to_owned(),
            is_array: element.len() < data_type.len(),
            is_json: ["json", "jsonb"].contains(&element),
        }
    }
}

/// The further columns of the table, and which of them the file fills.
#[derive(Debug)]
pub(super) struct Extra {
    columns: Vec<Column>,
    kept: bool,
    filled: BTreeSet<usize>,
}

impl Extra {
    /// The further columns of `events`; without `kept`, fields for them are refused.
    pub(super) fn of(events: &Table, kept: bool) -> Self {
        let is_further = |name: &str| name != "global_position" && !COLUMNS.contains(&name);
        let columns = events.columns.iter().filter(|column| is_further(&column.name));
        let columns = columns.map(|column| Column::new(&column.name, &column.data_type));
        Self { columns: columns.collect(), kept, filled: BTreeSet::new() }
    }

    /// All of them, when they are kept.
    pub(super) fn kept(&self) -> &[Column] {
        if self.kept { &self.columns } else { &[] }
    }

    /// Those that the file fills.
    pub(super) fn filled(self) -> Vec<Column> {
        let filled = self.filled;
        let columns = self.columns.into_iter().enumerate();
        columns.filter(|(place, _)| filled.contains(place)).map(|(_, column)| column).collect()
    }

    /// Notes the further fields of an event; `problem` tells of one that has no place.
    pub(super) fn note(
        &mut self,
        event: &Event<'_>,
        problem: impl Fn(&str) -> Error,
    ) -> Result<(), Error> {
        for (name, _) in &event.extra {
            let column = self.columns.iter().position(|column| column.name == **name);
            match column {
                Some(column) if self.kept => drop(self.filled.insert(column)),
                Some(_) => {
                    return Err(problem(&format!("the field `{name}` is not one of an event's"))
                        .hint("the table has a column of that name: --extra-columns fills it"));
                }
                None => {
                    return Err(problem(&format!("the field `{name}` is not one of an event's"))
                        .hint(
                            "leave it out, or add a column of that name to the events table and \
                             use --extra-columns",
                        ));
                }
            }
        }
        Ok(())
    }
}

/// The value of an event for a column, as the column's type reads it.
pub(super) fn value<'a>(event: &Event<'a>, column: &Column) -> Option<Cow<'a, str>> {
    let (_, value) = event.extra.iter().find(|(name, _)| *name == column.name)?;
    match value.get().as_bytes().first()? {
        b'n' => None,
        b'[' if column.is_array => Some(Cow::Owned(array(value, column.is_json))),
        b'"' if !column.is_json => Some(Cow::Owned(string(value))),
        _ => Some(Cow::Borrowed(value.get())),
    }
}

fn string(value: &RawValue) -> String {
    // The parser has seen that it is a string; half a surrogate pair stays as it is written.
    serde_json::from_str(value.get()).unwrap_or_else(|_| value.get().to_owned())
}

/// An array as PostgreSQL writes it ("Array Input and Output Syntax" in the manual).
fn array(value: &RawValue, is_json: bool) -> String {
    let elements: Vec<&RawValue> = serde_json::from_str(value.get()).unwrap_or_default();
    let element = |value: &&RawValue| match value.get().as_bytes().first() {
        Some(b'n') => "NULL".to_owned(),
        // An array in an array of JSON is one of its values.
        Some(b'[') if !is_json => array(value, is_json),
        Some(b'"') if !is_json => quoted(&string(value)),
        _ => quoted(value.get()),
    };
    format!("{{{}}}", elements.iter().map(element).collect::<Vec<_>>().join(","))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::import::line;

    #[test]
    fn values_are_written_as_their_columns_read_them() {
        let line = concat!(
            r#"{"bounded_context":"C","aggregate_type":"T","aggregate_id":"1","#,
            r#""aggregate_version":1,"event_id":"f8204f92-2aad-5c7b-acb6-a71c3c634c9d","#,
            r#""event_type":"E","payload":1,"created_at":"2005-04-07T22:13:13Z","#,
            r#""text":"a\tb","number":1.50,"flag":true,"none":null,"json":{"a":[1]},"#,
            r#""list":[1,null,"a\"b\\",[2]]}"#,
        );
        let event = line::parse(line.as_bytes()).expect("an event");
        let told = |name: &str, data_type| {
            value(&event, &Column::new(name, data_type)).map(Cow::into_owned)
        };
        assert_eq!(told("text", "text").as_deref(), Some("a\tb"));
        assert_eq!(told("number", "text").as_deref(), Some("1.50"));
        assert_eq!(told("flag", "text").as_deref(), Some("true"));
        assert_eq!(told("none", "text"), None);
        assert_eq!(told("missing", "text"), None);
        assert_eq!(told("json", "text").as_deref(), Some(r#"{"a":[1]}"#));
        assert_eq!(told("list", "text").as_deref(), Some(r#"[1,null,"a\"b\\",[2]]"#));
        assert_eq!(told("text", "jsonb").as_deref(), Some(r#""a\tb""#));
        assert_eq!(told("list", "jsonb").as_deref(), Some(r#"[1,null,"a\"b\\",[2]]"#));
        let list = r#"{"1",NULL,"\"a\\\"b\\\\\"","[2]"}"#;
        assert_eq!(told("list", "jsonb[]").as_deref(), Some(list));
        assert_eq!(told("list", "text[]").as_deref(), Some(r#"{"1",NULL,"a\"b\\",{"2"}}"#));
    }
}
