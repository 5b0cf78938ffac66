//! `pupctl demo`

use clap::Args;

use crate::cli::exit::Exit;

use super::context::Context;

/// Show what pupctl does, on a private server
#[derive(Debug, Args)]
pub struct DemoArgs {}

pub(super) fn run(_args: &DemoArgs, _context: &Context) -> anyhow::Result<Exit> {
    Ok(Exit::Done)
}
