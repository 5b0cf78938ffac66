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

/// Reads a size with its unit, as the server writes them.
pub fn bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 5] =
        [("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10), ("B", 1)];
    let found = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    let (number, factor) = found.unwrap_or((text, &1));
    let number: Option<u64> = number.trim().parse().ok();
    number
        .and_then(|number| number.checked_mul(*factor))
        .ok_or_else(|| format!("{text} is no size; write 512kB, 64MB or 2GB"))
}
