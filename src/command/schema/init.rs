//! `pupctl schema init`

use clap::Args;

use crate::catalog::Catalog;
use crate::cli::argument::{months, value};
use crate::cli::config::{Config, HASH_PARTITIONS};
use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::command::write::{made, report, write};
use crate::error::{Error, Result};
use crate::finding;
use crate::layout::levels::PartitionBy;
use crate::layout::{self, Layout, MONTHS_AHEAD};
use crate::plan;

/// Make the tables of the store and their first partitions
///
/// Makes events, aggregate_heads and projection_checkpoints, with keys on every leaf and a BRIN
/// index on created_at, then the partitions that the layout names. The parents are migrations
/// with a history; the layout is stored, and later commands read it. A second run says that
/// there is nothing to do; an interrupted one is finished by running it again.
///
/// Examples:
///   pupctl schema init --partition-by context --contexts Identity,Billing,Analytics
///   pupctl schema init --partition-by context,month --months 6 --dry-run
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct InitArgs {
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
}

pub(super) fn run(args: &InitArgs, context: &Context) -> anyhow::Result<Exit> {
    // Wrong arguments are told before a server is asked for anything.
    if args.choice(&context.config)?.is_some() {
        args.layout(&context.config, None)?;
    } else if args.hash_columns.is_some() || args.hash_partitions.is_some() {
        return Err(Error::invalid("--hash-partitions and --hash-columns need --partition-by")
            .hint("for example --partition-by hash")
            .into());
    }
    let (_, changes) = write(context, |catalog| {
        finding::detach::refuse_pending(catalog)?;
        let layout = args.layout(&context.config, Some(catalog))?;
        let months = plan::ensure::months(catalog, layout.months_ahead, None)?;
        plan::init::plan(&layout, catalog, &months)
    })?;
    let done = format!("the store is ready; {}", made(&changes));
    Ok(report(context, &changes, &done, "Nothing to do: the store is as the layout says")?)
}

impl InitArgs {
    /// The layout that is wanted: the stored one where there is one and nothing else is asked
    /// for, with the contexts that come new.
    fn layout(&self, config: &Config, catalog: Option<&Catalog>) -> Result<Layout> {
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
                Some(known) if context.levels.is_some() => *known = context,
                Some(_) => {}
            }
        }
        let months = self
            .months
            .or(config.layout.months)
            .or(stored.map(|stored| stored.months_ahead))
            .unwrap_or(MONTHS_AHEAD);
        let tables = stored.map_or_else(|| config.tables(), |stored| stored.tables.clone());
        Layout::new(tables, levels, contexts, months)
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
