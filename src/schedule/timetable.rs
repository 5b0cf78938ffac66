//! An expression in a time zone: the instants at which it is due.
//!
//! Where the clock is set forth or back, it is as cron treats it. A job at a fixed time that falls
//! into the hour that is left out runs right after it, and one in the hour that comes twice runs
//! the first time. A job with `*` in its minute or hour follows the clock: not at all in the hour
//! that is left out, and both times in the one that comes twice.

use chrono::{DateTime, Duration, MappedLocalTime, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Tz;

use super::Expression;
use super::zone::{first_at_or_past, instants};

/// No clock was ever set back by more: by a day, where the date line moved.
const SET_BACK_MAX: Duration = Duration::hours(25);

/// When a job is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timetable {
    /// The times of day.
    pub expression: Expression,
    /// Whose times they are.
    pub zone: Tz,
}

impl Timetable {
    /// The first instant after another one. None only beyond the year 2100.
    #[must_use]
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = self.zone.from_utc_datetime(&after.naive_utc()).naive_local();
        let later = self.candidates(local).find_map(|time| self.due_at(time, after));
        // The times that come twice lie behind the clock of their first time.
        let again = match instants(self.zone, local) {
            MappedLocalTime::Ambiguous(..) if self.expression.is_wild() => self.again(local, after),
            _ => None,
        };
        later.into_iter().chain(again).min()
    }

    /// The times of the expression after a time of the clock.
    fn candidates(&self, after: NaiveDateTime) -> impl Iterator<Item = NaiveDateTime> {
        std::iter::successors(self.expression.next_local(after), |last| {
            self.expression.next_local(*last)
        })
    }

    /// The first instant of a time of the clock that lies after another one.
    fn due_at(&self, local: NaiveDateTime, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let is_later = |instant: &DateTime<Utc>| *instant > after;
        if !self.expression.is_wild() {
            return first_at_or_past(self.zone, local).filter(is_later);
        }
        match instants(self.zone, local) {
            MappedLocalTime::Single(at) => Some(at).filter(is_later),
            MappedLocalTime::Ambiguous(first, second) => [first, second].into_iter().find(is_later),
            MappedLocalTime::None => None,
        }
    }

    /// The first time that the clock shows once more.
    fn again(&self, local: NaiveDateTime, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let from = local - SET_BACK_MAX;
        let earlier = self.candidates(from).take_while(|time| *time <= local);
        let second = |time| match instants(self.zone, time) {
            MappedLocalTime::Ambiguous(_, second) => Some(second).filter(|at| *at > after),
            _ => None,
        };
        earlier.into_iter().find_map(second)
    }
}
