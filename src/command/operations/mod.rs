//! `pupctl operations …`

pub mod abort;
pub mod list;
pub mod resume;
pub mod show;

use clap::Subcommand;

use crate::cli::exit::Exit;
use crate::error::{Error, Result};
use crate::operation::journal::{self, Operation};

use super::context::{Context, Store};

/// The verbs of `operations`.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the words are those of the arguments, for the help too")]
pub enum OperationsCommand {
    List(list::ListArgs),
    Show(show::ShowArgs),
    Resume(resume::ResumeArgs),
    Abort(abort::AbortArgs),
}

impl OperationsCommand {
    /// As the user types it, without the options.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::List(_) => "operations list",
            Self::Show(_) => "operations show",
            Self::Resume(_) => "operations resume",
            Self::Abort(_) => "operations abort",
        }
    }
}

pub(super) fn run(command: &OperationsCommand, context: &Context) -> anyhow::Result<Exit> {
    match command {
        OperationsCommand::List(args) => list::run(args, context),
        OperationsCommand::Show(args) => show::run(args, context),
        OperationsCommand::Resume(args) => resume::run(args, context),
        OperationsCommand::Abort(args) => abort::run(args, context),
    }
}

/// The operation of this number.
fn find(store: &mut Store, id: i64) -> Result<Operation> {
    journal::find(&mut store.client, &store.schema, id)?.ok_or_else(|| {
        Error::invalid(format!("the journal of schema {} has no operation {id}", store.schema))
            .hint("see what is there: pupctl operations list")
    })
}
