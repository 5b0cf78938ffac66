//! CronJobs of Kubernetes.

use std::fmt::Write as _;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::schedule::field::Unit;
use crate::schedule::{Expression, Job};

use super::{Sheet, line, render};

const TEMPLATE: &str = include_str!("../../../templates/schedule/kubernetes.j2");

#[derive(Serialize)]
struct Values {
    image: String,
    config: bool,
    claim: Option<Claim>,
    jobs: Vec<CronJob>,
}

#[derive(Serialize)]
struct CronJob {
    name: String,
    schedule: String,
    zone: &'static str,
    words: Vec<String>,
}

/// A volume that stays when a job has ended.
#[derive(Debug, Clone, Serialize)]
pub struct Claim {
    /// The name of the PersistentVolumeClaim.
    pub name: String,
    /// Where it is mounted.
    pub folder: String,
}

/// Renders the jobs, for an image that has pupctl as its entry point. With `config` the file
/// pupctl.toml comes from a ConfigMap. Archives want a `claim`: what a pod writes elsewhere goes
/// with it, and may be the only copy of events.
pub fn print(sheet: &Sheet, image: &str, config: bool, claim: Option<Claim>) -> Result<String> {
    if let Some(job) = sheet.jobs.iter().find(|job| job.destroys && claim.is_none()) {
        return Err(Error::invalid(format!(
            "the job `{}` writes archives, and what a pod writes goes with it",
            job.name
        ))
        .hint("name a PersistentVolumeClaim for them: --claim archives"));
    }
    let job = |job: &Job| {
        Ok(CronJob {
            name: format!("{}-{}", sheet.prefix, job.name),
            schedule: schedule(&job.timetable.expression)?,
            zone: job.timetable.zone.name(),
            words: sheet.options.iter().chain(&job.words).cloned().collect(),
        })
    };
    let jobs = sheet.jobs.iter().map(job).collect::<Result<_>>()?;
    let values = Values { image: image.to_owned(), config, claim, jobs };
    render("Kubernetes' CronJobs", TEMPLATE, &[("yaml", yaml)], &values)
}

/// The expression for the cron of Kubernetes, which has no 7 for Sunday, and takes `*/2` for a
/// field that restricts the days.
fn schedule(expression: &Expression) -> Result<String> {
    let restricts = |unit| {
        let field = expression.field(unit);
        field.is_starred() && !field.is_full()
    };
    let is_full = |unit| expression.field(unit).is_full();
    let (days, weekdays) = (restricts(Unit::Day), restricts(Unit::Weekday));
    if (days && !is_full(Unit::Weekday)) || (weekdays && !is_full(Unit::Day)) {
        return Err(Error::invalid(format!(
            "`{expression}` has no form as Kubernetes' CronJob: its days have to fit both fields"
        ))
        .hint("restrict only one of the two fields for days, or run the daemon"));
    }
    let text = |unit| {
        let field = expression.field(unit);
        let is_day = matches!(unit, Unit::Day | Unit::Weekday);
        // A day that is named by all its numbers is not the same as one that is not named.
        if field.is_full() && (field.is_starred() || !is_day) {
            return "*".to_owned();
        }
        field.listed("-")
    };
    Ok(Unit::ALL.map(text).join(" "))
}

/// A string in double quotes, in which everything beyond ASCII is written as a number: some
/// characters are ends of lines to some readers.
fn yaml(text: &str) -> Result<String, String> {
    let mut quoted = "\"".to_owned();
    for character in line(text)?.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            ' '..='~' => quoted.push(character),
            _ => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(character));
            }
        }
    }
    quoted.push('"');
    Ok(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_those_that_kubernetes_reads_alike() {
        let told = |text: &str| schedule(&text.parse().expect("an expression"));
        assert_eq!(told("*/15 * * * 7").expect("a schedule"), "0,15,30,45 * * * 0");
        assert_eq!(told("0 0 1-31 * mon").expect("a schedule"), "0 0 1-31 * 1");
        assert_eq!(told("0 0 */10 jan-mar *").expect("a schedule"), "0 0 1,11,21,31 1-3 *");
        assert!(told("0 0 */2 * mon").is_err());
        assert!(told("0 0 1 * */2").is_err());
    }

    #[test]
    fn strings_are_ascii() {
        assert_eq!(yaml("a\"\\\u{2028}é").expect("a string"), r#""a\"\\\U00002028\U000000E9""#);
    }
}
