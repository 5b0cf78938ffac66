//! What goes on in a store: projections, and what pupctl has done.

use std::collections::BTreeSet;
use std::time::Duration;

use postgres::Client;

use crate::db::{Interrupt, settled};
use crate::error::{Error, Kind, Result};
use crate::layout::{Layout, Role};
use crate::operation::archives::Phase;
use crate::operation::journal::{self, Held, Job, Operation};
use crate::projection::control::Tables;
use crate::projection::control::head::Head;
use crate::projection::control::status::{self, ProjectionStatus};

use super::Snapshot;

/// Writers come and go; one that is open for longer is worth to be seen.
const PATIENCE: Duration = Duration::from_millis(500);

/// What goes on in a store.
#[derive(Debug, Clone, Default)]
pub struct Activity {
    /// The end of the store.
    pub head: Option<Head>,
    /// Up to where events are settled.
    pub settled_position: Option<i64>,
    /// What projections do.
    pub projections: Vec<ProjectionStatus>,
    /// How the runs of each command ended.
    pub jobs: Vec<Job>,
    /// The latest runs.
    pub operations: Vec<Operation>,
    /// What the last `archive --expired` left where it was.
    pub held: Vec<Held>,
    /// What could not be looked at, and why.
    pub notes: Vec<String>,
}

/// Looks what goes on. What is settled is found by statements that follow one another, so this is
/// not one transaction.
pub fn activity(
    client: &mut Client,
    layout: &Layout,
    snapshot: &Snapshot,
    operations: i64,
    interrupt: &Interrupt,
) -> Result<Activity> {
    let schema = &snapshot.catalog.schema_name;
    let mut found = Activity::default();
    if let Some(own) = snapshot.catalog.own_migrations.iter().map(|m| m.version).max() {
        // The second migration brought the state.
        found.jobs = journal::jobs(client, schema, own >= 2)?;
        found.held = if own >= 2 { journal::held(client, schema)? } else { Vec::new() };
        found.operations = journal::latest(client, schema, operations)?;
    }
    if snapshot.catalog.checkpoints.is_none() {
        found.notes.push("the table of checkpoints is missing: no projections are known".into());
        return Ok(found);
    }
    let tables = Tables::of(layout, schema);
    let counted = match status::look(client, &tables, None, true, interrupt) {
        // A long way through events of others, or somebody holds a lock: the rest is known.
        Err(error) if is_slow(&error) && !interrupt.is_raised() => {
            found.notes.push(format!("events ahead of projections are not counted: {error}"));
            status::look(client, &tables, None, false, interrupt)
        }
        looked => looked,
    };
    match counted {
        Ok(looked) => {
            found.projections = looked.projections;
            found.settled_position =
                settled_position(client, layout, schema, &looked.head, interrupt)?;
            found.head = Some(looked.head);
        }
        // A store that an older pupctl made is worth a look all the same.
        Err(error) if error.kind() == Kind::Refused => {
            let hint = error.hint_text().map(|hint| format!("; {hint}")).unwrap_or_default();
            found.notes.push(format!("projections are not shown: {error}{hint}"));
        }
        Err(error) => return Err(error),
    }
    Ok(found)
}

/// `query_canceled` by its timeout, and `lock_not_available`.
fn is_slow(error: &Error) -> bool {
    matches!(error.sqlstate(), Some("57014" | "55P03"))
}

fn settled_position(
    client: &mut Client,
    layout: &Layout,
    schema: &str,
    head: &Head,
    interrupt: &Interrupt,
) -> Result<Option<i64>> {
    if head.settled {
        return Ok(Some(head.position));
    }
    if head.problem.is_some() {
        return Ok(None);
    }
    let events = layout.table(schema, Role::Events);
    let settled = settled::watch(client, &events, PATIENCE, interrupt, &mut |_| {})?;
    Ok(settled.held_by.is_empty().then_some(settled.position))
}

impl Activity {
    /// What was held back and still is where it was.
    pub(super) fn held_back(&self, snapshot: &Snapshot) -> Vec<Held> {
        let events = snapshot.catalog.events.as_ref();
        let leaves = events.into_iter().flat_map(|table| table.root.leaves()).map(|leaf| leaf.oid);
        let kept = snapshot.records.iter().filter(|record| record.phase == Phase::Published);
        let there: BTreeSet<u32> = leaves.chain(kept.map(|record| record.table_oid)).collect();
        self.held.iter().filter(|held| there.contains(&held.table)).cloned().collect()
    }
}
