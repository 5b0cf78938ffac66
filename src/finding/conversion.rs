//! A conversion to another layout that goes on.

use chrono::TimeDelta;

use crate::catalog::{Catalog, Conversion};
use crate::error::{Error, Result};

use super::Finding;

/// When the old table refuses events within this time, it is more than a notice.
const SOON: TimeDelta = TimeDelta::days(3);

/// What it waits for.
#[must_use]
pub fn check(catalog: &Catalog) -> Vec<Finding> {
    let Some(conversion) = &catalog.conversion else { return Vec::new() };
    let Conversion { swapped, phase, cutover } = conversion;
    let table = catalog.events.as_ref().map(|events| events.root.name.to_string());
    let table = table.unwrap_or_else(|| catalog.schema_name.clone());
    if *swapped {
        let message = "it was converted, and the old tables are kept for the way back";
        return vec![
            Finding::notice("conversion", &table, message).remedy("pupctl convert finish"),
        ];
    }
    let remedy = if phase == "ready" { "pupctl convert swap" } else { "pupctl convert resume" };
    if let Some(cutover) = cutover.filter(|cutover| *cutover - catalog.server.now < SOON) {
        let message = format!(
            "it refuses events of {} and later until its conversion is done or called off",
            cutover.format("%F %H:%M UTC")
        );
        return vec![Finding::warning("conversion", &table, message).remedy(remedy)];
    }
    let message = format!("a conversion to another layout goes on: it is {phase}");
    vec![Finding::notice("conversion", &table, message).remedy(remedy)]
}

/// Refuses a command that would change what a conversion relies on.
pub fn refuse_meanwhile(catalog: &Catalog, command: &str) -> Result<()> {
    /// What adds to the store, or does not touch its tables.
    const ALWAYS: [&str; 5] =
        ["convert ", "operations ", "projections ", "events ", "partitions ensure"];
    /// What takes events out of it.
    const TAKES: [&str; 4] =
        ["archive", "partitions detach", "partitions drain", "partitions split"];
    let Some(conversion) = &catalog.conversion else { return Ok(()) };
    let is_one = |words: &[&str]| words.iter().any(|word| command.starts_with(word));
    if is_one(&ALWAYS) || (conversion.swapped && !is_one(&TAKES)) {
        return Ok(());
    }
    let phase = &conversion.phase;
    let error = Error::refused(format!(
        "a conversion of the store goes on ({phase}), which relies on its tables as they are"
    ));
    Err(if conversion.swapped {
        error.hint("end it first: pupctl convert finish; or go back: pupctl convert rollback")
    } else {
        error
            .detail("contexts and months that come up meanwhile are taken up by themselves")
            .hint("see how far it is: pupctl convert status; call it off: pupctl convert rollback")
    })
}
