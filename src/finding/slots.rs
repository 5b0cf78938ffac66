//! Replication slots: what they keep, and whom they hold up.

use crate::catalog::health::{Health, Slot};
use crate::render;

use super::Finding;

/// Slots that nobody reads from, and slots whose log is gone.
#[must_use]
pub fn check(health: &Health) -> Vec<Finding> {
    let is_bounded = health.number("max_slot_wal_keep_size").is_some_and(|size| size >= 0);
    health.slots.iter().filter_map(|slot| finding(slot, is_bounded)).collect()
}

fn finding(slot: &Slot, is_bounded: bool) -> Option<Finding> {
    let Slot { name, active, log, retained, logical } = slot;
    let waits = if *logical { ", and archives wait for it" } else { "" };
    let finding = match (log.as_deref(), active) {
        (Some("lost"), _) => {
            let message = format!("the log that it needs is gone: it cannot go on{waits}");
            Finding::error("replication_slot", name, message)
        }
        (Some("unreserved"), _) => {
            let message = "the log that it needs is about to be removed: it falls out for good \
                           unless it catches up now";
            Finding::error("replication_slot", name, message)
        }
        (_, false) => {
            let size =
                retained.map_or_else(|| "log".to_owned(), |size| format!("{size} bytes of log"));
            let full = if is_bounded { "" } else { ", until the disk is full" };
            let message = format!("nobody reads from it: it keeps {size}{full}{waits}");
            Finding::warning("replication_slot", name, message)
        }
        (_, true) => return None,
    };
    Some(finding.remedy(render::drop_slot(name)))
}
