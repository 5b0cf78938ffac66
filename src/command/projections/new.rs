//! `pupctl projections new`

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::output::{cyan, green};
use crate::command::context::Context;
use crate::command::file;
use crate::error::Result;
use crate::failpoint::reach;
use crate::projection::SqlProjection;
use crate::projection::sql::refuse_doubles;
use crate::projection::sql::scaffold::Scaffold;
use crate::render::quote::shell_word;

use super::files;

const THERE_HINT: &str = "choose another name, or change the file that is there";

/// Write the file of a new projection in SQL, to be changed into what is wanted
///
/// The file works as it is: it counts the events of every aggregate, and says in comments what is
/// what. One that is there is never overwritten. No server is needed.
///
/// Examples:
///   pupctl projections new order_totals --contexts Sales --aggregates Order
///   pupctl projections new user_count --dir read_models --slots 4 --table users
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct NewArgs {
    /// The projection, which its file is called after
    #[arg(value_name = "NAME")]
    name: String,

    /// The folder of the file [default: that of pupctl.toml, else projections]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,

    /// The contexts that it reads, separated by commas [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    contexts: Vec<String>,

    /// The types of aggregates that it reads, separated by commas [default: all]
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    aggregates: Vec<String>,

    /// How many slots it has, best a power of two: so many workers can share it [default: 1]
    #[arg(long, value_name = "NUMBER")]
    slots: Option<u32>,

    /// The table that it fills [default: the name of the projection]
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,
}

#[derive(Serialize)]
struct New<'a> {
    dry_run: bool,
    name: &'a str,
    file: String,
    text: String,
}

pub(super) fn run(args: &NewArgs, context: &Context) -> anyhow::Result<Exit> {
    let scaffold = Scaffold {
        name: args.name.clone(),
        contexts: args.contexts.clone(),
        aggregates: args.aggregates.clone(),
        slots: args.slots,
        table: args.table.clone(),
    };
    let text = scaffold.text()?;
    let path = files::folder(args.dir.as_deref(), context).join(scaffold.file_name()?);
    let shown = path.display().to_string();
    args.refuse_doubles(context, &path, &text)?;
    let dry_run = context.global.dry_run;
    if !dry_run {
        reach("projections::before_file");
        file::create(&path, &text).map_err(|error| error.hint(THERE_HINT))?;
    }
    let (output, word) = (&context.output, shell_word(&shown));
    let report = New { dry_run, name: &args.name, file: shown.clone(), text };
    output.result(context.name, &report, if dry_run { &report.text } else { "" })?;
    if dry_run {
        output.say(format!("Dry run: {shown} was not written"));
        return Ok(Exit::Done);
    }
    output.say(format!("{} wrote {shown}", green("Done:")));
    let tried = format!("pupctl projections test {word} --given events.ndjson");
    output.say(format!("try it out:  {}", cyan(&tried)));
    let run = format!("pupctl projections run {}", shell_word(&args.name));
    output.say(format!("keep it up to date:  {}", cyan(&run)));
    Ok(Exit::Done)
}

impl NewArgs {
    /// The file may be there, and another may have the name or the table. One that does not work
    /// is told by whoever runs it.
    fn refuse_doubles(&self, context: &Context, path: &Path, text: &str) -> Result<()> {
        let folder = files::folder(self.dir.as_deref(), context);
        let parameters = &context.config.projections.parameters;
        let others = SqlProjection::read_folder(&folder, parameters);
        // Looked at after the folder: a file that somebody wrote meanwhile is not its own double.
        if path.exists() {
            return Err(file::there(path).hint(THERE_HINT));
        }
        let Ok(mut all) = others else { return Ok(()) };
        all.push(SqlProjection::parse(&path.display().to_string(), text, parameters)?);
        refuse_doubles(&all)
    }
}
