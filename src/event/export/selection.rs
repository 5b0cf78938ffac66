//! Which events are meant.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, SecondsFormat, Utc};

use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::layout::month::Month;

/// Which events are meant; all conditions must hold. The default means all events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Of these bounded contexts; of all where the list is empty.
    pub contexts: Vec<String>,
    /// Created at this instant or later.
    pub from: Option<Timestamp>,
    /// Created before this instant.
    pub to: Option<Timestamp>,
    /// Only positions above this one.
    pub after_position: Option<i64>,
    /// Only positions up to this one.
    pub up_to_position: Option<i64>,
}

impl Selection {
    /// Refuses conditions that no event can meet.
    pub fn validate(&self) -> Result<()> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from >= to
        {
            return Err(Error::invalid(format!("no time lies from {from} to {to}"))
                .hint("--from is the first instant, --to the first one after the last"));
        }
        if let (Some(after), Some(up_to)) = (self.after_position, self.up_to_position)
            && after >= up_to
        {
            return Err(Error::invalid(format!(
                "no position lies after {after} and up to {up_to}"
            ))
            .hint("--after-position must be less than --up-to-position"));
        }
        Ok(())
    }

    /// Refuses a context that a store divided by context does not know.
    pub fn refuse_unknown_contexts(&self, layout: &Layout) -> Result<()> {
        let unknown = |name: &&String| layout.has_context_level() && layout.context(name).is_none();
        let Some(name) = self.contexts.iter().find(unknown) else { return Ok(()) };
        let known: Vec<_> = layout.contexts.iter().map(|known| known.name.as_str()).collect();
        let list = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Err(Error::invalid(format!("the store knows no context {name}"))
            .detail(format!("it knows {list}"))
            .hint("see pupctl contexts list"))
    }

    /// Whether every event is meant.
    pub(super) fn is_everything(&self) -> bool {
        *self == Self::default()
    }
}

/// An instant as people write it: `2026-11-01T09:30:00Z`, or a day or a month for its beginning
/// in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub DateTime<Utc>);

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = DateTime::parse_from_rfc3339(text).map(|instant| instant.with_timezone(&Utc));
        let day = || Some(text.parse::<NaiveDate>().ok()?.and_time(NaiveTime::MIN).and_utc());
        let month = || text.parse::<Month>().ok().map(Month::start);
        parsed
            .ok()
            .or_else(day)
            .or_else(month)
            .filter(|instant| (1..=9999).contains(&instant.year()))
            .map(Self)
            .ok_or_else(|| {
                Error::invalid(format!("`{text}` is not a time"))
                    .hint("write 2026-11-01T09:30:00Z, or 2026-11-01 or 2026-11 for its beginning")
            })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_months_are_their_beginnings() {
        let told = |text: &str| text.parse::<Timestamp>().map(|at| at.to_string()).ok();
        assert_eq!(told("2026-11").as_deref(), Some("2026-11-01T00:00:00Z"));
        assert_eq!(told("2026-11-05").as_deref(), Some("2026-11-05T00:00:00Z"));
        assert_eq!(
            told("2026-11-05T02:00:00.5+02:00").as_deref(),
            Some("2026-11-05T00:00:00.500Z")
        );
        for wrong in
            ["", "now", "2026", "2026-11-31", "2026-11-05 10:00", "0000-01-01", "+12026-01-01"]
        {
            assert_eq!(told(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn conditions_that_nothing_meets_are_refused() {
        let at = |text: &str| text.parse().ok();
        let time = Selection { from: at("2026-11"), to: at("2026-11"), ..Selection::default() };
        assert!(time.validate().is_err());
        let positions =
            Selection { after_position: Some(5), up_to_position: Some(5), ..Selection::default() };
        assert!(positions.validate().is_err());
        assert!(Selection::default().validate().is_ok());
    }
}
