//! What is wrong with a store, or soon will be: one file a check, all pure, shared by
//! `partitions check` and whatever else asks.

pub mod archives;
pub mod area;
pub mod attachable;
pub mod clock;
pub mod closed;
pub mod columns;
pub mod connection;
pub mod constraints;
pub mod conversion;
pub mod default_rows;
pub mod detach;
mod examine;
pub mod fence;
pub mod grants;
pub mod held_back;
pub mod history;
pub mod holder;
pub mod index_drift;
pub mod indexes;
pub mod keys;
pub mod lock_budget;
pub mod missing;
pub mod off_grid;
pub mod operations;
pub mod owners;
pub mod projections;
pub mod protections;
pub mod publications;
pub mod replica_identity;
pub mod role;
pub mod row_security;
pub mod rules;
pub mod sequence;
pub mod settings;
pub mod slots;
pub mod statistics;
pub mod storage;
pub mod store;
pub mod table;
pub mod transactions;
pub mod triggers;
pub mod unfinished;
pub mod unfinished_archive;
pub mod unseen;
mod verify;
pub mod wraparound;

pub use examine::examine;
pub use verify::verify;

use serde::Serialize;

use crate::catalog::Catalog;
use crate::error::Result;
use crate::layout::Layout;
use crate::plan::ensure::months;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing is wrong, and something could be better.
    Notice,
    /// It will fail unless something is done.
    Warning,
    /// Events are refused, hidden or unprotected now.
    Error,
}

/// One thing that a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check, for example `missing_month`; stable, for machines.
    pub check: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// The table, partition or index.
    pub object: String,
    /// What is wrong.
    pub message: String,
    /// The command that mends it.
    pub remedy: Option<String>,
    /// The statements that mend it, in their order, where `schema verify` found it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mend: Vec<String>,
}

impl Finding {
    pub(crate) fn error(
        check: &'static str,
        object: &impl ToString,
        message: impl Into<String>,
    ) -> Self {
        let object = object.to_string();
        let (message, mend) = (message.into(), Vec::new());
        Self { check, severity: Severity::Error, object, message, remedy: None, mend }
    }

    pub(crate) fn warning(
        check: &'static str,
        object: &impl ToString,
        message: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::error(check, object, message) }
    }

    pub(crate) fn notice(
        check: &'static str,
        object: &impl ToString,
        message: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Notice, ..Self::error(check, object, message) }
    }

    /// Whether it is more than a notice.
    #[must_use]
    pub fn is_problem(&self) -> bool {
        self.severity > Severity::Notice
    }

    pub(crate) fn remedy(mut self, command: impl Into<String>) -> Self {
        self.remedy = Some(command.into());
        self
    }

    pub(crate) fn mend(mut self, statements: impl IntoIterator<Item = String>) -> Self {
        self.mend.extend(statements);
        self
    }
}

/// All checks on the partitions of a store, errors first.
pub fn check(layout: &Layout, catalog: &Catalog) -> Result<Vec<Finding>> {
    let months = months(catalog, layout.months_ahead, None)?;
    let mut findings = table::check(layout, catalog);
    findings.extend(detach::check(catalog));
    findings.extend(missing::check(layout, catalog, &months));
    findings.extend(conversion::check(catalog));
    findings.extend(unfinished::check(catalog));
    findings.extend(unfinished_archive::check(catalog));
    findings.extend(default_rows::check(catalog));
    findings.extend(off_grid::check(layout, catalog));
    findings.extend(history::check(catalog));
    findings.extend(keys::check(layout, catalog));
    findings.extend(protections::check(layout, catalog));
    findings.extend(indexes::check(catalog));
    findings.extend(lock_budget::check(layout, catalog));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Ok(findings)
}

#[cfg(test)]
mod tests;
