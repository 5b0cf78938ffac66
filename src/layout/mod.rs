//! What a store should look like: names, levels, contexts, months. Pure values, no database.

pub mod bounds;
pub mod desired;
pub mod levels;
pub mod month;
pub mod months;
pub mod name;
pub mod place;
pub mod protection;
pub mod retention;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use levels::Level;
use name::{QualifiedName, Tables};
use protection::{Protections, Trigger};

pub use protection::Guard;

pub use months::{MONTHS_MAX, Months, Needs};

/// How many months ahead are kept ready unless the layout says otherwise.
pub const MONTHS_AHEAD: u32 = 3;

/// The form of the stored layout that this version writes: 2 brought the protections.
const FORM: u32 = 2;

/// How a store is partitioned. `schema init` stores it beside the tables, because the catalog
/// alone cannot tell it: an empty `context,month` store shows only LIST.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// The form of this value, for later versions of pupctl.
    pub form: u32,
    /// The names of the store's tables.
    pub tables: Tables,
    /// The levels, from the root down.
    pub levels: Vec<Level>,
    /// The contexts that the store knows, in the order in which they came.
    pub contexts: Vec<Context>,
    /// How many months after the current one are kept ready.
    pub months_ahead: u32,
    /// What protects the events beyond their keys.
    #[serde(default)]
    pub protections: Protections,
}

/// A bounded context of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// Its name, as events carry it.
    pub name: String,
    /// Its own levels below the context level; without them those of the layout hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub levels: Option<Vec<Level>>,
    /// Whether its events have left the store for good: it has no partition, and inserts fail.
    #[serde(default, skip_serializing_if = "is_false")]
    pub retired: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Context {
    /// A context that is divided as the layout says.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), levels: None, retired: false }
    }
}

/// The two tables that a layout divides. Checkpoints are never partitioned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// `events`.
    Events,
    /// `aggregate_heads`.
    Heads,
}

impl Role {
    /// Both, in the order in which they are made: heads are locked before events, always.
    pub const ALL: [Self; 2] = [Self::Heads, Self::Events];

    /// The columns of the key that every leaf carries.
    #[must_use]
    pub fn key_columns(self) -> &'static [&'static str] {
        match self {
            Self::Events => {
                &["bounded_context", "aggregate_type", "aggregate_id", "aggregate_version"]
            }
            Self::Heads => &["bounded_context", "aggregate_type", "aggregate_id"],
        }
    }

    /// The columns that are unique by themselves on every leaf.
    #[must_use]
    pub fn unique_columns(self) -> &'static [&'static str] {
        match self {
            Self::Events => &["event_id", "global_position"],
            Self::Heads => &[],
        }
    }

    /// How many indexes a leaf has: its keys, and what it takes over from the parent.
    #[must_use]
    pub fn indexes_per_leaf(self) -> usize {
        // One key and one further index: BRIN on events, `updated_at` on heads.
        2 + self.unique_columns().len()
    }
}

impl Default for Layout {
    /// Three whole tables with their usual names.
    fn default() -> Self {
        Self {
            form: FORM,
            tables: Tables::default(),
            levels: Vec::new(),
            contexts: Vec::new(),
            months_ahead: MONTHS_AHEAD,
            protections: Protections::default(),
        }
    }
}

impl Layout {
    /// A layout with these levels and contexts, checked, without protections.
    pub fn new(
        tables: Tables,
        levels: Vec<Level>,
        contexts: Vec<Context>,
        months_ahead: u32,
    ) -> Result<Self> {
        let protections = Protections::default();
        let layout = Self { form: FORM, tables, levels, contexts, months_ahead, protections };
        layout.validate()?;
        Ok(layout)
    }

    /// The same layout with these protections.
    #[must_use]
    pub fn protected(self, protections: Protections) -> Self {
        Self { protections, ..self }
    }

    /// Reads a stored layout.
    pub fn from_json(value: serde_json::Value) -> Result<Self> {
        let form = value.get("form").and_then(serde_json::Value::as_u64);
        if form.is_some_and(|form| form > u64::from(FORM)) {
            return Err(Error::refused("a newer pupctl stored the layout of this store")
                .hint("install the newer version, or ask who made the store"));
        }
        let layout: Self = serde_json::from_value(value).map_err(|error| {
            Error::refused(format!("the stored layout cannot be read: {error}"))
                .hint("the table pupctl_layout was changed by hand: restore its row")
        })?;
        layout.validate().map_err(|error| {
            Error::refused(format!("the stored layout cannot be used: {error}"))
                .hint("the table pupctl_layout was changed by hand: restore its row")
        })?;
        Ok(layout)
    }

    /// What is stored.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        // A struct of strings, numbers and lists always has a JSON form.
        serde_json::to_value(self).unwrap_or_default()
    }

    fn validate(&self) -> Result<()> {
        self.tables.validate()?;
        validate_contexts(&self.contexts)?;
        levels::validate(&self.levels)?;
        for context in &self.contexts {
            if let Some(below) = &context.levels {
                levels::validate(&[&[Level::Context], below.as_slice()].concat())?;
            }
            if context.levels.is_some() && !self.has_context_level() {
                return Err(Error::invalid(format!(
                    "the bounded context `{}` has levels of its own, but the layout is not \
                     partitioned by context",
                    context.name
                ))
                .hint("partition by context, by context,hash or by context,month"));
            }
        }
        if i64::from(self.months_ahead) > i64::from(MONTHS_MAX) {
            return Err(Error::invalid(format!("{} months ahead", self.months_ahead))
                .hint(format!("at most {MONTHS_MAX} months are made")));
        }
        Ok(())
    }

    /// Whether the root is divided by context.
    #[must_use]
    pub fn has_context_level(&self) -> bool {
        self.levels.first() == Some(&Level::Context)
    }

    /// Whether anything in the layout is divided by month, contexts' own levels included.
    #[must_use]
    pub fn has_month_level(&self) -> bool {
        let own = self.contexts.iter().filter_map(|context| context.levels.as_ref()).flatten();
        self.levels.iter().chain(own).any(|level| *level == Level::Month)
    }

    /// Whether the layout says which protections were chosen; the first form did not know them.
    #[must_use]
    pub fn chose_protections(&self) -> bool {
        self.form > 1
    }

    /// The guard that the store needs: without months the keys of the leaves are enough.
    #[must_use]
    pub fn guard(&self) -> Guard {
        if self.has_month_level() { self.protections.guard } else { Guard::None }
    }

    /// Whether event ids are kept in a table of their own: in one leaf its key is enough.
    #[must_use]
    pub fn keeps_event_ids(&self) -> bool {
        self.protections.event_ids && !self.levels.is_empty()
    }

    /// The triggers that every table of `events` carries: root, branches and leaves.
    #[must_use]
    pub fn triggers(&self) -> Vec<Trigger> {
        let wanted = [
            (Trigger::Guard, self.guard() == Guard::Events),
            (Trigger::EventIds, self.keeps_event_ids()),
            (Trigger::Immutable, self.protections.immutable),
        ];
        wanted.into_iter().filter_map(|(trigger, is)| is.then_some(trigger)).collect()
    }

    /// The levels of a table: those of the layout whose columns the table has.
    #[must_use]
    pub fn levels_of(&self, role: Role) -> Vec<Level> {
        keep_for(role, &self.levels)
    }

    /// The levels of a table below a context.
    #[must_use]
    pub fn levels_below(&self, role: Role, context: &Context) -> Vec<Level> {
        let levels =
            context.levels.as_deref().unwrap_or_else(|| self.levels.get(1..).unwrap_or(&[]));
        keep_for(role, levels)
    }

    /// Whether the root of a table can carry the aggregate key: a month level anywhere below
    /// forbids it, because PostgreSQL wants every partition column in a parent's unique keys.
    #[must_use]
    pub fn root_has_key(&self, role: Role) -> bool {
        role == Role::Heads || !self.has_month_level()
    }

    /// The name of a table in the store's schema.
    #[must_use]
    pub fn table(&self, schema: &str, role: Role) -> QualifiedName {
        QualifiedName::new(
            schema,
            match role {
                Role::Events => self.tables.events.clone(),
                Role::Heads => self.tables.aggregate_heads.clone(),
            },
        )
    }

    /// The name of the checkpoints table.
    #[must_use]
    pub fn checkpoints(&self, schema: &str) -> QualifiedName {
        QualifiedName::new(schema, self.tables.projection_checkpoints.clone())
    }

    /// The name of the table of dead letters, beside the checkpoints.
    #[must_use]
    pub fn dead_letters(&self, schema: &str) -> QualifiedName {
        QualifiedName::new(schema, name::DEAD_LETTERS)
    }

    /// The name of the table of what projections are.
    #[must_use]
    pub fn definitions(&self, schema: &str) -> QualifiedName {
        QualifiedName::new(schema, name::DEFINITIONS)
    }

    /// The name of the table of what projections were given.
    #[must_use]
    pub fn audit(&self, schema: &str) -> QualifiedName {
        QualifiedName::new(schema, name::AUDIT)
    }

    /// The context of this name.
    #[must_use]
    pub fn context(&self, name: &str) -> Option<&Context> {
        self.contexts.iter().find(|context| context.name == name)
    }

    /// The levels as `--partition-by` takes them.
    #[must_use]
    pub fn partition_by(&self) -> String {
        if self.levels.is_empty() {
            return "none".to_owned();
        }
        let words: Vec<_> = self
            .levels
            .iter()
            .map(|level| match level {
                Level::Context => "context",
                Level::Hash(_) => "hash",
                Level::Month => "month",
            })
            .collect();
        words.join(",")
    }

    /// The lines in which another layout differs from this one, in words.
    #[must_use]
    pub fn differences(&self, wanted: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut compare = |what: &str, have: String, want: String| {
            if have != want {
                lines.push(format!("{what}: the store has {have}, the request says {want}"));
            }
        };
        compare("levels", describe(&self.levels), describe(&wanted.levels));
        compare("events table", self.tables.events.clone(), wanted.tables.events.clone());
        compare(
            "heads table",
            self.tables.aggregate_heads.clone(),
            wanted.tables.aggregate_heads.clone(),
        );
        compare(
            "checkpoints table",
            self.tables.projection_checkpoints.clone(),
            wanted.tables.projection_checkpoints.clone(),
        );
        for context in &wanted.contexts {
            let Some(stored) = self.context(&context.name) else { continue };
            let own =
                |layout: &Self, context| describe(&layout.levels_below(Role::Events, context));
            compare(&format!("context {}", context.name), own(self, stored), own(wanted, context));
        }
        lines
    }

    /// The lines in which the protections of another layout differ from this one's, as far as they
    /// have any effect.
    #[must_use]
    pub fn protection_differences(&self, wanted: &Self) -> Vec<String> {
        let word = |is| if is { "on" } else { "off" };
        // A context with months may have come since.
        let guard = |layout: &Self| wanted.has_month_level().then(|| layout.guard().to_string());
        let of = |layout: &Self| {
            [
                ("guard", guard(layout).unwrap_or_default()),
                ("event ids", word(layout.keeps_event_ids()).to_owned()),
                ("immutable", word(layout.protections.immutable).to_owned()),
            ]
        };
        of(self)
            .into_iter()
            .zip(of(wanted))
            .filter(|((_, have), (_, want))| have != want)
            .map(|((what, have), (_, want))| {
                format!("{what}: the store has {have}, the request says {want}")
            })
            .collect()
    }
}

/// Refuses a list with a name that cannot be a context, or that is there twice.
pub fn validate_contexts(contexts: &[Context]) -> Result<()> {
    for (position, context) in contexts.iter().enumerate() {
        name::validate_context(&context.name)?;
        if contexts[..position].iter().any(|earlier| earlier.name == context.name) {
            return Err(Error::invalid(format!(
                "the bounded context `{}` is named twice",
                context.name
            )));
        }
    }
    Ok(())
}

/// The levels in words, `whole` for none.
#[must_use]
pub fn describe(levels: &[Level]) -> String {
    if levels.is_empty() {
        return "whole".to_owned();
    }
    levels.iter().map(ToString::to_string).collect::<Vec<_>>().join(", then ")
}

/// `aggregate_heads` has no `created_at`: months do not divide it.
fn keep_for(role: Role, levels: &[Level]) -> Vec<Level> {
    let fits = |level: &&Level| role == Role::Events || **level != Level::Month;
    levels.iter().filter(fits).cloned().collect()
}

#[cfg(test)]
mod tests;
