//! `pupctl schedule next`

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::output::table;
use crate::command::context::Context;
use crate::schedule::Job;

use super::{clock, jobs};

/// List the coming runs of the jobs
///
/// In the time zone of each job and in UTC. The daemon begins each run up to the jitter later, and
/// what was missed at once. Needs no server.
#[derive(Debug, Args)]
pub struct NextArgs {
    /// How many
    #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 10,
        value_parser = clap::value_parser!(u16).range(1..=10_000))]
    count: u16,
}

#[derive(Serialize)]
struct Coming {
    runs: Vec<Run>,
}

#[derive(Serialize)]
struct Run {
    at: DateTime<Utc>,
    local: String,
    time_zone: &'static str,
    job: String,
    command: String,
    cron: String,
}

pub(super) fn run(args: &NextArgs, context: &Context) -> anyhow::Result<Exit> {
    let jobs = jobs::jobs(context)?;
    let now = clock::now();
    let mut at: Vec<_> = jobs.iter().map(|job| job.timetable.next_after(now)).collect();
    let mut coming = Coming { runs: Vec::new() };
    while coming.runs.len() < usize::from(args.count) {
        let first = at.iter().enumerate().filter_map(|(index, at)| Some((index, (*at)?)));
        let Some((index, time)) = first.min_by_key(|(_, time)| *time) else { break };
        coming.runs.push(Run::new(&jobs[index], time));
        at[index] = jobs[index].timetable.next_after(time);
    }
    let rows = coming.runs.iter().map(|run| {
        let utc = run.at.format("%F %R").to_string();
        let local = run.local[..16].replace('T', " ");
        vec![format!("{local} {}", run.time_zone), utc, run.job.clone(), run.command.clone()]
    });
    let text = table(&["local", "UTC", "job", "command"], rows.collect(), 4);
    context.output.result(context.name, &coming, &text)?;
    Ok(Exit::Done)
}

impl Run {
    fn new(job: &Job, at: DateTime<Utc>) -> Self {
        let zone = job.timetable.zone;
        Self {
            at,
            local: at.with_timezone(&zone).to_rfc3339(),
            time_zone: zone.name(),
            job: job.name.clone(),
            command: job.line(),
            cron: job.timetable.expression.to_string(),
        }
    }
}
