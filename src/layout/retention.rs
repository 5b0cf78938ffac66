//! How long events stay in the store before `archive --expired` takes them out.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Days, Months, Utc};

use crate::error::Error;

/// A time of whole days or months: `90 days`, `6 weeks`, `18 months`, `7 years`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Days.
    Days(u32),
    /// Calendar months.
    Months(u32),
}

impl Retention {
    /// When something is over that ended at `end`; `None` beyond the end of the calendar, so that
    /// it never is.
    #[must_use]
    pub fn expires(self, end: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Days(days) => end.checked_add_days(Days::new(u64::from(days))),
            Self::Months(months) => end.checked_add_months(Months::new(months)),
        }
    }

    /// Whether something that ended at `end` has expired by `now`.
    #[must_use]
    pub fn has_expired(self, end: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        self.expires(end).is_some_and(|expires| expires <= now)
    }
}

impl FromStr for Retention {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::invalid(format!("`{text}` is no time for which events are kept"))
                .hint("write \"90 days\", \"6 weeks\", \"18 months\" or \"7 years\"")
        };
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u32 = text[..end].parse().map_err(|_| wrong())?;
        if number == 0 {
            return Err(wrong());
        }
        let times = |factor: u32| number.checked_mul(factor).ok_or_else(wrong);
        match text[end..].trim() {
            "d" | "day" | "days" => Ok(Self::Days(number)),
            "w" | "week" | "weeks" => Ok(Self::Days(times(7)?)),
            "month" | "months" => Ok(Self::Months(number)),
            "y" | "year" | "years" => Ok(Self::Months(times(12)?)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = match *self {
            Self::Months(months) if months % 12 == 0 => (months / 12, "year"),
            Self::Months(months) => (months, "month"),
            Self::Days(days) => (days, "day"),
        };
        write!(formatter, "{number} {unit}{}", if number == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    #[test]
    fn times_are_calendar_times() {
        let seven: Retention = "7 years".parse().expect("a time");
        assert_eq!(seven.expires(at("2020-03-01T00:00:00Z")), Some(at("2027-03-01T00:00:00Z")));
        assert!(!seven.has_expired(at("2020-03-01T00:00:00Z"), at("2027-02-28T23:59:59Z")));
        assert!(seven.has_expired(at("2020-03-01T00:00:00Z"), at("2027-03-01T00:00:00Z")));
        assert_eq!("90days".parse::<Retention>().expect("a time"), Retention::Days(90));
        assert_eq!("6 weeks".parse::<Retention>().expect("a time").to_string(), "42 days");
        assert_eq!(seven.to_string(), "7 years");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "90", "days", "0 days", "-1 days", "1 fortnight", "9999999999 years"] {
            assert!(text.parse::<Retention>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_lies_beyond_the_calendar_never_expires() {
        let long = Retention::Months(u32::MAX);
        assert!(!long.has_expired(at("2020-03-01T00:00:00Z"), at("9999-01-01T00:00:00Z")));
    }
}
