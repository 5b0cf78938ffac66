//! Writes the events of a store as lines, in the order of their positions.
//!
//! All of it is one snapshot, in one session. Leaves are read directly, so that a statement locks
//! only those that it names; where they are too many for the server's lock table, the positions
//! are divided into windows, and a savepoint gives the locks of each back before the next.

mod copy;
mod leaf;
mod row;
pub mod selection;
mod window;
mod write;

use std::fmt;
use std::io::Write;
use std::time::Duration;

use postgres::{Client, Transaction};

use crate::catalog::relation::Relation;
use crate::catalog::{Catalog, Table};
use crate::db::Interrupt;
use crate::db::inspect::{self, Depth};
use crate::error::{Error, Result};
use crate::event::model::STORED_COLUMNS;
use crate::failpoint::reach;
use crate::layout::name::{QualifiedName, Tables};
use crate::plan::budget;
use crate::render::environment::{render, values};

use copy::{Copy, explain};
use leaf::Leaf;
use selection::{Selection, Timestamp};
use window::{Crowd, Extent, Window};

/// A field of the file which no column may have as its name.
const CODED_PAYLOAD: &str = "payload_base64";

/// How to export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether columns that are not among those of the store are written too.
    pub extra_columns: bool,
    /// How long to wait for a lock on a table.
    pub lock_wait: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { extra_columns: false, lock_wait: Duration::from_secs(30) }
    }
}

/// Told how an export goes on, for a progress bar.
pub trait Progress {
    /// So many events and bytes were written so far.
    fn wrote(&mut self, events: u64, bytes: u64);
}

impl Progress for crate::db::execute::Silent {
    fn wrote(&mut self, _events: u64, _bytes: u64) {}
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Exported {
    /// How many events.
    pub events: u64,
    /// How many bytes, before any compression.
    pub bytes: u64,
    /// The position of the first.
    pub first_position: Option<i64>,
    /// The position of the last.
    pub last_position: Option<i64>,
}

/// One statement of an export.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Read {
    /// It reads the positions above this one; none from the first.
    pub after_position: Option<i64>,
    /// It reads the positions up to this one; none to the last.
    pub up_to_position: Option<i64>,
    /// The tables that it reads.
    #[serde(serialize_with = "as_text")]
    pub tables: Vec<QualifiedName>,
    /// Its text.
    pub sql: String,
}

fn as_text<S: serde::Serializer>(
    names: &[QualifiedName],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(names.iter().map(ToString::to_string))
}

/// The positions and the number of tables.
impl fmt::Display for Read {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.after_position, self.up_to_position) {
            (None, None) => formatter.write_str("All positions")?,
            (Some(after), None) => write!(formatter, "The positions after {after}")?,
            (None, Some(up_to)) => write!(formatter, "The positions up to {up_to}")?,
            (Some(after), Some(up_to)) => {
                write!(formatter, "The positions after {after} and up to {up_to}")?;
            }
        }
        let tables = self.tables.len();
        write!(formatter, ", from {tables} {}", if tables == 1 { "table" } else { "tables" })
    }
}

/// An export that is ready to run: its snapshot is taken, and it is known what to read.
///
/// ```no_run
/// # fn export(client: &mut postgres::Client) -> pupctl::Result<()> {
/// use pupctl::db::{Interrupt, execute::Silent};
/// use pupctl::event::export::{Export, Settings};
/// use pupctl::event::export::selection::Selection;
/// use pupctl::layout::name::Tables;
///
/// let selection = Selection { contexts: vec!["Billing".to_owned()], ..Selection::default() };
/// let export =
///     Export::prepare(client, "public", &Tables::default(), &selection, &Settings::default())?;
/// let exported = export.run(&Interrupt::default(), &mut std::io::stdout(), &mut Silent)?;
/// # Ok(()) }
/// ```
#[allow(missing_debug_implementations)]
pub struct Export<'a> {
    transaction: Transaction<'a>,
    catalog: Catalog,
    selection: Selection,
    leaves: Vec<Leaf>,
    windows: Vec<Window>,
    detaching: Vec<QualifiedName>,
    extra: Vec<String>,
    left_out: Vec<String>,
}

impl<'a> Export<'a> {
    /// Takes the snapshot and finds out what to read. `tables` are the names to look for where
    /// no layout is stored. Takes no lock on a table, unless positions have to be divided.
    pub fn prepare(
        client: &'a mut Client,
        schema: &str,
        tables: &Tables,
        selection: &Selection,
        settings: &Settings,
    ) -> Result<Self> {
        selection.validate()?;
        let server = inspect::server(client)?;
        let mut transaction = inspect::snapshot(client)?;
        let depth = Depth::default();
        let catalog = inspect::catalog_within(&mut transaction, server, schema, tables, depth)?;
        if let Some(layout) = &catalog.layout {
            selection.refuse_unknown_contexts(layout)?;
        }
        let events = events(&catalog)?;
        let (extra, left_out) = further_columns(events, settings.extra_columns)?;
        let (leaves, detaching) = leaf::choose(&events.root, selection);
        pin(&mut transaction, &leaves, settings)?;
        let leaves = readable(&mut transaction, &events.root, leaves, selection)?;
        let mut export = Self {
            transaction,
            catalog,
            selection: selection.clone(),
            leaves,
            windows: Vec::new(),
            detaching,
            extra,
            left_out,
        };
        export.windows = export.divide()?;
        Ok(export)
    }

    /// The store as the snapshot has it.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The columns that are not written because nobody asked for them.
    #[must_use]
    pub fn left_out_columns(&self) -> &[String] {
        &self.left_out
    }

    /// The partitions that are being detached, whose events are not written: no reader of the
    /// store sees them any more.
    #[must_use]
    pub fn detaching(&self) -> &[QualifiedName] {
        &self.detaching
    }

    /// How many events there are about, by the planner's estimates; none where these do not tell.
    #[must_use]
    pub fn estimate(&self) -> Option<u64> {
        let narrowed = Selection { contexts: Vec::new(), ..self.selection.clone() };
        if !narrowed.is_everything() || self.leaves.iter().any(|leaf| leaf.other_contexts) {
            return None;
        }
        self.leaves.iter().map(|leaf| leaf.rows).sum()
    }

    /// The statements, in their order.
    pub fn reads(&self) -> impl Iterator<Item = Read> {
        self.windows.iter().map(|window| Read {
            after_position: self.after(window),
            up_to_position: self.up_to(window),
            tables: window.leaves.iter().map(|&leaf| self.leaves[leaf].table.clone()).collect(),
            sql: self.sql(window),
        })
    }

    /// All of it as psql would run it.
    #[must_use]
    pub fn script(&self) -> String {
        let mut lines = vec![
            format!("{};", include_str!("../../../sql/event/export/begin.sql").trim_end()),
            format!("{};", include_str!("../../../sql/event/export/savepoint.sql").trim_end()),
        ];
        for read in self.reads() {
            lines.push(format!("-- {read}"));
            lines.push(format!("{};", read.sql.trim_end()));
            lines.push(format!(
                "{};",
                include_str!("../../../sql/event/export/rollback.sql").trim_end()
            ));
        }
        lines.push("ROLLBACK;\n".to_owned());
        lines.join("\n")
    }

    /// Writes the events, and gives the session back outside of any transaction.
    pub fn run(
        mut self,
        interrupt: &Interrupt,
        out: &mut dyn Write,
        progress: &mut dyn Progress,
    ) -> Result<Exported> {
        let extra = self.extra.clone();
        let mut copy = Copy::new(&extra, out, progress);
        for window in std::mem::take(&mut self.windows) {
            stop_when(interrupt)?;
            reach("export::before_window");
            let sql = self.sql(&window);
            let copied = self.transaction.copy_out(&sql).map_err(explain);
            if let Err(error) = copied.and_then(|rows| copy.rows(rows)) {
                // Otherwise the end of the transaction would wait for the rows that nobody reads.
                interrupt.cancel();
                stop_when(interrupt)?;
                return Err(error);
            }
            give_back_locks(&mut self.transaction)?;
        }
        let done = copy.finish()?;
        self.transaction.rollback().map_err(explain)?;
        Ok(done)
    }

    fn sql(&self, window: &Window) -> String {
        let leaves: Vec<&Leaf> = window.leaves.iter().map(|&leaf| &self.leaves[leaf]).collect();
        let wanted = &self.selection;
        let is_any = |holds: fn(&Leaf) -> bool| leaves.iter().any(|leaf| holds(leaf));
        let contexts = if is_any(|leaf| leaf.other_contexts) { &*wanted.contexts } else { &[] };
        let text = |timestamp: Timestamp| timestamp.to_string();
        let from = wanted.from.filter(|_| is_any(|leaf| leaf.earlier)).map(text);
        let to = wanted.to.filter(|_| is_any(|leaf| leaf.later)).map(text);
        let (after, up_to) = (self.after(window), self.up_to(window));
        let extra = &self.extra;
        let columns = [&STORED_COLUMNS.map(str::to_owned), extra.as_slice()].concat();
        render(
            "event/export/read",
            &values! { leaves, columns, extra, after, up_to, contexts, from, to },
        )
    }

    fn after(&self, window: &Window) -> Option<i64> {
        window.after.max(self.selection.after_position)
    }

    fn up_to(&self, window: &Window) -> Option<i64> {
        let bounds = [window.up_to, self.selection.up_to_position];
        bounds.into_iter().flatten().min()
    }

    /// One window for all, where the locks of all leaves leave half of the lock table to others.
    fn divide(&mut self) -> Result<Vec<Window>> {
        let budget = self.catalog.server.lock_table() / 2;
        let locks: usize = self.leaves.iter().map(|leaf| leaf.locks).sum();
        if self.leaves.is_empty() {
            return Ok(Vec::new());
        }
        if locks <= budget {
            let leaves = (0..self.leaves.len()).collect();
            return Ok(vec![Window { after: None, up_to: None, leaves }]);
        }
        let extents = self.extents(budget)?;
        window::divide(&extents, budget).map_err(|crowd| self.too_many(&crowd))
    }

    /// The first and last positions of the leaves, asked for as many at a time as are affordable.
    fn extents(&mut self, budget: usize) -> Result<Vec<Extent>> {
        let mut extents = Vec::new();
        let mut begin = 0;
        while begin < self.leaves.len() {
            let mut locks = 0;
            let affordable = |leaf: &&Leaf| {
                locks += leaf.locks;
                locks <= budget
            };
            let count = self.leaves[begin..].iter().take_while(affordable).count();
            if count == 0 {
                let locks = self.leaves[begin].locks;
                return Err(self.too_many(&Crowd { position: 0, leaves: 1, locks }));
            }
            self.extents_of(begin..begin + count, &mut extents)?;
            begin += count;
        }
        Ok(extents)
    }

    fn extents_of(
        &mut self,
        range: std::ops::Range<usize>,
        extents: &mut Vec<Extent>,
    ) -> Result<()> {
        let begin = range.start;
        let leaves = &self.leaves[range];
        let after = self.selection.after_position;
        let up_to = self.selection.up_to_position;
        let sql = render("event/export/extents", &values! { leaves, after, up_to });
        let rows = self.transaction.query(&sql, &[]).map_err(explain)?;
        for row in rows {
            let leaf = begin + usize::try_from(row.get::<_, i32>("leaf")).unwrap_or_default();
            // One without rows has neither.
            if let (Some(first), Some(last)) = (row.get("first"), row.get("last")) {
                extents.push(Extent { leaf, first, last, locks: self.leaves[leaf].locks });
            }
        }
        give_back_locks(&mut self.transaction)
    }

    fn too_many(&self, crowd: &Crowd) -> Error {
        let server = &self.catalog.server;
        let Crowd { position, leaves, locks } = crowd;
        let budget = server.lock_table() / 2;
        let what = match self.leaves.as_slice() {
            [whole] => format!("reading {}", whole.table),
            _ => format!("merging the events of {leaves} partitions at position {position}"),
        };
        Error::refused(format!(
            "{what} takes {locks} locks; half of what the server's lock table holds is {budget}"
        ))
        .hint(format!(
            "{}; or export fewer contexts at a time with --context",
            budget::raise(server, *locks)
        ))
    }
}

fn events(catalog: &Catalog) -> Result<&Table> {
    let Some(events) = &catalog.events else {
        let schema = &catalog.schema_name;
        return Err(Error::refused(format!("there is no table of events in schema {schema}"))
            .hint("name the schema of the store with --schema, or make one: pupctl schema init"));
    };
    let has = |name: &&str| events.columns.iter().any(|column| column.name == **name);
    if let Some(missing) = STORED_COLUMNS.iter().find(|name| !has(name)) {
        let table = &events.root.name;
        return Err(Error::refused(format!("{table} has no column {missing}"))
            .hint("see how the table differs: pupctl schema status"));
    }
    Ok(events)
}

/// The columns that are no store's own: those to write, and those to leave out.
fn further_columns(events: &Table, wanted: bool) -> Result<(Vec<String>, Vec<String>)> {
    let is_further = |name: &String| !STORED_COLUMNS.contains(&name.as_str());
    let names = events.columns.iter().map(|column| column.name.clone());
    let further: Vec<String> = names.filter(is_further).collect();
    if !wanted {
        return Ok((Vec::new(), further));
    }
    if further.iter().any(|name| name == CODED_PAYLOAD) {
        let table = &events.root.name;
        return Err(Error::refused(format!(
            "{table} has a column {CODED_PAYLOAD}, which in a file means a payload"
        ))
        .hint("leave out --extra-columns, or rename the column"));
    }
    Ok((further, Vec::new()))
}

fn pin(transaction: &mut Transaction, leaves: &[Leaf], settings: &Settings) -> Result<()> {
    let milliseconds = settings.lock_wait.as_millis().clamp(1, i32::MAX as u128).to_string();
    let is_cut = leaves.iter().any(|leaf| leaf.earlier || leaf.later);
    let enable_sort = if is_cut { "on" } else { "off" };
    transaction
        .query(
            include_str!("../../../sql/event/export/settings.sql"),
            &[&milliseconds, &enable_sort],
        )
        .and_then(|_| {
            transaction.batch_execute(include_str!("../../../sql/event/export/savepoint.sql"))
        })
        .map_err(explain)
}

/// The leaves, or the whole table where the role may read it but not each of its partitions.
fn readable(
    transaction: &mut Transaction<'_>,
    root: &Relation,
    leaves: Vec<Leaf>,
    selection: &Selection,
) -> Result<Vec<Leaf>> {
    let oids: Vec<u32> = leaves.iter().map(|leaf| leaf.oid).chain([root.oid]).collect();
    let rows = transaction
        .query(include_str!("../../../sql/event/export/readable.sql"), &[&oids])
        .map_err(explain)?;
    let may_read = |oid: u32| {
        rows.iter().any(|row| row.get::<_, u32>("oid") == oid && row.get::<_, bool>("readable"))
    };
    if leaves.iter().all(|leaf| may_read(leaf.oid)) || !may_read(root.oid) {
        return Ok(leaves);
    }
    Ok(vec![leaf::through(root, &leaves, selection)])
}

fn give_back_locks(transaction: &mut Transaction<'_>) -> Result<()> {
    transaction
        .batch_execute(include_str!("../../../sql/event/export/rollback.sql"))
        .map_err(explain)
}

fn stop_when(interrupt: &Interrupt) -> Result<()> {
    interrupt.check().map_err(|error| error.hint("run the command again: it begins anew"))
}
