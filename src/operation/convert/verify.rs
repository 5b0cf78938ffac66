//! Compares the two tables of events, by context and month.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use chrono::Utc;
use postgres::Client;
use serde_json::json;

use crate::db::heads::deviations;
use crate::error::{Error, Result};
use crate::layout::name::QualifiedName;
use crate::plan::convert::ranges::Range;
use crate::render::Statement;
use crate::render::convert::analyze;
use crate::render::environment::{render, values};

use super::{Converter, session};

/// About how many rows one session adds up at a time.
const CHUNK_ROWS: i64 = 250_000;

/// How many differences a message names.
const LISTED_MAX: usize = 20;

/// What a context has in a month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    rows: i64,
    digest: i128,
}

/// The sums of a table, by context and month.
pub(super) type Sums = BTreeMap<(String, Option<String>), Sum>;

/// What one session does.
enum Task {
    Sum(Part),
    /// A statement that can as well run while others add up.
    Run(Statement),
}

/// What one session adds up.
struct Part {
    first: bool,
    table: QualifiedName,
    range: Range,
    only: bool,
}

/// Two tables that should have the same events.
pub(super) struct Pair<'a> {
    /// The one that was there before.
    pub(super) old: &'a QualifiedName,
    /// The leaves of the other one; itself, where little is to be compared.
    pub(super) new: Vec<QualifiedName>,
    /// How many rows to expect.
    pub(super) rows: i64,
}

impl Converter<'_> {
    /// Compares everything that was copied, and the heads.
    pub(super) fn verify(&mut self) -> Result<()> {
        self.progress.phase("Comparing", None);
        let events = self.events()?;
        let catalog = self.catalog()?;
        let Some(built) = events.built(&catalog) else {
            return Err(super::index::gone(&events.next));
        };
        let up_to = self.record.copied_to.unwrap_or(i64::MIN);
        let new = built.leaves().map(|leaf| leaf.name.clone()).collect();
        let pair = Pair { old: &events.current, new, rows: self.record.rows };
        // It reads both tables, whose statistics nobody needs before the swap.
        let beside = vec![analyze(&events)];
        let sums = self.same_beside(&pair, Range { after: i64::MIN, up_to }, beside)?;
        self.check_pause()?;
        self.prove_heads()?;
        self.check_pause()?;
        let deviating = self.deviating()?;
        self.record.verified_to = Some(up_to);
        self.record.rows = sums.values().map(|sum| sum.rows).sum();
        let parts = sums.iter().map(|((context, month), sum)| {
            json!({
                "context": context, "month": month, "rows": sum.rows,
                "digest": sum.digest.to_string(),
            })
        });
        self.record.report = Some(json!({
            "verified_at": Utc::now(),
            "up_to_position": up_to,
            "parts": parts.collect::<Vec<_>>(),
            "deviating_heads": deviating,
        }));
        Ok(())
    }

    /// Heads that are not the last version of their aggregate, or events with a version missing.
    pub(super) fn deviating(&mut self) -> Result<Vec<String>> {
        let catalog = self.catalog()?;
        let schema = &catalog.schema_name;
        let [heads, events] =
            crate::layout::Role::ALL.map(|role| self.record.after.table(schema, role));
        let limit = u32::try_from(LISTED_MAX).unwrap_or(u32::MAX);
        let found = deviations(self.locked.client(), &events, &heads, limit, true)?;
        if found.total > 0 {
            self.progress.tell(&format!(
                "{} aggregates are not whole, or their heads are not their last version: as in \
                 the old table, so in the new one",
                found.total
            ));
        }
        Ok(found.first)
    }

    /// Adds up both tables within a range of positions and refuses a difference.
    pub(super) fn same(&mut self, pair: &Pair<'_>, range: Range) -> Result<Sums> {
        self.same_beside(pair, range, Vec::new())
    }

    /// The same, while one of the sessions runs statements that hinder nobody.
    fn same_beside(
        &mut self,
        pair: &Pair<'_>,
        range: Range,
        beside: Vec<Statement>,
    ) -> Result<Sums> {
        let columns = session::columns(self.locked.client(), pair.old)?;
        let mut tasks: Vec<Task> = beside.into_iter().map(Task::Run).collect();
        let part = |range| Part { first: true, table: pair.old.clone(), range, only: true };
        let chunks = self.chunks(pair.old, range, pair.rows)?;
        tasks.extend(chunks.iter().copied().map(part).map(Task::Sum));
        // Leaves are pieces themselves.
        let only = pair.new.len() > 1;
        let ranges = if only { vec![range] } else { chunks };
        let new = pair.new.iter().flat_map(|table| ranges.iter().map(move |range| (table, *range)));
        let part = |(table, range): (&QualifiedName, Range)| {
            Task::Sum(Part { first: false, table: table.clone(), range, only })
        };
        tasks.extend(new.map(part));
        let sums = Mutex::new((Sums::new(), Sums::new()));
        let work = |client: &mut Client, task: Task| {
            let part = match task {
                Task::Sum(part) => part,
                Task::Run(statement) => return run(client, &statement),
            };
            let found = add_up(client, &part, &columns)?;
            let mut sums = sums.lock().unwrap_or_else(PoisonError::into_inner);
            let side = if part.first { &mut sums.0 } else { &mut sums.1 };
            for (key, sum) in found {
                let total = side.entry(key).or_default();
                total.rows += sum.rows;
                total.digest += sum.digest;
            }
            Ok(())
        };
        self.do_all(tasks, &work)?;
        let (old, new) = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
        if old == new { Ok(old) } else { Err(differ(pair.old, &old, &new)) }
    }

    /// The range in pieces of about as many rows.
    fn chunks(&mut self, table: &QualifiedName, range: Range, rows: i64) -> Result<Vec<Range>> {
        let row = self
            .locked
            .client()
            .query_one(&render("convert/extent", &values! { table }), &[&range.up_to])
            .map_err(|error| Error::database(&format!("reading {table}"), error))?;
        let (Some(first), Some(last)) =
            (row.get::<_, Option<i64>>("first"), row.get::<_, Option<i64>>("last"))
        else {
            return Ok(vec![range]);
        };
        let pieces = i128::from((rows / CHUNK_ROWS).clamp(1, 10_000));
        let first = i128::from(first.max(range.after));
        let span = i128::from(last) - first;
        let mut after = range.after;
        let mut chunks = Vec::new();
        for piece in 1..pieces {
            let up_to = i64::try_from(first + span * piece / pieces).unwrap_or(after);
            if up_to > after {
                chunks.push(Range { after, up_to });
                after = up_to;
            }
        }
        if range.up_to > after {
            chunks.push(Range { after, up_to: range.up_to });
        }
        Ok(chunks)
    }
}

fn run(client: &mut Client, statement: &Statement) -> Result<()> {
    let failed = |error| Error::database("analyzing the new table", error);
    client.batch_execute(&statement.sql).map_err(failed)
}

fn add_up(client: &mut Client, part: &Part, columns: &[String]) -> Result<Sums> {
    let Part { table, only, range, .. } = part;
    let rows = client
        .query(
            &render("convert/digest", &values! { table, only, columns }),
            &[&range.after, &range.up_to],
        )
        .map_err(|error| Error::database(&format!("adding up {table}"), error))?;
    let sum = |row: &postgres::Row| {
        let digest = row.get::<_, String>("digest").parse().unwrap_or_default();
        let key = (row.get("context"), row.get("month"));
        (key, Sum { rows: row.get("rows"), digest })
    };
    Ok(rows.iter().map(sum).collect())
}

fn differ(old: &QualifiedName, before: &Sums, after: &Sums) -> Error {
    let keys: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let mut lines = Vec::new();
    for key in keys {
        let of = |sums: &Sums| sums.get(key).copied().unwrap_or_default();
        let (one, other) = (of(before), of(after));
        if one != other {
            let (context, month) = (&key.0, key.1.as_deref().unwrap_or("no month"));
            lines.push(if one.rows == other.rows {
                format!("{context}, {month}: {} events, not the same", one.rows)
            } else {
                format!("{context}, {month}: {} events, and {} in the copy", one.rows, other.rows)
            });
        }
    }
    Error::refused(format!("the copy of {old} is not the same"))
        .details(lines.into_iter().take(LISTED_MAX))
        .hint("somebody has changed rows in one of them; call it off: pupctl convert rollback")
}
