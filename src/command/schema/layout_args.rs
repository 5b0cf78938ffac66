//! The options that say what a store is to look like: `schema init` makes it, `schema generate`
//! writes it into files.

use clap::Args;

use crate::catalog::Catalog;
use crate::cli::argument::{months, value};
use crate::cli::config::{Config, HASH_PARTITIONS};
use crate::error::{Error, Result};
use crate::layout::levels::PartitionBy;
use crate::layout::protection::{Guard, Protections};
use crate::layout::{self, Layout, MONTHS_AHEAD};

/// What a store is to look like.
#[derive(Debug, Args)]
pub struct LayoutArgs {
    /// none | context | hash | month | context,hash | context,month | hash,month
    ///
    /// [default: what the store has, or the configuration file says]
    #[arg(long, value_name = "LAYOUT", value_parser = value::<PartitionBy>)]
    partition_by: Option<PartitionBy>,

    /// The bounded contexts, separated by commas
    ///
    /// Names with a comma go into the configuration file.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    contexts: Option<Vec<String>>,

    /// How many months after the current one are made and kept ready [default: 3]
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, value_parser = months())]
    months: Option<u32>,

    /// How many partitions a hash level has [default: 16]
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    hash_partitions: Option<u32>,

    /// The columns of a hash level, separated by commas
    ///
    /// [default: bounded_context,aggregate_type,aggregate_id; below a context the last two]
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    hash_columns: Option<Vec<String>>,

    /// What refuses one version in two months: events | none [default: events]
    ///
    /// Needed only where months divide events: no key can span two of them. With the guard, every
    /// insert moves the head of its aggregate by compare-and-set, or fails with 23505.
    #[arg(long, value_name = "GUARD", value_parser = value::<Guard>)]
    guard: Option<Guard>,

    /// Go without a guard on a layout with months: two writers can then store the same version of
    /// an aggregate, one in each of two months
    #[arg(long)]
    allow_duplicate_versions: bool,

    /// Refuse an event id that any partition has, through a key table [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
        require_equals = true)]
    event_ids: Option<bool>,

    /// Refuse UPDATE, DELETE and TRUNCATE of events [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
        require_equals = true)]
    immutable: Option<bool>,
}

impl LayoutArgs {
    /// Refuses wrong options before a server is asked for anything.
    pub(in crate::command) fn check(&self, config: &Config) -> Result<()> {
        if self.choice(config)?.is_some() {
            self.layout(config, None)?;
        } else if self.hash_columns.is_some() || self.hash_partitions.is_some() {
            return Err(Error::invalid("--hash-partitions and --hash-columns need --partition-by")
                .hint("for example --partition-by hash"));
        }
        Ok(())
    }

    /// The layout that is wanted: the stored one where there is one and nothing else is asked
    /// for, with the contexts that come new.
    pub(in crate::command) fn layout(
        &self,
        config: &Config,
        catalog: Option<&Catalog>,
    ) -> Result<Layout> {
        let choice = self.choice(config)?;
        // As long as no table was made of it, a stored layout binds nobody.
        let bound = |catalog: &&Catalog| catalog.events.is_some() || catalog.heads.is_some();
        let stored = catalog
            .filter(|catalog| choice.is_none() || bound(catalog))
            .and_then(|catalog| catalog.layout.as_ref());
        let levels = match (choice, stored) {
            (None, Some(stored)) => stored.levels.clone(),
            (None, None) => {
                return Err(Error::invalid("no layout was chosen")
                    .hint("say how to partition, for example --partition-by context"));
            }
            (Some(choice), _) => {
                self.refuse_useless_hash_options(choice)?;
                let columns = self.hash_columns.as_ref().or(config.layout.hash_columns.as_ref());
                choice.levels(columns.map(Vec::as_slice), self.partitions(config))?
            }
        };
        let configured = config.contexts()?;
        let asked: Vec<_> = self.contexts.iter().flatten().map(layout::Context::new).collect();
        // The same name in both is one context; twice in one of them is a slip.
        layout::validate_contexts(&configured)?;
        layout::validate_contexts(&asked)?;
        let mut contexts = stored.map(|stored| stored.contexts.clone()).unwrap_or_default();
        for context in configured.into_iter().chain(asked) {
            match contexts.iter_mut().find(|known| known.name == context.name) {
                None => contexts.push(context),
                // What the configuration says of a context holds for `--contexts` too.
                Some(known) if context.levels.is_some() => known.levels = context.levels,
                Some(_) => {}
            }
        }
        let months = self
            .months
            .or(config.layout.months)
            .or(stored.map(|stored| stored.months_ahead))
            .unwrap_or(MONTHS_AHEAD);
        let tables = stored.map_or_else(|| config.tables(), |stored| stored.tables.clone());
        let protections = self.protections(config, stored)?;
        let layout = Layout::new(tables, levels, contexts, months)?.protected(protections);
        if catalog.is_some() {
            self.refuse_no_guard(&layout, stored)?;
        }
        Ok(layout)
    }

    /// Whether the contexts were named, and not left to what is found.
    pub(in crate::command) fn names_contexts(&self) -> bool {
        self.contexts.is_some()
    }

    /// What these options and the configuration ask for, beside the levels, that a layout which is
    /// made already does not have.
    pub(in crate::command) fn lacking(
        &self,
        config: &Config,
        layout: &Layout,
    ) -> Result<Vec<String>> {
        let mut lacking = Vec::new();
        let mut compare = |name: &str, asked: Option<String>, has: String| {
            let differs = asked.filter(|asked| *asked != has);
            lacking.extend(differs.map(|asked| format!("{name} {asked} is asked for, not {has}")));
        };
        let has = layout.protections;
        // Without months no guard is made, whatever was chosen.
        let accepted = self.allow_duplicate_versions.then_some(Guard::None);
        let guard = self.guard.or(accepted).or(config.layout.guard()?);
        let guard = guard.filter(|_| layout.has_month_level());
        compare("--guard", guard.map(|guard| guard.to_string()), has.guard.to_string());
        let words = |asked: Option<bool>| asked.map(|asked| asked.to_string());
        let event_ids = words(self.event_ids.or(config.layout.event_ids));
        compare("--event-ids", event_ids, has.event_ids.to_string());
        let immutable = words(self.immutable.or(config.layout.immutable));
        compare("--immutable", immutable, has.immutable.to_string());
        let months = self.months.filter(|_| layout.has_month_level());
        compare(
            "--months",
            months.map(|months| months.to_string()),
            layout.months_ahead.to_string(),
        );
        let named = self.contexts.iter().flatten().filter(|_| layout.has_context_level());
        let unknown = named.filter(|name| layout.context(name).is_none());
        lacking
            .extend(unknown.map(|name| format!("the context {name} is named, and is not of it")));
        Ok(lacking)
    }

    /// The protections: what is asked for, else what the store has, else the guard alone.
    fn protections(&self, config: &Config, stored: Option<&Layout>) -> Result<Protections> {
        let config = &config.layout;
        let stored = stored.filter(|stored| stored.chose_protections()).map(|s| s.protections);
        // Whoever accepts duplicates goes without.
        let accepted = self.allow_duplicate_versions.then_some(Guard::None);
        let guard =
            self.guard.or(accepted).or(config.guard()?).or(stored.map(|stored| stored.guard));
        let event_ids =
            self.event_ids.or(config.event_ids).or(stored.map(|stored| stored.event_ids));
        let immutable =
            self.immutable.or(config.immutable).or(stored.map(|stored| stored.immutable));
        Ok(Protections {
            guard: guard.unwrap_or(Guard::Events),
            event_ids: event_ids.unwrap_or(false),
            immutable: immutable.unwrap_or(false),
        })
    }

    /// A store without a guard is made only by somebody who says to know what that means.
    pub(super) fn refuse_no_guard(&self, layout: &Layout, stored: Option<&Layout>) -> Result<()> {
        let is_unguarded =
            |layout: &Layout| layout.has_month_level() && layout.guard() == Guard::None;
        let was = stored.is_some_and(|stored| stored.chose_protections() && is_unguarded(stored));
        if !is_unguarded(layout) || was || self.allow_duplicate_versions {
            return Ok(());
        }
        Err(Error::invalid(
            "without a guard two writers can store the same version of an aggregate, one in each \
             of two months",
        )
        .hint("leave out --guard none; or accept that with --allow-duplicate-versions"))
    }

    fn choice(&self, config: &Config) -> Result<Option<PartitionBy>> {
        Ok(self.partition_by.or(config.layout.partition_by()?))
    }

    fn partitions(&self, config: &Config) -> u32 {
        self.hash_partitions.or(config.layout.hash_partitions).unwrap_or(HASH_PARTITIONS)
    }

    fn refuse_useless_hash_options(&self, choice: PartitionBy) -> Result<()> {
        let has_hash =
            matches!(choice, PartitionBy::Hash | PartitionBy::ContextHash | PartitionBy::HashMonth);
        if has_hash || (self.hash_columns.is_none() && self.hash_partitions.is_none()) {
            return Ok(());
        }
        Err(Error::invalid(format!("the layout {choice} has no hash level"))
            .hint("leave out --hash-partitions and --hash-columns, or choose a layout with hash"))
    }
}
