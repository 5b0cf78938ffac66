//! Span after span of positions: what was given, and what is there.

use postgres::{Client, Row};

use crate::db::Interrupt;
use crate::error::{Error, Result};
use crate::layout::name::QualifiedName;
use crate::projection::audit::{BLOCK, Bits, block_of};
use crate::projection::control::Tables;
use crate::projection::control::checkpoint::Projection;
use crate::render::environment::{render, values};

use super::absence::{Accounts, places};
use super::{Kind, Known, Progress, Range, Sample, Verified, failed};

/// How many blocks are compared at a time.
const SPAN: i64 = 1024;

/// What a projection reads; empty for all.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    pub(super) contexts: Vec<String>,
    pub(super) aggregates: Vec<String>,
}

impl Scope {
    pub(super) fn of(projection: &Projection) -> Self {
        let slot = projection.slot();
        Self {
            contexts: slot.map(|slot| slot.bounded_contexts.clone()).unwrap_or_default(),
            aggregates: slot.map(|slot| slot.aggregate_types.clone()).unwrap_or_default(),
        }
    }

    fn is_all(&self) -> bool {
        self.contexts.is_empty() && self.aggregates.is_empty()
    }
}

/// A block in which not the same was given as is there.
struct Block {
    number: i64,
    /// Of the positions that are compared, those that were given.
    given: Bits,
    /// Whether it was given others too: then only positions can be compared.
    whole: bool,
    /// Those that have events in scope.
    stored: Bits,
    stored_events: i64,
    /// Events whose positions were given.
    met: i64,
    given_events: i64,
    /// What the sum of the hashes of these events is, less that of those that were given.
    missing: Option<i128>,
    /// Positions that were given and have no event in scope.
    extra: Bits,
}

impl Block {
    fn of(row: &Row, number: i64, after: i64, up_to: i64) -> Self {
        let bits = |column| row.get::<_, Option<Bits>>(column).unwrap_or_default();
        let (all, stored) = (bits("given"), bits("stored"));
        let given = all.and(&Bits::between(number, after, up_to));
        let extra = given.without(&stored);
        let sum = |column| row.get::<_, Option<String>>(column).and_then(|sum| sum.parse().ok());
        let missing = match (sum("met_digest"), sum("given_digest")) {
            (Some(met), Some(given)) => i128::checked_sub(met, given),
            _ => None,
        };
        Self {
            number,
            whole: all == given,
            given,
            stored,
            stored_events: row.get("stored_events"),
            met: row.get("met"),
            given_events: row.get("given_events"),
            missing,
            extra,
        }
    }
}

/// A comparison of one projection.
pub(super) struct Comparison<'a> {
    pub(super) client: &'a mut Client,
    pub(super) tables: &'a Tables,
    pub(super) scope: Scope,
    pub(super) absent: &'a mut Accounts,
    pub(super) verified: &'a mut Verified,
}

impl Comparison<'_> {
    pub(super) fn run(&mut self, interrupt: &Interrupt, progress: Progress<'_>) -> Result<()> {
        let (mut after, up_to) = (self.verified.after, self.verified.up_to);
        while after < up_to {
            interrupt.check()?;
            progress(&self.verified.projection, after, up_to);
            let end = (block_of(after + 1) + SPAN) * BLOCK - 1;
            let to = end.min(up_to);
            let is_empty = self.span(after, to)?;
            after = to;
            if is_empty && after < up_to {
                match self.next(after, up_to)? {
                    Some(next) => after = (next - 1).clamp(after, up_to),
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// Compares a span. Whether there was nothing.
    fn span(&mut self, after: i64, to: i64) -> Result<bool> {
        let Tables { events, checkpoints, definitions, audit, .. } = self.tables;
        let Scope { contexts, aggregates } = &self.scope;
        let (first, last) = (block_of(after + 1), block_of(to));
        let values = values! {
            events, checkpoints, definitions, audit, contexts, aggregates, after, to, first, last,
        };
        let sql = render("projection/verify/span", &values);
        let rows = self.client.query(&sql, &[&self.verified.projection]).map_err(failed)?;
        let Some(total) = rows.first() else { return Ok(true) };
        self.refuse_moved(total)?;
        self.verified.events += total.get::<_, i64>("all_events");
        let is_empty = total.get::<_, i64>("blocks") + total.get::<_, i64>("noted_blocks") == 0;
        let (from, up_to) = (self.verified.after, self.verified.up_to);
        let numbered = |row: &Row| {
            let number = row.get::<_, Option<i64>>("block")?;
            Some(Block::of(row, number, from, up_to))
        };
        let mut blocks: Vec<Block> = rows.iter().filter_map(numbered).collect();
        self.take_out_of_scope(&mut blocks, after, to)?;
        let vanished = self.vanished(&blocks, after, to)?;
        let mut missed: Option<(i64, i64)> = None;
        for block in &blocks {
            if let Some((begin, end)) = self.lost(block) {
                missed = Some((missed.map_or(begin, |(begin, _)| begin), end));
            }
            self.counts(block)?;
        }
        for range in vanished {
            self.note_vanished(range);
        }
        if let Some((begin, end)) = missed {
            let room = self.verified.room(Kind::Lost);
            let samples = self.samples(begin - 1, end, room, None)?;
            self.verified.tell(Kind::Lost, samples);
        }
        Ok(is_empty)
    }

    /// What is compared has to stay as it is.
    fn refuse_moved(&self, total: &Row) -> Result<()> {
        let reached: Option<i64> = total.get("reached");
        let audited_from: Option<i64> = total.get("audited_from");
        if reached.is_some_and(|reached| reached >= self.verified.up_to)
            && audited_from == self.verified.audited_from
        {
            return Ok(());
        }
        let name = &self.verified.projection;
        Err(Error::refused(format!("{name} was set to another position meanwhile"))
            .hint("run it again when nobody resets it"))
    }

    /// Positions that were given and have an event which the projection does not read any more.
    fn take_out_of_scope(&mut self, blocks: &mut [Block], after: i64, to: i64) -> Result<()> {
        let wanted = numbers(blocks, |block| !block.extra.is_empty());
        if self.scope.is_all() || wanted.is_empty() {
            return Ok(());
        }
        for (number, there) in places(self.client, &self.tables.events, after, to, &wanted)? {
            let found = blocks.iter_mut().find(|block| block.number == number);
            if let Some(block) = found.filter(|block| !block.extra.and(&there).is_empty()) {
                block.extra = block.extra.without(&there);
                block.whole = false;
            }
        }
        Ok(())
    }

    /// Where events were given that are nowhere any more.
    fn vanished(&mut self, blocks: &[Block], after: i64, to: i64) -> Result<Vec<Range>> {
        let mut left: Vec<(i64, Bits)> = blocks
            .iter()
            .filter(|block| !block.extra.is_empty())
            .map(|block| (block.number, block.extra.clone()))
            .collect();
        for table in self.absent.tables() {
            let wanted: Vec<_> = left.iter().map(|(number, _)| *number).collect();
            if wanted.is_empty() {
                break;
            }
            self.take_from_table(&table, &mut left, after, to, &wanted)?;
        }
        let account = |(number, bits): &(i64, Bits)| self.absent.account(*number, bits);
        Ok(left.iter().flat_map(account).collect())
    }

    fn take_from_table(
        &mut self,
        table: &QualifiedName,
        left: &mut Vec<(i64, Bits)>,
        after: i64,
        to: i64,
        wanted: &[i64],
    ) -> Result<()> {
        for (number, there) in places(self.client, table, after, to, wanted)? {
            for (_, bits) in left.iter_mut().filter(|(block, _)| *block == number) {
                self.absent.note(table, i64::from(bits.and(&there).count()));
                *bits = bits.without(&there);
            }
        }
        left.retain(|(_, bits)| !bits.is_empty());
        Ok(())
    }

    fn note_vanished(&mut self, range: Range) {
        self.verified.add(Kind::Vanished, range);
        if range.first == range.last {
            let sample = Sample { position: range.first, event: None };
            self.verified.tell(Kind::Vanished, [sample]);
        }
    }

    /// Events that are there and were not given. The first and the last position of them.
    fn lost(&mut self, block: &Block) -> Option<(i64, i64)> {
        let missed = block.stored.without(&block.given);
        let mut positions = missed.positions(block.number);
        let first = positions.next()?;
        let last = positions.last().unwrap_or(first);
        let events = block.stored_events - block.met;
        self.verified.add(Kind::Lost, Range { first, last, events });
        Some((first, last))
    }

    /// Where the positions agree: whether it were as many events, and the same ones.
    fn counts(&mut self, block: &Block) -> Result<()> {
        if !block.whole || !block.extra.is_empty() {
            return Ok(());
        }
        let more = block.given_events - block.met;
        // Of a single event the sum says which one it is.
        let hash = |sum: i128| i64::try_from(sum).ok();
        let (kind, events, hash) = match (more, block.missing) {
            (1, Some(missing)) => (Kind::Doubled, 1, hash(-missing)),
            (more, _) if more > 0 => (Kind::Doubled, more, None),
            (-1, Some(missing)) => (Kind::Lost, 1, hash(missing)),
            (less, Some(_)) if less < 0 => (Kind::Lost, -less, None),
            (0, Some(missing)) if missing != 0 => (Kind::Other, 1, None),
            _ => return Ok(()),
        };
        let mut positions = block.given.positions(block.number);
        let Some(first) = positions.next() else { return Ok(()) };
        let last = positions.last().unwrap_or(first);
        let samples = match hash {
            Some(hash) => self.samples(first - 1, last, 1, Some(hash))?,
            None => Vec::new(),
        };
        let (first, last) = match samples.first() {
            Some(sample) => (sample.position, sample.position),
            None => (first, last),
        };
        if kind == Kind::Lost {
            self.verified.ambiguous += events;
        }
        self.verified.add(kind, Range { first, last, events });
        self.verified.tell(kind, samples);
        Ok(())
    }

    /// Events that were not given, or one by the hash of its id.
    fn samples(
        &mut self,
        after: i64,
        to: i64,
        limit: usize,
        hash: Option<i64>,
    ) -> Result<Vec<Sample>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let Tables { events, audit, .. } = self.tables;
        let Scope { contexts, aggregates } = &self.scope;
        let projection = &self.verified.projection;
        let by_hash = hash.is_some();
        let values = values! {
            events, audit, projection, contexts, aggregates, after, to, limit, by_hash,
        };
        let sql = render("projection/verify/lost", &values);
        let hash: Vec<_> =
            hash.iter().map(|hash| hash as &(dyn postgres::types::ToSql + Sync)).collect();
        let rows = self.client.query(&sql, &hash).map_err(failed)?;
        Ok(rows.iter().map(sample).collect())
    }

    /// Where there is something again, behind a span without anything.
    fn next(&mut self, after: i64, to: i64) -> Result<Option<i64>> {
        let Tables { events, audit, .. } = self.tables;
        let sql = render("projection/verify/next", &values! { events, audit, after, to });
        let row = self.client.query_one(&sql, &[&self.verified.projection]).map_err(failed)?;
        Ok(row.get("next"))
    }
}

fn numbers(blocks: &[Block], wanted: impl Fn(&Block) -> bool) -> Vec<i64> {
    blocks.iter().filter(|block| wanted(block)).map(|block| block.number).collect()
}

fn sample(row: &Row) -> Sample {
    Sample {
        position: row.get("position"),
        event: Some(Known {
            event_id: row.get("event_id"),
            event_type: row.get("event_type"),
            bounded_context: row.get("bounded_context"),
            aggregate_type: row.get("aggregate_type"),
            aggregate_id: row.get("aggregate_id"),
            aggregate_version: row.get("aggregate_version"),
            created_at: row.get("created_at"),
        }),
    }
}
