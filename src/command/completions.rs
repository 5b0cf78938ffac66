//! `pupctl completions`

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

use crate::cli::exit::Exit;
use crate::cli::output::Output;

use super::Cli;

/// Print the completions of commands and options for a shell
///
/// They belong where the shell looks for them; packages put them there. By hand:
///
///   bash        pupctl completions bash >~/.local/share/bash-completion/completions/pupctl
///   zsh         pupctl completions zsh >~/.zfunc/_pupctl, with ~/.zfunc in fpath before compinit
///   fish        pupctl completions fish >~/.config/fish/completions/pupctl.fish
///   elvish      pupctl completions elvish >>~/.config/elvish/rc.elv
///   powershell  pupctl completions powershell >>$PROFILE
///
/// No database and no configuration is read.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs, output: &Output) -> anyhow::Result<Exit> {
    // Into memory first: the generators panic when a pipe is closed.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "pupctl", &mut script);
    let script = String::from_utf8_lossy(&script);
    let value = json!({"shell": args.shell.to_string(), "script": script});
    output.result("completions", &value, &script)?;
    Ok(Exit::Done)
}
