//! Reads the values of options.

use std::str::FromStr;
use std::time::Duration;

use clap::builder::RangedI64ValueParser;

use crate::error::Error;
use crate::layout::MONTHS_MAX;

/// Reads a value of the library, and tells its hint too when it is wrong.
pub fn value<T: FromStr<Err = Error>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: Error| match error.hint_text() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    })
}

/// Reads how many months to make.
#[must_use]
pub fn months() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(0..i64::from(MONTHS_MAX))
}

/// Reads a time with its unit.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write 500ms, 30s or 2m"))
}
