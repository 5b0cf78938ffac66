//! `pupctl schema generate`

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::cli::argument::value;
use crate::cli::exit::Exit;
use crate::cli::output::{self, count};
use crate::command::context::Context;
use crate::command::file;
use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::layout::month::Month;
use crate::layout::name::validate_identifier;
use crate::layout::{Layout, Months};
use crate::plan;
use crate::render::formats::{self, File, Format};
use crate::render::generate::sources;

use super::directory::DirectoryArgs;
use super::layout_args::LayoutArgs;

/// Write the migrations of a store into files, for pupctl or another tool to apply
///
/// The same SQL that `schema init` runs, under the same numbers, and the partitions of contexts
/// and hash levels; a last file tells later pupctl commands what the store looks like. No server
/// is needed. A file that is there is never changed.
///
/// Months are not migrations: `pupctl partitions ensure` makes them. For a start without it,
/// --from writes the first ones.
///
/// Examples:
///   pupctl schema generate --partition-by context,month --contexts Identity,Billing
///   pupctl schema generate --partition-by month --format flyway --from 2025-10 --months 4
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct GenerateArgs {
    #[command(flatten)]
    directory: DirectoryArgs,

    /// refinery | flyway | sqlx | goose | dbmate | plain
    ///
    /// `plain` is one script for psql, on standard output unless --dir is given.
    /// [default: refinery]
    #[arg(long, value_name = "FORMAT", value_parser = value::<Format>, default_value = "refinery",
        hide_default_value = true)]
    format: Format,

    /// The first of the months that the files make, as many as --months says
    #[arg(long, value_name = "YYYY-MM", value_parser = value::<Month>)]
    from: Option<Month>,

    #[command(flatten)]
    layout: LayoutArgs,
}

#[derive(Serialize)]
struct Report {
    dry_run: bool,
    changed: bool,
    format: String,
    schema: String,
    directory: Option<String>,
    files: Vec<FileReport>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct FileReport {
    name: String,
    there: bool,
    /// With `--dry-run`, and for a script that goes to standard output.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

pub(super) fn run(args: &GenerateArgs, context: &Context) -> anyhow::Result<Exit> {
    args.layout.check(&context.config)?;
    let layout = args.layout.layout(&context.config, None)?;
    args.layout.refuse_no_guard(&layout, None)?;
    let months = args.months(&layout)?;
    let schema = context.global.schema.as_ref().or(context.config.schema.as_ref());
    let schema = schema.map_or("public", String::as_str);
    validate_identifier("schema", schema)?;
    let generated = plan::generate::plan(&layout, schema, &months)?;
    let files = formats::files(args.format, &sources(&generated));
    let folder = args.folder(context);
    let there = match &folder {
        Some(folder) => compare(folder, &files)?,
        None => vec![false; files.len()],
    };
    let show = context.global.dry_run || folder.is_none();
    let report = Report {
        dry_run: context.global.dry_run,
        changed: there.contains(&false),
        format: args.format.to_string(),
        schema: schema.to_owned(),
        directory: folder.as_ref().map(|folder| folder.display().to_string()),
        files: files
            .iter()
            .zip(&there)
            .map(|(file, there)| FileReport {
                name: file.name.clone(),
                there: *there,
                text: show.then(|| file.text.clone()),
            })
            .collect(),
        notes: generated.notes.clone(),
    };
    let new = files.iter().zip(&there).filter(|(_, there)| !**there).map(|(file, _)| file);
    if let Some(folder) = folder.as_ref().filter(|_| !context.global.dry_run) {
        write(folder, new)?;
    }
    Ok(args.tell(context, &report)?)
}

impl GenerateArgs {
    /// No months at all, unless the first one is named: which month it is, only the server says.
    fn months(&self, layout: &Layout) -> Result<Months> {
        let Some(from) = self.from else { return Ok(Months::none()) };
        if !layout.has_month_level() {
            return Err(Error::invalid(format!(
                "the layout {} has no months, so --from says nothing",
                layout.partition_by()
            ))
            .hint("leave out --from, or choose a layout with month"));
        }
        let Some(further) = layout.months_ahead.checked_sub(1) else {
            return Err(Error::invalid("--from needs at least one month: --months 1"));
        };
        Months::new(from, further, None)
    }

    /// Where the files go; nowhere for a script on standard output.
    fn folder(&self, context: &Context) -> Option<PathBuf> {
        match self.format {
            Format::Plain => self.directory.option(),
            _ => Some(self.directory.folder(&context.config)),
        }
    }

    fn tell(&self, context: &Context, report: &Report) -> Result<Exit> {
        let output = &context.output;
        let texts = |file: &FileReport| Some((file.name.clone(), file.text.clone()?));
        if output.is_json() {
            output.json(context.name, report)?;
        } else {
            for (name, text) in report.files.iter().filter_map(texts) {
                // A script is run as it is; of several files each needs its name.
                let heading =
                    if report.directory.is_some() { format!("-- {name}\n") } else { String::new() };
                output.data(&(heading + &text))?;
            }
        }
        for note in &report.notes {
            output.say(format!("note: {note}"));
        }
        let Some(folder) = &report.directory else { return Ok(Exit::Done) };
        let written = count(report.files.iter().filter(|file| !file.there).count(), "file");
        match (report.changed, report.dry_run) {
            (false, _) => output.say(format!("Nothing to do: the files are in {folder}")),
            (true, true) => output.say(format!("Dry run: {written}, nothing was written")),
            (true, false) => output.say(format!(
                "{} {written} written to {folder}; {}",
                output::green("Done:"),
                self.next_steps()
            )),
        }
        Ok(Exit::Done)
    }

    fn next_steps(&self) -> String {
        let apply = match self.format {
            Format::Refinery => "pupctl schema migrate".to_owned(),
            Format::Plain => "psql".to_owned(),
            other => other.to_string(),
        };
        format!("apply them with {apply}, then run pupctl partitions ensure")
    }
}

/// Which of the files are there already, and refuses when they are others.
fn compare(folder: &Path, files: &[File]) -> Result<Vec<bool>> {
    let mut there = Vec::new();
    let mut others = Vec::new();
    for file in files {
        let path = folder.join(&file.name);
        match std::fs::read(&path) {
            Ok(bytes) if is_same(&bytes, &file.text) => there.push(true),
            Ok(_) => others.push(path.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => there.push(false),
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
                return Err(Error::invalid(format!(
                    "{} is a file, not a folder",
                    folder.display()
                ))
                .hint("name the folder with --dir"));
            }
            Err(error) => {
                return Err(Error::system(format!("cannot read {}", path.display()), error));
            }
        }
    }
    others.extend(of_same_version(folder, files)?);
    if others.is_empty() {
        return Ok(there);
    }
    others.sort();
    Err(Error::refused(format!(
        "{} there already and different: no file is ever changed",
        if others.len() == 1 {
            "a file is".to_owned()
        } else {
            format!("{} files are", others.len())
        }
    ))
    .details(others)
    .hint("write into another folder with --dir, or delete them if they were never applied"))
}

fn is_same(bytes: &[u8], text: &str) -> bool {
    let found = std::str::from_utf8(bytes).unwrap_or_default();
    found == text || found.replace("\r\n", "\n") == text
}

/// Files of other names with a version that is going to be written.
fn of_same_version(folder: &Path, files: &[File]) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(Error::system(format!("cannot read {}", folder.display()), error));
        }
    };
    let versions: Vec<_> = files.iter().filter_map(|file| version(&file.name)).collect();
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let other = |name: &String| {
        Path::new(name).extension().is_some_and(|end| end == "sql")
            && files.iter().all(|file| file.name != *name)
            && version(name).is_some_and(|version| versions.contains(&version))
    };
    Ok(names.filter(other).map(|name| folder.join(name).display().to_string()).collect())
}

/// The number with which the name of a migration begins, in any of the formats.
fn version(name: &str) -> Option<u64> {
    let digits = name.strip_prefix('V').unwrap_or(name);
    let end = digits.find(|c: char| !c.is_ascii_digit())?;
    digits[end..].starts_with('_').then(|| digits[..end].parse().ok())?
}

/// Writes files that are not there. Each appears whole or not at all, so that a run that was
/// killed is finished by the next.
fn write<'a>(folder: &Path, files: impl Iterator<Item = &'a File>) -> Result<()> {
    for file in files {
        reach("generate::before_file");
        file::create(&folder.join(&file.name), &file.text)?;
    }
    Ok(())
}
