//! `pupctl demo`: the story so far, told by running the commands that a user would type.

use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use clap::{Args, Parser};
use postgres::{Client, NoTls, Row};
use serde::Serialize;
use serde_json::json;

use crate::cli::exit::Exit;
use crate::cli::output::{self, Output, bold, cyan};
use crate::error::{Error, Kind, Result};
use crate::render::environment::{render, values};

use super::Cli;
use super::context::Context;

/// The database that the demo makes anew each time, on the embedded server.
const DATABASE: &str = "pupctl_demo";

/// Ten years of a real project, as events; what they are is told beside the file.
const HISTORY: &str = include_str!("../../tests/data/git-history-500.ndjson");

/// A read model of them.
const PROJECTION: &str = include_str!("../../sql/demo/file_changes.sql");

/// Every layout, with the options that `schema init` takes for it.
const LAYOUTS: [&[&str]; 7] = [
    &["none"],
    &["context"],
    &["hash", "--hash-partitions", "4"],
    &["month"],
    &["context,hash", "--hash-partitions", "4"],
    &["context,month"],
    &["hash,month", "--hash-partitions", "4"],
];

/// Show what pupctl does, on a private server
///
/// Starts the private server of this folder, makes a store in a database of its own
/// (pupctl_demo, made anew each time), fills it with real events, ten years of the history of a
/// project, and maintains it; then does the same in every layout. Each step shows the command
/// that you would type. Takes some ten seconds.
#[derive(Debug, Args)]
pub struct DemoArgs {}

pub(super) fn run(_args: &DemoArgs, context: &Context) -> anyhow::Result<Exit> {
    let begin = Instant::now();
    let running = context.embedded().start().context("starting the embedded server")?;
    let url = running.server.url.replacen("/pupctl?", &format!("/{DATABASE}?"), 1);
    let mut demo = Demo { context, url, steps: Vec::new() };
    let folder = running.server.folder.display();
    demo.tell(&format!("A private PostgreSQL server runs in {folder}."));
    let mut client = demo.fresh_database(&running.server.url)?;
    let file = running.server.folder.join("git-history.ndjson");
    std::fs::write(&file, HISTORY)
        .map_err(|error| Error::system(format!("cannot write {}", file.display()), error))?;
    let file = file.display().to_string();
    let archives = running.server.folder.join("archives");
    if archives.exists() {
        // Those of an earlier demo, whose database is gone.
        std::fs::remove_dir_all(&archives)
            .map_err(|error| Error::system("cannot remove the archives of the last demo", error))?;
    }
    demo.story(&mut client, &file, &archives.display().to_string())?;
    demo.every_layout(&mut client, &file)?;
    demo.close(begin)
}

struct Demo<'a> {
    context: &'a Context,
    url: String,
    steps: Vec<StepDone>,
}

#[derive(Serialize)]
struct StepDone {
    command: String,
    exit_code: u8,
}

impl Demo<'_> {
    fn story(&mut self, client: &mut Client, file: &str, archives: &str) -> anyhow::Result<()> {
        let report = Path::new(archives).with_file_name("report.html").display().to_string();
        let report = report.as_str();
        self.tell("An event store, divided by bounded context and by month:");
        self.pupctl(&["schema", "init", "--partition-by", "context,month"], Exit::Done)?;
        self.tell("Run it again, as a deployment would: it is there already.");
        self.pupctl(&["schema", "init"], Exit::Done)?;
        self.tell(
            "Ten years of real events come in, checked as a whole, with the contexts and months \
             that they need:",
        );
        self.pupctl(&["events", "import", file, "--create-partitions", "--analyze"], Exit::Done)?;
        self.tell("Once more, as after a failure somewhere: nothing is doubled.");
        self.pupctl(&["events", "import", file, "--skip-existing"], Exit::Done)?;
        self.tell("Every event lies in the partition of its context and month:");
        self.pupctl(&["partitions", "list", "--context", "Builtins"], Exit::Done)?;
        self.tell("And comes out again as it went in:");
        self.pupctl(&["events", "export", "--context", "Gui", "--to", "2008-01"], Exit::Done)?;
        self.tell(
            "What would a new context do? The exact SQL, with the lock of each statement; it is a \
             command, not a migration:",
        );
        let add = ["contexts", "add", "Shipping"];
        self.pupctl(&[&add[..], &["--dry-run"]].concat(), Exit::Done)?;
        self.pupctl(&add, Exit::Done)?;
        self.tell("A mishap: somebody drops a partition by hand. The check from cron notices:");
        client
            .batch_execute(include_str!("../../sql/demo/mishap.sql"))
            .map_err(|error| Error::database("dropping a partition", error))?;
        self.pupctl(&["partitions", "check", "--exit-code"], Exit::Found)?;
        self.tell("The command that it names mends it:");
        self.pupctl(&["partitions", "ensure"], Exit::Done)?;
        self.pupctl(&["partitions", "check", "--exit-code"], Exit::Done)?;
        self.tell(
            "So that nobody has to think of it: these run by themselves, unless told otherwise.",
        );
        self.pupctl(&["schedule", "next", "--count", "5"], Exit::Done)?;
        self.tell(
            "The first month leaves the store for a file that DuckDB opens. Nothing is dropped \
             before the file was read back and compared:",
        );
        let month = ["archive", "2005-04", "--to", archives, "--allow-split-streams"];
        self.pupctl(&[&month[..], &["--drop", "--yes"]].concat(), Exit::Done)?;
        self.pupctl(&["archive", "verify"], Exit::Done)?;
        self.tell("And comes back, proven, without being read under a lock:");
        self.pupctl(&["restore", "2005-04"], Exit::Done)?;
        self.projection(client, archives)?;
        self.tell("The journal knows what was done:");
        self.pupctl(&["operations", "list"], Exit::Done)?;
        self.tell("And all of it is on one page, for a browser:");
        self.pupctl(&["report", "--html", report], Exit::Done)
    }

    /// A read model in SQL.
    fn projection(&mut self, client: &mut Client, archives: &str) -> anyhow::Result<()> {
        let folder = Path::new(archives).with_file_name("projections");
        let file = folder.join("file_changes.sql");
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(&file, PROJECTION))
            .map_err(|error| Error::system(format!("cannot write {}", file.display()), error))?;
        self.tell("A read model is a file of SQL:");
        if !self.context.output.is_json() {
            self.context.output.data(PROJECTION)?;
        }
        self.tell("It is kept up to date without a row leaving the server, and audited:");
        let folder = folder.display().to_string();
        let run = ["projections", "run", "--dir", &folder, "--until-caught-up"];
        self.pupctl(&run, Exit::Done)?;
        self.pupctl(&["projections", "verify", "file_changes"], Exit::Done)?;
        let rows = client
            .query(include_str!("../../sql/demo/most_changed.sql"), &[])
            .map_err(|error| Error::database("reading the read model", error))?;
        if !self.context.output.is_json() {
            let row = |row: &Row| vec![row.get("path"), row.get::<_, i64>("changes").to_string()];
            let rows = rows.iter().map(row).collect();
            self.context.output.data(&output::table(&["path", "changes"], rows, 1))?;
        }
        Ok(())
    }

    /// The same events in a store of each layout, each in a schema of its own.
    fn every_layout(&mut self, client: &mut Client, file: &str) -> anyhow::Result<()> {
        self.tell("The same events in every layout: init, import, list, check.");
        let output = self.context.output.clone();
        let mut rows = Vec::new();
        for layout in LAYOUTS {
            let begin = Instant::now();
            let schema = format!("demo_{}", layout[0].replace(',', "_"));
            client
                .batch_execute(&render("table/schema", &values! { schema }))
                .map_err(|error| Error::database("making a schema", error))?;
            self.context.interrupt.check()?;
            for command in [
                &[&["schema", "init", "--partition-by"], layout].concat()[..],
                &["events", "import", file, "--create-partitions"],
                &["partitions", "list"],
                &["partitions", "check", "--exit-code"],
            ] {
                let arguments = [command, &["--schema", &schema]].concat();
                self.run(&arguments, &output.silenced(), Exit::Done)?;
            }
            let counted = client
                .query_one(include_str!("../../sql/demo/count.sql"), &[&schema])
                .map_err(|error| Error::database("counting the partitions", error))?;
            rows.push(vec![
                layout[0].to_owned(),
                schema,
                counted.get::<_, i64>("leaves").to_string(),
                HISTORY.lines().count().to_string(),
                format!("{:.1} s", begin.elapsed().as_secs_f64()),
            ]);
        }
        if !output.is_json() {
            let head = ["layout", "schema", "partitions", "events", "time"];
            output.data(&output::table(&head, rows, 2))?;
        }
        Ok(())
    }

    fn fresh_database(&self, server: &str) -> Result<Client> {
        let fail = |error| Error::database("making the database of the demo", error);
        let mut admin = Client::connect(server, NoTls).map_err(fail)?;
        admin.batch_execute(include_str!("../../sql/demo/drop.sql")).map_err(fail)?;
        admin.batch_execute(include_str!("../../sql/demo/create.sql")).map_err(fail)?;
        Client::connect(&self.url, NoTls).map_err(fail)
    }

    /// Runs a command as a user would, and insists on how it ends.
    fn pupctl(&mut self, arguments: &[&str], expected: Exit) -> anyhow::Result<()> {
        let line = arguments.join(" ");
        if !self.context.output.is_json() {
            self.context.output.data(&format!("{}\n", cyan(&format!("$ pupctl {line}"))))?;
        }
        let output = self.context.output.clone();
        let output = if output.is_json() { output.silenced() } else { output };
        self.run(arguments, &output, expected)
    }

    fn run(&mut self, arguments: &[&str], output: &Output, expected: Exit) -> anyhow::Result<()> {
        let line = arguments.join(" ");
        let mut cli =
            Cli::try_parse_from(std::iter::once("pupctl").chain(arguments.iter().copied()))?;
        cli.global.database_url = Some(self.url.clone());
        cli.global.config.clone_from(&self.context.global.config);
        let exit = super::run(cli, output, &self.context.interrupt)
            .with_context(|| format!("pupctl {line}"))?;
        self.steps.push(StepDone { command: format!("pupctl {line}"), exit_code: exit.code() });
        if exit == expected {
            return Ok(());
        }
        let (code, expected) = (exit.code(), expected.code());
        let message = format!("`pupctl {line}` ended with {code} instead of {expected}");
        Err(Error::new(Kind::Refused, message).into())
    }

    fn tell(&self, text: &str) {
        if !self.context.output.is_json() {
            // Part of the story, so on the same stream as its results.
            let _ = self.context.output.data(&format!("\n{}\n", bold(text)));
        }
    }

    fn close(self, begin: Instant) -> anyhow::Result<Exit> {
        let output = &self.context.output;
        if output.is_json() {
            output.json("demo", &json!({"url": self.url, "steps": self.steps}))?;
            return Ok(Exit::Done);
        }
        self.tell(&format!(
            "That was the story, in {:.1} s. Look around:",
            begin.elapsed().as_secs_f64()
        ));
        let url = &self.url;
        output.data(&format!(
            "{}\n{}\n{}\n",
            cyan(&format!("$ export PUPCTL_DATABASE_URL='{url}'")),
            cyan("$ pupctl partitions list --schema public"),
            cyan("$ pupctl embedded stop"),
        ))?;
        Ok(Exit::Done)
    }
}
