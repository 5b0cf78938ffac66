//! The months of each context, side by side: how large each is, and what became of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::cli::output::{bytes, count};
use crate::layout::month::Month;
use crate::overview::Overview;
use crate::overview::growth::MonthTotal;
use crate::overview::partitions::{Absence, State};

use super::scale::{Scale, Tick};
use super::words;

/// How many rows are shown; the rest is one more.
const ROWS_MAX: usize = 60;

/// The shades that a size may have.
const SHADES: f64 = 5.0;

#[derive(Debug, Serialize)]
pub(super) struct Timeline {
    /// What a column is.
    pub(super) a_unit: &'static str,
    /// The width of all columns; 0 where nothing is known of months.
    pub(super) width: i32,
    pub(super) ticks: Vec<Tick>,
    /// Where years are left out.
    pub(super) holes: Vec<i32>,
    /// Where the current month is.
    pub(super) now: Option<i32>,
    pub(super) column: i32,
    pub(super) rows: Vec<Row>,
    /// What the shade means.
    pub(super) shade: &'static str,
    pub(super) kinds: Kinds,
}

/// Which kinds of cells there are, for the legend.
#[derive(Debug, Default, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is one entry of the legend")]
pub(super) struct Kinds {
    closed: bool,
    future: bool,
    missing: bool,
    archived: bool,
    detached: bool,
    pending: bool,
    estimated: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) words: String,
    pub(super) leaves: String,
    pub(super) events: String,
    pub(super) size: String,
    pub(super) cells: Vec<Cell>,
}

#[derive(Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is one mark")]
pub(super) struct Cell {
    pub(super) x: i32,
    /// How it is filled.
    pub(super) class: &'static str,
    pub(super) words: String,
    /// What is drawn on it.
    pub(super) closed: bool,
    pub(super) missing: bool,
    pub(super) pending: bool,
    pub(super) left: bool,
}

/// All that falls into one cell.
#[derive(Debug, Default)]
struct Sum {
    rows: u64,
    bytes: u64,
    leaves: usize,
    estimated: bool,
    closed: usize,
    future: usize,
    pending: usize,
    missing: usize,
    detached: usize,
    archived: usize,
}

/// All that falls into one row.
#[derive(Debug, Default)]
struct Line {
    leaves: usize,
    rows: u64,
    counted: bool,
    bytes: u64,
    cells: BTreeMap<i32, Sum>,
}

impl Line {
    fn add(&mut self, other: Self) {
        self.leaves += other.leaves;
        self.rows += other.rows;
        self.counted |= other.counted;
        self.bytes += other.bytes;
        for (column, cell) in other.cells {
            let sum = self.cells.entry(column).or_default();
            sum.rows += cell.rows;
            sum.bytes += cell.bytes;
            sum.leaves += cell.leaves;
            sum.estimated |= cell.estimated;
            sum.closed += cell.closed;
            sum.future += cell.future;
            sum.pending += cell.pending;
            sum.missing += cell.missing;
            sum.detached += cell.detached;
            sum.archived += cell.archived;
        }
    }
}

pub(super) fn timeline(overview: &Overview) -> Timeline {
    let scale = Scale::of(&used(overview));
    let lines = at_most(lines(overview, scale.as_ref()));
    // What nobody has counted would look empty.
    let totals = &overview.totals;
    let by_rows = totals.rows > 0 && totals.uncounted * 2 < totals.leaves;
    let weight = |sum: &Sum| if by_rows { sum.rows } else { sum.bytes };
    let all = || lines.iter().flat_map(|(_, line)| line.cells.values());
    let most = all().map(weight).max().unwrap_or(0);
    let shown = |(name, line): &(String, Line)| {
        row(name, line, scale.as_ref(), &|sum| shade(weight(sum), most))
    };
    let any = |is: &dyn Fn(&Sum) -> bool| all().any(is);
    Timeline {
        a_unit: scale.as_ref().map_or("", Scale::a_unit),
        width: scale.as_ref().map_or(0, |scale| scale.columns * scale.width),
        ticks: scale.as_ref().map_or_else(Vec::new, |scale| scale.ticks(f64::from(scale.width))),
        holes: scale.as_ref().map_or_else(Vec::new, |scale| {
            scale.holes().into_iter().map(|hole| hole * scale.width).collect()
        }),
        now: scale.as_ref().and_then(|scale| Some(scale.column(overview.month)? * scale.width)),
        column: scale.as_ref().map_or(0, |scale| scale.width),
        rows: lines.iter().map(shown).collect(),
        shade: if by_rows { "events (estimated)" } else { "bytes" },
        kinds: Kinds {
            closed: any(&|sum| sum.closed > 0),
            future: any(&|sum| is_future(sum)),
            missing: any(&|sum| sum.missing > 0),
            archived: any(&|sum| sum.archived > 0),
            detached: any(&|sum| sum.detached > 0),
            pending: any(&|sum| sum.pending > 0),
            estimated: any(&|sum| sum.estimated),
        },
    }
}

/// The months in which there is something, or should be.
pub(super) fn used(overview: &Overview) -> BTreeSet<Month> {
    let is_used = |total: &&MonthTotal| {
        total.rows > 0 || total.leaves + total.archived + total.detached + total.missing > 0
    };
    overview.months.iter().filter(is_used).map(|total| total.month).collect()
}

fn lines(overview: &Overview, scale: Option<&Scale>) -> BTreeMap<String, Line> {
    let name = |context: &Option<String>, share: &Option<String>| {
        context.clone().or_else(|| share.clone()).unwrap_or_else(|| "All events".to_owned())
    };
    let mut lines: BTreeMap<String, Line> = BTreeMap::new();
    for leaf in &overview.partitions {
        let line = lines.entry(name(&leaf.context, &leaf.share)).or_default();
        let size = leaf.table_bytes + leaf.index_bytes;
        line.leaves += 1;
        line.rows += leaf.rows.unwrap_or(0);
        line.counted |= leaf.rows.is_some();
        line.bytes += size;
        let Some(scale) = scale else { continue };
        for share in &leaf.estimated_months {
            let Some(column) = scale.column(share.month) else { continue };
            let sum = line.cells.entry(column).or_default();
            (sum.rows, sum.bytes) = (sum.rows + share.rows, sum.bytes + share.bytes);
            sum.estimated = true;
            sum.pending += usize::from(leaf.state == State::DetachPending);
        }
        let Some(column) = leaf.month.and_then(|month| scale.column(month)) else { continue };
        let sum = line.cells.entry(column).or_default();
        sum.leaves += 1;
        (sum.rows, sum.bytes) = (sum.rows + leaf.rows.unwrap_or(0), sum.bytes + size);
        match leaf.state {
            State::Closed => sum.closed += 1,
            State::Future => sum.future += 1,
            State::DetachPending => sum.pending += 1,
            State::Undated | State::Past | State::Current => {}
        }
    }
    for one in &overview.absent {
        let line = lines.entry(name(&one.context, &one.share)).or_default();
        let column = scale.zip(one.month).and_then(|(scale, month)| scale.column(month));
        let Some(column) = column else { continue };
        let sum = line.cells.entry(column).or_default();
        match one.absence {
            Absence::Missing => sum.missing += 1,
            Absence::Detached => sum.detached += 1,
            Absence::Archived => sum.archived += 1,
        }
    }
    lines
}

/// The largest, in the order of their names, and all others together.
fn at_most(lines: BTreeMap<String, Line>) -> Vec<(String, Line)> {
    let mut lines: Vec<_> = lines.into_iter().collect();
    if lines.len() <= ROWS_MAX {
        // `share 10 of 16` behind `share 9 of 16`.
        lines.sort_by_cached_key(|(name, _)| {
            (name.len() * usize::from(is_share(name)), name.clone())
        });
        return lines;
    }
    lines.sort_by_key(|(_, line)| std::cmp::Reverse(line.bytes));
    let others = lines.split_off(ROWS_MAX);
    let name = format!("{} others", words::number(others.len()));
    lines.sort_by(|one, other| one.0.cmp(&other.0));
    let mut rest = Line::default();
    for (_, line) in others {
        rest.add(line);
    }
    lines.push((name, rest));
    lines
}

fn is_share(name: &str) -> bool {
    name.starts_with("share ")
}

fn row(name: &str, line: &Line, scale: Option<&Scale>, shade: &dyn Fn(&Sum) -> usize) -> Row {
    let cells = scale.map_or_else(Vec::new, |scale| {
        let one = |(column, sum): (&i32, &Sum)| cell(scale, *column, sum, shade(sum));
        line.cells.iter().map(one).collect()
    });
    let leaves = count(line.leaves, "leaf").replace("leafs", "leaves");
    let events = if line.counted { words::number(line.rows) } else { "–".to_owned() };
    let of = |what: &dyn Fn(&Sum) -> usize| line.cells.values().map(what).sum::<usize>();
    let mut facts = vec![leaves, format!("{events} events"), bytes(line.bytes)];
    let states = [
        (of(&|sum| sum.closed), "closed"),
        (of(&|sum| sum.archived), "archived"),
        (of(&|sum| sum.detached), "detached"),
        (of(&|sum| sum.missing), "missing"),
        (of(&|sum| sum.pending), "being detached"),
    ];
    facts.extend(states.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")));
    Row {
        name: name.to_owned(),
        words: format!("{name}: {}", facts.join(", ")),
        leaves: words::number(line.leaves),
        events,
        size: bytes(line.bytes),
        cells,
    }
}

fn is_future(sum: &Sum) -> bool {
    sum.leaves > 0 && sum.future == sum.leaves && sum.rows == 0
}

fn cell(scale: &Scale, column: i32, sum: &Sum, shade: usize) -> Cell {
    const CLASSES: [&str; 6] = ["s0", "s1", "s2", "s3", "s4", "s5"];
    let there = sum.leaves > 0 || sum.estimated;
    let class = match sum {
        _ if is_future(sum) => "future",
        _ if there => CLASSES[shade.min(5)],
        _ if sum.missing > 0 => "missing",
        _ if sum.archived > 0 => "archived",
        _ => "detached",
    };
    let mut facts = Vec::new();
    if there {
        let about = if sum.estimated { "about " } else { "" };
        facts.push(format!("{about}{} events, {}", words::number(sum.rows), bytes(sum.bytes)));
    }
    let states = [
        (sum.closed, "closed"),
        (sum.future, "to come"),
        (sum.archived, "archived"),
        (sum.detached, "detached"),
        (sum.missing, "missing"),
        (sum.pending, "being detached"),
    ];
    let all = sum.leaves + sum.archived + sum.detached + sum.missing;
    for (number, word) in states.into_iter().filter(|(number, _)| *number > 0) {
        let word = if all > 1 { format!("{number} of {all} {word}") } else { word.to_owned() };
        facts.push(word);
    }
    Cell {
        x: column * scale.width,
        class,
        words: format!("{}: {}", scale.label(column), facts.join(", ")),
        closed: sum.closed > 0,
        missing: sum.missing > 0,
        pending: sum.pending > 0,
        left: there && sum.archived + sum.detached > 0,
    }
}

/// Which of the shades a size has: the area of a square of it, so that small ones are seen too.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a shade"
)]
fn shade(weight: u64, most: u64) -> usize {
    if weight == 0 || most == 0 {
        return 0;
    }
    ((weight as f64 / most as f64).sqrt() * SHADES).ceil().clamp(1.0, SHADES) as usize
}
