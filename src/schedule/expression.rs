//! A cron expression that means what it means in a crontab, reckoned by the crate `cron`.
//!
//! The crate wants seconds, counts Sunday as 1, and a day has to fit both its fields. In a crontab
//! it has to fit one of them, unless one begins with `*`. So an expression becomes one of the
//! crate's schedules, or two of which the earlier time counts.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, Utc};
use cron::Schedule;

use crate::error::{Error, Result};

use super::field::{Field, Unit};

/// Times of day in no zone yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    text: String,
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    weekdays: Field,
    schedules: Vec<Schedule>,
}

/// The short names, and what they stand for.
const NAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

impl FromStr for Expression {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let given = text.trim();
        let refuse = |why: String| {
            Error::invalid(format!("the cron expression `{given}` cannot be read: {why}")).hint(
                "minute, hour, day of the month, month, day of the week: \"17 3 * * mon-fri\"",
            )
        };
        let long = if given.starts_with('@') { long_form(given).map_err(refuse)? } else { given };
        let parts: Vec<&str> = long.split_ascii_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = parts.as_slice() else {
            let seconds = if parts.len() > 5 { ", without seconds and years" } else { "" };
            return Err(refuse(format!("it has {} fields, not five{seconds}", parts.len())));
        };
        let field = |unit, text| Field::parse(unit, text).map_err(refuse);
        let mut expression = Self {
            text: if given.starts_with('@') { given.to_owned() } else { parts.join(" ") },
            minutes: field(Unit::Minute, minutes)?,
            hours: field(Unit::Hour, hours)?,
            days: field(Unit::Day, days)?,
            months: field(Unit::Month, months)?,
            weekdays: field(Unit::Weekday, weekdays)?,
            schedules: Vec::new(),
        };
        expression.schedules = expression.translated().map_err(refuse)?;
        match expression.next_local(NaiveDateTime::default()) {
            Some(_) => Ok(expression),
            None => Err(Error::invalid(format!("the cron expression `{given}` never fires"))
                .hint("no such day is in any of its months")),
        }
    }
}

fn long_form(name: &str) -> Result<&'static str, String> {
    if name == "@reboot" {
        return Err("@reboot is no time".to_owned());
    }
    let found = NAMES.iter().find(|(known, _)| *known == name);
    found.map(|(_, long)| *long).ok_or_else(|| {
        let known: Vec<_> = NAMES.iter().map(|(known, _)| *known).collect();
        format!("the short names are {}", known.join(", "))
    })
}

impl Expression {
    /// Whether a day may fit either of its two fields.
    #[must_use]
    pub fn joins_days_with_or(&self) -> bool {
        !self.days.is_starred() && !self.weekdays.is_starred()
    }

    /// Whether the minute or the hour begins with `*`: such jobs follow the clock when it is set
    /// forth and back, others are made up, and not repeated.
    #[must_use]
    pub fn is_wild(&self) -> bool {
        self.minutes.is_starred() || self.hours.is_starred()
    }

    /// The field of a unit.
    #[must_use]
    pub fn field(&self, unit: Unit) -> &Field {
        match unit {
            Unit::Minute => &self.minutes,
            Unit::Hour => &self.hours,
            Unit::Day => &self.days,
            Unit::Month => &self.months,
            Unit::Weekday => &self.weekdays,
        }
    }

    /// The first time after another one, by a clock that is never set.
    #[must_use]
    pub fn next_local(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let after: DateTime<Utc> = after.and_utc();
        let times = self.schedules.iter().filter_map(|schedule| schedule.after(&after).next());
        times.min().map(|time| time.naive_utc())
    }

    /// The schedules of the crate that are the same together.
    fn translated(&self) -> Result<Vec<Schedule>, String> {
        let list = |field: &Field| if field.is_full() { "*".to_owned() } else { numbers(field, 0) };
        let days = list(&self.days);
        // The crate counts from Sunday as 1.
        let weekdays =
            if self.weekdays.is_full() { "*".to_owned() } else { numbers(&self.weekdays, 1) };
        let joined = |days: &str, weekdays: &str| {
            let (minutes, hours) = (numbers(&self.minutes, 0), numbers(&self.hours, 0));
            let text = format!("0 {minutes} {hours} {days} {} {weekdays}", list(&self.months));
            text.parse::<Schedule>().map_err(|error| error.to_string())
        };
        if self.joins_days_with_or() {
            return Ok(vec![joined(&days, "*")?, joined("*", &weekdays)?]);
        }
        Ok(vec![joined(&days, &weekdays)?])
    }
}

fn numbers(field: &Field, added: u32) -> String {
    let numbers = field.values().iter().map(|value| (value + added).to_string());
    numbers.collect::<Vec<_>>().join(",")
}

/// As it was written, with single spaces.
impl fmt::Display for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}
