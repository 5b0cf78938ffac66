//! Which layout a store should have, or none: reasons, what speaks against it, and what each layout
//! would be like in two years.
//!
//! The thresholds are those of `docs/reference/event-store-optimization.md` and of the figures in
//! `docs/reference/figures.md`. Where a choice is near, the layout with fewer leaves wins: a leaf
//! costs every statement that cannot leave it out, and a store can be divided further, but not put
//! together again.

mod forecast;
pub mod queries;

use serde::Serialize;

use crate::catalog::Server;
use crate::catalog::health::Keeps;
use crate::catalog::workload::{Queries, Workload};
use crate::layout::levels::PartitionBy;
use crate::layout::month::Month;

use super::budget;
use super::convert::Strategy;

pub use forecast::{Forecast, forecast};

/// Below so many events dividing saves nothing that a reader could measure: a b-tree of 10 million
/// keys is four pages deep, of 100,000 keys three (event-store-optimization.md, "Which layout").
pub const SMALL: u64 = 10_000_000;

/// A leaf of so many events takes about a quarter of an hour to archive, prove and drop, and as
/// long to come back (figures.md: `archive --drop, proven` 128,606 rows a second, `restore`
/// 99,143).
pub const LEAF_MAX: u64 = 100_000_000;

/// A context of this share is the store: dividing by context leaves it as large as it is.
const DOMINANT_PERCENT: u64 = 90;

/// From this share of reads on, something is what the store is read by.
const MOSTLY_PERCENT: u64 = 50;

/// How fast a conversion copies, with keys and indexes, on a busy machine and on an idle one
/// (figures.md: `copy, keys and indexes`, many and some, in rows a second).
const COPIES: (u64, u64) = (40_000, 87_000);

/// How fast a server reads every row, as validating a CHECK does (figures.md: `digest of the
/// server`, in rows a second).
const READS: u64 = 1_270_000;

/// A conversion that copies for longer than this is worth an intermediate step that copies nothing.
const COPY_MINUTES_MAX: u64 = 60;

/// What is known of a store, and of what it is to do.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The server.
    pub server: &'a Server,
    /// What it holds; none where there is no table of events.
    pub workload: Option<&'a Workload>,
    /// How it is divided, as far as anybody knows.
    pub current: Option<PartitionBy>,
    /// Whether it is pupctl's.
    pub known: bool,
    /// How long events are to stay.
    pub keeps: &'a Keeps,
    /// The contexts that the configuration or the layout names.
    pub contexts: &'a [String],
    /// How many indexes a leaf has, keys included.
    pub indexes: usize,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Next {
    /// Nothing: it is as it should be.
    Stay,
    /// Make a store.
    Init,
    /// Take over the tables as they are.
    Baseline,
    /// Convert it while it is used.
    Convert {
        /// How.
        strategy: Strategy,
        /// How long that takes at least, in minutes.
        minutes_from: u64,
        /// And at most.
        minutes_to: u64,
    },
    /// It is divided already, and only a copy of it can be divided otherwise.
    Copy,
}

/// What is recommended, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Advice {
    /// The layout, as `--partition-by` takes it.
    #[serde(serialize_with = "shown")]
    pub layout: PartitionBy,
    /// How many partitions its hash level has, where it has one.
    pub hash_partitions: Option<u32>,
    /// Why.
    pub reasons: Vec<String>,
    /// What speaks against it.
    pub against: Vec<String>,
    /// How many events there are in two years, if it goes on as in the last months and nothing
    /// leaves.
    pub rows_in_two_years: u64,
    /// How many events come in a month.
    pub rows_a_month: u64,
    /// Each layout in two years.
    pub forecasts: Vec<Forecast>,
    /// What to do next.
    pub next: Next,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn shown<S: serde::Serializer>(layout: &PartitionBy, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(layout.as_str())
}

/// What the decision rests on.
struct Facts {
    rows: u64,
    monthly: u64,
    future: u64,
    contexts: u64,
    /// The largest context's share, in percent.
    largest: u64,
    retained: bool,
    differing: bool,
}

/// Recommends a layout.
#[must_use]
pub fn advise(question: &Question<'_>) -> Advice {
    let facts = Facts::of(question);
    let mut reasons = Vec::new();
    let mut against = Vec::new();
    let mut layout = choose(&facts, question, &mut reasons);
    let mut hash = hash_partitions(layout, &facts);
    let mut forecasts = forecasts(question, &facts);
    let capacity = question.server.lock_table();
    if let Some(smaller) = without_contexts(layout, facts.differing) {
        let locks = locks_of(&forecasts, layout);
        if locks > capacity {
            reasons.push(format!(
                "{layout} would take {locks} locks in a statement that opens all leaves, and the \
                 server's lock table holds {capacity}"
            ));
            layout = smaller;
            hash = hash_partitions(layout, &facts);
        }
    }
    for forecast in &mut forecasts {
        forecast.recommended = forecast.layout == layout.as_str();
    }
    objections(layout, &facts, question, &mut against);
    if let Some(locks) = Some(locks_of(&forecasts, layout))
        .filter(|locks| locks * 100 >= capacity * budget::WARN_PERCENT)
    {
        against.push(format!(
            "in two years a statement that opens all leaves takes {locks} of the server's \
             {capacity} locks: {}",
            budget::raise(question.server, locks)
        ));
    }
    Advice {
        next: next(layout, &facts, question),
        layout,
        hash_partitions: hash,
        reasons,
        against,
        rows_in_two_years: facts.future,
        rows_a_month: facts.monthly,
        forecasts,
    }
}

impl Facts {
    fn of(question: &Question<'_>) -> Self {
        let workload = question.workload;
        let rows = workload.map_or(0, |workload| workload.rows);
        let monthly = workload.map_or(0, |workload| monthly(workload, question.server.month()));
        let shares = workload.map(|workload| &workload.contexts[..]).unwrap_or_default();
        let named = question
            .contexts
            .iter()
            .filter(|name| !shares.iter().any(|share| share.name == **name));
        let contexts = shares.len() + named.count();
        let counted: u64 = shares.iter().map(|share| share.rows).sum();
        let largest = shares.iter().map(|share| share.rows).max().unwrap_or(0);
        let of = |name: &str| question.keeps.of(Some(name));
        let mut times: Vec<_> = shares.iter().map(|share| of(&share.name)).collect();
        times.extend(question.contexts.iter().map(|name| of(name)));
        let retained = question.keeps.all.is_some()
            || times.iter().any(Option::is_some)
            || question.keeps.contexts.values().any(Option::is_some);
        Self {
            rows,
            monthly,
            future: rows.saturating_add(monthly.saturating_mul(forecast::MONTHS)),
            contexts: u64::try_from(contexts).unwrap_or(u64::MAX),
            largest: (largest * 100).checked_div(counted).unwrap_or(0),
            differing: times.windows(2).any(|two| two[0] != two[1]),
            retained,
        }
    }

    fn is_small(&self) -> bool {
        self.future < SMALL
    }

    fn is_even(&self) -> bool {
        self.contexts >= 2 && self.largest < DOMINANT_PERCENT
    }
}

/// How many events come in a month: the average of the last three that are over, of those that
/// there are; of a store in its first month, that one.
fn monthly(workload: &Workload, current: Month) -> u64 {
    let over: Vec<u64> = (1..=3)
        .map(|ago| current.plus(-ago))
        .filter(|month| workload.months.first().is_some_and(|first| first.month <= *month))
        .map(|month| {
            let found = workload.months.iter().find(|rows| rows.month == month);
            found.map_or(0, |found| found.rows)
        })
        .collect();
    if over.is_empty() {
        let now = workload.months.iter().find(|rows| rows.month == current);
        return now.map_or(0, |now| now.rows);
    }
    let count = u64::try_from(over.len()).unwrap_or(1);
    over.iter().sum::<u64>() / count
}

/// What is said of a number of events.
fn events(number: u64) -> String {
    match number {
        0..=9_999 => format!("{number} events"),
        10_000..=9_999_999 => format!("{} thousand events", number / 1000),
        _ => format!("{} million events", number / 1_000_000),
    }
}

fn choose(facts: &Facts, question: &Question<'_>, reasons: &mut Vec<String>) -> PartitionBy {
    let reads = question.workload.and_then(|workload| workload.queries);
    let future = events(facts.future);
    if facts.retained {
        reasons.push(
            "pupctl.toml says how long events stay: a month that is over leaves at once, and \
             nothing has to be deleted and vacuumed"
                .to_owned(),
        );
        if facts.differing {
            reasons
                .push("contexts have different times, so each needs months of its own".to_owned());
            return PartitionBy::ContextMonth;
        }
        if facts.monthly > LEAF_MAX {
            reasons.push(format!(
                "a month has {}: a leaf of more than {} takes long to archive and to restore",
                events(facts.monthly),
                events(LEAF_MAX)
            ));
            if facts.is_even() {
                return PartitionBy::ContextMonth;
            }
            return PartitionBy::HashMonth;
        }
        if facts.contexts > 1 {
            reasons.push(
                "all contexts have the same time, so one leaf a month is enough for them"
                    .to_owned(),
            );
        }
        return PartitionBy::Month;
    }
    reasons
        .push("no retention is set: nothing leaves by its age, so nothing needs months".to_owned());
    if facts.rows == 0 {
        reasons.push(
            "there are no events yet: a store can be divided later, while it is used".to_owned(),
        );
        return PartitionBy::None;
    }
    if facts.is_small() {
        reasons.push(format!(
            "{future} in two years are few: below {} dividing saves nothing that a reader could \
             measure",
            events(SMALL)
        ));
        reads_by_aggregate(reads, reasons);
        return PartitionBy::None;
    }
    reasons.push(format!("{future} in two years: indexes and vacuums are smaller in pieces"));
    if facts.is_even() {
        reasons.push(format!(
            "{} contexts, the largest with {} % of the events: each is vacuumed, moved and \
             archived by itself",
            facts.contexts, facts.largest
        ));
        if part(facts.future, facts.largest) > LEAF_MAX {
            reasons.push(format!(
                "the largest context alone has more than {}, which a hash divides",
                events(LEAF_MAX)
            ));
            return PartitionBy::ContextHash;
        }
        return PartitionBy::Context;
    }
    if facts.contexts >= 2 {
        reasons.push(format!(
            "one context has {} % of the events: dividing by context leaves it as large as it is",
            facts.largest
        ));
    }
    reads_by_aggregate(reads, reasons);
    PartitionBy::Hash
}

fn reads_by_aggregate(reads: Option<Queries>, reasons: &mut Vec<String>) {
    let Some(reads) = reads.filter(|reads| reads.calls > 0) else { return };
    let share = percent(reads.by_aggregate, reads.calls);
    if share >= MOSTLY_PERCENT {
        reasons.push(format!(
            "{share} % of the reads are of one aggregate, which an index finds in any layout"
        ));
    }
}

fn percent(part: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(part) * 100 / u128::from(whole.max(1))).unwrap_or(100)
}

/// What speaks against a layout, on this store.
fn objections(
    layout: PartitionBy,
    facts: &Facts,
    question: &Question<'_>,
    against: &mut Vec<String>,
) {
    let reads = question.workload.and_then(|workload| workload.queries);
    let share = |of: fn(&Queries) -> u64| {
        reads.filter(|reads| reads.calls > 0).map(|reads| percent(of(&reads), reads.calls))
    };
    let has = |word: &str| layout.as_str().split(',').any(|level| level == word);
    if has("month") {
        against.push(
            "versions of an aggregate lie in several leaves: the guard takes a part of the \
             throughput of appends (a quarter to a half of what a core does)"
                .to_owned(),
        );
        if let Some(share) = share(|reads| reads.by_aggregate).filter(|s| *s >= MOSTLY_PERCENT) {
            against.push(format!(
                "{share} % of the reads are of one aggregate: each looks into every month, unless \
                 it compares created_at, or is made by pupctl's store"
            ));
        }
        if facts.is_small() {
            against.push(format!(
                "with {} in two years deleting every night would do as well, if nothing is \
                 to be archived",
                events(facts.future)
            ));
        }
    }
    if has("context") {
        if let Some(share) = share(|reads| reads.with_context).filter(|s| *s < MOSTLY_PERCENT) {
            against.push(format!(
                "only {share} % of the reads compare bounded_context: the others open every leaf"
            ));
        }
        against.push(
            "a new context needs a partition before its first event: pupctl contexts add"
                .to_owned(),
        );
    }
    if layout == PartitionBy::HashMonth {
        against.push(
            "every month leaves in as many pieces as there are hash partitions, and a read by time \
             opens all of them"
                .to_owned(),
        );
    } else if has("hash") {
        against.push(
            "nothing leaves by itself: archiving one hash partition has no use, and reads without \
             the aggregate open all of them"
                .to_owned(),
        );
    }
    if layout == PartitionBy::None && facts.rows > 0 {
        if facts.contexts >= 2 {
            against.push(
                "contexts cannot be archived, moved or dropped by themselves: if that is wanted, \
                 choose context"
                    .to_owned(),
            );
        }
        if let Some(share) = share(|reads| reads.by_time).filter(|s| *s >= MOSTLY_PERCENT) {
            against.push(format!(
                "{share} % of the reads are by time: the BRIN index on created_at serves them, \
                 months would do it better"
            ));
        }
    }
}

/// A layout with fewer leaves that keeps the months; none where contexts are needed for them.
fn without_contexts(layout: PartitionBy, differing: bool) -> Option<PartitionBy> {
    match layout {
        PartitionBy::ContextMonth | PartitionBy::HashMonth if !differing => {
            Some(PartitionBy::Month)
        }
        PartitionBy::ContextHash => Some(PartitionBy::Hash),
        _ => None,
    }
}

/// So many that no leaf is large: a power of two, from which a store can be divided further. Below
/// months a few do, since they multiply; else up to 64, and 16 (the default of
/// `--hash-partitions`) where anything will do.
fn hash_partitions(layout: PartitionBy, facts: &Facts) -> Option<u32> {
    let wanted = match layout {
        PartitionBy::Hash => facts.future.div_ceil(SMALL).max(16),
        PartitionBy::ContextHash => part(facts.future, facts.largest).div_ceil(SMALL).max(4),
        PartitionBy::HashMonth => facts.monthly.div_ceil(LEAF_MAX).max(2),
        _ => return None,
    };
    u32::try_from(wanted.next_power_of_two().min(64)).ok()
}

/// So many percent of a number.
fn part(number: u64, percent: u64) -> u64 {
    number.saturating_mul(percent) / 100
}

fn forecasts(question: &Question<'_>, facts: &Facts) -> Vec<Forecast> {
    PartitionBy::ALL
        .into_iter()
        .map(|layout| {
            let hash = hash_partitions(layout, facts).unwrap_or(1);
            forecast(question, layout, hash, facts.monthly)
        })
        .collect()
}

fn locks_of(forecasts: &[Forecast], layout: PartitionBy) -> usize {
    let found = forecasts.iter().find(|forecast| forecast.layout == layout.as_str());
    found.map_or(0, |forecast| forecast.locks)
}

fn next(layout: PartitionBy, facts: &Facts, question: &Question<'_>) -> Next {
    if question.workload.is_none() {
        return Next::Init;
    }
    match question.current {
        Some(current) if current == layout => {
            if question.known {
                Next::Stay
            } else {
                Next::Baseline
            }
        }
        Some(PartitionBy::None) | None => {
            let minutes = |rate: u64| facts.rows.div_ceil(rate).div_ceil(60).max(1);
            let copies = (minutes(COPIES.1), minutes(COPIES.0));
            let can_attach = layout == PartitionBy::Month
                || (facts.contexts == 1
                    && matches!(layout, PartitionBy::Context | PartitionBy::ContextMonth));
            if can_attach && copies.1 > COPY_MINUTES_MAX {
                let reads = minutes(READS);
                let (minutes_from, minutes_to) = (reads, reads * 3);
                return Next::Convert { strategy: Strategy::Attach, minutes_from, minutes_to };
            }
            let (minutes_from, minutes_to) = copies;
            Next::Convert { strategy: Strategy::Copy, minutes_from, minutes_to }
        }
        Some(_) => Next::Copy,
    }
}

#[cfg(test)]
mod tests;
