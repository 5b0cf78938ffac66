//! The jobs as files of other schedulers. Each format has filters of its own, and its template
//! prints nothing that did not pass one of them.

pub mod crontab;
pub mod kubernetes;
pub mod systemd;

use std::path::PathBuf;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error as TemplateError, ErrorKind, UndefinedBehavior, Value};
use serde::Serialize;

use crate::error::{Error, Kind, Result};

use super::Job;

/// What is printed.
#[derive(Debug, Clone)]
pub struct Sheet {
    /// The jobs.
    pub jobs: Vec<Job>,
    /// The program, from the root of the file system.
    pub program: String,
    /// The options that every job gets, in front of its words.
    pub options: Vec<String>,
    /// The folder in which jobs run.
    pub folder: PathBuf,
    /// The user as which they run.
    pub user: Option<String>,
    /// What the names of units and CronJobs begin with.
    pub prefix: String,
    /// How much later each run may begin, in seconds.
    pub jitter_seconds: u64,
}

impl Sheet {
    /// The program and all words of a job.
    fn words(&self, job: &Job) -> Vec<String> {
        let program = std::iter::once(self.program.clone());
        program.chain(self.options.iter().cloned()).chain(job.words.iter().cloned()).collect()
    }
}

/// Quotes one value, or refuses it.
type Filter = fn(&str) -> Result<String, String>;

/// Renders a template with the filters of its format.
fn render(
    name: &'static str,
    source: &'static str,
    filters: &[(&'static str, Filter)],
    values: &impl Serialize,
) -> Result<String> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build()
        .map_err(|error| failed(name, &error))?;
    environment.set_syntax(syntax);
    environment.set_formatter(|out, _state, value| {
        if value.is_safe() || value.is_integer() {
            return out.write_str(&value.to_string()).map_err(TemplateError::from);
        }
        Err(refused(format!("the value {value:?} is not quoted")))
    });
    for (filter, quote) in filters {
        let quote = *quote;
        environment.add_filter(*filter, move |text: String| -> Result<Value, TemplateError> {
            quote(&text).map(Value::from_safe_string).map_err(refused)
        });
    }
    let rendered = environment
        .add_template(name, source)
        .and_then(|()| environment.get_template(name)?.render(values_of(values)));
    rendered.map_err(|error| failed(name, &error))
}

fn failed(name: &str, error: &TemplateError) -> Error {
    let why = error.detail().unwrap_or("it is a fault of pupctl");
    Error::new(Kind::Invalid, format!("the schedule has no form as {name}: {why}"))
}

fn values_of(values: &impl Serialize) -> Value {
    Value::from(minijinja::value::Serde(values))
}

fn refused(why: String) -> TemplateError {
    TemplateError::new(ErrorKind::InvalidOperation, why)
}

/// Text on one line, for a comment or a description.
fn line(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err(format!("{text:?} has a control character"));
    }
    Ok(text.to_owned())
}

/// Letters, digits and a few signs: names, and the numbers of times.
fn plain(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-+/*,.:@ ".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} has characters that a name does not have"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_cannot_forget_to_quote() {
        let values = [("name", "a\nb")].into_iter().collect::<std::collections::BTreeMap<_, _>>();
        let error = render("x", "{{ name }}", &[], &values).expect_err("it is not quoted");
        assert!(error.message().contains("not quoted"), "{error}");
        let error = render("x", "{{ name|line }}", &[("line", line)], &values);
        assert!(error.expect_err("two lines").message().contains("control character"));
    }
}
