//! The swap as it is planned: its statements, and what they rest on.

use postgres::{Client, GenericClient};

use crate::catalog::Catalog;
use crate::catalog::surroundings::{Reference, Surroundings};
use crate::db::inspect::{self, Depth};
use crate::error::{Error, Result};
use crate::layout::Role;
use crate::layout::name::QualifiedName;
use crate::plan::convert::attach::{self, Heap};
use crate::plan::convert::{Replaced, Strategy, Target, belongings, since};
use crate::render::convert::mend::hint;
use crate::render::convert::swap::{self, Exchange};
use crate::render::convert::{follow, swapping};
use crate::render::environment::{render, values};
use crate::render::{RenderedStep, Statement};

use super::record::Record;
use super::session;

/// In which direction the tables change names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The new ones become the store's.
    Forth,
    /// The old ones become the store's again.
    Back,
}

impl Way {
    /// From which table events are copied, and into which.
    pub(super) fn between(self, events: &Replaced) -> (&QualifiedName, &QualifiedName) {
        match self {
            Self::Forth => (&events.current, &events.next),
            Self::Back => (&events.current, &events.retired),
        }
    }
}

/// What a try needs to know.
#[derive(Debug, Clone)]
pub struct Planned {
    pub(super) way: Way,
    pub(super) schema: String,
    /// What writers lock, heads first.
    pub(super) tables: Vec<QualifiedName>,
    /// What changes its name.
    pub(super) replaced: Vec<QualifiedName>,
    pub(super) statements: Vec<Statement>,
    pub(super) columns: Vec<String>,
    /// The last position when they were written down, where nothing is copied.
    pub(super) last: Option<i64>,
    /// The old tables, where they come back.
    pub(super) resting: Vec<QualifiedName>,
    /// What hung on the tables when the statements were written down.
    pub(super) print: Vec<String>,
    /// Take the locks of views, by which readers come to the tables.
    pub(super) views: Vec<Statement>,
    /// The partitions beside the old table, where it is one and is to stand by itself again: what
    /// lies there goes into it.
    pub(super) beyond: Vec<QualifiedName>,
    /// The position up to which heads have gone back to the old table.
    pub(super) heads_after: i64,
    /// The processes of the conversion itself.
    pub(super) pids: Vec<i32>,
}

impl Planned {
    /// Writes the statements down that exchange the tables as they are now.
    pub fn read(client: &mut Client, record: &Record, way: Way) -> Result<Self> {
        let target = record.target();
        let events = target
            .events()
            .ok_or_else(|| Error::refused("the conversion does not name the table of events"))?;
        let schema = events.current.schema.clone();
        let catalog = catalog(client, &schema, record)?;
        let parsed = parsed_fingerprint(client)?;
        let print = fingerprint(client, &parsed, &target.tables)?;
        let surroundings = surroundings(client, record, |table| &table.current)?;
        let coming = self::surroundings(client, record, |table| match way {
            Way::Forth => &table.next,
            Way::Back => &table.retired,
        })?;
        refuse_later_changes(&target, way, &surroundings, &coming)?;
        let retired_indexes = match way {
            Way::Forth => Vec::new(),
            Way::Back => retired_indexes(client, &schema, record)?,
        };
        let exchange = Exchange {
            target: &target,
            before: &record.before,
            catalog: &catalog,
            surroundings: &surroundings,
            coming: &coming,
            retired_indexes: &retired_indexes,
        };
        let statements = match (record.strategy, way) {
            (Strategy::Attach, Way::Forth) => exchange.forth_attached(&heaps(&catalog, record)?),
            (Strategy::Copy, Way::Forth) => exchange.forth(),
            (Strategy::Attach, Way::Back) => {
                exchange.back_attached(&all_columns(client, &target.tables)?)
            }
            (Strategy::Copy, Way::Back) => exchange.back(),
        };
        let last = match (record.strategy, way) {
            (Strategy::Attach, Way::Forth) => Some(last(client, &events.current)?),
            _ => None,
        };
        let beyond = match (record.strategy, way) {
            (Strategy::Attach, Way::Back) => beyond(&catalog, record),
            _ => Vec::new(),
        };
        Ok(Self {
            way,
            beyond,
            tables: exchange.tables(),
            resting: match way {
                Way::Forth => Vec::new(),
                Way::Back => target.tables.iter().map(|table| table.retired.clone()).collect(),
            },
            replaced: target.tables.iter().map(|table| table.current.clone()).collect(),
            statements,
            columns: session::columns(client, &events.current)?,
            last,
            print,
            views: surroundings.iter().flat_map(follow::lock_views).collect(),
            schema,
            heads_after: i64::MIN,
            pids: Vec::new(),
        })
    }

    /// What autovacuum has to leave first: all that changes its name or its parent.
    pub(super) fn maintained(&self) -> Vec<QualifiedName> {
        self.tables.iter().chain(&self.resting).cloned().collect()
    }

    /// Keeps writers out. A writer reads its head, inserts events, and then moves the head: who has
    /// inserted has to find the heads free, or the two wait for each other. So events come first.
    /// Where the heads are replaced too, nobody may hold them and wait at the events: then they
    /// come first, and whoever has read his head still gets to his end.
    pub(super) fn lock_writers(&self) -> Vec<Statement> {
        let first = self.heads();
        let rest = self.tables.iter().rev().filter(|table| !first.contains(table));
        let rest: Vec<_> = rest.cloned().collect();
        // On the way back also those who write to a partition by its name.
        let below = self.way == Way::Back;
        let rest = if below { swap::lock_writers_below(&rest) } else { swap::lock_writers(&rest) };
        let all = if below { swap::lock_all_below } else { swap::lock_all };
        let everybody = (!first.is_empty()).then(|| all(&first));
        everybody.into_iter().chain([rest]).collect()
    }

    /// Whether anything lies in other partitions than the old table, and has to move.
    pub(super) fn moves(&self, client: &mut impl GenericClient) -> Result<bool> {
        if self.beyond.is_empty() {
            return Ok(false);
        }
        let sql = render("convert/anything", &values! { tables => self.beyond });
        let row = client.query_one(&sql, &[]).map_err(reading)?;
        Ok(row.get("there"))
    }

    /// The same as `--dry-run` prints it.
    #[must_use]
    pub fn step(&self) -> RenderedStep {
        let mut statements = vec![swap::lock_maintenance(&self.maintained())];
        statements.extend(self.lock_writers());
        statements.extend(self.views.iter().cloned());
        statements.push(swap::lock_all(&self.replaced));
        statements.extend(self.statements.iter().cloned());
        swapping(statements)
    }
}

/// Looks once more at what `start` looked at: days may have passed. What cannot be carried is
/// refused, and what only one of two tables has.
fn refuse_later_changes(
    target: &Target,
    way: Way,
    surroundings: &[Surroundings],
    coming: &[Surroundings],
) -> Result<()> {
    for ((table, now), next) in target.tables.iter().zip(surroundings).zip(coming) {
        let verb = match way {
            Way::Forth => {
                let examined = belongings::examine(&target.layout, table.role, now);
                if let Some(error) = belongings::refusal(&table.current, &examined, hint) {
                    return Err(error);
                }
                "swap"
            }
            Way::Back => {
                refuse_followers(now)?;
                "rollback"
            }
        };
        let differences = since::differences(now, next);
        if !differences.is_empty() {
            let message = format!("{} was changed since the conversion began", table.current);
            return Err(Error::refused(message).details(differences).hint(format!(
                "change {} in the same way, then go on: pupctl convert {verb}",
                next.name
            )));
        }
    }
    Ok(())
}

/// What has come to hang on the new table and would go with it.
fn refuse_followers(now: &Surroundings) -> Result<()> {
    let references = now.references.iter().map(|own| {
        let Reference { table, name, definition } = own;
        format!("the foreign key {name} of {table}: {definition}")
    });
    let views = now.views.iter().filter(|view| view.kind == "m");
    let views = views.map(|view| format!("the materialized view {}", view.name));
    let found: Vec<_> = references.chain(views).collect();
    if found.is_empty() {
        return Ok(());
    }
    Err(Error::refused(format!("others rely on {}, which the way back drops", now.name))
        .details(found)
        .hint("drop them, and make them again after pupctl convert rollback"))
}

/// The store, with the tables that are being built.
pub(super) fn catalog(client: &mut Client, schema: &str, record: &Record) -> Result<Catalog> {
    let depth = Depth { sizes: true, details: true, ..Depth::default() };
    inspect::catalog(client, schema, &record.after.tables, depth)
}

/// What hangs on a table of each pair, but for what pupctl puts there itself.
pub(super) fn surroundings(
    client: &mut Client,
    record: &Record,
    of: impl Fn(&Replaced) -> &QualifiedName,
) -> Result<Vec<Surroundings>> {
    record.tables.iter().map(|table| session::surroundings(client, of(table))).collect()
}

/// The old tables on their way to be partitions.
pub(super) fn heaps(catalog: &Catalog, record: &Record) -> Result<Vec<Heap>> {
    let layout = &record.after;
    let bound = attach::bound(layout, record.cutover)
        .ok_or_else(|| Error::refused("nobody knows what the old table is to hold"))?;
    let heap = |table: &Replaced| {
        let old = catalog.table(table.role)?;
        Some(attach::heap(layout, table, &old.root, &bound))
    };
    Ok(record.tables.iter().filter_map(heap).collect())
}

/// The partitions beside the old tables, which are partitions too.
pub(super) fn beyond(catalog: &Catalog, record: &Record) -> Vec<QualifiedName> {
    let others = |table: &Replaced| {
        let leaves = catalog.table(table.role).into_iter().flat_map(|built| built.root.leaves());
        let names = leaves.map(|leaf| leaf.name.clone());
        names.filter(|name| *name != table.retired).collect::<Vec<_>>()
    };
    record.tables.iter().flat_map(others).collect()
}

/// The columns of the tables, for what goes back.
fn all_columns(client: &mut Client, tables: &[Replaced]) -> Result<Vec<(Role, Vec<String>)>> {
    let columns = |table: &Replaced| Ok((table.role, session::columns(client, &table.current)?));
    tables.iter().map(columns).collect()
}

/// The names of the indexes of the old tables, which come back with them.
fn retired_indexes(client: &mut Client, schema: &str, record: &Record) -> Result<Vec<String>> {
    let tables: Vec<&str> = record.tables.iter().map(|table| table.retired.name.as_str()).collect();
    let rows = client
        .query(include_str!("../../../sql/convert/index_names.sql"), &[&schema, &tables])
        .map_err(reading)?;
    Ok(rows.iter().map(|row| row.get("name")).collect())
}

/// The last position of a table that is not divided, or 0.
fn last(client: &mut Client, table: &QualifiedName) -> Result<i64> {
    let row = client
        .query_one(&render("transfer/reached", &values! { table }), &[])
        .map_err(|error| Error::database(&format!("reading {table}"), error))?;
    Ok(row.get::<_, Option<i64>>("position").unwrap_or(0))
}

/// The question after what hangs on a table, parsed ahead of locks for which others wait.
pub(super) fn parsed_fingerprint(client: &mut impl GenericClient) -> Result<postgres::Statement> {
    client.prepare(include_str!("../../../sql/convert/fingerprint.sql")).map_err(reading)
}

/// What hangs on the tables, as far as it is seen to change.
pub(super) fn fingerprint(
    client: &mut impl GenericClient,
    parsed: &postgres::Statement,
    tables: &[Replaced],
) -> Result<Vec<String>> {
    let print = |table: &Replaced| {
        let Replaced { current, .. } = table;
        let row = client.query_one(parsed, &[&current.schema, &current.name]).map_err(reading)?;
        Ok(row.get::<_, Option<String>>("print").unwrap_or_default())
    };
    tables.iter().map(print).collect()
}

fn reading(error: postgres::Error) -> Error {
    Error::database("reading what the swap rests on", error)
}
