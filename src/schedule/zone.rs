//! Time zones: what the clock on the wall shows, and when.

use chrono::{DateTime, Duration, MappedLocalTime, NaiveDateTime, TimeZone, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};

use crate::error::{Error, Result};

/// The longest stretch of time that a zone ever skipped: a whole day, where the date line moved.
const SKIPPED_MINUTES_MAX: usize = 25 * 60;

/// Reads a name of the IANA database, such as `Europe/Berlin`.
pub fn parse(name: &str) -> Result<Tz> {
    name.parse().map_err(|_| {
        let error = Error::invalid(format!("there is no time zone `{name}`"));
        match super::nearest(name, TZ_VARIANTS.iter().map(|zone| zone.name())) {
            Some(near) => error.hint(format!("did you mean {near}?")),
            None => error.hint("write a name of the IANA database: \"Europe/Berlin\" or \"UTC\""),
        }
    })
}

/// The instants at which the clock shows a time: none where it is set forth, two where it is set
/// back.
#[must_use]
pub fn instants(zone: Tz, local: NaiveDateTime) -> MappedLocalTime<DateTime<Utc>> {
    zone.from_local_datetime(&local).map(|time| time.to_utc())
}

/// The first instant at which the clock shows this time, or has left it out.
#[must_use]
pub fn first_at_or_past(zone: Tz, local: NaiveDateTime) -> Option<DateTime<Utc>> {
    let mut minutes = (0..SKIPPED_MINUTES_MAX).scan(local, |time, _| {
        let this = *time;
        *time += Duration::minutes(1);
        Some(this)
    });
    minutes.find_map(|time| instants(zone, time).earliest())
}
