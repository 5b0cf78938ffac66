//! The sequence of positions: it has to give every number once, in order, and has to be ahead.

use crate::catalog::Catalog;
use crate::catalog::health::{Health, Sequence};
use crate::render::health;

use super::Finding;

/// From this share of its numbers on, in percent, the end of a sequence is in sight.
const USED_PERCENT: i64 = 50;

/// What forbids to tell which positions are settled, and what makes inserts fail.
#[must_use]
pub fn check(catalog: &Catalog, health: &Health) -> Vec<Finding> {
    let Some(events) = &catalog.events else { return Vec::new() };
    let mut findings: Vec<_> = health.sequences.iter().filter_map(counting).collect();
    let [sequence] = health.sequences.as_slice() else {
        // Where they could not be read, that is told elsewhere.
        if health.unseen.iter().any(|unseen| unseen.area == "positions") {
            return findings;
        }
        let number = health.sequences.len();
        let message = format!(
            "its positions come from {} sequences: projections refuse to run, since they cannot \
             tell which positions are settled",
            if number == 0 { "no".to_owned() } else { number.to_string() }
        );
        findings.push(
            Finding::error("sequence", &events.root.name, message)
                .remedy("compare the defaults of global_position: pupctl schema verify"),
        );
        return findings;
    };
    findings.extend(behind(sequence, health));
    findings.extend(ending(sequence));
    findings
}

fn counting(sequence: &Sequence) -> Option<Finding> {
    let wrong = if sequence.cache != 1 {
        format!("it has CACHE {}: sessions draw positions ahead of their use", sequence.cache)
    } else if sequence.increment != 1 {
        format!("it has INCREMENT {}", sequence.increment)
    } else if sequence.cycle {
        "it has CYCLE: positions come again".to_owned()
    } else {
        return None;
    };
    let message = format!("{wrong}; projections refuse to run on it");
    Some(
        Finding::error("sequence", &sequence.name, message)
            .remedy(health::sequence(&sequence.name)),
    )
}

/// Behind what is there: after a restore by other tools, or a crash without synchronous_commit.
fn behind(sequence: &Sequence, health: &Health) -> Option<Finding> {
    let last = sequence.last.unwrap_or(0);
    let of_event = health.last_event.map(|at| (at, "the last event is at".to_owned()));
    let of_projection = health
        .projections
        .iter()
        .map(|one| (one.position, format!("the projection {} is at", one.name)));
    let (highest, whose) =
        of_event.into_iter().chain(of_projection).max_by_key(|(position, _)| *position)?;
    if highest <= last || !sequence.readable {
        return None;
    }
    let message = format!(
        "it is at {last}, and {whose} {highest}: what it gives out next is taken, or passed over \
         by projections"
    );
    Some(
        Finding::error("sequence_behind", &sequence.name, message)
            .remedy(health::set_sequence(&sequence.name, highest)),
    )
}

fn ending(sequence: &Sequence) -> Option<Finding> {
    let last = sequence.last?;
    let used = i128::from(last) * 100 / i128::from(sequence.maximum.max(1));
    (used >= i128::from(USED_PERCENT)).then(|| {
        let message = format!(
            "it is at {last} of {}: appends fail when it has come to its end",
            sequence.maximum
        );
        Finding::warning("sequence_ending", &sequence.name, message)
            .remedy("make the sequence and the column global_position bigint")
    })
}
