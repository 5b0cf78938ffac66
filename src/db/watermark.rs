//! The settled position, followed: where [`super::settled`] answers once, this goes on.
//!
//! # How it moves
//!
//! - Where the next positions are all there, without a hole, everything up to the first hole is
//!   settled: each of them is committed, and there is nothing between. That costs no look at locks.
//! - At a hole, the way of [`super::settled`]: remember the last position that was drawn, note in a
//!   later statement who holds a lock under which it may have been drawn, and when all of them are
//!   gone, everything up to it is settled. What is missing then was rolled back.
//!
//! Positions are looked at without any filter, for a projection that reads a part of the events
//! cannot see the holes. So there is one watermark for all projections of a process.
//!
//! # What it lives on
//!
//! Its connection. A crash of the server may take the sequence back behind what was seen, where
//! commits were not waited for (`synchronous_commit = off`), and then the same positions come a
//! second time. A crash ends all connections: with its own the watermark is forgotten, and begins
//! anew below everything that anybody is to read. Whoever uses its value
//! on another connection has to be sure that it was looked up after that one was opened.

use std::collections::BTreeSet;

use postgres::types::ToSql;
use postgres::{Client, Statement};

use crate::error::{Error, Result};
use crate::finding::holder::Holder;
use crate::layout::name::QualifiedName;
use crate::render::environment::{render, values};

use super::settled::{COUNTING, HOLDERS, LAST, Source, failed, refuse_counting, sessions, source};

/// The most positions that are counted at a time. Beyond that a look at the locks is cheaper.
const COUNTED_MAX: i64 = 10_000;

/// Refuses where no settled position can be found, as [`Watermark::begin`] does.
pub fn check(client: &mut Client, events: &QualifiedName) -> Result<()> {
    source(client, events).map(drop)
}

/// The settled position of a store, on one connection.
#[derive(Debug)]
pub struct Watermark {
    events: QualifiedName,
    source: Source,
    last: Statement,
    holders: Statement,
    prefix: Statement,
    counting: Statement,
    settled: i64,
    drawn: i64,
    pending: Option<Pending>,
}

/// Transactions whose end settles everything up to a position.
#[derive(Debug)]
struct Pending {
    position: i64,
    open: BTreeSet<String>,
}

impl Watermark {
    /// Begins on this connection: nothing is settled until the first look, which is always true.
    /// `reached` is a position of which the caller knows that it was drawn: where the sequence lies
    /// below it, the first look refuses.
    ///
    /// Refuses where no settled position can be found: see [`super::settled`].
    pub fn begin(client: &mut Client, events: &QualifiedName, reached: i64) -> Result<Self> {
        let source = source(client, events)?;
        let prefix = render("settled/prefix", &values! { events, limit => COUNTED_MAX });
        let mut prepare = |sql: &str| client.prepare(sql).map_err(failed);
        Ok(Self {
            events: events.clone(),
            source,
            last: prepare(LAST)?,
            holders: prepare(HOLDERS)?,
            prefix: prepare(&prefix)?,
            counting: prepare(COUNTING)?,
            settled: 0,
            drawn: reached,
            pending: None,
        })
    }

    /// Everything at and below this position is committed and visible to later statements, or will
    /// never be.
    #[must_use]
    pub fn settled(&self) -> i64 {
        self.settled
    }

    /// The last position that was drawn, when it was last looked.
    #[must_use]
    pub fn drawn(&self) -> i64 {
        self.drawn
    }

    /// Looks how far it is by now: one cheap query where nothing new was drawn. Rows have to be
    /// read in a statement after this. The client must not be in a transaction.
    pub fn look(&mut self, client: &mut Client) -> Result<i64> {
        let row = client.query_one(&self.last, &[&self.source.sequence]).map_err(failed)?;
        let drawn = row.get::<_, Option<i64>>(0).unwrap_or(0);
        if drawn < self.drawn {
            return Err(Error::refused(format!(
                "the sequence of positions went back from {} to {drawn}",
                self.drawn
            ))
            .detail("events get positions a second time, below what projections have read")
            .hint("set the sequence to a value above the last position, then start again"));
        }
        self.drawn = drawn;
        if self.settled >= drawn {
            return Ok(self.settled);
        }
        self.settle_pending(client)?;
        // A hole costs a look at the locks, and a long way to count costs more than that.
        if self.pending.is_some() || drawn - self.settled <= COUNTED_MAX {
            self.count(client)?;
        }
        if self.settled < drawn && self.pending.is_none() {
            self.note_writers(client, drawn)?;
        }
        Ok(self.settled)
    }

    /// The sessions that keep it from moving on: empty where it is at the last position.
    pub fn held_by(&self, client: &mut Client) -> Result<Vec<Holder>> {
        self.pending.as_ref().map_or(Ok(Vec::new()), |pending| sessions(client, &pending.open))
    }

    /// Whether it waits for transactions to end.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.pending.is_some()
    }

    /// Everything up to the noted position is settled when those who held locks then have ended.
    fn settle_pending(&mut self, client: &mut Client) -> Result<()> {
        let Some(pending) = &mut self.pending else { return Ok(()) };
        if pending.position > self.settled {
            // Who came later draws later positions.
            let now = holders(client, &self.holders, &self.events, self.source)?;
            pending.open.retain(|holder| now.contains(holder));
            if !pending.open.is_empty() {
                return Ok(());
            }
            self.settled = pending.position;
        }
        self.pending = None;
        Ok(())
    }

    /// Up to the first hole nothing can be missing.
    fn count(&mut self, client: &mut Client) -> Result<()> {
        let row = client.query_one(&self.prefix, &[&self.settled, &self.drawn]).map_err(failed)?;
        self.settled = row.get::<_, Option<i64>>(0).map_or(self.settled, |to| self.settled.max(to));
        Ok(())
    }

    /// Notes, in a statement after the one that read the position, who may have drawn up to it.
    fn note_writers(&mut self, client: &mut Client, position: i64) -> Result<()> {
        let open = holders(client, &self.holders, &self.events, self.source)?;
        // Somebody may have changed the sequence since: sessions that draw ahead leave holes for
        // which nobody holds a lock.
        let row = client.query_one(&self.counting, &[&self.source.sequence]).map_err(failed)?;
        refuse_counting(&row)?;
        if open.is_empty() {
            self.settled = position;
        } else {
            self.pending = Some(Pending { position, open });
        }
        Ok(())
    }
}

fn holders(
    client: &mut Client,
    statement: &Statement,
    events: &QualifiedName,
    source: Source,
) -> Result<BTreeSet<String>> {
    let parameters: [&(dyn ToSql + Sync); 3] = [&source.table, &events.schema, &events.name];
    let rows = client.query(statement, &parameters).map_err(failed)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
