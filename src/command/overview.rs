//! The picture of a store that `report` and `metrics` show.

use crate::catalog::Catalog;
use crate::command::context::{Context, Store, layout_of};
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
    /// All: also those of `schema verify`.
    Thorough,
}

/// How many of the latest runs are told.
const OPERATIONS: i64 = 20;

/// Takes the picture.
pub(super) fn take(context: &Context, store: &mut Store, look: Look) -> Result<Overview> {
    let thorough = look == Look::Thorough;
    let depth = Depth {
        sizes: true,
        default_rows: true,
        definitions: thorough,
        details: thorough,
        ..Depth::default()
    };
    let tables = context.config.tables();
    let snapshot = overview::snapshot(&mut store.client, &store.schema, &tables, depth)?;
    let layout = layout_of(&snapshot.catalog)?;
    let findings = findings(layout, &snapshot, look)?;
    let client = &mut store.client;
    let activity = overview::activity(client, layout, &snapshot, OPERATIONS, &context.interrupt)?;
    Ok(Overview::of(layout, &snapshot, findings, activity))
}

/// What is wrong with the store, the worst first: the one place where it is asked for.
fn findings(layout: &Layout, snapshot: &Snapshot, look: Look) -> Result<Vec<Finding>> {
    let catalog: &Catalog = &snapshot.catalog;
    let mut findings = finding::check(layout, catalog)?;
    let unsealed = snapshot.closed.iter().filter(|closed| !closed.sealed);
    let unsealed: Vec<_> = unsealed.map(|closed| closed.name.clone()).collect();
    findings.extend(finding::closed::check(&unsealed));
    if look == Look::Thorough {
        for found in finding::verify(layout, catalog)? {
            // Both look at keys, indexes and triggers.
            let is_known = |known: &Finding| {
                known.object == found.object
                    && (known.check == found.check || known.message == found.message)
            };
            if !findings.iter().any(is_known) {
                findings.push(found);
            }
        }
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Ok(findings)
}
