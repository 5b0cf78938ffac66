//! `pupctl demo`: the story so far, told by running the commands that a user would type.

use std::time::Instant;

use anyhow::Context as _;
use clap::{Args, Parser};
use postgres::{Client, NoTls};
use serde::Serialize;
use serde_json::json;

use crate::cli::exit::Exit;
use crate::cli::output::{bold, cyan};
use crate::db::inspect;
use crate::error::{Error, Kind, Result};
use crate::layout::month::Month;

use super::Cli;
use super::context::Context;

/// The database that the demo makes anew each time, on the embedded server.
const DATABASE: &str = "pupctl_demo";

/// How many months of history the demo has.
const MONTHS_BACK: i32 = 3;

/// How many aggregates each context gets; each has ten events.
const AGGREGATES: i64 = 1000;

/// Show what pupctl does, on a private server
///
/// Starts the private server of this folder, makes a store in a database of its own
/// (pupctl_demo, made anew each time), fills it with generated events and maintains it. Each
/// step shows the command that you would type. Takes a few seconds.
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
    let current = inspect::server(&mut client)?.month();
    demo.story(&mut client, current)?;
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
    fn story(&mut self, client: &mut Client, current: Month) -> anyhow::Result<()> {
        let first = current.plus(-MONTHS_BACK);
        self.tell("An event store, divided by bounded context and by month:");
        self.pupctl(
            &[
                "schema",
                "init",
                "--partition-by",
                "context,month",
                "--contexts",
                "Identity,Billing,Analytics",
            ],
            Exit::Done,
        )?;
        self.tell("Run it again, as a deployment would: it is there already.");
        self.pupctl(&["schema", "init"], Exit::Done)?;
        self.tell("Events of the last months shall be loaded, so their partitions are made:");
        self.pupctl(&["partitions", "ensure", "--from", &first.to_string()], Exit::Done)?;
        self.fill(client, first)?;
        self.pupctl(&["contexts", "list"], Exit::Done)?;
        self.tell("Every event lies in the partition of its context and month:");
        self.pupctl(&["partitions", "list", "--context", "Billing"], Exit::Done)?;
        self.tell(
            "What would one more month ahead do? The exact SQL, with the lock of each statement:",
        );
        self.pupctl(&["partitions", "ensure", "--months", "4", "--dry-run"], Exit::Done)?;
        self.tell("A new context is a command, not a migration:");
        self.pupctl(&["contexts", "add", "Shipping"], Exit::Done)?;
        self.tell("A mishap: somebody drops a partition by hand. The check from cron notices:");
        client
            .batch_execute(include_str!("../../sql/demo/mishap.sql"))
            .map_err(|error| Error::database("dropping a partition", error))?;
        self.pupctl(&["partitions", "check", "--exit-code"], Exit::Found)?;
        self.tell("The command that it names mends it:");
        self.pupctl(&["partitions", "ensure"], Exit::Done)?;
        self.pupctl(&["partitions", "check", "--exit-code"], Exit::Done)?;
        self.tell("The journal knows what was done:");
        self.pupctl(&["schema", "status"], Exit::Done)
    }

    fn fresh_database(&self, server: &str) -> Result<Client> {
        let fail = |error| Error::database("making the database of the demo", error);
        let mut admin = Client::connect(server, NoTls).map_err(fail)?;
        admin.batch_execute(include_str!("../../sql/demo/drop.sql")).map_err(fail)?;
        admin.batch_execute(include_str!("../../sql/demo/create.sql")).map_err(fail)?;
        Client::connect(&self.url, NoTls).map_err(fail)
    }

    fn fill(&mut self, client: &mut Client, first: Month) -> Result<()> {
        let fail = |error| Error::database("filling the store", error);
        let begin = Instant::now();
        let rows = client
            .execute(include_str!("../../sql/demo/fill.sql"), &[&first.start(), &AGGREGATES])
            .map_err(fail)?;
        client.execute(include_str!("../../sql/demo/heads.sql"), &[]).map_err(fail)?;
        client.batch_execute("ANALYZE").map_err(fail)?;
        let seconds = begin.elapsed().as_secs_f64();
        self.tell(&format!(
            "{rows} generated events went in through the parent in {seconds:.1} s:"
        ));
        Ok(())
    }

    /// Runs a command as a user would, and insists on how it ends.
    fn pupctl(&mut self, arguments: &[&str], expected: Exit) -> anyhow::Result<()> {
        let line = arguments.join(" ");
        if !self.context.output.is_json() {
            self.context.output.data(&format!("{}\n", cyan(&format!("$ pupctl {line}"))))?;
        }
        let mut cli =
            Cli::try_parse_from(std::iter::once("pupctl").chain(arguments.iter().copied()))?;
        cli.global.database_url = Some(self.url.clone());
        cli.global.config.clone_from(&self.context.global.config);
        let mut output = self.context.output.clone();
        if output.is_json() {
            output = output.silenced();
        }
        let exit = super::run(cli, &output, &self.context.interrupt)
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
            cyan("$ pupctl partitions list"),
            cyan("$ pupctl embedded stop"),
        ))?;
        Ok(Exit::Done)
    }
}
