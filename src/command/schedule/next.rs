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
/// The next run of each job is always among them, so that one that runs often hides no other. Times
/// are in the time zone of each job and in UTC. The daemon begins each run up to the jitter later,
/// and what was missed at once. Needs no server.
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
    let times = times(&jobs, now, usize::from(args.count));
    let run = |(at, index): (DateTime<Utc>, usize)| Run::new(&jobs[index], at);
    let coming = Coming { runs: times.into_iter().map(run).collect() };
    let rows = coming.runs.iter().map(|run| {
        let utc = run.at.format("%F %R").to_string();
        let local = run.local[..16].replace('T', " ");
        vec![format!("{local} {}", run.time_zone), utc, run.job.clone(), run.command.clone()]
    });
    let text = table(&["local", "UTC", "job", "command"], rows.collect(), 4);
    context.output.result(context.name, &coming, &text)?;
    Ok(Exit::Done)
}

/// The next time of each job, then those that come first, up to so many; with the numbers of their
/// jobs.
fn times(jobs: &[Job], now: DateTime<Utc>, count: usize) -> Vec<(DateTime<Utc>, usize)> {
    let after = |index: usize, time| Some((jobs[index].timetable.next_after(time)?, index));
    let mut times: Vec<_> = (0..jobs.len()).filter_map(|index| after(index, now)).collect();
    let mut next: Vec<_> = times.iter().filter_map(|(at, index)| after(*index, *at)).collect();
    while times.len() < count {
        let Some(first) = (0..next.len()).min_by_key(|place| next[*place]) else { break };
        let (at, index) = next.swap_remove(first);
        times.push((at, index));
        next.extend(after(index, at));
    }
    times.sort_unstable();
    times
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
