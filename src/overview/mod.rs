//! A store at a glance: one picture, read in a few queries, which `report` and `metrics` show each
//! in its own form.

mod activity;
pub mod growth;
pub mod partitions;
mod snapshot;

pub use activity::{Activity, activity};
pub use snapshot::{Snapshot, snapshot};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::finding::Finding;
use crate::layout::month::Month;
use crate::layout::{Layout, Role, describe};
use crate::operation::archives::Record;
use crate::operation::journal::{Held, Job, Operation};
use crate::projection::control::head::Head;
use crate::projection::control::status::ProjectionStatus;

use growth::{Growth, MonthTotal};
use partitions::{Absent, MonthsAhead, Partition};

/// A store at a glance.
#[derive(Debug, Clone, Serialize)]
pub struct Overview {
    /// When the picture was taken, by the server's clock.
    pub taken_at: DateTime<Utc>,
    /// The month in which that is.
    pub month: Month,
    /// Which store it is.
    pub store: StoreFacts,
    /// All of its events together.
    pub totals: Totals,
    /// How it grows.
    pub growth: Growth,
    /// The months for which each branch is ready.
    pub months_ahead: Vec<MonthsAhead>,
    /// What every month of events takes, the earliest first.
    pub months: Vec<MonthTotal>,
    /// The leaves of events, in the order of the tree.
    pub partitions: Vec<Partition>,
    /// What is not in the store: missing, detached, archived.
    pub absent: Vec<Absent>,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
    /// The end of the store; none where it could not be looked for.
    pub head: Option<Head>,
    /// Up to where events are settled; none where transactions were open for too long.
    pub settled_position: Option<i64>,
    /// What projections do.
    pub projections: Vec<ProjectionStatus>,
    /// The archives that left the store.
    pub archives: Vec<Record>,
    /// Months that the last `archive --expired` had to leave where they are.
    pub held_back: Vec<Held>,
    /// How the runs of each command ended.
    pub jobs: Vec<Job>,
    /// The latest runs.
    pub operations: Vec<Operation>,
    /// How full one statement makes the server's lock table.
    pub locks: Locks,
    /// What could not be looked at, and why.
    pub notes: Vec<String>,
}

/// Which store it is.
#[derive(Debug, Clone, Serialize)]
pub struct StoreFacts {
    /// The server's version.
    pub server: String,
    /// Whether it replays another server's log.
    pub standby: bool,
    /// The database.
    pub database: String,
    /// The schema.
    pub schema: String,
    /// The table of events.
    pub table: String,
    /// How it is divided.
    pub layout: String,
    /// How many months ahead are wanted.
    pub months_ahead: u32,
}

/// All events together: the sums of `partitions list`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// How many leaves there are.
    pub leaves: usize,
    /// The planner's estimate of the rows.
    pub rows: u64,
    /// How many leaves nothing has counted yet.
    pub uncounted: usize,
    /// The size of the tables.
    pub table_bytes: u64,
    /// The size of their indexes.
    pub index_bytes: u64,
}

/// How full one statement makes the server's lock table that opens a whole table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Locks {
    /// How many locks the server holds for sure.
    pub capacity: usize,
    /// How many of them all of events takes.
    pub events: usize,
    /// How many all heads take.
    pub heads: usize,
}

impl Overview {
    /// Puts together what was read.
    #[must_use]
    pub fn of(
        layout: &Layout,
        snapshot: &Snapshot,
        findings: Vec<Finding>,
        activity: Activity,
    ) -> Self {
        let catalog = &snapshot.catalog;
        let partitions = partitions::leaves(snapshot);
        let absent = partitions::absent(layout, snapshot);
        let month = catalog.server.month();
        let months = growth::months(&partitions, &absent);
        let held_back = activity.held_back(snapshot);
        Self {
            taken_at: catalog.server.now,
            month,
            store: StoreFacts {
                server: catalog.server.version.clone(),
                standby: catalog.server.standby,
                database: catalog.server.database.clone(),
                schema: catalog.schema_name.clone(),
                table: layout.table(&catalog.schema_name, Role::Events).to_string(),
                layout: describe(&layout.levels),
                months_ahead: layout.months_ahead,
            },
            totals: totals(&partitions),
            growth: growth::growth(&months, month),
            months_ahead: partitions::months_ahead(catalog),
            months,
            partitions,
            absent,
            findings,
            head: activity.head,
            settled_position: activity.settled_position,
            projections: activity.projections,
            archives: snapshot.records.clone(),
            held_back,
            jobs: activity.jobs,
            operations: activity.operations,
            locks: Locks {
                capacity: catalog.server.lock_table(),
                events: catalog.locks_of(Role::Events),
                heads: catalog.locks_of(Role::Heads),
            },
            notes: activity.notes.into_iter().chain(snapshot.notes.clone()).collect(),
        }
    }

    /// How many findings are more than notices.
    #[must_use]
    pub fn problems(&self) -> usize {
        self.findings.iter().filter(|finding| finding.is_problem()).count()
    }
}

fn totals(partitions: &[Partition]) -> Totals {
    Totals {
        leaves: partitions.len(),
        rows: partitions.iter().filter_map(|leaf| leaf.rows).sum(),
        uncounted: partitions.iter().filter(|leaf| leaf.rows.is_none()).count(),
        table_bytes: partitions.iter().map(|leaf| leaf.table_bytes).sum(),
        index_bytes: partitions.iter().map(|leaf| leaf.index_bytes).sum(),
    }
}
