//! The clock of the server, and that of this machine.

use chrono::TimeDelta;

use crate::catalog::Catalog;
use crate::catalog::health::Health;

use super::Finding;
use super::settings::SERVER;
use super::transactions::age;

/// Clocks that are kept right by NTP differ by milliseconds; a slow connection adds a second.
const APART: TimeDelta = TimeDelta::seconds(10);

/// `archive --expired` refuses to work from here on.
const FAR_APART: TimeDelta = TimeDelta::hours(1);

/// Clocks that are apart: which month it is, and what has expired, the server's decides.
#[must_use]
pub fn check(catalog: &Catalog, health: &Health) -> Option<Finding> {
    let (server, here) = (catalog.server.now, health.here);
    let apart = (server - here).abs();
    if apart < APART {
        return None;
    }
    let message = format!(
        "its clock ({}) and that of this machine ({}) are {} apart: by a wrong one months begin \
         and expire at the wrong time",
        server.format("%F %T UTC"),
        here.format("%F %T UTC"),
        age(apart)
    );
    let finding = if apart < FAR_APART {
        Finding::warning("clock", &SERVER, message)
    } else {
        Finding::error("clock", &SERVER, message)
    };
    Some(finding.remedy("set the clock that is wrong, best by NTP on both"))
}
