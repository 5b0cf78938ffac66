//! `pupctl projections test`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use postgres::Client;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::cli::exit::Exit;
use crate::cli::output::{Output, count, green, printable, red};
use crate::command::context::Context;
use crate::command::file;
use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::layout::name::QualifiedName;
use crate::projection::SqlProjection;
use crate::projection::sql::Parameters;
use crate::projection::sql::trial::{Difference, Expected, Given, Outcome, ReadModel, Trial};

use super::files::{self, ParameterArgs};

/// How many lines of a diff are printed.
const LINES_MAX: usize = 60;

/// Try a projection in SQL out on events of a file, and compare what comes out
///
/// The events are handled in a schema of its own, in a transaction that is rolled back: nothing of
/// it is ever seen, and any database will do, also an empty one. They are handled all in one batch,
/// then each in a batch of its own, in another order within the batch, slot by slot where the
/// projection has several, and in another time zone: what differs is a mistake.
///
/// A file of events has one JSON object a line, of which "event_type" and "aggregate_id" are
/// required. The rows that are expected are {"table": [{"column": value}]}, or the list alone; what
/// it does not name is not compared. Without --given and --expect the files beside order_totals.sql
/// are read that are called order_totals.events.ndjson and order_totals.rows.json.
///
/// Exits with 3 where the rows are not as expected.
///
/// Examples:
///   pupctl projections test projections/order_totals.sql --given orders.ndjson --expect rows.json
///   pupctl projections test projections/order_totals.sql --update --embedded
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct TestArgs {
    /// The files, or the names of files in the folder of projections
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// The events; may be there several times, each with an --expect of its own
    #[arg(long, value_name = "EVENTS")]
    given: Vec<PathBuf>,

    /// The rows that are expected; without it they are printed
    #[arg(long, value_name = "ROWS", requires = "given")]
    expect: Vec<PathBuf>,

    /// Write the rows that came out to the file of those that are expected
    #[arg(long)]
    update: bool,

    /// How many events a batch has when they are cut into batches
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,

    #[command(flatten)]
    parameters: ParameterArgs,
}

/// A projection with its events, and the rows that are expected.
#[derive(Debug)]
struct Case {
    file: PathBuf,
    given: PathBuf,
    expect: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    dry_run: bool,
    passed: bool,
    trials: Vec<TrialReport>,
}

#[derive(Serialize)]
struct TrialReport {
    projection: String,
    file: String,
    given: String,
    expect: Option<String>,
    passed: bool,
    /// Whether the expected rows were written; with `--dry-run`, whether they would be.
    updated: bool,
    #[serde(flatten)]
    outcome: Outcome,
    /// All rows, where nothing was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<BTreeMap<String, Vec<Box<RawValue>>>>,
}

pub(super) fn run(args: &TestArgs, context: &Context) -> anyhow::Result<Exit> {
    let cases = args.cases(context)?;
    let parameters = args.parameters.all(context);
    let mut store = context.open()?;
    let events = QualifiedName::new(store.schema.clone(), context.config.tables().events);
    let mut trials = Vec::new();
    for case in &cases {
        let trial = args.run_case(context, &mut store.client, &events, case, &parameters)?;
        tell(context, &trial)?;
        trials.push(trial);
    }
    let failed = trials.iter().filter(|trial| !trial.passed).count();
    let report = Report { dry_run: context.global.dry_run, passed: failed == 0, trials };
    context.output.result(context.name, &report, "")?;
    if failed > 0 {
        let all = count(report.trials.len(), "trial");
        let last = format!("{} {failed} of {all}", red("Failed:"));
        context.output.say(&last);
        return Ok(context.output.found(&format!("{}{last}", failures(&report.trials))));
    }
    let all = count(report.trials.len(), "trial");
    context.output.say(format!("{} {all} passed", green("Done:")));
    Ok(Exit::Done)
}

impl TestArgs {
    fn cases(&self, context: &Context) -> Result<Vec<Case>> {
        let files = self.files.iter().map(|file| find(file, context));
        if self.given.is_empty() {
            return files.map(|file| self.beside(file)).collect();
        }
        let files: Vec<_> = files.collect();
        let [file] = files.as_slice() else {
            return Err(Error::invalid("--given is for one file of SQL")
                .hint("leave it out to read the files beside each: NAME.events.ndjson"));
        };
        if !self.expect.is_empty() && self.expect.len() != self.given.len() {
            return Err(Error::invalid(format!(
                "{} and {} do not go together",
                count(self.given.len(), "file of events"),
                count(self.expect.len(), "file of rows")
            ))
            .hint("give each --given an --expect, or none of them"));
        }
        if self.update && self.expect.is_empty() {
            return Err(Error::invalid("--update does not know which file to write")
                .hint("name it with --expect"));
        }
        let case = |(number, given): (usize, &PathBuf)| Case {
            file: file.clone(),
            given: given.clone(),
            expect: self.expect.get(number).cloned(),
        };
        Ok(self.given.iter().enumerate().map(case).collect())
    }

    /// The files that belong to a projection by their names.
    fn beside(&self, file: PathBuf) -> Result<Case> {
        let given = file.with_extension("events.ndjson");
        if !given.is_file() {
            return Err(Error::invalid(format!("{} has no events beside it", file.display()))
                .hint(format!("name them with --given, or call them {}", given.display())));
        }
        let expect = Some(file.with_extension("rows.json"));
        let expect = expect.filter(|expect| self.update || expect.is_file());
        Ok(Case { file, given, expect })
    }

    fn run_case(
        &self,
        context: &Context,
        client: &mut Client,
        events: &QualifiedName,
        case: &Case,
        parameters: &Parameters,
    ) -> Result<TrialReport> {
        let projection = SqlProjection::read(&case.file, parameters)?;
        let given = Given::read(&case.given, &projection)?;
        // One that is about to be written need not be there.
        let is_new = |expect: &&PathBuf| self.update && !expect.exists();
        let expected = case.expect.as_ref().filter(|expect| !is_new(expect));
        let expected = expected.map(|expect| Expected::read(expect, &projection)).transpose()?;
        let name = projection.name().to_owned();
        let size = usize::try_from(self.batch_size).unwrap_or(usize::MAX);
        let trial = Trial::new(projection).events(events.clone()).batch_size(size);
        let outcome = trial.run(client, &given, expected.as_ref())?;
        let fits = expected.is_some() && outcome.as_expected();
        let updated = self.update && !fits && outcome.depends_on.is_empty();
        if let Some(path) = case.expect.as_ref().filter(|_| updated && !context.global.dry_run) {
            let text = Expected::written(expected.as_ref(), &outcome.read_model);
            reach("projections::before_file");
            file::replace(path, &text)?;
        }
        let shown = |path: &Path| path.display().to_string();
        Ok(TrialReport {
            projection: name,
            file: shown(&case.file),
            given: shown(&case.given),
            expect: case.expect.as_deref().map(shown),
            passed: updated || outcome.passed(),
            updated,
            rows: case.expect.is_none().then(|| rows(&outcome.read_model)),
            outcome,
        })
    }
}

/// The file itself, or that of a name in the folder of projections.
fn find(file: &Path, context: &Context) -> PathBuf {
    let mut named = files::folder(None, context).join(file).into_os_string();
    named.push(".sql");
    let named = PathBuf::from(named);
    if !file.is_file() && named.is_file() { named } else { file.to_owned() }
}

fn rows(model: &ReadModel) -> BTreeMap<String, Vec<Box<RawValue>>> {
    let rows =
        |rows: Vec<String>| rows.into_iter().filter_map(|row| RawValue::from_string(row).ok());
    model.tables().map(|(table, list)| (table.to_owned(), rows(list).collect())).collect()
}

/// Tells how a trial ended, for people.
fn tell(context: &Context, trial: &TrialReport) -> Result<()> {
    let output = &context.output;
    let TrialReport { projection, given, outcome, .. } = trial;
    let events = count(outcome.in_scope, "event");
    let left_out = outcome.events - outcome.in_scope;
    let left_out = match left_out {
        0 => String::new(),
        number => format!(", {number} out of its scope"),
    };
    output.say(format!("{projection}, given {given}: {events}{left_out}"));
    let written = trial.expect.as_deref().filter(|_| trial.updated);
    if let Some(path) = written {
        let state = if context.global.dry_run { "would get" } else { "has" };
        output.say(format!("  {path} {state} the rows that came out"));
    }
    for table in &outcome.tables {
        let rows = count(table.rows, "row");
        let state = match (table.compared, table.differences.is_empty()) {
            (true, true) => format!(": {rows}, as expected"),
            (true, false) => format!(": {rows}, not as expected"),
            (false, _) => format!(": {rows}"),
        };
        output.say(format!("  {}{state}", printable(&table.table)));
        diff(output, &table.differences)?;
        let listed = trial.rows.as_ref().and_then(|rows| rows.get(&table.table));
        for row in listed.into_iter().flatten().filter(|_| !output.is_json()) {
            output.result("", &(), &format!("  {}\n", printable(row.get())))?;
        }
    }
    for found in &outcome.depends_on {
        let (when, table) = (&found.when, printable(&found.table));
        output.say(format!("  {table} is otherwise with {when}; {}", found.hint));
        diff(output, &found.differences)?;
    }
    Ok(())
}

/// The trials that failed, one a line.
fn failures(trials: &[TrialReport]) -> String {
    let failed = trials.iter().filter(|trial| !trial.passed);
    let line = |trial: &TrialReport| {
        format!("{}, given {}: not as expected\n", printable(&trial.projection), trial.given)
    };
    failed.map(line).collect()
}

/// Prints the lines of a diff, for people.
fn diff(output: &Output, differences: &[Difference]) -> Result<()> {
    if output.is_json() {
        return Ok(());
    }
    let lines: Vec<_> = differences.iter().flat_map(Difference::lines).collect();
    let more = lines.len().saturating_sub(LINES_MAX);
    let mut text = String::new();
    for line in lines.iter().take(LINES_MAX).map(|line| printable(line)) {
        let shown = if line.starts_with('-') { red(&line) } else { green(&line) };
        let _ = writeln!(text, "  {shown}");
    }
    output.result("", &(), &text)?;
    if more > 0 {
        output.say(format!("  and {}", count(more, "more line")));
    }
    Ok(())
}
