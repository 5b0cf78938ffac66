//! Numbers as a page tells them.

use chrono::{DateTime, Utc};

use crate::overview::growth::MonthTotal;
use crate::overview::{Overview, Totals};
use crate::projection::control::lag::Lag;
use crate::projection::control::status::{ProjectionStatus, State};

/// `1,234,567`.
pub(super) fn number(number: impl ToString + Copy) -> String {
    let digits = number.to_string();
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |rest| ("-", rest));
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{sign}{text}")
}

/// `1.2 k`, `34 M`, for axes.
pub(super) fn compact(number: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    let Some((factor, unit)) = UNITS.into_iter().find(|(factor, _)| number >= *factor) else {
        return number.to_string();
    };
    let tenths = number / (factor / 10);
    match tenths % 10 {
        0 => format!("{} {unit}", tenths / 10),
        rest => format!("{}.{rest} {unit}", tenths / 10),
    }
}

/// A time, to the minute.
pub(super) fn minute(at: DateTime<Utc>) -> String {
    at.format("%F %H:%M UTC").to_string()
}

/// How many rows, as far as anybody knows.
pub(super) fn rows(totals: &Totals) -> String {
    if totals.leaves > 0 && totals.uncounted == totals.leaves {
        return "unknown".to_owned();
    }
    number(totals.rows)
}

/// From the first month with events to the last.
pub(super) fn span(overview: &Overview) -> String {
    // What nobody has counted may hold events, unless it is to come.
    let uncounted = overview.totals.uncounted > 0;
    let may_have = |total: &MonthTotal| {
        let is_over = uncounted && total.leaves > 0 && total.month <= overview.month;
        total.rows > 0 || total.archived + total.detached > 0 || is_over
    };
    let mut months = overview.months.iter().filter(|total| may_have(total));
    let Some(first) = months.next() else { return "–".to_owned() };
    let last = months.next_back().unwrap_or(first);
    if first.month == last.month {
        return first.month.to_string();
    }
    format!("{} to {}", first.month, last.month)
}

/// The fewest months for which a branch is ready.
pub(super) fn ahead(overview: &Overview) -> String {
    let branches = &overview.months_ahead;
    let Some(fewest) = branches.iter().min_by_key(|one| (one.current, one.ready)) else {
        return "not divided by month".to_owned();
    };
    if !fewest.current {
        return "not even the current one".to_owned();
    }
    format!("{} of {}", fewest.ready, overview.store.months_ahead)
}

/// How many projections have events ahead of them.
pub(super) fn behind(projections: &[ProjectionStatus]) -> usize {
    let is_behind = |one: &&ProjectionStatus| {
        one.lag.map_or(one.lag_positions > 0, |lag| lag.events > 0 || lag.at_least)
    };
    projections.iter().filter(is_behind).count()
}

/// How many events lie ahead.
pub(super) fn events(lag: Option<Lag>) -> String {
    match lag {
        Some(lag) if lag.at_least => format!("{} or more", number(lag.events)),
        Some(lag) => number(lag.events),
        None => "not counted".to_owned(),
    }
}

/// The age of the oldest event ahead.
pub(super) fn age(lag: Option<Lag>) -> String {
    let Some(seconds) = lag.and_then(|lag| lag.seconds) else { return "–".to_owned() };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an age")]
    let seconds = seconds.max(0.0) as u64;
    match seconds {
        0 => "–".to_owned(),
        1..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// How a state is to be shown: `ok`, `warn`, `err` or `soft`.
pub(super) fn tone(state: State) -> &'static str {
    match state {
        State::Running => "ok",
        State::Failing => "err",
        State::Paused | State::Draining => "warn",
        State::Idle | State::Foreign => "soft",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let grouped = [0, 999, 1_000, 1_234_567].map(number);
        assert_eq!(grouped, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(number(-1234), "-1,234");
        assert_eq!([999, 1_000, 1_250, 20_000_000].map(compact), ["999", "1 k", "1.2 k", "20 M"]);
    }
}
