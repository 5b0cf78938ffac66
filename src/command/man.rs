//! `pupctl man`

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use clap_mangen::Man;
use serde_json::json;

use crate::cli::exit::Exit;
use crate::cli::output::{Output, count};
use crate::error::{Error, Kind, Result};

use super::Cli;

/// Print a manual page, or write them all
///
///   pupctl man | man -l -
///   pupctl man partitions ensure | man -l -
///   pupctl man --dir ~/.local/share/man/man1
///
/// No database and no configuration is read.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ManArgs {
    /// The command whose page is printed, such as partitions ensure [default: pupctl itself]
    #[arg(conflicts_with = "dir")]
    command: Vec<String>,

    /// Write the pages of all commands into this folder, and make it if it is not there
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: &ManArgs, output: &Output) -> anyhow::Result<Exit> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    match &args.dir {
        Some(folder) => {
            let names = write_all(&program, folder)?;
            output.result("man", &json!({"directory": folder, "pages": names}), "")?;
            let pages = count(names.len(), "page");
            output.say(format!("Done: {pages} written to {}", folder.display()));
        }
        None => {
            let command = find(&program, &args.command)?;
            let (name, text) = page(command)?;
            output.result("man", &json!({"page": name, "text": text}), &text)?;
        }
    }
    Ok(Exit::Done)
}

fn find<'a>(program: &'a clap::Command, words: &[String]) -> Result<&'a clap::Command> {
    words.iter().try_fold(program, |command, word| {
        command.find_subcommand(word).ok_or_else(|| {
            let words = words.join(" ");
            Error::new(Kind::Invalid, format!("there is no command {words}"))
                .hint("see them all: pupctl help")
        })
    })
}

/// The file name and the text of the page of one command.
fn page(command: &clap::Command) -> Result<(String, String)> {
    let source = format!("pupctl {}", env!("CARGO_PKG_VERSION"));
    let title = command.get_display_name().unwrap_or_else(|| command.get_name()).to_uppercase();
    let man = Man::new(command.clone()).title(title).source(source).manual("pupctl");
    let mut text = Vec::new();
    man.render(&mut text).map_err(|error| Error::system("cannot make the page", error))?;
    Ok((man.get_filename(), ascii(&String::from_utf8_lossy(&text))))
}

/// Formatters read ASCII without being told; other characters have their numbers.
fn ascii(text: &str) -> String {
    let escaped = |character: char| {
        if character.is_ascii() {
            return character.to_string();
        }
        format!("\\[u{:04X}]", u32::from(character))
    };
    text.chars().map(escaped).collect()
}

fn write_all(program: &clap::Command, folder: &Path) -> Result<Vec<String>> {
    fs::create_dir_all(folder)
        .map_err(|error| Error::system(format!("cannot make {}", folder.display()), error))?;
    let mut names = Vec::new();
    let mut commands = vec![program];
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands().filter(|command| !command.is_hide_set()));
        let (name, text) = page(command)?;
        let path = folder.join(&name);
        fs::write(&path, text)
            .map_err(|error| Error::system(format!("cannot write {}", path.display()), error))?;
        names.push(name);
    }
    names.sort();
    Ok(names)
}
