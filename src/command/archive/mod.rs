//! `pupctl archive …`

mod dry_run;
mod expired;
mod items;
pub mod list;
mod report;
mod run;
pub mod show;
pub mod verify;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::archive::Format;
use crate::archive::folder::Archive;
use crate::cli::argument::{duration, value};
use crate::cli::exit::Exit;
use crate::error::Error;
use crate::layout::month::Month;
use crate::operation::archives;

use super::context::Context;

/// Take events out of the store into files, prove the files, and drop the tables if wanted
///
/// WHAT is a bounded context, a month (2026-01), a partition or its place (Billing/2026-01). Each
/// leaf becomes an archive of its own: a folder with the rows and a manifest. Before a leaf leaves,
/// every projection, replication slot and open transaction has to be past its last event; before a
/// table is dropped, the file is read back and compared with it. A run that was interrupted is
/// gone on with by the same command.
///
/// The leaf of a context or of a hash share is written to all the time: an empty one takes its
/// place in the same transaction. Of a context that is divided by month the months that are over
/// leave.
///
/// Examples:
///   pupctl archive analytics
///   pupctl archive 2025-01 --format copy --drop
///   pupctl archive --expired --drop --yes
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true)]
pub struct ArchiveArgs {
    #[command(subcommand)]
    command: Option<ArchiveCommand>,

    #[command(flatten)]
    what: WhatArgs,
}

/// What is archived, and how.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "switches are independent of each other")]
pub(super) struct WhatArgs {
    /// A bounded context, a month, a partition or its place
    #[arg(value_name = "WHAT", required_unless_present = "expired")]
    what: Option<String>,

    /// All months whose retention has run out, as pupctl.toml says
    #[arg(long, conflicts_with = "what")]
    expired: bool,

    /// Of a context with months the current one too; an empty one takes its place
    #[arg(long, conflicts_with = "expired")]
    all: bool,

    /// Take a context out for good: nothing takes its place, and its inserts fail from then on
    #[arg(long, conflicts_with_all = ["expired", "copy_only"])]
    retire: bool,

    /// Archive the heads of the context too; until they come back it takes no events
    #[arg(long, requires = "retire")]
    with_heads: bool,

    /// Drop the tables once their archives are proven, also those that were kept before
    #[arg(long, conflicts_with = "copy_only")]
    drop: bool,

    /// Write and prove the files, and leave the events where they are: a backup
    #[arg(long, conflicts_with = "expired")]
    copy_only: bool,

    /// The form of the rows: parquet for analysis, copy for psql alone [default: parquet]
    #[arg(long, value_name = "FORMAT", value_parser = value::<Format>)]
    format: Option<Format>,

    /// The folder in which each archive is a folder [default: archives]
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,

    /// Let a leaf go though streams go on after it
    #[arg(long)]
    allow_split_streams: bool,

    /// A projection that is dead, and need not have handled the events: all its slots, or one row
    #[arg(long, value_name = "NAME")]
    ignore_projection: Vec<String>,

    /// A replication slot that is dead
    #[arg(long, value_name = "NAME")]
    ignore_slot: Vec<String>,

    /// Wait this long for open transactions, projections and replication slots; with --expired, for
    /// those of all months together
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    patience: Duration,

    /// Drop at most so many tables in one run of --expired [default: 12]
    #[arg(long, value_name = "NUMBER", requires = "expired")]
    max: Option<usize>,

    /// End with 3 when --expired held a month back
    #[arg(long, requires = "expired")]
    exit_code: bool,
}

/// The verbs of `archive`.
#[derive(Debug, Subcommand)]
enum ArchiveCommand {
    List(list::ListArgs),
    Show(show::ShowArgs),
    Verify(verify::VerifyArgs),
}

impl ArchiveArgs {
    /// As the user types it, without the options.
    pub(super) fn name(&self) -> &'static str {
        match &self.command {
            None => "archive",
            Some(ArchiveCommand::List(_)) => "archive list",
            Some(ArchiveCommand::Show(_)) => "archive show",
            Some(ArchiveCommand::Verify(_)) => "archive verify",
        }
    }

    /// Whether it drops tables, and neither a retention nor its words say of which months: what it
    /// drops becomes more with the time.
    pub(super) fn drops_by_the_clock(&self) -> bool {
        let what = &self.what;
        self.command.is_none() && what.drop && !what.expired && !what.names_a_month()
    }
}

pub(super) fn run(args: &ArchiveArgs, context: &Context) -> anyhow::Result<Exit> {
    match &args.command {
        None => run::run(&args.what, context),
        Some(ArchiveCommand::List(args)) => list::run(args, context),
        Some(ArchiveCommand::Show(args)) => show::run(args, context),
        Some(ArchiveCommand::Verify(args)) => verify::run(args, context),
    }
}

impl WhatArgs {
    /// Whether it is about one month. The name of a table does not tell: that of a context may have
    /// months below it.
    fn names_a_month(&self) -> bool {
        let place = self.what.as_deref().and_then(|what| what.rsplit('/').next());
        place.is_some_and(|month| month.parse::<Month>().is_ok())
    }

    /// The same request as words, so that an interrupted run is known again, and can be gone on
    /// with by its number. Where to connect is not part of it.
    fn words(&self, format: Format, folder: &str) -> Vec<String> {
        let mut words = vec!["archive".to_owned()];
        words.extend(self.what.iter().cloned());
        let switches = [
            ("--expired", self.expired),
            ("--all", self.all),
            ("--retire", self.retire),
            ("--with-heads", self.with_heads),
            ("--drop", self.drop),
            ("--copy-only", self.copy_only),
            ("--allow-split-streams", self.allow_split_streams),
        ];
        words.extend(switches.iter().filter(|(_, is)| *is).map(|(name, _)| (*name).to_owned()));
        words.extend(self.max.map(|max| format!("--max={max}")));
        words.push(format!("--format={format}"));
        words.push(format!("--to={folder}"));
        words.extend(
            self.ignore_projection.iter().map(|name| format!("--ignore-projection={name}")),
        );
        words.extend(self.ignore_slot.iter().map(|name| format!("--ignore-slot={name}")));
        words
    }

    /// The folder of the archives, from the root of the file system.
    fn folder(&self, context: &Context) -> Result<PathBuf, Error> {
        let configured = self.to.clone().or_else(|| context.config.archive.to.clone());
        let folder = configured.unwrap_or_else(|| PathBuf::from("archives"));
        std::path::absolute(&folder).map_err(|error| {
            Error::system(format!("cannot tell where {} is", folder.display()), error)
        })
    }

    fn format(&self, context: &Context) -> Result<Format, Error> {
        let configured = context.config.archive.format.as_deref();
        Ok(match self.format {
            Some(format) => format,
            None => configured.map(str::parse).transpose()?.unwrap_or_default(),
        })
    }
}

/// Archives as a table.
pub(super) fn archives_table(archives: &[crate::operation::archives::Record]) -> String {
    report::table(archives)
}

/// The archive of a folder, or of a name that the store has listed.
fn one(context: &Context, what: &str) -> Result<Archive, Error> {
    let path = Path::new(what);
    if path.is_dir() {
        return Archive::open(path);
    }
    let mut store = context.open().map_err(super::failure)?;
    let records = archives::all(&mut store.client, &store.schema)?;
    match records.iter().find(|record| record.name == what) {
        Some(record) => Archive::open(&record.path()),
        None => Err(Error::invalid(format!("there is no folder and no archive {what}"))
            .hint("see what there is: pupctl archive list")),
    }
}
