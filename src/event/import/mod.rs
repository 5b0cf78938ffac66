//! Import: a file of events into a store, all or nothing.
//!
//! The file is read twice. The first reading checks every line and sends the server what it needs
//! for the checks across events (versions, ids, what the store has already), which are SQL over
//! temporary tables. Only when all of them have passed, and the partitions are there, does the
//! second reading copy the events, straight into the table: no payload is written twice.
//!
//! One transaction loads the whole file, unless its partitions need more locks than the server's
//! lock table affords. Then the file is loaded in parts, in its order, each in a transaction with
//! the heads of its aggregates and the note in the journal, by which the same import goes on
//! where it was interrupted.

mod encode;
mod extra;
mod ids;
mod leaf;
mod line;
mod load;
mod pack;
mod route;
mod runs;
mod skipped;
pub mod source;
mod staging;
mod survey;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use postgres::GenericClient;

use crate::catalog::{Catalog, Table};
use crate::db::{Interrupt, Locked};
use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::layout::month::Month;
use crate::layout::name::QualifiedName;
use crate::layout::{Context, Layout, Role};
use crate::operation::journal;

use extra::{Column, Extra};
use route::{Place, Router};
use skipped::Skipped;
use source::{LINE_BYTES_MAX, Source};
use survey::{Batch, Chunk, Limits, Prefix, Survey, Surveyed};

pub use load::Load;

/// How often progress is told while nothing else happens.
const TICK: Duration = Duration::from_millis(200);

/// How many chunks may wait for the server.
const CHUNKS_WAITING: usize = 1;

/// How many missing partitions an error lists.
const MISSING_LISTED: usize = 10;

/// The command, as the journal has it.
pub const COMMAND: &str = "events import";

/// How an import is done.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Partitions that are missing will be made before [`Load`].
    pub create_partitions: bool,
    /// Events that the store has already are left out instead of refused.
    pub skip_existing: bool,
    /// Fields that are not an event's go into columns of their names instead of being refused.
    pub extra_columns: bool,
    /// How long to wait for a lock on a table.
    pub lock_timeout: Duration,
    /// The longest line, in bytes.
    pub line_bytes_max: usize,
    /// How many problems with lines are told at once.
    pub problems_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            create_partitions: false,
            skip_existing: false,
            extra_columns: false,
            lock_timeout: Duration::from_secs(30),
            line_bytes_max: LINE_BYTES_MAX,
            problems_max: 1,
        }
    }
}

/// What an import is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The file is read for the first time.
    Reading,
    /// The server compares the events with each other and with the store.
    Comparing,
    /// The events are copied: this part of so many.
    Loading {
        /// Counted from 1.
        part: usize,
        /// How many there are.
        parts: usize,
    },
}

/// Told how an import goes on.
pub trait Progress {
    /// A phase begins.
    fn phase(&mut self, phase: Phase);
    /// So many bytes of the file, compressed as it is, and so many lines were read in this phase.
    fn read(&mut self, bytes: u64, lines: u64);
}

/// A file that passed all checks.
#[derive(Debug)]
pub struct Checked {
    /// How many events it holds.
    pub events: u64,
    /// How many of them the store has already.
    pub existing: u64,
    /// How many events of the file each context has; `None` when it has too many contexts.
    pub contexts: Option<BTreeMap<String, u64>>,
    /// The contexts and months whose partitions are missing.
    pub missing: Vec<(String, Option<Month>)>,
    /// How many lines an earlier import that was interrupted has loaded.
    pub resumed: u64,
    batches: Vec<Batch>,
    prefixes: Vec<Prefix>,
    skipped: Skipped,
    extra: Vec<Column>,
}

impl Checked {
    /// In how many transactions it will be loaded.
    #[must_use]
    pub fn transactions(&self) -> usize {
        self.batches.len()
    }

    /// Forgets the imports of this file that were interrupted, when there is nothing left of them.
    pub fn forget(&self, locked: &mut Locked) -> Result<()> {
        if self.prefixes.is_empty() {
            return Ok(());
        }
        let schema = locked.schema().to_owned();
        journal::forget(locked.client(), &schema, &self.prefix_operations())
    }

    fn prefix_operations(&self) -> Vec<i64> {
        self.prefixes.iter().map(|prefix| prefix.operation).collect()
    }

    /// How many events will be loaded.
    #[must_use]
    pub fn to_load(&self) -> u64 {
        self.events - self.existing
    }
}

/// What an import has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loaded {
    /// How many events were added.
    pub events: u64,
    /// How many heads were made or moved.
    pub heads: u64,
}

/// A store and what an import needs to know of it.
#[derive(Debug, Clone, Copy)]
pub struct Store<'a> {
    /// What it should look like.
    pub layout: &'a Layout,
    /// What is there.
    pub catalog: &'a Catalog,
    /// Contexts with levels of their own, for those that it does not know yet.
    pub configured: &'a [Context],
}

impl Store<'_> {
    fn table(&self, role: Role) -> QualifiedName {
        self.layout.table(&self.catalog.schema_name, role)
    }

    /// The events table.
    fn events(&self) -> Result<&Table> {
        self.catalog.events.as_ref().ok_or_else(|| {
            Error::refused(format!("the table {} is missing", self.table(Role::Events)))
                .hint("make it: pupctl schema init")
        })
    }

    /// What imports that were interrupted have loaded.
    fn prefixes(&self, client: &mut impl GenericClient) -> Result<Vec<Prefix>> {
        // Older stores have no place for it, and get one when something is loaded.
        if !self.catalog.own_migrations.iter().any(|applied| applied.version >= 2) {
            return Ok(Vec::new());
        }
        let unfinished = journal::unfinished(client, &self.catalog.schema_name, COMMAND)?;
        Ok(unfinished
            .into_iter()
            .filter_map(|(operation, state)| {
                let lines = state.get("lines")?.as_u64()?;
                Some(Prefix { operation, lines, digest: state.get("digest")?.as_str()?.to_owned() })
            })
            .collect())
    }

    /// Half of the lock table, without what the heads take, for one transaction.
    fn locks(&self) -> usize {
        let table = self.catalog.server.lock_table();
        (table / 2).saturating_sub(self.catalog.locks_of(Role::Heads)).max(table / 8)
    }
}

/// The first reading: what it works on.
#[derive(Debug, Clone, Copy)]
pub struct Check<'a> {
    /// The store.
    pub store: Store<'a>,
    /// The file.
    pub source: &'a Source,
    /// How to import it.
    pub options: Options,
    /// Raised when the user wants it to end.
    pub interrupt: &'a Interrupt,
}

impl Check<'_> {
    /// Reads the file, checks it by itself and against the store. Writes temporary tables only,
    /// in the session of `client`; [`Load`] needs them.
    pub fn run(
        &self,
        client: &mut impl GenericClient,
        progress: &mut dyn Progress,
    ) -> Result<Checked> {
        let Self { store, source, options, .. } = *self;
        let heads = store.table(Role::Heads);
        let prefixes = store.prefixes(client)?;
        staging::begin(client, &heads, &store.catalog.server, options.lock_timeout)?;
        let table = store.events()?;
        let creates = options.create_partitions;
        let mut router = Router::new(store.layout, store.configured, &table.root, creates);
        let extra = Extra::of(table, options.extra_columns);
        staging::begin_extra(client, &store.table(Role::Events), extra.kept())?;
        let surveyed = self.survey(client, &mut router, extra, &prefixes, progress)?;
        if !options.create_partitions {
            refuse_missing(router.places(), source)?;
        }
        progress.phase(Phase::Comparing);
        staging::analyze(client)?;
        let mut events = staging::Events::default();
        staging::refuse_duplicates(client, source, &mut events, surveyed.suspects.as_deref())?;
        staging::find_existing(client, &mut events, router.places(), router.leaves())?;
        let resumed = surveyed.prefixes.iter().map(|prefix| prefix.lines).max().unwrap_or(0);
        staging::refuse_clashes(client, source, options.skip_existing, resumed)?;
        staging::refuse_holes(client, source, &mut events, &heads)?;
        let skipped = staging::skipped(client)?;
        staging::end(client)?;
        reach("import::checked");
        Ok(summary(router, surveyed, skipped, resumed))
    }

    fn survey(
        &self,
        client: &mut impl GenericClient,
        router: &mut Router<'_>,
        extra: Extra,
        prefixes: &[Prefix],
        progress: &mut dyn Progress,
    ) -> Result<Surveyed> {
        progress.phase(Phase::Reading);
        let bytes = Arc::new(AtomicU64::new(0));
        let read = AtomicU64::new(0);
        let lines = self.source.lines(self.options.line_bytes_max, Arc::clone(&bytes))?;
        let (sender, receiver) = sync_channel(CHUNKS_WAITING);
        let survey = Survey {
            router,
            limits: Limits {
                locks: self.store.locks(),
                problems: self.options.problems_max,
                create_partitions: self.options.create_partitions,
            },
            prefixes,
            extra,
            sender,
            interrupt: self.interrupt,
            read: &read,
        };
        std::thread::scope(|scope| {
            let reading = scope.spawn(move || survey.run(lines));
            let mut tell =
                || progress.read(bytes.load(Ordering::Relaxed), read.load(Ordering::Relaxed));
            let copied = copy_all(client, self.source, receiver, &mut tell);
            let surveyed = worker(reading);
            copied.and(surveyed)
        })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "its end tells the reader to stop")]
fn copy_all(
    client: &mut impl GenericClient,
    source: &Source,
    receiver: Receiver<Chunk>,
    tell: &mut dyn FnMut(),
) -> Result<()> {
    while let Some(chunk) = receive(&receiver, &mut *tell) {
        staging::copy(client, source, &chunk)?;
        tell();
    }
    Ok(())
}

/// The next message of a reader; `None` when it has ended.
fn receive<T>(receiver: &Receiver<T>, mut tell: impl FnMut()) -> Option<T> {
    loop {
        match receiver.recv_timeout(TICK) {
            Ok(message) => return Some(message),
            Err(RecvTimeoutError::Timeout) => tell(),
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
}

/// What a reader gives back.
fn worker<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn refuse_missing(places: &[Place], source: &Source) -> Result<()> {
    let mut missing: Vec<_> = places.iter().filter(|place| place.missing).collect();
    missing.sort_by_key(|place| place.first_line);
    let Some(first) = missing.first() else { return Ok(()) };
    let name = |place: &Place| match (place.context.as_str(), place.month) {
        ("", Some(month)) => month.to_string(),
        (context, Some(month)) => format!("{context} in {month}"),
        (context, None) => context.to_owned(),
    };
    let mut error = Error::refused(format!(
        "{}, line {}: the store has no partition for {}",
        source.name(),
        first.first_line,
        name(first)
    ));
    for place in missing.iter().skip(1).take(MISSING_LISTED) {
        error = error.detail(format!("line {}: none for {}", place.first_line, name(place)));
    }
    if missing.len() > MISSING_LISTED + 1 {
        error = error.detail(format!("… {} are missing in all", missing.len()));
    }
    Err(error.hint("make what the file needs: pupctl events import --create-partitions"))
}

fn summary(router: Router<'_>, surveyed: Surveyed, skipped: Skipped, resumed: u64) -> Checked {
    let missing: BTreeSet<_> = router
        .places()
        .iter()
        .filter(|place| place.to_make)
        .map(|place| (place.context.clone(), place.month))
        .collect();
    Checked {
        events: surveyed.lines,
        existing: skipped.count(),
        contexts: router.contexts(),
        missing: missing.into_iter().collect(),
        resumed,
        batches: surveyed.batches,
        prefixes: surveyed.prefixes,
        skipped,
        extra: surveyed.extra,
    }
}
