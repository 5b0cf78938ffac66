//! The jobs of `pupctl.toml`, or those that every store needs.

use std::time::Duration;

use chrono_tz::Tz;
use clap::Parser;
use toml::Spanned;

use crate::cli::global::GlobalArgs;
use crate::cli::schedule::JobConfig;
use crate::command::context::Context;
use crate::command::{Cli, Command};
use crate::error::{Error, Result};
use crate::schedule::agenda::Pace;
use crate::schedule::{Job, Timetable, job, words, zone};

/// What runs where pupctl.toml says nothing: name, command, when.
const STANDARD: [(&str, &str, &str); 2] = [
    ("ensure", "partitions ensure", "17 3 * * *"),
    ("check", "partitions check --exit-code", "47 * * * *"),
];

/// The commands that end by themselves and ask nothing, so that they may run unattended.
const UNATTENDED: [&str; 20] = [
    "advise",
    "archive",
    "archive list",
    "archive verify",
    "doctor",
    "events export",
    "metrics",
    "operations list",
    "partitions check",
    "partitions close",
    "partitions drain",
    "partitions ensure",
    "partitions list",
    "projections run",
    "projections status",
    "projections verify",
    "report",
    "schema plan",
    "schema status",
    "schema verify",
];

/// How much later runs begin at most, unless told otherwise.
const JITTER: Duration = Duration::from_secs(30);

/// The pause after a failure, unless told otherwise.
const RETRY: Duration = Duration::from_mins(1);

/// How jobs are spread and tried again.
pub(super) fn pace(context: &Context, salt: u32) -> Pace {
    let config = &context.config.schedule;
    Pace { jitter: config.jitter.unwrap_or(JITTER), retry: config.retry.unwrap_or(RETRY), salt }
}

/// All jobs; every mistake in them is told with its line.
pub(super) fn jobs(context: &Context) -> Result<Vec<Job>> {
    let config = &context.config.schedule;
    let standard = zone_of(context, config.time_zone.as_ref(), chrono_tz::UTC)?;
    if config.jobs.is_empty() {
        let job = |(name, line, cron): (&str, &str, &str)| {
            let timetable = Timetable { expression: cron.parse()?, zone: standard };
            checked(context, name, line, timetable)
        };
        return STANDARD.into_iter().map(job).collect();
    }
    let mut jobs: Vec<Job> = Vec::new();
    for given in &config.jobs {
        let job = read(context, given, standard)?;
        if jobs.iter().any(|other| other.name == job.name) {
            let error = Error::invalid(format!("there are two jobs `{}`", job.name));
            let error = error.hint("give one of them another name");
            return Err(context.config.blame(&given.name, error));
        }
        jobs.push(job);
    }
    Ok(jobs)
}

fn read(context: &Context, given: &JobConfig, standard: Tz) -> Result<Job> {
    let name = given.name.get_ref();
    job::validate_name(name).map_err(|error| context.config.blame(&given.name, error))?;
    let timetable = Timetable {
        expression: given
            .cron
            .get_ref()
            .parse()
            .map_err(|error| context.config.blame(&given.cron, error))?,
        zone: zone_of(context, given.time_zone.as_ref(), standard)?,
    };
    checked(context, name, given.command.get_ref(), timetable)
        .map_err(|error| context.config.blame(&given.command, error))
}

fn zone_of(context: &Context, given: Option<&Spanned<String>>, standard: Tz) -> Result<Tz> {
    let Some(given) = given else { return Ok(standard) };
    zone::parse(given.get_ref()).map_err(|error| context.config.blame(given, error))
}

/// A job whose words are a command that may run unattended.
fn checked(context: &Context, name: &str, line: &str, timetable: Timetable) -> Result<Job> {
    let refuse = |why: &str| Error::invalid(format!("the command of the job `{name}` {why}"));
    let mut words = words::split(line).map_err(|why| {
        refuse(&format!("cannot be read: {why}")).hint("write one pupctl command")
    })?;
    if words.first().is_some_and(|word| word == "pupctl") {
        words.remove(0);
    }
    if words.is_empty() {
        return Err(refuse("is empty").hint("write one pupctl command, such as partitions ensure"));
    }
    let arguments = std::iter::once("pupctl").chain(words.iter().map(String::as_str));
    let cli = Cli::try_parse_from(arguments).map_err(|error| misread(name, &error))?;
    let command = cli.command.name();
    if !UNATTENDED.contains(&command) {
        return Err(refuse(&format!("is `{command}`, which makes no sense unattended"))
            .hint(format!("what may be a job: {}", UNATTENDED.join(", "))));
    }
    refuse_endless(command, &words).map_err(|why| refuse(why.0).hint(why.1))?;
    refuse_options(&cli.global).map_err(|option| {
        refuse(&format!("has {option}, which is not a job's to say"))
            .hint("give it to `pupctl schedule`: all jobs work on the same store")
    })?;
    refuse_drops(context, &cli, &words).map_err(|why| refuse(why.0).hint(why.1))?;
    let destroys = command == "archive";
    Ok(Job { name: name.to_owned(), words, command, timetable, destroys })
}

/// What clap says of the words, without the usage that follows.
fn misread(name: &str, error: &clap::Error) -> Error {
    if !error.use_stderr() {
        return Error::invalid(format!("the command of the job `{name}` asks for help"))
            .hint("write a command that does something");
    }
    let text = error.render().to_string();
    let mut parts = text.trim_start_matches("error: ").split("\n\n").map(str::trim);
    let what = parts.next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    let tip = parts.find_map(|part| part.strip_prefix("tip: "));
    let error =
        Error::invalid(format!("the command of the job `{name}` is none of pupctl: {what}"));
    match tip {
        Some(tip) => error.hint(tip),
        None => error.hint("docs/reference/cli.md lists all commands"),
    }
}

/// Commands that go on for ever, unless they are told to end.
fn refuse_endless(command: &str, words: &[String]) -> Result<(), (&'static str, &'static str)> {
    let has = |option: &str| words.iter().any(|word| word.starts_with(option));
    match command {
        "projections run" if !has("--until-caught-up") => {
            Err(("never ends", "add --until-caught-up to it"))
        }
        "metrics" if has("--listen") => Err(("never ends", "write a file: --textfile")),
        _ => Ok(()),
    }
}

/// Commands that drop tables, and do not say which, how many and that they may.
fn refuse_drops(
    context: &Context,
    cli: &Cli,
    words: &[String],
) -> Result<(), (&'static str, &'static str)> {
    let Command::Archive(archive) = &cli.command else { return Ok(()) };
    let has = |option: &str| {
        words.iter().any(|word| word == option || word.starts_with(&format!("{option}=")))
    };
    // All that is over by the clock of the server, and with --all more.
    if archive.drops_by_the_clock() {
        return Err((
            "drops every month that is over by then, without a retention and a limit",
            "let months expire: archive --expired --drop --max 6 --yes; or name one: archive \
             Billing/2026-01 --drop --yes",
        ));
    }
    let drops = has("--drop") || context.config.archive.drop_after.is_some();
    let limited = has("--max") || context.config.archive.max.is_some() || !has("--expired");
    if drops && !limited {
        return Err((
            "drops tables, and nothing says how many at most",
            "add --max 6 to it, or set max = 6 in [archive]",
        ));
    }
    if (drops || has("--retire")) && !cli.global.yes {
        return Err((
            "asks before it drops tables, and nobody is there to answer",
            "add --yes to it if you are sure",
        ));
    }
    Ok(())
}

/// The options that belong to the whole schedule.
fn refuse_options(global: &GlobalArgs) -> Result<(), &'static str> {
    let given = [
        ("--database-url", global.database_url.is_some()),
        ("--embedded", global.embedded),
        ("--role", global.role.is_some()),
        ("--schema", global.schema.is_some()),
        ("--config", global.config.is_some()),
        ("--dry-run", global.dry_run),
        ("--log-format", global.log_format != GlobalArgs::default().log_format),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(option),
        None => Ok(()),
    }
}
