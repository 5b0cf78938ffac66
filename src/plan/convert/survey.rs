//! What the events of a store ask of its partitions.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::layout::month::Month;
use crate::layout::{Context, Layout, Needs, name};

use super::rows::Part;

/// How many offenders a message names.
const LISTED_MAX: usize = 20;

/// The events of a store, by context and month.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Survey {
    /// The parts.
    pub parts: Vec<Part>,
}

impl Survey {
    /// How many events there are.
    #[must_use]
    pub fn rows(&self) -> i64 {
        i64::try_from(self.parts.iter().map(|part| part.rows).sum::<u64>()).unwrap_or(i64::MAX)
    }

    /// Adds contexts that have no events, but heads.
    pub fn add_contexts(&mut self, contexts: Vec<String>) {
        for context in contexts {
            if !self.parts.iter().any(|part| part.context == context) {
                self.parts.push(Part { context, month: None, rows: 0, bytes: 0 });
            }
        }
    }

    /// The contexts and months that must have a partition.
    #[must_use]
    pub fn needs(&self) -> Needs {
        let mut needs = Needs::new();
        for part in &self.parts {
            needs.insert(&part.context, part.month);
        }
        needs
    }

    /// The months, first and last.
    #[must_use]
    pub fn months(&self) -> Option<(Month, Month)> {
        self.needs().range(None)
    }

    /// The first and the last month with the number of their events, in words: a wrong time shows
    /// there.
    #[must_use]
    pub fn span(&self) -> Option<String> {
        let (first, last) = self.months()?;
        let of = |month| {
            let parts = self.parts.iter().filter(|part| part.month == Some(month));
            let rows: u64 = parts.map(|part| part.rows).sum();
            format!("{month} ({})", events(rows))
        };
        let (first, last) = (of(first), of(last));
        Some(if first == last { first } else { format!("{first} to {last}") })
    }

    /// The contexts that a layout does not know, where it divides by context.
    #[must_use]
    pub fn unknown_contexts(&self, layout: &Layout) -> Vec<String> {
        if !layout.has_context_level() {
            return Vec::new();
        }
        let names: BTreeSet<_> = self.parts.iter().map(|part| part.context.as_str()).collect();
        let unknown = names.into_iter().filter(|name| layout.context(name).is_none());
        unknown.map(str::to_owned).collect()
    }

    /// Refuses events that came after the beginning and for which the layout can have no partition.
    pub fn refuse_homeless(&self, layout: &Layout) -> Result<()> {
        self.refuse_homeless_with(
            layout,
            "call it off: pupctl convert rollback; mend these events; and begin again",
        )
    }

    /// The same before anything is begun.
    pub fn refuse_homeless_at_first(&self, layout: &Layout) -> Result<()> {
        let hint = "mend these events, or choose a layout that does not divide by it";
        self.refuse_homeless_with(layout, hint)
    }

    fn refuse_homeless_with(&self, layout: &Layout, hint: &str) -> Result<()> {
        let lines = self.homeless(layout);
        if lines.is_empty() {
            return Ok(());
        }
        Err(Error::refused("some events have no place in the new layout")
            .details(lines.into_iter().take(LISTED_MAX))
            .hint(hint))
    }

    fn homeless(&self, layout: &Layout) -> Vec<String> {
        let mut lines = Vec::new();
        for part in &self.parts {
            let Part { context, month, rows, .. } = part;
            if layout.has_context_level()
                && let Err(error) = name::validate_context(context)
            {
                lines.push(format!("{} of the context {context:?}: {error}", events(*rows)));
            }
            if layout.has_month_level() && month.is_none() && *rows > 0 {
                lines.push(format!(
                    "{} of {context}: created_at lies in no month that can be a partition",
                    events(*rows)
                ));
            }
        }
        lines
    }

    /// The layout with the contexts that it does not know yet.
    pub fn extended(&self, layout: &Layout) -> Result<Layout> {
        let mut contexts = layout.contexts.clone();
        contexts.extend(self.unknown_contexts(layout).into_iter().map(Context::new));
        let Layout { tables, levels, months_ahead, protections, .. } = layout.clone();
        Ok(Layout::new(tables, levels, contexts, months_ahead)?.protected(protections))
    }
}

/// So many events, in words.
fn events(rows: u64) -> String {
    if rows == 1 { "1 event".to_owned() } else { format!("{rows} events") }
}
