//! Words about projections, for people.

use std::fmt::Write as _;
use std::time::Duration;

use crate::cli::output::count;
use crate::projection::control::head::WorkerSession;
use crate::projection::control::lag::Lag;
use crate::projection::control::status::{Letters, ProjectionStatus, State};

/// `all`, or names.
pub(super) fn names(names: &[String]) -> String {
    if names.is_empty() { "all".to_owned() } else { names.join(", ") }
}

/// The contexts, and the types of aggregates where not all are read.
pub(super) fn scope(found: &ProjectionStatus) -> String {
    let mut scope = names(&found.bounded_contexts);
    if !found.aggregate_types.is_empty() {
        let _ = write!(scope, ", {}", found.aggregate_types.join(", "));
    }
    scope
}

/// The state; one that is paused may have a barrier too.
pub(super) fn state(found: &ProjectionStatus) -> String {
    match found.state {
        State::Paused if found.drain_to.is_some() => {
            format!("{}, {}", State::Paused, State::Draining)
        }
        state => state.to_string(),
    }
}

/// `1 dead letter`, `2 dead letters`.
pub(super) fn number(number: i64, noun: &str) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), noun)
}

/// How many events lie ahead.
pub(super) fn events(lag: Option<Lag>) -> String {
    lag.map_or("?".to_owned(), |lag| {
        format!("{}{}", lag.events, if lag.at_least { "+" } else { "" })
    })
}

/// How long the oldest of them has waited.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an age in seconds")]
pub(super) fn age(lag: Option<Lag>) -> String {
    match lag.and_then(|lag| lag.seconds) {
        None => "?".to_owned(),
        Some(seconds) if seconds < 10.0 => format!("{seconds:.1}s"),
        Some(seconds) => {
            let long = humantime::format_duration(Duration::from_secs(seconds as u64)).to_string();
            // Two units say enough.
            long.split(' ').take(2).collect::<Vec<_>>().join(" ")
        }
    }
}

/// Nothing where there is none.
pub(super) fn letters(letters: Letters) -> String {
    let parts = [
        (letters.failed, "failed"),
        (letters.waiting, "waiting"),
        (letters.skipped, "skipped"),
        (letters.missed, "missed"),
    ];
    let told = parts.iter().filter(|(number, _)| *number > 0);
    told.map(|(number, word)| format!("{number} {word}")).collect::<Vec<_>>().join(", ")
}

/// `process 4711 (app)`
fn process(session: &WorkerSession) -> String {
    match &session.user {
        Some(user) => format!("process {} ({user})", session.pid),
        None => format!("process {}", session.pid),
    }
}

/// What is lost with the checkpoints, for a question; of the dead letters so many, else all.
pub(super) fn at_stake(found: &[ProjectionStatus], foreign: bool, letters: Option<i64>) -> String {
    let mut words = Vec::new();
    for projection in found.iter().filter(|found| foreign || found.slots.is_some()) {
        let rows = count(projection.checkpoints.len(), "checkpoint");
        let mut line = format!("{rows} of {} at {}", projection.name, projection.position);
        let all = projection.dead_letters.total();
        let letters = letters.filter(|_| projection.slots.is_some()).unwrap_or(all);
        if letters > 0 {
            let _ = write!(line, " and its {}", number(letters, "dead letter"));
        }
        if !projection.sessions.is_empty() {
            let workers = count(projection.sessions.len(), "worker");
            let pids: Vec<_> = projection.sessions.iter().map(process).collect();
            let _ = write!(line, " ({workers} connected: {})", pids.join(", "));
        }
        words.push(line);
    }
    words.join(", ")
}
