//! `pupctl schedule print`

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::cli::config::FILE;
use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::command::context::Context;
use crate::command::file;
use crate::error::{Error, Result};
use crate::schedule::print::kubernetes::Claim;
use crate::schedule::print::systemd::File;
use crate::schedule::print::{Sheet, crontab, kubernetes, systemd};
use crate::schedule::{Job, job};

use super::jobs;

/// Where the file pupctl.toml lies in a container.
const MOUNTED: &str = "/etc/pupctl/pupctl.toml";

/// Where containers work, and archives lie unless told otherwise.
const VOLUME: &str = "/data";

/// Print the jobs as files of another scheduler
///
/// A crontab, a service and a timer of systemd for each job, or CronJobs of Kubernetes. Where to
/// connect to is not written into them, since that may hold a password: each says where it belongs.
///
/// Examples:
///   pupctl schedule print --as crontab --user app
///   pupctl schedule print --as systemd --user app --dir units
///   pupctl schedule print --as kubernetes --image registry.example.com/pupctl:1
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct PrintArgs {
    /// For which scheduler
    #[arg(long = "as", value_name = "SCHEDULER", value_enum)]
    scheduler: Scheduler,

    /// The user of the machine as which jobs run; for a crontab the column of /etc/cron.d
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// The image of the containers, with pupctl as its entry point [default: pupctl:VERSION]
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,

    /// Where the program lies on the machine that runs the jobs [default: where this one lies]
    #[arg(long, value_name = "FILE")]
    program: Option<String>,

    /// The PersistentVolumeClaim for archives, mounted where `[archive] to` says [default: /data]
    #[arg(long, value_name = "NAME")]
    claim: Option<String>,

    /// What the names of units and CronJobs begin with, where there are several stores
    #[arg(long, value_name = "NAME", default_value = "pupctl")]
    prefix: String,

    /// Write the units of systemd into this folder
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// For which scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scheduler {
    /// cron, of a user or in /etc/cron.d
    Crontab,
    /// systemd's services and timers
    Systemd,
    /// CronJobs
    Kubernetes,
}

#[derive(Serialize)]
struct Printed {
    files: Vec<File>,
}

pub(super) fn run(args: &PrintArgs, context: &Context) -> anyhow::Result<Exit> {
    args.refuse_strange()?;
    let files = args.files(context)?;
    let mut text = String::new();
    for (number, one) in files.iter().enumerate() {
        if args.scheduler == Scheduler::Systemd {
            let gap = if number > 0 { "\n" } else { "" };
            let _ = writeln!(text, "{gap}# /etc/systemd/system/{}", one.name);
        }
        text.push_str(&one.text);
    }
    let written = args.dir.as_ref().filter(|_| !context.global.dry_run);
    if let Some(folder) = written {
        for one in &files {
            file::replace(&folder.join(&one.name), &one.text)?;
        }
        text.clear();
    }
    let written = written.map(|folder| (folder.display().to_string(), files.len()));
    let printed = Printed { files };
    if context.output.is_json() {
        context.output.json(context.name, &printed)?;
    } else {
        // Asked for in so many words, so that --quiet does not hide it.
        context.output.data(&text)?;
    }
    if let Some((folder, number)) = written {
        context.output.say(format!("{} written to {folder}", count(number, "file")));
    }
    if context.global.database_url.is_some() {
        context
            .output
            .warn("the address of the database is not printed, for it may hold a password");
    }
    Ok(Exit::Done)
}

impl PrintArgs {
    fn refuse_strange(&self) -> Result<()> {
        job::validate_name(&self.prefix)?;
        let only = |option: &str, scheduler: &str| {
            Err(Error::invalid(format!("{option} is for --as {scheduler} only"))
                .hint("leave it out"))
        };
        match self.scheduler {
            Scheduler::Kubernetes if self.user.is_some() => only("--user", "crontab or systemd"),
            Scheduler::Kubernetes if self.program.is_some() => {
                only("--program", "crontab or systemd")
            }
            Scheduler::Crontab | Scheduler::Systemd if self.image.is_some() => {
                only("--image", "kubernetes")
            }
            Scheduler::Crontab | Scheduler::Systemd if self.claim.is_some() => {
                only("--claim", "kubernetes")
            }
            Scheduler::Crontab | Scheduler::Kubernetes if self.dir.is_some() => {
                only("--dir", "systemd")
            }
            _ => Ok(()),
        }
    }

    fn files(&self, context: &Context) -> Result<Vec<File>> {
        let sheet = self.sheet(context)?;
        let one = |name: &str, text| vec![File { name: name.to_owned(), text }];
        Ok(match self.scheduler {
            Scheduler::Crontab => one("crontab", crontab::print(&sheet)?),
            Scheduler::Systemd => systemd::print(&sheet)?,
            Scheduler::Kubernetes => {
                let image = match &self.image {
                    Some(image) => image.clone(),
                    None => format!("pupctl:{}", env!("CARGO_PKG_VERSION")),
                };
                let config = context.config.source.is_some();
                let claim = self.claim(context, &sheet)?;
                one("cronjobs.yaml", kubernetes::print(&sheet, &image, config, claim)?)
            }
        })
    }

    /// The volume for archives, mounted where they are written.
    fn claim(&self, context: &Context, sheet: &Sheet) -> Result<Option<Claim>> {
        let Some(name) = self.claim.clone() else { return Ok(None) };
        let mut folders: Vec<_> = sheet.jobs.iter().filter_map(folder_of).collect();
        folders.dedup();
        let configured = context.config.archive.to.as_ref().filter(|to| to.is_absolute());
        let configured = configured.map_or(VOLUME.to_owned(), |to| to.display().to_string());
        let folder = match folders.as_slice() {
            [] => configured,
            [one] if one.starts_with('/') => one.clone(),
            _ => {
                return Err(Error::invalid("the jobs write archives into several folders")
                    .details(folders)
                    .hint("set to = \"/archives\" in [archive], and leave out --to of the jobs"));
            }
        };
        Ok(Some(Claim { name, folder }))
    }

    fn sheet(&self, context: &Context) -> Result<Sheet> {
        let folder = std::env::current_dir()
            .map_err(|error| Error::system("cannot tell the working folder", error))?;
        let in_container = self.scheduler == Scheduler::Kubernetes;
        let program = match &self.program {
            Some(program) => program.clone(),
            None => super::child::program()?.to_string_lossy().into_owned(),
        };
        if !program.starts_with('/') {
            return Err(Error::invalid(format!("--program {program} does not begin with /"))
                .hint("name it from the root of the file system: no shell looks for it"));
        }
        let mut options = vec!["--quiet".to_owned()];
        if let Some(source) = &context.config.source {
            let path = folder.join(source.path());
            let path = if in_container { PathBuf::from(MOUNTED) } else { path };
            // The working folder's own is found there.
            if in_container || path != folder.join(FILE) {
                options.push(format!("--config={}", path.display()));
            }
        }
        let global = &context.global;
        options.extend(global.schema.iter().map(|schema| format!("--schema={schema}")));
        options.extend(global.role.iter().map(|role| format!("--role={role}")));
        if global.embedded {
            if in_container {
                return Err(Error::invalid("there is no private server in a container")
                    .hint("leave out --embedded"));
            }
            options.push("--embedded".to_owned());
        }
        options.push(super::child::wait(context));
        let pace = jobs::pace(context, 0);
        Ok(Sheet {
            jobs: jobs::jobs(context)?,
            program,
            options,
            folder,
            user: self.user.clone(),
            prefix: self.prefix.clone(),
            jitter_seconds: pace.jitter.as_secs(),
        })
    }
}

/// The folder that a job says by itself.
fn folder_of(job: &Job) -> Option<String> {
    let mut words = job.words.iter().filter(|_| job.destroys);
    let word = words.find(|word| *word == "--to" || word.starts_with("--to="))?;
    word.strip_prefix("--to=").or_else(|| words.next().map(String::as_str)).map(str::to_owned)
}
