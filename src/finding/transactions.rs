//! Transactions that are open for long, and what they hold up.

use chrono::{DateTime, TimeDelta, Utc};

use crate::catalog::Catalog;
use crate::catalog::health::{Health, Transaction};
use crate::render::health;

use super::Finding;

/// Open transactions, prepared ones too, that were found to be open for too long.
#[must_use]
pub fn check(catalog: &Catalog, health: &Health) -> Vec<Finding> {
    let now = catalog.server.now;
    health.transactions.iter().map(|open| finding(open, now)).collect()
}

fn finding(open: &Transaction, now: DateTime<Utc>) -> Finding {
    let mut holds = Vec::new();
    if open.writes {
        holds.push(
            "projections, archives and conversions wait for it, since it may have drawn positions"
                .to_owned(),
        );
    }
    if let Some(age) = open.holds_back {
        holds.push(format!("VACUUM keeps what was deleted since it began, {age} transactions ago"));
    }
    holds.push("a detach waits for it if it has used the table".to_owned());
    let message = format!("it is open for {}: {}", age(now - open.since), holds.join("; "));
    let (check, remedy) = match (&open.prepared, open.pid) {
        (Some(name), _) => ("prepared_transaction", Some(health::rollback_prepared(name))),
        (None, Some(pid)) => ("long_transaction", Some(health::terminate(pid))),
        (None, None) => ("long_transaction", None),
    };
    let finding = Finding::warning(check, &open.who, message);
    match remedy {
        Some(remedy) => finding.remedy(remedy),
        None => finding,
    }
}

/// A time in the unit that says most.
pub(super) fn age(time: TimeDelta) -> String {
    let (number, unit) = match time.num_minutes() {
        ..=1 => (time.num_seconds().max(0), "second"),
        2..120 => (time.num_minutes(), "minute"),
        120..2880 => (time.num_hours(), "hour"),
        _ => (time.num_days(), "day"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}
