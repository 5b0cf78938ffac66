//! What the page shows, in the words and numbers that its template prints.

use serde::Serialize;

use crate::cli::output::bytes;
use crate::finding::{Finding, Severity};
use crate::operation::journal::Operation;
use crate::overview::Overview;
use crate::overview::growth::MonthTotal;
use crate::overview::partitions::{Partition, State};
use crate::projection::control::status::ProjectionStatus;
use crate::render::html;

use super::chart::{Chart, charts};
use super::timeline::{Timeline, timeline};
use super::words::{self, minute, number};

/// How many partitions are listed, the largest first; `partitions list` has them all.
const PARTITIONS_MAX: usize = 1000;

/// How many archives are listed, the latest first.
const ARCHIVES_MAX: usize = 200;

/// How many findings are listed, the worst first.
const FINDINGS_MAX: usize = 200;

#[derive(Debug, Serialize)]
struct Page<'a> {
    title: String,
    store: String,
    server: String,
    layout: String,
    taken: String,
    taken_at: String,
    version: &'static str,
    script_digest: String,
    tiles: Vec<Tile>,
    findings: Vec<FindingRow<'a>>,
    findings_left: String,
    problems: usize,
    timeline: Timeline,
    charts: Vec<Chart>,
    months: Vec<MonthRow>,
    estimated: bool,
    partitions: Vec<PartitionRow<'a>>,
    partitions_all: String,
    partitions_left: bool,
    projections: Vec<ProjectionRow<'a>>,
    head: String,
    held: Vec<HeldRow<'a>>,
    archives: Vec<ArchiveRow<'a>>,
    archives_left: String,
    operations: Vec<OperationRow<'a>>,
    notes: &'a [String],
}

#[derive(Debug, Serialize)]
struct Tile {
    label: &'static str,
    value: String,
    note: String,
    tone: &'static str,
}

#[derive(Debug, Serialize)]
struct FindingRow<'a> {
    severity: &'static str,
    tone: &'static str,
    check: &'a str,
    object: &'a str,
    message: &'a str,
    remedy: &'a str,
}

#[derive(Debug, Serialize)]
struct MonthRow {
    month: String,
    events: String,
    size: String,
    state: String,
}

#[derive(Debug, Serialize)]
struct PartitionRow<'a> {
    name: &'a str,
    place: &'a str,
    state: &'static str,
    events: String,
    table: String,
    indexes: String,
}

#[derive(Debug, Serialize)]
struct ProjectionRow<'a> {
    name: &'a str,
    state: String,
    tone: &'static str,
    slots: String,
    position: String,
    lag: String,
    age: String,
    rate: String,
    letters: String,
    letters_tone: &'static str,
    problem: String,
}

#[derive(Debug, Serialize)]
struct HeldRow<'a> {
    leaf: &'a str,
    reason: &'a str,
}

#[derive(Debug, Serialize)]
struct ArchiveRow<'a> {
    name: &'a str,
    place: String,
    state: String,
    events: String,
    published: String,
    folder: String,
}

#[derive(Debug, Serialize)]
struct OperationRow<'a> {
    id: i64,
    command: &'a str,
    subject: &'a str,
    outcome: &'a str,
    tone: &'static str,
    started: String,
    detail: &'a str,
}

/// The page.
pub(super) fn page(overview: &Overview, title: Option<&str>) -> String {
    let store = &overview.store;
    let name = format!("{} / {}", store.database, store.schema);
    let server = if store.standby { "standby, " } else { "" };
    // `15.18 (Debian 15.18-0+deb12u1)`: the packager is nobody's business here.
    let version = store.server.split(' ').next().unwrap_or_default();
    let more = |all: usize, shown: usize| {
        if all > shown { format!("{} more", number(all - shown)) } else { String::new() }
    };
    let page = Page {
        title: title.map_or_else(|| name.clone(), str::to_owned),
        store: name,
        server: format!("{server}PostgreSQL {version}"),
        layout: store.layout.clone(),
        taken: minute(overview.taken_at),
        taken_at: overview.taken_at.to_rfc3339(),
        version: env!("CARGO_PKG_VERSION"),
        script_digest: html::script_digest(),
        tiles: tiles(overview),
        findings: findings(overview),
        findings_left: more(overview.findings.len(), FINDINGS_MAX),
        problems: overview.problems(),
        timeline: timeline(overview),
        charts: charts(overview),
        months: overview.months.iter().map(month).collect(),
        estimated: overview.months.iter().any(|total| total.estimated),
        partitions: partitions(overview),
        partitions_all: number(overview.partitions.len()),
        partitions_left: overview.partitions.len() > PARTITIONS_MAX,
        projections: overview.projections.iter().map(projection).collect(),
        head: head(overview),
        held: overview
            .held_back
            .iter()
            .map(|held| HeldRow { leaf: &held.leaf, reason: &held.reason })
            .collect(),
        archives: archives(overview),
        archives_left: more(overview.archives.len(), ARCHIVES_MAX),
        operations: operations(overview),
        notes: &overview.notes,
    };
    html::page("report/page.html.j2", &page)
}

fn tiles(overview: &Overview) -> Vec<Tile> {
    let (totals, growth) = (&overview.totals, &overview.growth);
    let plain = |label, value, note| Tile { label, value, note, tone: "" };
    let uncounted = match totals.uncounted {
        0 => "by the planner's statistics".to_owned(),
        some => format!("{} of {} leaves not counted yet", number(some), number(totals.leaves)),
    };
    let size = bytes(totals.table_bytes + totals.index_bytes);
    let of_tables = format!("{} of it in indexes", bytes(totals.index_bytes));
    let grows = match growth.months {
        0 => ("–".to_owned(), "nothing in the last 3 months".to_owned()),
        months => (
            bytes(growth.bytes_per_month),
            format!("{} events; mean of {months} months", number(growth.rows_per_month)),
        ),
    };
    let problems = overview.problems();
    let notices = overview.findings.len() - problems;
    let errors = overview.findings.iter().filter(|found| found.severity == Severity::Error).count();
    let behind = words::behind(&overview.projections);
    let letters: i64 = overview.projections.iter().map(|one| one.dead_letters.total()).sum();
    let archived = overview.archives.len();
    let held = overview.held_back.len();
    let is_ready = overview
        .months_ahead
        .iter()
        .all(|one| one.current && one.ready >= overview.store.months_ahead);
    let ready = if overview.months_ahead.is_empty() {
        ("–".to_owned(), "not divided by month")
    } else {
        (words::ahead(overview), "beyond the current one")
    };
    vec![
        plain("Events", words::rows(totals), uncounted),
        plain("Size", size, of_tables),
        plain("Growth a month", grows.0, grows.1),
        plain("Oldest to newest", words::span(overview), format!("{archived} archives")),
        Tile {
            label: "Problems",
            value: number(problems),
            note: format!("{} errors, {} notices", number(errors), number(notices)),
            tone: match (errors, problems) {
                (0, 0) => "ok",
                (0, _) => "warn",
                _ => "err",
            },
        },
        Tile {
            label: "Projections behind",
            value: format!("{behind} of {}", overview.projections.len()),
            note: format!("{} dead letters", number(letters)),
            tone: if letters > 0 { "warn" } else { "" },
        },
        Tile {
            label: "Months ready",
            value: ready.0,
            note: ready.1.to_owned(),
            tone: if is_ready { "" } else { "warn" },
        },
        Tile {
            label: "Held back",
            value: number(held),
            note: "expired, but not archived".to_owned(),
            tone: if held > 0 { "warn" } else { "" },
        },
    ]
}

fn findings(overview: &Overview) -> Vec<FindingRow<'_>> {
    overview.findings.iter().take(FINDINGS_MAX).map(finding).collect()
}

fn finding(found: &Finding) -> FindingRow<'_> {
    let (severity, tone) = match found.severity {
        Severity::Error => ("Error", "err"),
        Severity::Warning => ("Warning", "warn"),
        Severity::Notice => ("Notice", "note"),
    };
    FindingRow {
        severity,
        tone,
        check: found.check,
        object: &found.object,
        message: &found.message,
        remedy: found.remedy.as_deref().unwrap_or_default(),
    }
}

fn month(total: &MonthTotal) -> MonthRow {
    let states = [
        (total.leaves, "leaves"),
        (total.closed, "closed"),
        (total.archived, "archived"),
        (total.detached, "detached"),
        (total.missing, "missing"),
    ];
    let mut facts: Vec<_> = states
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| {
            if *number == 1 && *word == "leaves" {
                "1 leaf".to_owned()
            } else {
                format!("{number} {word}")
            }
        })
        .collect();
    if total.estimated {
        facts.push("estimated".to_owned());
    }
    MonthRow {
        month: total.month.to_string(),
        events: number(total.rows),
        size: bytes(total.bytes),
        state: facts.join(", "),
    }
}

fn partitions(overview: &Overview) -> Vec<PartitionRow<'_>> {
    let mut shown: Vec<&Partition> = overview.partitions.iter().collect();
    if shown.len() > PARTITIONS_MAX {
        shown.sort_by_key(|leaf| std::cmp::Reverse(leaf.table_bytes + leaf.index_bytes));
        shown.truncate(PARTITIONS_MAX);
    }
    shown.into_iter().map(partition).collect()
}

fn partition(leaf: &Partition) -> PartitionRow<'_> {
    PartitionRow {
        name: &leaf.name,
        place: &leaf.place,
        state: state(leaf),
        events: leaf.rows.map_or("–".to_owned(), number),
        table: bytes(leaf.table_bytes),
        indexes: bytes(leaf.index_bytes),
    }
}

fn state(leaf: &Partition) -> &'static str {
    match leaf.state {
        State::Undated => "no single month",
        State::Past => "past",
        State::Closed => "closed",
        State::Current => "current",
        State::Future => "to come",
        State::DetachPending => "detach interrupted",
    }
}

fn head(overview: &Overview) -> String {
    let Some(head) = &overview.head else { return String::new() };
    let position = number(head.position);
    match (overview.settled_position, &head.problem) {
        (Some(_), _) => {
            format!("The last position is {position}; all events up to it are settled.")
        }
        (None, Some(problem)) => format!("The last position is {position}. {problem}."),
        (None, None) => {
            let holders: Vec<_> = head.held_by.iter().map(ToString::to_string).collect();
            let holders = holders.join("; ");
            format!("The last position is {position}, not settled: open are {holders}.")
        }
    }
}

fn projection(found: &ProjectionStatus) -> ProjectionRow<'_> {
    let letters = found.dead_letters.total();
    let failure = found
        .checkpoints
        .iter()
        .find_map(|row| row.checkpoint.slot.as_ref().and_then(|slot| slot.last_error.as_deref()));
    ProjectionRow {
        name: &found.name,
        state: found.state.to_string(),
        tone: words::tone(found.state),
        slots: found.slots.map_or("–".to_owned(), number),
        position: number(found.position),
        lag: words::events(found.lag),
        age: words::age(found.lag),
        rate: format!("{:.0}", found.events_per_second),
        letters: number(letters),
        letters_tone: if letters > 0 { "warn" } else { "" },
        problem: found.problem.as_deref().or(failure).unwrap_or_default().to_owned(),
    }
}

fn archives(overview: &Overview) -> Vec<ArchiveRow<'_>> {
    let latest = overview.archives.iter().rev().take(ARCHIVES_MAX);
    latest
        .map(|record| ArchiveRow {
            name: &record.name,
            place: record.place.to_string(),
            state: record.phase.to_string(),
            events: record.rows.map_or("–".to_owned(), number),
            published: record.published_at.map_or("–".to_owned(), minute),
            folder: record.path().display().to_string(),
        })
        .collect()
}

fn operations(overview: &Overview) -> Vec<OperationRow<'_>> {
    overview.operations.iter().map(operation).collect()
}

fn operation(run: &Operation) -> OperationRow<'_> {
    OperationRow {
        id: run.id,
        command: &run.command,
        subject: run.subject().unwrap_or_default(),
        outcome: &run.outcome,
        tone: match run.outcome.as_str() {
            "done" => "ok",
            "running" => "note",
            "failed" => "err",
            _ => "warn",
        },
        started: minute(run.started_at),
        detail: run.detail.as_deref().unwrap_or_default(),
    }
}
