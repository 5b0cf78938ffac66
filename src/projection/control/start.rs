//! Where a projection begins: a position at and below which nothing can appear any more.

use std::str::FromStr;
use std::time::Duration;

use postgres::Client;

use crate::db::{Interrupt, settled};
use crate::error::{Error, Result};
use crate::finding::holder::Holder;

use super::Tables;

/// Where a projection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// With the first event.
    #[default]
    Beginning,
    /// After all that was written by now.
    End,
    /// After this position.
    After(i64),
}

impl FromStr for Start {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match (text, text.parse::<i64>()) {
            ("start", _) | (_, Ok(0)) => Ok(Self::Beginning),
            ("end", _) => Ok(Self::End),
            (_, Ok(position)) if position > 0 => Ok(Self::After(position)),
            _ => Err(Error::invalid(format!("{text:?} is no position"))
                .hint("write start, end, or the number of a position")),
        }
    }
}

/// The position, once everything at and below it is settled. A checkpoint is evidence for that, so
/// one that came before its events would lose them. `passed` is how far others have proven it.
pub fn settle(
    client: &mut Client,
    tables: &Tables,
    start: Start,
    passed: i64,
    patience: Duration,
    interrupt: &Interrupt,
    on_wait: &mut dyn FnMut(&[Holder]),
) -> Result<i64> {
    let wanted = match start {
        Start::Beginning => return Ok(0),
        Start::After(position) if position <= passed => return Ok(position),
        Start::After(position) => Some(position),
        Start::End => None,
    };
    let end = settled::wait(client, &tables.events, patience, interrupt, on_wait)?;
    match wanted {
        Some(position) if position > end => Err(Error::refused(format!(
            "position {position} lies beyond the end of the store, which is {end}"
        ))
        .hint("events that come would never be handled: choose a position up to it, or end")),
        Some(position) => Ok(position),
        None => Ok(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_a_word_or_a_position() {
        let of = |text: &str| text.parse::<Start>().ok();
        assert_eq!(of("start"), Some(Start::Beginning));
        assert_eq!(of("0"), Some(Start::Beginning));
        assert_eq!(of("end"), Some(Start::End));
        assert_eq!(of("17"), Some(Start::After(17)));
        assert_eq!(of("-1"), None);
        assert_eq!(of("now"), None);
    }
}
