//! Plans the migrations of a new store for files that another tool applies, without a server.

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::layout::protection::Protections;
use crate::layout::{Layout, Months};

use super::step::{Action, Migration, MigrationSet, Plan};
use super::{budget, init};

/// What the files are made of.
#[derive(Debug, Clone)]
pub struct Generated {
    /// The schema of the store.
    pub schema: String,
    /// What the store is to look like.
    pub layout: Layout,
    /// The migrations of the store's tables.
    pub store: Vec<Migration>,
    /// The migrations of pupctl's own tables.
    pub own: Vec<Migration>,
    /// The partitions, as if nothing protected the events beyond their keys.
    pub partitions: Plan,
    /// The same with what the layout says: triggers are added to them.
    pub protected: Plan,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// Plans the files of a store. What `schema init` would do on an empty server, without its clock:
/// months are made only where they are named.
pub fn plan(layout: &Layout, schema: &str, months: &Months) -> Result<Generated> {
    // The files quote blocks with this word.
    if schema.contains("$pupctl$") {
        return Err(Error::invalid(format!("files cannot be made for the schema {schema}")));
    }
    let catalog = Catalog::blank(schema);
    let whole = init::plan(layout, &catalog, months)?;
    let bare = init::plan(&layout.clone().protected(Protections::default()), &catalog, months)?;
    let of = |set| whole.migrations().filter(move |one| one.set == set).cloned().collect();
    let mut notes = whole.notes.clone();
    notes.extend(too_many_locks(whole.new_partitions().count()));
    Ok(Generated {
        schema: schema.to_owned(),
        layout: layout.clone(),
        store: of(MigrationSet::Store),
        own: of(MigrationSet::Own),
        partitions: partitions(bare),
        protected: partitions(whole),
        notes,
    })
}

/// A server with default settings has this many locks for all sessions together.
const DEFAULT_LOCK_TABLE: usize = 64 * 100;

fn too_many_locks(partitions: usize) -> Option<String> {
    let locks = partitions * budget::LOCKS_PER_NEW_PARTITION;
    (locks > DEFAULT_LOCK_TABLE).then(|| {
        format!(
            "{partitions} partitions in one transaction take about {locks} locks; a server with \
             default settings has {DEFAULT_LOCK_TABLE}: raise max_locks_per_transaction, or make \
             the store with pupctl schema init, which takes several transactions"
        )
    })
}

/// The steps that make partitions, for one transaction in which nobody can reach the tables yet:
/// nothing has to be locked, and no branch is ever seen unfinished.
fn partitions(mut plan: Plan) -> Plan {
    let elsewhere = |action: &Action| {
        matches!(
            action,
            Action::CreateSchema(_)
                | Action::StoreLayout { .. }
                | Action::Migrate(_)
                | Action::RecordMigration(_)
                | Action::LockParent(_)
                | Action::MarkUnfinished { .. }
                | Action::ClearUnfinished(_)
        )
    };
    for step in &mut plan.steps {
        step.actions.retain(|action| !elsewhere(action));
    }
    plan.steps.retain(|step| !step.actions.is_empty());
    plan
}
