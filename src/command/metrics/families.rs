//! The metrics: what is in the picture of a store, under names that stay.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::finding::Severity;
use crate::overview::Overview;
use crate::overview::partitions::Absence;
use crate::projection::control::status::{ProjectionStatus, State};

use super::exposition::Family;

const STATES: [State; 6] =
    [State::Foreign, State::Paused, State::Draining, State::Failing, State::Running, State::Idle];

/// All of a store that could be read, but for how long that took.
pub(super) fn of(overview: &Overview) -> Vec<Family> {
    let mut families = store(overview);
    families.extend(partitions(overview));
    families.extend(findings(overview));
    families.extend(projections(&overview.projections));
    families.extend(journal(overview));
    families
}

/// These, with how long it took.
pub(super) fn with_scrape(families: &[Family], took: Duration) -> Vec<Family> {
    let mut all = frame(true, took);
    all.extend_from_slice(families);
    all
}

/// What is told of a store that could not be read.
pub(super) fn down(took: Duration) -> Vec<Family> {
    frame(false, took)
}

fn frame(up: bool, took: Duration) -> Vec<Family> {
    vec![
        Family::gauge("pupctl_up", "Whether the store could be read.").with(&[], flag(up)),
        Family::gauge("pupctl_build_info", "The version of pupctl.")
            .with(&[("version", env!("CARGO_PKG_VERSION"))], 1.0),
        Family::gauge("pupctl_scrape_duration_seconds", "How long it took to read the store.")
            .with(&[], took.as_secs_f64()),
    ]
}

fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

/// Prometheus has no other numbers; above 2^53 the last digits are lost.
#[expect(clippy::cast_precision_loss, reason = "the format has floats alone")]
fn float(number: i64) -> f64 {
    number as f64
}

fn size(number: u64) -> f64 {
    float(i64::try_from(number).unwrap_or(i64::MAX))
}

fn count(number: usize) -> f64 {
    float(i64::try_from(number).unwrap_or(i64::MAX))
}

fn store(overview: &Overview) -> Vec<Family> {
    let facts = &overview.store;
    let version = facts.server.split(' ').next().unwrap_or_default();
    let mut families = vec![
        Family::gauge("pupctl_store_info", "Which store it is.").with(
            &[
                ("database", &facts.database),
                ("schema", &facts.schema),
                ("layout", &facts.layout),
                ("server_version", version),
            ],
            1.0,
        ),
        Family::gauge("pupctl_server_standby", "Whether the server is a standby.")
            .with(&[], flag(facts.standby)),
    ];
    if let Some(head) = &overview.head {
        families.push(
            Family::gauge("pupctl_events_position", "The last position that was drawn.")
                .with(&[], float(head.position)),
        );
        families.push(
            Family::gauge(
                "pupctl_events_unsettled_transactions",
                "Open transactions that may still add events below the last position.",
            )
            .with(&[], count(head.held_by.len())),
        );
    }
    if let Some(position) = overview.settled_position {
        let help = "The position up to which no event can appear any more; not there while \
                    transactions are open for long.";
        families
            .push(Family::gauge("pupctl_events_settled_position", help).with(&[], float(position)));
    }
    families
}

fn partitions(overview: &Overview) -> Vec<Family> {
    #[derive(Default)]
    struct Sum {
        leaves: usize,
        rows: u64,
        table: u64,
        indexes: u64,
    }
    let mut sums: BTreeMap<(&str, &str), Sum> = BTreeMap::new();
    for leaf in &overview.partitions {
        let context = leaf.context.as_deref().unwrap_or_default();
        let sum = sums.entry((context, leaf.state.word())).or_default();
        sum.leaves += 1;
        sum.rows += leaf.rows.unwrap_or(0);
        sum.table += leaf.table_bytes;
        sum.indexes += leaf.index_bytes;
    }
    let mut leaves = Family::gauge(
        "pupctl_partitions",
        "Leaves of events by context and state; missing, detached and archived ones are not there.",
    );
    let mut rows =
        Family::gauge("pupctl_partition_rows", "Rows of events, as the planner estimates them.");
    let mut bytes = Family::gauge("pupctl_partition_bytes", "The size of events.");
    for ((context, state), sum) in &sums {
        let labels = [("context", *context), ("state", *state)];
        leaves.add(&labels, count(sum.leaves));
        rows.add(&labels, size(sum.rows));
        for (kind, value) in [("table", sum.table), ("index", sum.indexes)] {
            bytes.add(&[labels[0], labels[1], ("kind", kind)], size(value));
        }
    }
    let mut absent: BTreeMap<(&str, Absence), usize> = BTreeMap::new();
    for one in &overview.absent {
        let context = one.context.as_deref().unwrap_or_default();
        *absent.entry((context, one.absence)).or_default() += 1;
    }
    for ((context, absence), number) in absent {
        leaves.add(&[("context", context), ("state", absence.word())], count(number));
    }
    let uncounted = Family::gauge(
        "pupctl_partitions_uncounted",
        "Leaves whose rows nothing has counted yet: no ANALYZE, no VACUUM.",
    )
    .with(&[], count(overview.totals.uncounted));
    let (ahead, wanted) = months_ahead(overview);
    vec![leaves, rows, bytes, uncounted, ahead, wanted]
}

/// By context: the branch that is ready for the fewest months, or for not even the current one.
fn months_ahead(overview: &Overview) -> (Family, Family) {
    let mut ready: BTreeMap<&str, i64> = BTreeMap::new();
    for branch in &overview.months_ahead {
        let months = if branch.current { i64::from(branch.ready) } else { -1 };
        let context = branch.context.as_deref().unwrap_or_default();
        let fewest = ready.entry(context).or_insert(months);
        *fewest = (*fewest).min(months);
    }
    let help = "Months after the current one that have partitions without a gap; -1 where even \
                the current one has none.";
    let mut ahead = Family::gauge("pupctl_months_ahead", help);
    for (context, months) in &ready {
        ahead.add(&[("context", context)], float(*months));
    }
    let mut wanted =
        Family::gauge("pupctl_months_ahead_wanted", "Months that the layout keeps ready.");
    if !ready.is_empty() {
        wanted.add(&[], f64::from(overview.store.months_ahead));
    }
    (ahead, wanted)
}

fn findings(overview: &Overview) -> Vec<Family> {
    let word = |severity| match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Notice => "notice",
    };
    let mut by_check: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for finding in &overview.findings {
        *by_check.entry((finding.check, word(finding.severity))).or_default() += 1;
    }
    let mut checks = Family::gauge(
        "pupctl_check_findings",
        "What partitions check finds, by check; those that find nothing are not there.",
    );
    for ((check, severity), number) in &by_check {
        checks.add(&[("check", check), ("severity", severity)], count(*number));
    }
    let mut all = Family::gauge("pupctl_findings", "What partitions check finds, by severity.");
    for severity in [Severity::Error, Severity::Warning, Severity::Notice] {
        let of = overview.findings.iter().filter(|finding| finding.severity == severity);
        all.add(&[("severity", word(severity))], count(of.count()));
    }
    let locks = &overview.locks;
    vec![
        all,
        checks,
        Family::gauge("pupctl_lock_table_locks", "Locks that the server’s lock table holds.")
            .with(&[], count(locks.capacity)),
        Family::gauge(
            "pupctl_lock_table_needed_locks",
            "Locks of one statement that opens all partitions of a table.",
        )
        .with(&[("table", "events")], count(locks.events))
        .with(&[("table", "aggregate_heads")], count(locks.heads)),
    ]
}

fn projections(projections: &[ProjectionStatus]) -> Vec<Family> {
    let mut position = Family::gauge(
        "pupctl_projection_position",
        "The position up to which all slots of a projection have handled their events.",
    );
    let mut lag = Family::gauge(
        "pupctl_projection_lag_events",
        "Events of its scope that a projection has not handled; counted up to 100,000 a slot.",
    );
    let mut positions = Family::gauge(
        "pupctl_projection_lag_positions",
        "Positions between a projection and the end of the store, those of other scopes too.",
    );
    let mut age = Family::gauge(
        "pupctl_projection_lag_seconds",
        "The age of the oldest event that a projection has not handled; 0 where there is none.",
    );
    let mut state = Family::gauge("pupctl_projection_state", "1 for the state of a projection.");
    let mut letters =
        Family::gauge("pupctl_projection_dead_letters", "Events that a projection set aside.");
    let mut workers = Family::gauge("pupctl_projection_workers", "Workers that are connected.");
    let mut handled =
        Family::counter("pupctl_projection_events_handled_total", "Events that it has handled.");
    for one in projections {
        let name = [("projection", one.name.as_str())];
        position.add(&name, float(one.position));
        positions.add(&name, float(one.lag_positions));
        if let Some(found) = one.lag {
            lag.add(&name, float(found.events));
            if let Some(seconds) = found.seconds {
                age.add(&name, seconds);
            }
        }
        for known in STATES {
            let word = known.to_string();
            state.add(&[name[0], ("state", &word)], flag(known == one.state));
        }
        let kinds = [
            ("failed", one.dead_letters.failed),
            ("waiting", one.dead_letters.waiting),
            ("skipped", one.dead_letters.skipped),
            ("missed", one.dead_letters.missed),
        ];
        for (kind, number) in kinds {
            letters.add(&[name[0], ("kind", kind)], float(number));
        }
        if one.slots.is_some() {
            workers.add(&name, count(one.sessions.len()));
            handled.add(&name, float(one.events_handled));
        }
    }
    vec![position, lag, positions, age, state, letters, workers, handled]
}

fn journal(overview: &Overview) -> Vec<Family> {
    let mut archives = Family::gauge("pupctl_archives", "Archives by state.");
    let mut by_phase: BTreeMap<&str, usize> = BTreeMap::new();
    for record in &overview.archives {
        *by_phase.entry(record.phase.word()).or_default() += 1;
    }
    for (phase, number) in by_phase {
        archives.add(&[("state", phase)], count(number));
    }
    let held = Family::gauge(
        "pupctl_months_held_back",
        "Partitions that the last archive --expired had to leave, and that are still there.",
    )
    .with(&[], count(overview.held_back.len()));
    let mut runs = Family::counter("pupctl_operations_total", "Runs that wrote, by outcome.");
    let mut success = Family::gauge(
        "pupctl_last_success_timestamp_seconds",
        "When a command last came to its end, or had nothing left to do.",
    );
    let mut failure = Family::gauge(
        "pupctl_last_failure_timestamp_seconds",
        "When a command last failed, or was interrupted.",
    );
    let mut failed: BTreeMap<&str, f64> = BTreeMap::new();
    let mut running =
        Family::gauge("pupctl_operations_running", "Runs that write at the moment, by command.");
    for job in &overview.jobs {
        let name = ("job", job.job.as_str());
        if job.outcome == "running" {
            running.add(&[name], float(job.runs));
            continue;
        }
        runs.add(&[name, ("outcome", &job.outcome)], float(job.runs));
        let Some(at) = job.latest.map(|at| float(at.timestamp_millis()) / 1000.0) else { continue };
        if job.outcome == "done" {
            success.add(&[name], at);
        } else {
            let latest = failed.entry(&job.job).or_insert(at);
            *latest = latest.max(at);
        }
    }
    for (job, at) in failed {
        failure.add(&[("job", job)], at);
    }
    vec![archives, held, runs, running, success, failure]
}
