//! The file that a new projection begins with.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::layout::name::IDENTIFIER_BYTES_MAX;
use crate::projection::name::validate;
use crate::render::scaffold;

use super::SqlProjection;

/// What a new projection is called, and what it reads.
#[derive(Debug, Clone, Default)]
pub struct Scaffold {
    /// Its name, which is also that of its file.
    pub name: String,
    /// The contexts that it reads; all when empty.
    pub contexts: Vec<String>,
    /// The types of aggregates that it reads; all when empty.
    pub aggregates: Vec<String>,
    /// How many slots it begins with, other than one.
    pub slots: Option<u32>,
    /// The table that it fills; called like the projection unless it says otherwise.
    pub table: Option<String>,
}

impl Scaffold {
    /// The name of its file.
    pub fn file_name(&self) -> Result<String> {
        validate(&self.name)?;
        let is_path = |c: char| matches!(c, '/' | '\\');
        if self.name.contains(is_path) || self.name.starts_with('.') {
            return Err(Error::invalid(format!("{:?} is no name of a file", self.name))
                .hint("choose a short name like order_totals"));
        }
        Ok(format!("{}.sql", self.name))
    }

    /// The text of its file: statements that work as they are, to be changed into others.
    pub fn text(&self) -> Result<String> {
        let file = self.file_name()?;
        for name in self.contexts.iter().chain(&self.aggregates) {
            if name.is_empty() || name.contains(char::is_control) {
                return Err(Error::invalid(format!(
                    "{name:?} is no name of a context or a type of aggregates"
                )));
            }
        }
        let table = self.table.clone().unwrap_or_else(|| table_of(&self.name));
        let text = scaffold::projection(&scaffold::Header {
            name: &self.name,
            contexts: &self.contexts,
            aggregates: &self.aggregates,
            slots: self.slots,
            table: &table,
        });
        // Whatever is wrong with a name is told by whoever will read the file.
        let read = SqlProjection::parse(&file, &text, &BTreeMap::new())?;
        if read.name() != self.name || read.tables() != [table] {
            return Err(Error::invalid(format!("{:?} cannot stand in a file", self.name))
                .hint("choose short names like order_totals"));
        }
        Ok(text)
    }
}

/// A name for the table of a projection.
fn table_of(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    name.chars().map(plain).take(IDENTIFIER_BYTES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaffold(name: &str) -> Scaffold {
        Scaffold { name: name.to_owned(), ..Scaffold::default() }
    }

    #[test]
    fn it_reads_what_was_asked_for() {
        let asked = Scaffold {
            contexts: vec!["Sales".to_owned(), "a, \"b\"".to_owned()],
            aggregates: vec!["Order".to_owned()],
            slots: Some(4),
            table: Some("Order \"totals\"".to_owned()),
            ..scaffold("order totals: \"now\"")
        };
        let text = asked.text().expect("a text");
        let read = SqlProjection::parse("a.sql", &text, &BTreeMap::new()).expect("it parses");
        assert_eq!(read.name(), "order totals: \"now\"");
        assert_eq!(read.contexts(), ["Sales", "a, \"b\""]);
        assert_eq!(read.aggregates(), ["Order"]);
        assert_eq!(read.slots(), Some(4));
        assert_eq!(read.tables(), ["Order \"totals\""]);
    }

    #[test]
    fn words_of_sql_are_quoted() {
        for (name, table) in [
            ("order", "\"order\""),
            ("order_totals", "order_totals"),
            ("current_user", "\"current_user\""),
            ("Users Now", "users_now"),
        ] {
            let text = scaffold(name).text().expect("a text");
            assert!(text.contains(&format!("EXISTS {table} (")), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for name in ["", "a/b", "../a", ".a", "a\nb", "batch", "{{ x }}"] {
            assert!(scaffold(name).text().is_err(), "{name}");
        }
        let empty = Scaffold { contexts: vec![String::new()], ..scaffold("a_b") };
        assert!(empty.text().is_err());
        let long = scaffold(&"a_".repeat(100)).text().expect("a text");
        assert!(long.contains(&"a_".repeat(31)));
    }
}
