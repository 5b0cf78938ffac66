//! The picture of a store that `report` and `metrics` show.

use crate::command::context::{Context, Store, layout_of};
use crate::command::doctor;
use crate::db::inspect::Depth;
use crate::error::Result;
use crate::finding::{self, Finding};
use crate::layout::Layout;
use crate::overview::{self, Overview, Snapshot};

/// How closely a store is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// What can be looked at every few seconds: findings are those of `partitions check`.
    Often,
    /// All that `doctor` finds.
    Thorough,
}

/// How many of the latest runs are told.
const OPERATIONS: i64 = 20;

/// Takes the picture.
pub(super) fn take(context: &Context, store: &mut Store, look: Look) -> Result<Overview> {
    let depth = Depth { sizes: true, default_rows: true, ..Depth::default() };
    let tables = context.config.tables();
    let snapshot = overview::snapshot(&mut store.client, &store.schema, &tables, depth)?;
    let layout = layout_of(&snapshot.catalog)?;
    let findings = match look {
        Look::Often => partitions(layout, &snapshot)?,
        Look::Thorough => doctor::findings(context, store)?,
    };
    let client = &mut store.client;
    let activity = overview::activity(client, layout, &snapshot, OPERATIONS, &context.interrupt)?;
    Ok(Overview::of(layout, &snapshot, findings, activity))
}

/// What is wrong with the partitions, the worst first.
fn partitions(layout: &Layout, snapshot: &Snapshot) -> Result<Vec<Finding>> {
    let mut findings = finding::check(layout, &snapshot.catalog)?;
    let unsealed = snapshot.closed.iter().filter(|closed| !closed.sealed);
    let unsealed: Vec<_> = unsealed.map(|closed| closed.name.clone()).collect();
    findings.extend(finding::closed::check(&unsealed));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Ok(findings)
}
