//! The picture of a store that `report` and `metrics` show.

use crate::catalog::relation::Relation;
use crate::command::context::{Context, Store, layout_of};
use crate::command::doctor;
use crate::db::inspect::Depth;
use crate::error::Result;
use crate::finding::{self, Finding, held_back};
use crate::layout::Layout;
use crate::operation::journal::Held;
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
    // Before the session is made one that only reads, which would be a finding.
    let thorough = match look {
        Look::Often => None,
        Look::Thorough => Some(doctor::findings(context, store)?),
    };
    let snapshot = overview::snapshot(&mut store.client, &store.schema, &tables, depth)?;
    let layout = layout_of(&snapshot.catalog)?;
    let findings = match thorough {
        Some(findings) => findings,
        None => partitions(layout, &snapshot)?,
    };
    let client = &mut store.client;
    let activity = overview::activity(client, layout, &snapshot, OPERATIONS, &context.interrupt)?;
    let mut overview = Overview::of(layout, &snapshot, findings, activity);
    let keeps = doctor::keeps(&context.config)?;
    if keeps.all.is_some() || !keeps.contexts.is_empty() {
        // What is to stay for longer than it was is not held back any more.
        let due = held_back::due(&snapshot.catalog, &keeps);
        let stays = |held: &Held| {
            let mut leaves = snapshot.catalog.roots().flat_map(Relation::leaves);
            let leaf = leaves.find(|leaf| leaf.oid == held.table);
            leaf.is_none_or(|leaf| due.iter().any(|due| due.leaf == leaf.name))
        };
        overview.held_back.retain(stays);
    }
    Ok(overview)
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
