//! Projections that do not follow the events.

use chrono::TimeDelta;

use crate::catalog::Catalog;
use crate::catalog::health::{Health, Projection, ProjectionState as State};
use crate::render::health::grant_sequence;
use crate::render::quote::shell_word;

use super::Finding;
use super::transactions::age;

/// Projections that stand still or failed, and events that they could not handle.
#[must_use]
pub fn check(catalog: &Catalog, health: &Health) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(why) = &health.unsettled {
        let message = format!("no projection can tell which positions are settled: {why}");
        let table = catalog.events.as_ref().map(|events| events.root.name.to_string());
        let table = table.unwrap_or_else(|| catalog.schema_name.clone());
        let finding = Finding::warning("unsettled", &table, message);
        findings.push(match health.sequences.iter().find(|sequence| !sequence.readable) {
            Some(hidden) => finding.remedy(grant_sequence(&hidden.name, &catalog.server.role)),
            None => finding,
        });
    }
    for projection in &health.projections {
        findings.extend(problem(projection));
        findings.extend(letters(projection));
        findings.extend(standing(projection, catalog, health.patience));
    }
    findings
}

fn problem(projection: &Projection) -> Option<Finding> {
    let message = projection.problem.clone()?;
    let name = shell_word(&projection.name);
    Some(
        Finding::error("projection_broken", &projection.name, message)
            .remedy(format!("pupctl projections status {name}")),
    )
}

fn letters(projection: &Projection) -> Option<Finding> {
    let letters = projection.dead_letters;
    let are = if letters == 1 { "event is" } else { "events are" };
    let message = format!("{letters} {are} among its dead letters: its read model lacks them");
    let name = shell_word(&projection.name);
    (letters > 0).then(|| {
        Finding::warning("dead_letters", &projection.name, message)
            .remedy(format!("pupctl projections dead-letters replay {name} --all"))
    })
}

/// Behind the end of the store, for longer than is usual.
fn standing(projection: &Projection, catalog: &Catalog, patience: TimeDelta) -> Option<Finding> {
    let now = catalog.server.now;
    let Projection { name, state, behind, oldest, .. } = projection;
    let word = shell_word(name);
    let rest = projection.moved_at.map(|at| now - at);
    let moved = rest.map_or_else(String::new, |rest| {
        format!(", and moved last {} ago", age(rest.max(TimeDelta::zero())))
    });
    let waits =
        format!("it is {behind} positions behind{moved}: archives and closed months wait for it");
    let late = oldest.is_none_or(|oldest| oldest >= patience);
    match state {
        State::Failing => {
            let error = projection.error.as_deref().unwrap_or("the last batch failed");
            let finding = Finding::error("projection_failing", name, format!("{error}; {waits}"));
            Some(finding.remedy(format!("pupctl projections status {word}")))
        }
        State::Paused => {
            let since = projection.paused_at.map(|at| format!(" since {}", at.format("%F %T UTC")));
            let message = format!("it is paused{}; {waits}", since.unwrap_or_default());
            Some(
                Finding::notice("projection_paused", name, message)
                    .remedy(format!("pupctl projections resume {word}")),
            )
        }
        State::Draining => {
            let message = "its slots are being changed: it goes no further until that is done";
            Some(
                Finding::notice("projection_draining", name, message)
                    .remedy(format!("pupctl projections rescale {word} --abort")),
            )
        }
        _ if *behind <= 0 => None,
        // Of those of other libraries nothing is known but when they moved.
        State::Foreign => rest.is_none_or(|rest| rest >= patience).then(|| {
            Finding::warning("projection_stopped", name, waits).remedy(format!(
                "start its program, or if it is dead: pupctl projections delete {word} --foreign"
            ))
        }),
        _ if !late => None,
        State::Idle => Some(
            Finding::warning(
                "projection_stopped",
                name,
                format!("no worker is connected; {waits}"),
            )
            .remedy(format!("pupctl projections run {word}")),
        ),
        State::Running => Some(Finding::notice("projection_behind", name, waits)),
    }
}
