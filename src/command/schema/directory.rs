//! The folder of migrations.

use std::path::PathBuf;

use clap::Args;

use crate::cli::config::Config;

/// The folder that is looked at when none is named.
pub const DIRECTORY: &str = "migrations";

/// The folder of migrations.
#[derive(Debug, Args)]
pub struct DirectoryArgs {
    /// The folder of the migrations [default: migrations, or as the configuration file says]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

impl DirectoryArgs {
    /// The folder that was named, by the option or the configuration file.
    pub(super) fn named(&self, config: &Config) -> Option<PathBuf> {
        self.dir.clone().or_else(|| config.migrations.dir.clone())
    }

    /// The folder, which need not be there.
    pub(super) fn folder(&self, config: &Config) -> PathBuf {
        self.named(config).unwrap_or_else(|| PathBuf::from(DIRECTORY))
    }

    /// The folder that the option names.
    pub(super) fn option(&self) -> Option<PathBuf> {
        self.dir.clone()
    }
}
