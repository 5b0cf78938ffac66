//! `pupctl schema index add`

use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::{StoreTable, change, report, told};
use crate::cli::argument::value;
use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::db::probe::index_definition;
use crate::error::{Error, Result};
use crate::layout::name::{is_like_an_index, validate_identifier};
use crate::plan::index::{Wanted, add};
use crate::render::index::{Parameter, Request};

/// Build an index on a table of the store and on all of its partitions
///
/// The parent's index is made first, alone, so that new partitions take it over; then each leaf
/// gets its own with CREATE INDEX CONCURRENTLY, and it is attached. Readers and writers go on. A
/// build waits for transactions that are older than it, and pupctl says whose they are. Interrupted
/// anywhere, the same command goes on where it stopped.
///
/// Examples:
///   pupctl schema index add --preset type
///   pupctl schema index add --columns trace_id --include event_id --name events_trace_idx
///   pupctl schema index add --on heads --columns aggregate_type,updated_at
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct AddArgs {
    /// On which table
    #[arg(long, visible_alias = "table", value_enum, default_value_t, value_name = "TABLE")]
    on: StoreTable,

    /// One of the indexes that readers of events often want
    #[arg(
        long,
        value_enum,
        conflicts_with_all = ["columns", "method", "condition", "with", "include"]
    )]
    preset: Option<Preset>,

    /// Its columns, separated by commas
    #[arg(long, value_delimiter = ',', required_unless_present = "preset")]
    columns: Vec<String>,

    /// Its name [default: table, columns and idx, as PostgreSQL calls it]
    #[arg(long)]
    name: Option<String>,

    /// How it finds rows
    #[arg(long, value_enum, default_value_t)]
    method: Method,

    /// Only the rows for which this SQL holds
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,

    /// Storage parameters, separated by commas, as pages_per_range=32
    #[arg(long, value_delimiter = ',', value_name = "NAME=VALUE", value_parser = value::<Setting>)]
    with: Vec<Setting>,

    /// Columns that it only carries, so that a read needs no row
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    include: Vec<String>,
}

/// The optional indexes of an event store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Preset {
    /// (event_type, global_position): events of one type in order
    Type,
    /// (correlation_id) where it is not null: all that one request caused
    Correlation,
}

/// How an index finds rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Method {
    #[default]
    Btree,
    Brin,
    Gin,
    Hash,
}

/// `name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting(Parameter);

impl FromStr for Setting {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.split_once('=').map(|(name, value)| (name.trim(), value.trim()));
        match parts {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                Ok(Self(Parameter { name: name.to_owned(), value: value.to_owned() }))
            }
            _ => Err(Error::invalid(format!("`{text}` is no storage parameter"))
                .hint("write pages_per_range=32")),
        }
    }
}

pub(super) fn run(args: &AddArgs, context: &Context) -> anyhow::Result<Exit> {
    args.validate()?;
    let request = args.request();
    let mut name = String::new();
    let written = change(context, "Go on?", |catalog, client| {
        let root = args.on.root(catalog)?;
        let table = &root.name;
        if let Some(chosen) = &args.name {
            refuse_name_of_a_partition(&table.name, chosen)?;
        }
        let wanted = Wanted {
            name: args.name.clone(),
            ending: args.name.as_ref().map_or_else(
                || format!("{}_idx", request.columns.join("_")),
                |chosen| Wanted::ending_of(&table.name, chosen),
            ),
            definition: index_definition(client, table, &request)?,
        };
        name = format!("the index on {table} ({})", request.columns.join(", "));
        add(catalog, root, &wanted)
    })?;
    let done = format!("{name} is valid; {}", told(&written.plan));
    let nothing = format!("Nothing to do: {name} is there, on every partition");
    Ok(report(context, written, &done, &nothing)?)
}

impl AddArgs {
    /// Wrong arguments are told before a server is asked for anything.
    fn validate(&self) -> Result<()> {
        if self.preset.is_some() && self.on != StoreTable::Events {
            return Err(Error::invalid("the presets are indexes of events")
                .hint("leave out --on, or name the columns"));
        }
        for column in self.columns.iter().chain(&self.include) {
            validate_identifier("column", column)?;
        }
        self.name.as_ref().map_or(Ok(()), |name| validate_identifier("index", name))
    }

    fn request(&self) -> Request {
        let words = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect();
        let method = match self.method {
            Method::Btree => "btree",
            Method::Brin => "brin",
            Method::Gin => "gin",
            Method::Hash => "hash",
        };
        let mut request = Request {
            method: method.to_owned(),
            columns: self.columns.clone(),
            include: self.include.clone(),
            options: self.with.iter().map(|Setting(parameter)| parameter.clone()).collect(),
            condition: self.condition.clone(),
        };
        match self.preset {
            Some(Preset::Type) => request.columns = words(&["event_type", "global_position"]),
            Some(Preset::Correlation) => {
                request.columns = words(&["correlation_id"]);
                request.condition = Some("correlation_id IS NOT NULL".to_owned());
            }
            None => {}
        }
        request
    }
}

/// Tables and indexes share one name space: a partition may need the name one day.
fn refuse_name_of_a_partition(table: &str, chosen: &str) -> Result<()> {
    let begins = chosen.strip_prefix(table).is_some_and(|rest| rest.starts_with('_'));
    if !begins || is_like_an_index(chosen) {
        return Ok(());
    }
    Err(Error::invalid(format!("the name {chosen} is one that a partition of {table} may get"))
        .hint(format!("let it end in _idx: --name {chosen}_idx")))
}
