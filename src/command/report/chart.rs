//! Bars by month.

use serde::Serialize;

use crate::cli::output::bytes;
use crate::overview::Overview;
use crate::overview::growth::MonthTotal;

use super::scale::{Scale, Tick};
use super::timeline::used;
use super::words;

/// The size of the area of the bars, in pixels.
const WIDTH: i32 = 540;
const HEIGHT: i32 = 132;

/// The width of a label.
const LABEL: i32 = 28;

#[derive(Debug, Serialize)]
pub(super) struct Chart {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) words: String,
    pub(super) width: i32,
    pub(super) height: i32,
    pub(super) bar: String,
    pub(super) bars: Vec<Bar>,
    pub(super) lines: Vec<Gridline>,
    pub(super) ticks: Vec<Tick>,
    /// Where years are left out.
    pub(super) holes: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Bar {
    pub(super) x: String,
    pub(super) y: String,
    pub(super) height: String,
    pub(super) words: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Gridline {
    pub(super) y: i32,
    pub(super) label: String,
}

/// The events and the bytes of every month; none where nothing is known of months.
pub(super) fn charts(overview: &Overview) -> Vec<Chart> {
    let Some(scale) = Scale::of(&used(overview)) else { return Vec::new() };
    let events = sums(overview, &scale, &|total| total.rows);
    let sizes = sums(overview, &scale, &|total| total.bytes);
    let most_events = ceiling(events.iter().copied().max().unwrap_or(0), 1);
    let largest = sizes.iter().copied().max().unwrap_or(0);
    let unit = 1_u64 << (largest.max(1).ilog2() / 10 * 10);
    let most_bytes = ceiling(largest, unit);
    let count = |events: u64| format!("{} events", words::number(events));
    vec![
        chart("events", "Events", &scale, &events, (most_events, &words::compact, &count)),
        chart("bytes", "Size with indexes", &scale, &sizes, (most_bytes, &bytes, &bytes)),
    ]
}

fn sums(overview: &Overview, scale: &Scale, value: &dyn Fn(&MonthTotal) -> u64) -> Vec<u64> {
    let mut sums = vec![0; usize::try_from(scale.columns).unwrap_or(0)];
    for total in &overview.months {
        let column = scale.column(total.month).and_then(|column| usize::try_from(column).ok());
        if let Some(sum) = column.and_then(|column| sums.get_mut(column)) {
            *sum += value(total);
        }
    }
    sums
}

/// The end of the axis, how it is labelled, and how a bar is told.
type Axis<'a> = (u64, &'a dyn Fn(u64) -> String, &'a dyn Fn(u64) -> String);

fn chart(
    id: &'static str,
    title: &'static str,
    scale: &Scale,
    values: &[u64],
    (most, label, told): Axis<'_>,
) -> Chart {
    let columns = f64::from(scale.columns);
    let step = (f64::from(WIDTH) / columns).min(40.0);
    let bar = |(column, &value): (usize, &u64)| {
        let height = height(value, most);
        let number = i32::try_from(column).unwrap_or(0);
        Bar {
            x: format!("{:.1}", f64::from(number) * step),
            y: format!("{:.1}", f64::from(HEIGHT) - height),
            height: format!("{height:.1}"),
            words: format!("{}: {}", scale.label(number), told(value)),
        }
    };
    let has_any = |(_, value): &(usize, &u64)| **value > 0;
    let peak = values.iter().enumerate().max_by_key(|(_, value)| **value);
    let peak = peak.map_or_else(String::new, |(column, value)| {
        format!(", at most {} in {}", told(*value), scale.label(i32::try_from(column).unwrap_or(0)))
    });
    let line = |part: u64| Gridline {
        y: HEIGHT - HEIGHT / 2 * i32::try_from(part).unwrap_or(0),
        label: label(most / 2 * part),
    };
    Chart {
        id,
        title,
        words: format!("{title}, a column for {}{peak}", scale.a_unit()),
        width: WIDTH,
        height: HEIGHT,
        bar: format!("{:.1}", (step * 0.8).max(1.0)),
        bars: values.iter().enumerate().filter(has_any).map(bar).collect(),
        lines: (0..=2).map(line).collect(),
        holes: scale
            .holes()
            .into_iter()
            .map(|hole| format!("{:.1}", (f64::from(hole) + 0.5) * step))
            .collect(),
        // The last one would not have the room.
        ticks: scale.ticks(step).into_iter().filter(|tick| tick.x < WIDTH - LABEL).collect(),
    }
}

/// A round number at or above this one, that can be halved; in this unit.
fn ceiling(value: u64, unit: u64) -> u64 {
    let wanted = value.div_ceil(unit).max(2);
    let mut power = 1_u64;
    loop {
        for digit in [1, 2, 4, 6, 8, 10] {
            let round = digit * power;
            if round >= wanted && round >= 2 {
                return round.saturating_mul(unit);
            }
        }
        let Some(next) = power.checked_mul(10) else { return u64::MAX };
        power = next;
    }
}

#[expect(clippy::cast_precision_loss, reason = "a height in pixels")]
fn height(value: u64, most: u64) -> f64 {
    let height = f64::from(HEIGHT) * value as f64 / most.max(1) as f64;
    // The smallest is seen too.
    if value > 0 { height.max(1.5) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_number() {
        let round = [0, 1, 2, 3, 11, 250, 999, 1001].map(|value| ceiling(value, 1));
        assert_eq!(round, [2, 2, 2, 4, 20, 400, 1000, 2000]);
        assert_eq!(ceiling(1500, 1024), 2048);
    }
}
