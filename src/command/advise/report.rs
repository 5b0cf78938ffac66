//! The page that `pupctl advise` prints.

use std::fmt::Write as _;

use serde::Serialize;

use crate::catalog::Catalog;
use crate::catalog::health::Keeps;
use crate::catalog::workload::Workload;
use crate::cli::output::{bold, bytes, cyan, green, printable, table, yellow};
use crate::layout::Layout;
use crate::layout::name::joined;
use crate::plan::advise::{Advice, Next};
use crate::plan::convert::Strategy;
use crate::render::quote::shell_word;

/// What was seen, and what is recommended.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    database: &'a str,
    schema: &'a str,
    /// The table of events; none where there is none.
    table: Option<String>,
    /// The layout of the store, where it is pupctl's.
    layout: Option<String>,
    retention: Vec<Kept>,
    workload: Option<&'a Workload>,
    advice: Advice,
    /// What to run next; none where there is nothing to do.
    pub(super) run: Option<String>,
}

/// How long events stay.
#[derive(Debug, Serialize)]
struct Kept {
    /// The context; none for all others.
    context: Option<String>,
    /// How long; none is forever.
    time: Option<String>,
}

impl<'a> Report<'a> {
    pub(super) fn new(
        catalog: &'a Catalog,
        keeps: &Keeps,
        contexts: &[String],
        workload: Option<&'a Workload>,
        advice: Advice,
    ) -> Self {
        let all = keeps.all.map(|time| Kept { context: None, time: Some(time.to_string()) });
        let own = keeps.contexts.iter().map(|(name, time)| Kept {
            context: Some(name.clone()),
            time: time.map(|time| time.to_string()),
        });
        Self {
            database: &catalog.server.database,
            schema: &catalog.schema_name,
            table: catalog.events.as_ref().map(|events| events.root.name.to_string()),
            layout: catalog.layout.as_ref().map(Layout::partition_by),
            retention: all.into_iter().chain(own).collect(),
            run: command(&advice, contexts, &catalog.schema_name),
            workload,
            advice,
        }
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        match (&self.table, self.workload) {
            (Some(table), Some(workload)) => seen(table, workload, &mut text),
            _ => {
                let place = format!("{}, schema {}", self.database, self.schema);
                let _ = writeln!(text, "{}: no table of events yet", printable(&place));
            }
        }
        for kept in &self.retention {
            let who = kept.context.as_deref().unwrap_or("all others");
            let time = kept.time.as_deref().unwrap_or("forever");
            let _ = writeln!(text, "  kept:     {}: {time}", printable(who));
        }
        let advice = &self.advice;
        let hash = advice.hash_partitions.map_or(String::new(), |n| format!(" ({n} partitions)"));
        let _ =
            writeln!(text, "\n{} {}{hash}", bold("Recommended:"), green(advice.layout.as_str()));
        for reason in &advice.reasons {
            let _ = writeln!(text, "  + {}", printable(reason));
        }
        for reason in &advice.against {
            let _ = writeln!(text, "  {} {}", yellow("-"), printable(reason));
        }
        let _ =
            writeln!(text, "\nIn two years, at {} events a month:", grouped(advice.rows_a_month));
        text.push_str(&forecasts(advice));
        text.push('\n');
        text.push_str(&self.next());
        text
    }

    /// What to do, in words.
    fn next(&self) -> String {
        let words = match self.advice.next {
            Next::Stay => return "The store has this layout: nothing to do\n".to_owned(),
            Next::Init => "Next".to_owned(),
            Next::Baseline => "Next, to let pupctl look after the tables as they are".to_owned(),
            Next::Convert { strategy, minutes_from, minutes_to } => {
                let how = match strategy {
                    Strategy::Copy => "copies the events while everybody goes on",
                    Strategy::Attach => {
                        "copies nothing: the table becomes the first partition, which pupctl \
                         partitions split divides later"
                    }
                };
                let minutes = match (minutes_from, minutes_to) {
                    (_, 1) => "a minute".to_owned(),
                    (from, to) if from == to => format!("{to} minutes"),
                    (from, to) => format!("{from} to {to} minutes"),
                };
                format!("Next ({how}, about {minutes})")
            }
            Next::Copy => {
                "The store is divided already, and convert begins with a store that is not: copy \
                 it into one of the other layout (docs/how-to/copy-a-store.md). Next"
                    .to_owned()
            }
        };
        let command = self.run.as_deref().unwrap_or_default();
        format!("{}: {}\n", printable(&words), cyan(&printable(command)))
    }
}

/// What was seen of the events.
fn seen(table: &str, workload: &Workload, text: &mut String) {
    let about = if workload.estimated { "about " } else { "" };
    let _ = writeln!(
        text,
        "{}: {about}{} events, {} and {} of indexes",
        bold(&printable(table)),
        grouped(workload.rows),
        bytes(workload.table_bytes),
        bytes(workload.index_bytes)
    );
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<9} {}", printable(&value));
    };
    if let (Some(first), Some(last)) = (workload.months.first(), workload.months.last()) {
        let most = workload.months.iter().max_by_key(|month| month.rows);
        let most = most.map_or(String::new(), |month| {
            format!(", the most in {}: {}", month.month, grouped(month.rows))
        });
        let number = workload.months.len();
        fact("months:", format!("{number} from {} to {}{most}", first.month, last.month));
    }
    let total: u64 = workload.contexts.iter().map(|share| share.rows).sum();
    if !workload.contexts.is_empty() {
        let shares = workload.contexts.iter().take(LISTED_MAX).map(|share| {
            #[expect(clippy::cast_precision_loss, reason = "a percentage")]
            let percent = share.rows as f64 * 100.0 / total.max(1) as f64;
            format!("{} {percent:.0} %", share.name)
        });
        let shares = shares.collect::<Vec<_>>().join(", ");
        let more = workload.contexts.len().saturating_sub(LISTED_MAX);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        fact("contexts:", format!("{shares}{more}"));
    }
    if let Some(longest) = workload.streams.first() {
        let of = workload
            .aggregates
            .map_or(String::new(), |number| format!(", of about {} aggregates", grouped(number)));
        fact(
            "streams:",
            format!(
                "the longest has version {}: {}/{}/{}{of}",
                longest.version,
                longest.bounded_context,
                longest.aggregate_type,
                longest.aggregate_id
            ),
        );
    }
    if let (Some(rate), Some(since)) = (workload.inserts_per_second, workload.counted_since) {
        fact("writes:", format!("{rate:.2} events a second since {}", since.format("%F")));
    }
    if let Some(queries) = workload.queries.filter(|queries| queries.calls > 0) {
        let percent = |calls: u64| calls.saturating_mul(100) / queries.calls;
        fact(
            "reads:",
            format!(
                "{} % by aggregate, {} % by position, {} % by time, {} % otherwise; {} % compare \
                 the context",
                percent(queries.by_aggregate),
                percent(queries.by_position),
                percent(queries.by_time),
                percent(queries.by_other),
                percent(queries.with_context)
            ),
        );
    }
    for note in &workload.notes {
        fact("note:", note.clone());
    }
}

/// How many contexts are listed.
const LISTED_MAX: usize = 8;

fn forecasts(advice: &Advice) -> String {
    let rows = advice.forecasts.iter().map(|forecast| {
        let mark = if forecast.recommended { "*" } else { "" };
        vec![
            format!("{}{mark}", forecast.layout),
            forecast.leaves.to_string(),
            forecast.months.map_or_else(|| "-".to_owned(), |months| months.to_string()),
            grouped(forecast.largest_rows),
            bytes(forecast.largest_bytes),
            forecast.locks.to_string(),
            format!("{} %", forecast.locks_percent),
        ]
    });
    let head = [
        "layout",
        "leaves",
        "months",
        "largest leaf, events",
        "size",
        "locks",
        "of the lock table",
    ];
    table(&head, rows.collect(), 1)
}

/// What to run next, as a shell takes it.
fn command(advice: &Advice, contexts: &[String], schema: &str) -> Option<String> {
    let layout = advice.layout.as_str();
    let hash = match advice.hash_partitions {
        Some(number) if layout.contains("hash") => format!(" --hash-partitions {number}"),
        _ => String::new(),
    };
    Some(match advice.next {
        Next::Stay => return None,
        Next::Init | Next::Copy => {
            // A comma in a name would divide it: such contexts stand in the configuration.
            let are_plain = !contexts.is_empty() && contexts.iter().all(|name| !name.contains(','));
            let contexts = if layout.contains("context") && are_plain {
                format!(" --contexts {}", shell_word(&contexts.join(",")))
            } else {
                String::new()
            };
            // The schema of a store that is there takes no other layout.
            let schema = if advice.next == Next::Copy {
                format!(" --schema {}", shell_word(&joined(schema, "new")))
            } else {
                String::new()
            };
            format!("pupctl schema init{schema} --partition-by {layout}{hash}{contexts} --dry-run")
        }
        Next::Baseline => format!("pupctl schema baseline --partition-by {layout}{hash}"),
        Next::Convert { strategy, .. } => {
            let strategy = match strategy {
                Strategy::Copy => "",
                Strategy::Attach => " --strategy attach",
            };
            format!("pupctl convert start --partition-by {layout}{hash}{strategy} --dry-run")
        }
    })
}

/// A number as people read it.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
