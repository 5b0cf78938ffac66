//! Takes leaves out of the store into files, phase by phase.
//!
//! 1. **fence**: every projection, replication slot and open transaction is past the last event;
//! 2. **depart**: in one transaction, with the fence asked again under its locks;
//! 3. **write** the rows to a file, **prove** it by reading it back, **publish** it by a rename;
//! 4. **drop** the table, if that was asked for, after proving that it still holds what the file
//!    holds.
//!
//! Each phase is recorded in `pupctl_archives` when it is done, in the transaction that did it
//! where there is one; so a run that was killed is gone on with by the next, and what is recorded
//! is true.

mod drop;
pub(super) mod file;
mod heads;
pub(super) mod leave;

pub use heads::HEADS;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::archive::Format;
use crate::archive::folder::refuse_unwritable;
use crate::catalog::Catalog;
use crate::db::execute::{LockLimits, Progress as Steps};
use crate::db::fence;
use crate::db::{Interrupt, Locked};
use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::finding::fence::Fence;
use crate::layout::Layout;
use crate::layout::name::QualifiedName;
use crate::plan::target::Located;

use crate::render::environment::{render, values};

use super::archives::{self, Beginning, Phase, Record};

/// However long others were waited for in vain, a writer that is about to commit is.
const PATIENCE_LEAST: Duration = Duration::from_secs(1);

/// How leaves are to be archived.
#[derive(Debug, Clone)]
pub struct Request {
    /// The folder in which each archive is a folder; an absolute path.
    pub folder: PathBuf,
    /// The form of the files.
    pub format: Format,
    /// Whether the leaves stay where they are: a backup.
    pub copy_only: bool,
    /// Whether nothing takes the place of a leaf that is written to.
    pub retire: bool,
    /// Who has to have read the events.
    pub fence: fence::Options,
    /// How long projections and open transactions are waited for.
    pub patience: Duration,
    /// How long to try for locks.
    pub limits: LockLimits,
}

/// Told how an archive goes on, for a progress bar.
pub trait Progress: Steps {
    /// A phase begins, in words.
    fn phase(&mut self, words: &str, rows: Option<u64>);
    /// So many rows have passed in this phase.
    fn passed(&mut self, rows: u64);
    /// Something that the user should know at once.
    fn tell(&mut self, words: &str);
}

/// What is archived: a leaf of the store, what an earlier run began, or both.
#[derive(Debug, Clone)]
pub struct Item<'a> {
    /// The leaf, where it is still in the store.
    pub leaf: Option<Located<'a>>,
    /// What is recorded of it.
    pub record: Option<Record>,
    /// Whether the table is dropped when its file is proven.
    pub drop: bool,
}

/// What became of an item.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It is as far as was asked.
    Done(Box<Record>),
    /// Nothing was in it, or nothing that everybody has read.
    Empty(QualifiedName),
}

/// Everything that the phases need.
#[allow(missing_debug_implementations)]
pub struct Archiver<'a> {
    /// The session, with the lock of the store.
    pub locked: &'a mut Locked,
    /// How the store is partitioned.
    pub layout: &'a Layout,
    /// The store as it was when the run began.
    pub catalog: &'a Catalog,
    /// What is wanted.
    request: Request,
    /// Raised by Ctrl-C.
    pub interrupt: &'a Interrupt,
    /// Told how it goes on.
    pub progress: &'a mut dyn Progress,
    /// What the user should know.
    pub notes: Vec<String>,
    /// The archives whose files this run has proven itself.
    proven: BTreeSet<i64>,
    /// Where every stream ends that leaves, if that is known of all leaves of the run.
    leaving: Option<QualifiedName>,
}

impl<'a> Archiver<'a> {
    /// Everything that the phases need.
    pub fn new(
        locked: &'a mut Locked,
        layout: &'a Layout,
        catalog: &'a Catalog,
        request: &Request,
        interrupt: &'a Interrupt,
        progress: &'a mut dyn Progress,
    ) -> Self {
        Self {
            locked,
            layout,
            catalog,
            request: request.clone(),
            interrupt,
            progress,
            notes: Vec::new(),
            proven: BTreeSet::new(),
            leaving: None,
        }
    }
}

impl Archiver<'_> {
    /// So long was waited in vain for what holds a leaf back. It may hold back all that follow, and
    /// a run is under the lock of the store: they get what is left of the patience.
    pub fn waited(&mut self, time: Duration) {
        let left = left(self.request.patience, time);
        self.request.patience = left;
        self.request.fence.patience = left;
    }

    /// Finds out where the streams end that leave with several leaves: one that goes on in another
    /// of them is not cut.
    pub fn survey(&mut self, items: &[Item<'_>]) -> Result<()> {
        let leaves: Vec<_> = items.iter().filter_map(|item| item.leaf.as_ref()).collect();
        if leaves.len() < 2 || self.request.fence.allow_split_streams || self.request.copy_only {
            return Ok(());
        }
        let failed = |error| Error::database("finding out where streams end", error);
        let leaving = QualifiedName::new("pg_temp", "pupctl_leaving");
        let make = render("archive/leaving", &values! { leaving => leaving.name });
        self.locked.client().batch_execute(&make).map_err(failed)?;
        self.progress.phase("Looking where streams end", Some(leaves.len() as u64));
        for (number, leaf) in leaves.iter().enumerate() {
            self.interrupt.check()?;
            let leaf = &leaf.relation.name;
            let sql = render("archive/leaving_leaf", &values! { leaving, leaf });
            self.locked.client().batch_execute(&sql).map_err(failed)?;
            self.progress.passed(number as u64);
        }
        let index = render("archive/leaving_index", &values! { leaving });
        self.locked.client().batch_execute(&index).map_err(failed)?;
        self.leaving = Some(leaving);
        Ok(())
    }

    /// Whether this run has written and proven the file of an archive.
    #[must_use]
    pub fn has_written(&self, id: i64) -> bool {
        self.proven.contains(&id)
    }

    /// Brings an item as far as the request says.
    pub fn run(&mut self, item: &Item<'_>) -> Result<Outcome> {
        let record = match &item.record {
            Some(record) => record.clone(),
            None => {
                let Some(leaf) = &item.leaf else {
                    return Err(Error::refused("there is nothing to archive"));
                };
                if self.request.copy_only {
                    return self.copy(leaf);
                }
                if item.drop {
                    self.refuse_dependents(leaf.relation.oid, &leaf.relation.name)?;
                }
                match self.begin(leaf)? {
                    Some(record) => record,
                    None => return Ok(Outcome::Empty(leaf.relation.name.clone())),
                }
            }
        };
        self.advance(record, item).map(|record| Outcome::Done(Box::new(record)))
    }

    fn advance(&mut self, mut record: Record, item: &Item<'_>) -> Result<Record> {
        let leaf = item.leaf.as_ref();
        loop {
            self.interrupt.check()?;
            match record.phase {
                Phase::Detaching => {
                    self.leave(&record, leaf).map_err(|error| self.call_off(&record, error))?;
                }
                Phase::Detached => self.write(&record).map_err(|error| outside(error, &record))?,
                Phase::Published if item.drop => self.drop_table(&record)?,
                _ => return Ok(record),
            }
            record = self.read_again(record.id)?;
        }
    }

    fn read_again(&mut self, id: i64) -> Result<Record> {
        let schema = self.locked.schema().to_owned();
        let records = archives::all(self.locked.client(), &schema)?;
        records.into_iter().find(|record| record.id == id).ok_or_else(|| {
            Error::refused(format!("the archive {id} is gone from the list of archives"))
                .hint("somebody changed pupctl_archives meanwhile")
        })
    }

    /// Asks the fence, and begins a row; none where the leaf is empty.
    fn begin(&mut self, leaf: &Located<'_>) -> Result<Option<Record>> {
        let replaced = !self.request.retire
            && crate::plan::archive::needs_replacement(leaf, self.catalog.server.month());
        let fence = self.look(&leaf.relation.name)?;
        let empty = fence.last_position.is_none();
        if empty && !self.request.retire {
            return Ok(None);
        }
        self.pass(fence)?;
        let schema = self.locked.schema().to_owned();
        let records = archives::all(self.locked.client(), &schema)?;
        let name = free_name(&leaf.relation.name.name, &records, &self.request.folder);
        // A folder in which nothing can be written is found before the table has left.
        refuse_unwritable(&self.request.folder)?;
        let folder = self.request.folder.to_string_lossy().into_owned();
        let begun = Beginning {
            name: &name,
            folder: &folder,
            format: &self.request.format.to_string(),
            role: "events",
            place: &leaf.place,
            leaf: &leaf.relation.name.name,
            table_name: &leaf.relation.name.name,
            table_oid: leaf.relation.oid,
            replaced,
            phase: Phase::Detaching,
        };
        let id = archives::begin(self.locked.client(), &schema, &begun)?;
        reach("archive::listed");
        self.read_again(id).map(Some)
    }

    /// Looks who has not passed the last event of a table.
    fn look(&mut self, leaf: &QualifiedName) -> Result<Fence> {
        let schema = self.locked.schema().to_owned();
        let events = self.layout.table(&schema, crate::layout::Role::Events);
        let heads = self.layout.table(&schema, crate::layout::Role::Heads);
        let checkpoints = self.layout.checkpoints(&schema);
        let checkpoints = self.catalog.checkpoints.is_some().then_some(&checkpoints);
        let place = fence::Place { leaf, events: &events, heads: &heads, checkpoints };
        let options =
            fence::Options { leaving: self.leaving.clone(), ..self.request.fence.clone() };
        let progress = &mut *self.progress;
        fence::look(self.locked.client(), place, &options, self.interrupt, &mut |holders| {
            for holder in holders {
                progress.tell(&format!("Waiting for {holder}"));
            }
        })
    }
}

/// What is left of a patience after so long a wait.
fn left(patience: Duration, waited: Duration) -> Duration {
    patience.saturating_sub(waited).max(PATIENCE_LEAST.min(patience))
}

/// What to know when a file cannot be written: the events have left by then.
fn outside(error: Error, record: &Record) -> Error {
    let name = &record.name;
    error.detail(format!(
        "the events of {} are out of the store, in {}, until their file is written: run the \
         command again, also with another --to; or call it off: pupctl operations abort {name}",
        record.place, record.table_name
    ))
}

/// A name for the archive of a leaf that no other archive has.
fn free_name(leaf: &str, records: &[Record], folder: &std::path::Path) -> String {
    let is_free = |name: &String| !is_listed(records, name) && !folder.join(name).exists();
    names(leaf).find(is_free).unwrap_or_default()
}

/// The first of its names that no archive of the list has, where there is a folder of that name.
fn unlisted_name(leaf: &str, records: &[Record], folder: &std::path::Path) -> Option<String> {
    let name = names(leaf).find(|name| !is_listed(records, name))?;
    folder.join(&name).exists().then_some(name)
}

fn is_listed(records: &[Record], name: &str) -> bool {
    records.iter().any(|record| record.name == name)
}

/// The leaf's own name, then numbered ones; as a folder may be called.
fn names(leaf: &str) -> impl Iterator<Item = String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_-".contains(c) { c } else { '_' };
    let leaf: String = leaf.chars().map(plain).collect();
    let first = leaf.clone();
    let numbered = (2..).map(move |number: u64| format!("{leaf}.{number}"));
    std::iter::once(first).chain(numbered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patience_is_used_up_and_a_writer_still_gets_a_moment() {
        let seconds = Duration::from_secs;
        assert_eq!(left(seconds(10), seconds(4)), seconds(6));
        assert_eq!(left(seconds(10), seconds(60)), seconds(1));
        assert_eq!(left(Duration::from_millis(300), seconds(1)), Duration::from_millis(300));
        assert_eq!(left(Duration::ZERO, seconds(1)), Duration::ZERO, "a look and no wait");
    }
}
