//! Files of events that are the same in every run.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use chrono::{SecondsFormat, TimeDelta};
use pupctl::layout::month::Month;
use uuid::{Builder, Uuid};

use crate::machine::contexts;

/// What a file holds.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) aggregates: u64,
    pub(super) events_each: u64,
    pub(super) months: i32,
}

impl Shape {
    /// How many contexts the aggregates are spread over.
    pub(super) const CONTEXTS: usize = 9;

    /// How many aggregates of a file begin before the first of them gets its next event.
    const PARTS: u64 = 50;

    pub(super) fn events(self) -> u64 {
        self.aggregates * self.events_each
    }

    /// Writes the events in the order of their times.
    ///
    /// At every step one aggregate begins, and those that began some steps before get an event
    /// more: so lives overlap, and several thousand aggregates are alive at any time.
    pub(super) fn write(self, path: &Path) -> Result<()> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        let contexts = contexts(Self::CONTEXTS);
        let apart = self.aggregates.div_ceil(Self::PARTS);
        let first = Month::new(2024, 1).context("a month")?;
        let span = (first.plus(self.months).start() - first.start()).num_seconds();
        let step = span / i64::try_from(self.events())?;
        let mut created_at = first.start();
        for tick in 0..self.aggregates + apart * (self.events_each - 1) {
            for earlier in 0..self.events_each {
                let aggregate = tick.checked_sub(earlier * apart);
                let Some(aggregate) = aggregate.filter(|number| *number < self.aggregates) else {
                    continue;
                };
                let context = &contexts[usize::try_from(aggregate)? % contexts.len()];
                let time = created_at.to_rfc3339_opts(SecondsFormat::Micros, true);
                event(&mut file, context, aggregate, earlier + 1, &time)?;
                created_at += TimeDelta::seconds(step);
            }
        }
        Ok(file.flush()?)
    }
}

/// One line: about 500 bytes as a row of a binary copy, 300 of them payload.
fn event(
    file: &mut impl Write,
    context: &str,
    aggregate: u64,
    version: u64,
    created_at: &str,
) -> Result<()> {
    let id = uuid(&mut Random(aggregate));
    let mut random = Random(aggregate.wrapping_mul(1 << 20).wrapping_add(version));
    let (event_id, customer, trace) = (uuid(&mut random), uuid(&mut random), uuid(&mut random));
    write!(
        file,
        "{{\"bounded_context\":\"{context}\",\"aggregate_type\":\"Order\",\
         \"aggregate_id\":\"{id}\",\"aggregate_version\":{version},\"event_id\":\"{event_id}\",\
         \"event_type\":\"OrderLinesChanged\",\"event_version\":1,\
         \"payload\":{{\"customer\":\"{customer}\",\"currency\":\"EUR\",\"lines\":["
    )?;
    for line in 0..5 {
        let (sku, price) = (random.next() % 1_000_000, random.next() % 10_000);
        let comma = if line == 0 { "" } else { "," };
        write!(file, "{comma}{{\"sku\":\"P-{sku:06}\",\"count\":1,\"cents\":{price}}}")?;
    }
    writeln!(
        file,
        "]}},\"trace_id\":\"{}\",\"metadata\":{{\"user\":\"user-{}\",\"host\":\"web-{}\"}},\
         \"created_at\":\"{created_at}\"}}",
        trace.simple(),
        random.next() % 10_000,
        random.next() % 100,
    )?;
    Ok(())
}

fn uuid(random: &mut Random) -> Uuid {
    let bits = u128::from(random.next()) << 64 | u128::from(random.next());
    Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
}

/// The generator SplitMix64: good enough for ids, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}
