//! `pupctl partitions explain`

use std::collections::BTreeSet;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;

use crate::catalog::Catalog;
use crate::catalog::relation::Relation;
use crate::cli::argument::value;
use crate::cli::exit::Exit;
use crate::cli::output::{bold, printable, table};
use crate::command::context::{Context, layout_of};
use crate::db::inspect::{self, Depth};
use crate::db::pruning::{self, Explained, Pruned};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::layout::levels::Level;
use crate::layout::month::Month;
use crate::render::read::{Condition, Operator, Read};

/// More partitions than this are not named.
const NAMED_MAX: usize = 30;

/// Planning that takes this long, in milliseconds, is worth a word where it is about so many
/// partitions; of few it is the machine that is slow.
const SLOW_MS: f64 = 20.0;
const SLOW_PARTITIONS: usize = 100;

/// How many events a projection reads at a time.
const BATCH: u32 = 100;

/// Show which partitions a read touches, and which locks it takes
///
/// The server plans the read as a reader sends it, and does not run it: the events of one aggregate
/// in the order of their versions, those of a context, of some months, or those after a position.
/// Partitions that cannot have such events are left out, or else the answer says what is missing
/// for that.
///
/// Examples:
///   pupctl partitions explain --context Identity --type User --id 42
///   pupctl partitions explain --context Identity --from 2026-10
///   pupctl partitions explain --after 1000000
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ExplainArgs {
    /// The bounded context
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// The type of an aggregate, whose events are read
    #[arg(long = "type", value_name = "TYPE", requires_all = ["id", "context"])]
    aggregate_type: Option<String>,

    /// The id of the aggregate
    #[arg(long, requires = "aggregate_type")]
    id: Option<String>,

    /// The first month
    #[arg(long, value_name = "YYYY-MM", value_parser = value::<Month>)]
    from: Option<Month>,

    /// The last month
    #[arg(long, value_name = "YYYY-MM", value_parser = value::<Month>)]
    to: Option<Month>,

    /// The position after which events are read, as a projection does
    #[arg(long, value_name = "POSITION", allow_negative_numbers = true)]
    after: Option<i64>,
}

#[derive(Serialize)]
struct Explanation {
    query: String,
    leaves: usize,
    touched: usize,
    /// The first of the leaves that are touched.
    names: Vec<String>,
    plan: Pruned,
    generic_plan: Option<Generic>,
    hints: Vec<String>,
}

#[derive(Serialize)]
struct Generic {
    touched: usize,
    #[serde(flatten)]
    plan: Pruned,
}

pub(super) fn run(args: &ExplainArgs, context: &Context) -> anyhow::Result<Exit> {
    args.validate()?;
    let mut store = context.open()?;
    let server = inspect::server(&mut store.client)?;
    let mut transaction = inspect::snapshot(&mut store.client)?;
    let tables = context.config.tables();
    let depth = Depth { indexes: false, ..Depth::default() };
    let catalog = inspect::catalog_within(&mut transaction, server, &store.schema, &tables, depth)?;
    let layout = layout_of(&catalog)?;
    let read = args.read(root(&catalog)?);
    let explained = pruning::explain(&mut transaction, &read)?;
    drop(transaction);
    let explanation = args.explanation(layout, root(&catalog)?, &read, explained);
    context.output.result(context.name, &explanation, &text(&explanation))?;
    for hint in &explanation.hints {
        context.output.say(format!("note: {hint}"));
    }
    Ok(Exit::Done)
}

fn root(catalog: &Catalog) -> Result<&Relation> {
    catalog.events.as_ref().map(|events| &events.root).ok_or_else(|| {
        Error::refused("the events table is missing").hint("make it: pupctl schema init")
    })
}

impl ExplainArgs {
    fn validate(&self) -> Result<()> {
        match (self.from, self.to) {
            (Some(from), Some(to)) if from > to => {
                Err(Error::invalid(format!("no month lies from {from} to {to}"))
                    .hint("--from is the first month, --to the last"))
            }
            _ => Ok(()),
        }
    }

    fn read(&self, root: &Relation) -> Read {
        let mut conditions = Vec::new();
        let texts = [
            ("bounded_context", &self.context),
            ("aggregate_type", &self.aggregate_type),
            ("aggregate_id", &self.id),
        ];
        for (column, value) in texts {
            if let Some(value) = value.clone() {
                let operator = Operator::Equal;
                conditions.push(Condition { column, operator, value, kind: "TEXT" });
            }
        }
        let mut instant = |operator, at: DateTime<Utc>| {
            let value = at.format("%Y-%m-%d %H:%M:%S+00").to_string();
            conditions.push(Condition {
                column: "created_at",
                operator,
                value,
                kind: "TIMESTAMPTZ",
            });
        };
        if let Some(from) = self.from {
            instant(Operator::AtLeast, from.start());
        }
        if let Some(to) = self.to {
            instant(Operator::Less, to.end());
        }
        if let Some(after) = self.after {
            conditions.push(Condition {
                column: "global_position",
                operator: Operator::Greater,
                value: after.to_string(),
                kind: "BIGINT",
            });
        }
        Read {
            events: root.name.clone(),
            conditions,
            order: if self.id.is_some() { "aggregate_version" } else { "global_position" },
            limit: self.after.map(|_| BATCH),
        }
    }

    fn explanation(
        &self,
        layout: &Layout,
        root: &Relation,
        read: &Read,
        explained: Explained,
    ) -> Explanation {
        let all: BTreeSet<&str> = root.leaves().map(|leaf| leaf.name.name.as_str()).collect();
        let of = |plan: &Pruned| {
            let touched = plan.tables.iter().filter(|table| all.contains(table.as_str()));
            touched.cloned().collect::<Vec<_>>()
        };
        let names = of(&explained.custom);
        let generic = explained.generic.map(|mut plan| {
            let touched = of(&plan).len();
            // The server counts a branch that it leaves out as one.
            if plan.removed_at_start > 0 {
                plan.removed_at_start = (all.len() - touched) as u64;
            }
            Generic { touched, plan }
        });
        Explanation {
            query: read.sql(),
            leaves: all.len(),
            touched: names.len(),
            hints: [
                self.hints(layout, all.len(), names.len(), generic.as_ref()),
                slow(&explained.custom, generic.as_ref()).into_iter().collect(),
            ]
            .concat(),
            names: names.into_iter().take(NAMED_MAX).collect(),
            plan: explained.custom,
            generic_plan: generic,
        }
    }

    /// What would let the server leave out more.
    fn hints(
        &self,
        layout: &Layout,
        leaves: usize,
        touched: usize,
        generic: Option<&Generic>,
    ) -> Vec<String> {
        let mut hints = Vec::new();
        if let Some(name) = self.context.as_ref().filter(|name| layout.context(name).is_none())
            && layout.has_context_level()
        {
            hints.push(format!("the store knows no context {name}: see pupctl contexts list"));
        }
        if touched > 1 {
            if layout.has_context_level() && self.context.is_none() {
                hints.push("give --context: only the partitions of that context are read".into());
            }
            let has_hash = layout.levels.iter().any(|level| matches!(level, Level::Hash(_)));
            if has_hash && self.id.is_none() {
                hints.push(
                    "hash partitions are left out only where one aggregate is read: --context, \
                     --type and --id"
                        .into(),
                );
            }
            if layout.has_month_level() && self.from.is_none() {
                hints.push(if self.id.is_some() {
                    "an aggregate may have events in every month: give --from where the reader \
                     knows it, or choose hash or context,hash, which keep an aggregate in one \
                     partition"
                        .into()
                } else {
                    "give --from: months are left out by created_at alone".into()
                });
            }
            if self.after.is_some() && touched == leaves {
                hints.push(
                    "no layout divides by position, so a projection opens every partition: keep \
                     their number low, or give a part of the columns above"
                        .into(),
                );
            }
        }
        if let Some(generic) = generic.filter(|generic| generic.touched != touched) {
            hints.push(format!(
                "a generic plan leaves out other partitions: it touches {} of {leaves}",
                generic.touched
            ));
        }
        hints
    }
}

/// What would save the planning, where that takes long.
fn slow(plan: &Pruned, generic: Option<&Generic>) -> Option<String> {
    let generic = generic?.plan.planning_ms;
    let many = plan.tables.len() >= SLOW_PARTITIONS;
    let slow = many && plan.planning_ms >= SLOW_MS && generic * 2.0 < plan.planning_ms;
    slow.then(|| {
        format!(
            "planning takes {:.0} ms each time: a reader that prepares the statement and sets \
             plan_cache_mode = force_generic_plan plans it once",
            plan.planning_ms
        )
    })
}

fn text(explanation: &Explanation) -> String {
    let row = |name: &str, touched: usize, plan: &Pruned| {
        vec![
            name.to_owned(),
            format!("{touched} of {}", explanation.leaves),
            plan.removed_at_start.to_string(),
            plan.table_locks.to_string(),
            plan.index_locks.to_string(),
            format!("{:.2} ms", plan.planning_ms),
        ]
    };
    let mut rows = vec![row("these values", explanation.touched, &explanation.plan)];
    if let Some(generic) = &explanation.generic_plan {
        rows.push(row("any values (generic)", generic.touched, &generic.plan));
    }
    let head = ["planned for", "leaves", "left out at start", "tables", "indexes", "planning"];
    let mut text = format!("{}\n\n", printable(&explanation.query));
    text.push_str(&table(&head, rows, 1));
    if !explanation.names.is_empty() {
        let more = explanation.touched - explanation.names.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let names = printable(&explanation.names.join(", "));
        let _ = writeln!(text, "\n{} {names}{more}", bold("touched:"));
    }
    text
}
