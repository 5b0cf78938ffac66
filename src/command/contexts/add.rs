//! `pupctl contexts add`

use clap::Args;

use crate::cli::argument::value;
use crate::cli::config::{Config, HASH_PARTITIONS};
use crate::cli::exit::Exit;
use crate::command::context::{Context, layout_of};
use crate::command::write::{made, report, write};
use crate::error::{Error, Result};
use crate::finding;
use crate::layout;
use crate::layout::levels::SecondLevel;
use crate::layout::name::validate_context;
use crate::plan;

/// Add bounded contexts, with their partitions
///
/// Without an option a context is divided as the layout says, or as its entry in the
/// configuration file says. Contexts that are there already are left as they are.
///
/// Examples:
///   pupctl contexts add Shipping Returns
///   pupctl contexts add Identity --partition-by hash --hash-partitions 8
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct AddArgs {
    /// The names, also separated by commas
    #[arg(required = true, value_name = "NAME", value_delimiter = ',')]
    names: Vec<String>,

    /// How these contexts are divided: none | hash | month
    #[arg(long, value_name = "LEVEL", value_parser = value::<SecondLevel>)]
    partition_by: Option<SecondLevel>,

    /// How many partitions a hash level has [default: 16]
    #[arg(long, value_name = "COUNT", requires = "partition_by")]
    hash_partitions: Option<u32>,

    /// The columns of a hash level [default: aggregate_type,aggregate_id]
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', requires = "partition_by")]
    hash_columns: Option<Vec<String>>,
}

pub(super) fn run(args: &AddArgs, context: &Context) -> anyhow::Result<Exit> {
    let new = args.contexts(&context.config)?;
    let (_, changes) = write(context, |catalog| {
        let layout = layout_of(catalog)?;
        finding::detach::refuse_pending(catalog)?;
        let months = plan::ensure::months(catalog, layout.months_ahead, None)?;
        plan::contexts::add(layout, catalog, &new, &months)
    })?;
    let done = format!("the store knows {}; {}", args.names.join(", "), made(&changes));
    Ok(report(context, &changes, &done, "Nothing to do: the store has these contexts")?)
}

impl AddArgs {
    fn contexts(&self, config: &Config) -> Result<Vec<layout::Context>> {
        let configured = config.contexts()?;
        let partitions =
            self.hash_partitions.or(config.layout.hash_partitions).unwrap_or(HASH_PARTITIONS);
        if self.hash_columns.is_some() && self.partition_by != Some(SecondLevel::Hash) {
            return Err(Error::invalid("--hash-columns needs --partition-by hash"));
        }
        self.names
            .iter()
            .map(|name| {
                validate_context(name)?;
                if let Some(level) = self.partition_by {
                    let levels = level.levels(self.hash_columns.as_deref(), partitions)?;
                    return Ok(layout::Context {
                        levels: Some(levels),
                        ..layout::Context::new(name)
                    });
                }
                let known = configured.iter().find(|context| context.name == *name);
                Ok(known.cloned().unwrap_or_else(|| layout::Context::new(name)))
            })
            .collect()
    }
}
