//! Reads as a reader of the store sends them, to be explained and not run.

use serde::Serialize;

use crate::layout::name::QualifiedName;

use super::environment::{render, values};

/// A condition of a read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// The column.
    pub column: &'static str,
    /// How it is compared.
    pub operator: Operator,
    /// With what, as text.
    pub value: String,
    /// The type of the value, in capitals.
    pub kind: &'static str,
}

/// How a column is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// `=`
    Equal,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `<`
    Less,
}

/// A read of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The table.
    pub events: QualifiedName,
    /// Its conditions, all of which hold.
    pub conditions: Vec<Condition>,
    /// The column that orders the events.
    pub order: &'static str,
    /// How many events, where that is limited.
    pub limit: Option<u32>,
}

impl Read {
    /// The read itself, with its values.
    #[must_use]
    pub fn sql(&self) -> String {
        self.render("partition/read", false)
    }

    /// Asks how it would be run.
    #[must_use]
    pub fn explain(&self) -> String {
        self.render("partition/explain", false)
    }

    /// Prepares it with parameters in place of its values.
    #[must_use]
    pub fn prepare(&self) -> String {
        self.render("partition/explain_prepare", true)
    }

    /// Asks how what was prepared would be run.
    #[must_use]
    pub fn explain_prepared(&self) -> String {
        self.render("partition/explain_execute", true)
    }

    fn render(&self, template: &str, generic: bool) -> String {
        let Self { events, conditions, order, limit } = self;
        let limit = limit.unwrap_or_default();
        render(template, &values! { events, conditions, order, limit, generic })
    }
}
