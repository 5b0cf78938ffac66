//! Brings the rows of an archive back.
//!
//! 1. The files are checked against the manifest.
//! 2. The rows are loaded into a table of their own, in the transaction that makes it, and proven
//!    there by the server's digest; a killed load leaves nothing. A table that was kept is proven
//!    the same way, and nothing is loaded.
//! 3. Keys, indexes, owner, grants and triggers are made as on the parent, the bounds are proven,
//!    and one short transaction attaches the table.
//!
//! Where another leaf has taken the place since, the rows join it in batches, each a transaction,
//! and are compared byte by byte before the table that they came from is dropped.

mod heads;
mod join;
mod load;

use crate::archive::folder::Archive;
use crate::archive::manifest::Role;
use crate::catalog::Catalog;
use crate::catalog::relation::Relation;
use crate::db::execute::{self, LockLimits};
use crate::db::inspect::{self, Depth};
use crate::db::{Interrupt, Locked, attach as survey};
use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::finding::attachable;
use crate::layout::Layout;
use crate::layout::name::{QualifiedName, Tables};
use crate::layout::place::Place;
use crate::plan::attach;
use crate::plan::lifecycle::LifecycleAction;
use crate::plan::target::{Located, partitions};
use crate::plan::{self, Plan};
use crate::render::Script;

use super::archive::Progress;
use super::archives::{self, Phase, Record};

/// Where the rows are to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Back into the store.
    Store {
        /// Whether an empty leaf that has taken the place is dropped; otherwise rows join it.
        replace: bool,
    },
    /// Into a table of the store's schema that is not attached.
    Beside,
    /// Into a table of another schema, as a rehearsal.
    Schema(String),
}

/// How archives are to come back.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where the rows go.
    pub destination: Destination,
    /// Whether events may come back that projections have passed without reading them: those of an
    /// archive that this store has not made.
    pub behind_projections: bool,
    /// How many rows join a leaf in one transaction.
    pub batch: i64,
    /// How long to try for locks.
    pub limits: LockLimits,
}

/// What came back.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Restored {
    /// The archive.
    pub archive: String,
    /// The table that has the rows now.
    pub table: String,
    /// How many rows.
    pub rows: u64,
    /// `attached`, `joined` or `loaded`; `there` where an earlier run had brought them.
    pub how: &'static str,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// Everything that the way back needs.
#[allow(missing_debug_implementations)]
pub struct Restorer<'a> {
    /// The session, with the lock of the store.
    pub locked: &'a mut Locked,
    /// How the store is partitioned.
    pub layout: &'a Layout,
    /// What is wanted.
    pub request: &'a Request,
    /// Raised by Ctrl-C.
    pub interrupt: &'a Interrupt,
    /// Told how it goes on.
    pub progress: &'a mut dyn Progress,
}

impl Restorer<'_> {
    /// Brings an archive back; `record` is what the store knows of it.
    pub fn run(&mut self, archive: &Archive, record: Option<&Record>) -> Result<Restored> {
        if let Destination::Schema(schema) = self.request.destination.clone() {
            return self.rehearse(archive, &schema);
        }
        if archive.manifest.role == Role::AggregateHeads {
            return self.heads(archive, record);
        }
        let catalog = self.catalog()?;
        refuse_columns(archive, &catalog)?;
        let kept = match record {
            Some(record) => self.kept(archive, record)?,
            None => None,
        };
        if kept.is_none()
            && let Some(leaf) = self.brought(archive, &catalog, record)?
        {
            if let Some(record) = record {
                self.record(record, &leaf)?;
            }
            return Ok(restored(archive, &leaf, "there", Vec::new()));
        }
        let (table, loaded) = match kept {
            Some(table) => (table, false),
            None => (self.load(archive, &catalog, record)?, true),
        };
        let mut notes = new_columns(archive, &catalog);
        if self.request.destination == Destination::Beside {
            return Ok(restored(archive, &table, "loaded", notes));
        }
        let (table, how) = self.bring_in(&catalog, archive, &table, loaded, &mut notes)?;
        if let Some(record) = record {
            self.record(record, &table)?;
        }
        Ok(restored(archive, &table, how, notes))
    }

    /// The leaf that has all the rows, where a run that was killed has brought them back and could
    /// not say so.
    fn brought(
        &mut self,
        archive: &Archive,
        catalog: &Catalog,
        record: Option<&Record>,
    ) -> Result<Option<QualifiedName>> {
        let Some(leaf) = live(catalog, &archive.manifest.place) else { return Ok(None) };
        let name = record.map_or(archive.manifest.table.as_str(), |record| record.leaf.as_str());
        // As long as there is a table of theirs, they are on their way.
        if self.request.destination == Destination::Beside
            || self.loaded(name, &archive.name())?.is_some()
        {
            return Ok(None);
        }
        let leaf = leaf.relation.name.clone();
        Ok(self.is_there(archive, &leaf)?.then_some(leaf))
    }

    /// Brings back a table that left the store and has no file yet.
    pub fn undo(&mut self, record: &Record, table: &QualifiedName) -> Result<()> {
        let catalog = self.catalog()?;
        let mut notes = Vec::new();
        let place = &record.place;
        let table = match live(&catalog, place) {
            Some(leaf) => {
                let leaf = leaf.relation.name.clone();
                let settles = Some((record, Phase::Aborted));
                self.join(table, &leaf, &columns_of(&catalog), settles)?;
                leaf
            }
            None => {
                self.attach(&catalog, place, table, &mut notes)?;
                table.clone()
            }
        };
        let schema = self.locked.schema().to_owned();
        let name = Some(table.name.as_str());
        archives::advance(self.locked.client(), &schema, record.id, Phase::Aborted, name)
    }

    fn bring_in(
        &mut self,
        catalog: &Catalog,
        archive: &Archive,
        table: &QualifiedName,
        loaded: bool,
        notes: &mut Vec<String>,
    ) -> Result<(QualifiedName, &'static str)> {
        let place = &archive.manifest.place;
        let Some(leaf) = live(catalog, place) else {
            self.attach(catalog, place, table, notes)?;
            return Ok((table.clone(), "attached"));
        };
        let replace = self.request.destination == Destination::Store { replace: true };
        if replace {
            self.attach_in_place_of(catalog, &leaf, table, notes)?;
            return Ok((leaf.relation.name.clone(), "attached"));
        }
        let name = leaf.relation.name.clone();
        if loaded {
            // Positions are looked up in it, batch by batch.
            self.index_positions(table)?;
        }
        self.join(table, &name, &names(archive), None)?;
        Ok((name, "joined"))
    }

    /// Makes the table like its parent, and attaches it.
    fn attach(
        &mut self,
        catalog: &Catalog,
        place: &Place,
        table: &QualifiedName,
        notes: &mut Vec<String>,
    ) -> Result<()> {
        let planned = self.attachment(catalog, place, table)?;
        notes.extend(planned.notes.clone());
        self.execute(&planned)?;
        reach("restore::attached");
        Ok(())
    }

    fn attachment(
        &mut self,
        catalog: &Catalog,
        place: &Place,
        table: &QualifiedName,
    ) -> Result<Plan> {
        let client = self.locked.client();
        let standalone = inspect::one_table(client, &table.schema, &table.name)?
            .ok_or_else(|| Error::refused(format!("the table {table} is gone")))?;
        let parent = attach::parent(self.layout, catalog, place)?;
        attachable::refuse(self.layout, catalog, &standalone, parent)?;
        self.progress.phase("Comparing the rows with the store", None);
        let client = self.locked.client();
        let survey = survey::survey(client, self.layout, catalog, &standalone, place)?;
        let request = attach::Request {
            table: &standalone,
            place,
            survey: &survey,
            behind_projections: self.request.behind_projections,
        };
        let mut plan = attach::plan(self.layout, catalog, &request)?;
        let comment = standalone.comment.as_deref();
        if comment.is_some_and(|comment| comment.starts_with(load::MARK))
            && let Some(last) = plan.steps.last_mut()
        {
            // Otherwise it would pass for half a restore when it is detached one day.
            let table = table.clone();
            last.actions.push(LifecycleAction::Comment { table, comment: None }.into());
        }
        Ok(plan)
    }

    /// The same in the place of an empty leaf, which the transaction drops that attaches.
    fn attach_in_place_of(
        &mut self,
        catalog: &Catalog,
        leaf: &Located<'_>,
        table: &QualifiedName,
        notes: &mut Vec<String>,
    ) -> Result<()> {
        let name = leaf.relation.name.clone();
        let mut without = catalog.clone();
        if let Some(events) = &mut without.events {
            remove(&mut events.root, leaf.relation.oid);
        }
        let mut planned = self.attachment(&without, &leaf.place, table)?;
        let room = [
            LifecycleAction::LockForDetach {
                parent: leaf.parent.name.clone(),
                partition: name.clone(),
            },
            LifecycleAction::DropEmpty(name),
        ];
        if let Some(last) = planned.steps.last_mut() {
            last.actions.splice(0..0, room.map(Into::into));
            if table.name != leaf.relation.name.name {
                let to = leaf.relation.name.name.clone();
                last.actions.push(LifecycleAction::Rename { table: table.clone(), to }.into());
            }
        }
        notes.extend(planned.notes.clone());
        self.execute(&planned).map_err(|error| {
            error.hint("leave out --replace: the rows join those that are there")
        })?;
        reach("restore::replaced");
        Ok(())
    }

    fn execute(&mut self, plan: &Plan) -> Result<()> {
        let script = Script::of(plan);
        execute::execute(
            self.locked,
            &script.steps,
            self.request.limits,
            self.interrupt,
            &mut *self.progress,
        )
    }

    fn catalog(&mut self) -> Result<Catalog> {
        let depth = Depth { definitions: true, details: true, ..Depth::default() };
        let schema = self.locked.schema().to_owned();
        let tables: Tables = self.layout.tables.clone();
        let catalog = inspect::catalog(self.locked.client(), &schema, &tables, depth)?;
        plan::tables::refuse_differences(self.layout, &catalog)?;
        Ok(catalog)
    }

    fn record(&mut self, record: &Record, table: &QualifiedName) -> Result<()> {
        let schema = self.locked.schema().to_owned();
        let name = Some(table.name.as_str());
        archives::advance(self.locked.client(), &schema, record.id, Phase::Restored, name)?;
        reach("restore::recorded");
        Ok(())
    }
}

fn restored(
    archive: &Archive,
    table: &QualifiedName,
    how: &'static str,
    notes: Vec<String>,
) -> Restored {
    Restored {
        archive: archive.name(),
        table: table.to_string(),
        rows: archive.manifest.rows,
        how,
        notes,
    }
}

/// The columns of the store that the archive lacks: they get their defaults.
fn new_columns(archive: &Archive, catalog: &Catalog) -> Vec<String> {
    let known = names(archive);
    columns_of(catalog)
        .into_iter()
        .filter(|name| !known.contains(name))
        .map(|name| {
            format!("the column {name} was added since: the restored rows have its default")
        })
        .collect()
}

/// Refuses an archive whose rows do not fit into the table any more.
fn refuse_columns(archive: &Archive, catalog: &Catalog) -> Result<()> {
    let Some(events) = &catalog.events else {
        return Err(Error::refused("there is no table of events to restore to"));
    };
    let mut lines = Vec::new();
    for column in &archive.manifest.columns {
        match events.columns.iter().find(|known| known.name == column.name) {
            None => lines.push(format!(
                "the column {} ({}) is not there any more",
                column.name, column.data_type
            )),
            Some(known) if known.data_type != column.data_type => lines.push(format!(
                "the column {} was {}, and is {} now",
                column.name, column.data_type, known.data_type
            )),
            Some(_) => {}
        }
    }
    if lines.is_empty() {
        return Ok(());
    }
    Err(Error::refused(format!(
        "the rows of {} do not fit into {}",
        archive.name(),
        events.root.name
    ))
    .details(lines)
    .hint("restore into a schema of its own: --into rehearsal"))
}

/// Takes a partition out of a tree.
fn remove(parent: &mut Relation, oid: u32) {
    parent.partitions.retain(|partition| partition.oid != oid);
    for partition in &mut parent.partitions {
        remove(partition, oid);
    }
}

/// The leaf that is at a place now.
fn live<'a>(catalog: &'a Catalog, place: &Place) -> Option<Located<'a>> {
    partitions(catalog).into_iter().find(|leaf| leaf.place == *place && leaf.relation.is_leaf())
}

fn columns_of(catalog: &Catalog) -> Vec<String> {
    let columns = catalog.events.iter().flat_map(|events| &events.columns);
    // What is computed from others is not written.
    columns.filter(|column| !column.generated).map(|column| column.name.clone()).collect()
}

fn names(archive: &Archive) -> Vec<String> {
    archive.manifest.columns.iter().map(|column| column.name.clone()).collect()
}
