//! The files of projections in SQL, as the options of several commands name them.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::argument::value;
use crate::command::context::Context;
use crate::error::{Error, Result};
use crate::projection::SqlProjection;
use crate::projection::sql::{Assignment, Parameter, Parameters};

/// The folder of the files when none is named.
const FOLDER: &str = "projections";

/// Where files are, and what stands for their parameters.
#[derive(Debug, Args)]
pub(super) struct FilesArgs {
    /// The folder of the files [default: that of pupctl.toml, else projections]
    #[arg(long, value_name = "FOLDER")]
    pub(super) dir: Option<PathBuf>,

    #[command(flatten)]
    pub(super) parameters: ParameterArgs,
}

/// What stands for parameters.
#[derive(Debug, Args)]
pub(super) struct ParameterArgs {
    /// What stands for {{ NAME }} in the files; beside, and before, those of pupctl.toml
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = value::<Assignment>)]
    parameters: Vec<Assignment>,
}

impl ParameterArgs {
    /// Those of the configuration, and of the options.
    pub(super) fn all(&self, context: &Context) -> Parameters {
        let mut all = context.config.projections.parameters.clone();
        all.extend(self.parameters.iter().map(|one| (one.name.clone(), one.value.clone())));
        all
    }
}

/// The folder that was named, else that of the configuration.
pub(super) fn folder(named: Option<&Path>, context: &Context) -> PathBuf {
    let configured = context.config.projections.dir.as_deref();
    named.or(configured).unwrap_or(Path::new(FOLDER)).to_owned()
}

impl FilesArgs {
    /// These options as words, to be given once more.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(dir) = &self.dir {
            words.extend(["--dir".to_owned(), dir.display().to_string()]);
        }
        for Assignment { name, value } in &self.parameters.parameters {
            let value = match value {
                Parameter::Integer(number) => number.to_string(),
                Parameter::Text(text) => text.clone(),
                _ => continue,
            };
            words.extend(["--param".to_owned(), format!("{name}={value}")]);
        }
        words
    }

    /// The folder.
    pub(super) fn folder(&self, context: &Context) -> PathBuf {
        folder(self.dir.as_deref(), context)
    }

    /// The projections of these names; all of the folder where none is named.
    pub(super) fn read(&self, context: &Context, names: &[String]) -> Result<Vec<SqlProjection>> {
        let folder = self.folder(context);
        let all = SqlProjection::read_folder(&folder, &self.parameters.all(context))?;
        let known: Vec<_> = all.iter().map(|one| one.name().to_owned()).collect();
        if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
            let known = if known.is_empty() { "no file".to_owned() } else { known.join(", ") };
            return Err(Error::invalid(format!(
                "no file in {} has the name {unknown}",
                folder.display()
            ))
            .detail(format!("there is {known}"))
            .hint("a projection is called as the line `-- name:` of its file says"));
        }
        if all.is_empty() {
            return Err(Error::invalid(format!("{} has no .sql file", folder.display()))
                .hint("make a first projection: pupctl projections new order_totals"));
        }
        let is_meant =
            |one: &SqlProjection| names.is_empty() || names.iter().any(|name| name == one.name());
        Ok(all.into_iter().filter(is_meant).collect())
    }
}
