//! The options that every command takes.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};

use super::argument::duration;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For machines: one object, with a version and named lists.
    Json,
}

/// How messages are written on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line, with time and level, for what collects logs.
    Json,
}

/// When colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The options that every command takes.
#[derive(Debug, Clone, Default, Args)]
// Switches are independent of each other.
#[expect(clippy::struct_excessive_bools)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Where to connect: a URL or a list of key=value pairs, as libpq takes them
    ///
    /// Without it: PUPCTL_DATABASE_URL, DATABASE_URL, the configuration file, then the PG*
    /// variables, service file and password file of libpq.
    #[arg(long, global = true, value_name = "URL")]
    pub database_url: Option<String>,

    /// Use the private server in the folder .pupctl, and start it if it does not run
    #[arg(long, global = true, conflicts_with = "database_url")]
    pub embedded: bool,

    /// The role to work as, after signing in (SET ROLE)
    #[arg(long, global = true)]
    pub role: Option<String>,

    /// The schema of the store [default: the one that holds a store, else public]
    #[arg(long, global = true)]
    pub schema: Option<String>,

    /// The configuration file [default: pupctl.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// How results are printed on standard output
    #[arg(long, short = 'o', global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,

    /// Print the SQL that would run, with its locks, and change nothing
    #[arg(long, global = true)]
    pub dry_run: bool,

    /// Answer every question with yes
    #[arg(long, short, global = true)]
    pub yes: bool,

    /// Wait this long for another pupctl that works on the store [without a time: 60s]
    #[arg(long, global = true, value_name = "TIME", num_args = 0..=1,
        default_missing_value = "60s", value_parser = duration)]
    pub wait: Option<Duration>,

    /// Go on trying for locks on tables for this long [default: 30s]
    #[arg(long, global = true, value_name = "TIME", value_parser = duration)]
    pub lock_budget: Option<Duration>,

    /// Say more on standard error; twice for details
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub verbose: u8,

    /// Print nothing on success
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,

    /// How messages are written on standard error
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
}
