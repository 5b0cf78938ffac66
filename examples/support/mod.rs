//! What the examples of projections share: they connect as pupctl does, make their tables, append
//! events to project, log, and show what failed.

// Each example uses its own part of it.
#![allow(dead_code, unreachable_pub)]

use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::process::{Child, Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};

use postgres::Client;
use pupctl::Error;
use pupctl::db::connect::{Session, Sources, Target};
use pupctl::projection::HandlerError;
use pupctl::store::{ExpectedVersion, NewEvent, Store, StreamId};
use serde_json::Value;
use tracing_subscriber::EnvFilter;
use uuid::Uuid;

/// How long something may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// What an example, or a part of it, comes to.
pub type Result<T = (), E = HandlerError> = std::result::Result<T, E>;

/// The end of an example: where it failed, what is wrong and what mends it.
pub fn show(outcome: Result) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let mut lines = vec![format!("error: {error}")];
    match error.downcast_ref::<Error>() {
        Some(error) => {
            lines.extend(error.detail_lines().iter().map(|line| format!("  {line}")));
            lines.extend(error.hint_text().map(|hint| format!("hint: {hint}")));
        }
        None => lines.extend(error.source().map(|cause| format!("  {cause}"))),
    }
    let _ = writeln!(stderr(), "{}", lines.join("\n"));
    ExitCode::FAILURE
}

/// Writes a line of the result.
pub fn say(line: impl Display) -> Result {
    Ok(writeln!(stdout(), "{line}")?)
}

/// Logs to standard error: batches at info, each event at debug. `RUST_LOG` says otherwise. With
/// colours on a terminal, and without them in a file.
pub fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal())
        .init();
}

/// The database that the environment names, as for pupctl: PUPCTL_DATABASE_URL, PGHOST and so on.
pub fn target() -> Result<Target> {
    Ok(Target::resolve(&Sources::from_process(None, None))?)
}

/// A connection of its own.
pub fn connect(target: &Target) -> Result<Client> {
    Ok(target.connect(&Session::of("example"))?)
}

/// Runs statements that make tables. Several processes may begin at once: each waits its turn.
pub fn make_tables(client: &mut Client, sql: &str) -> Result {
    let turn = "SELECT pg_advisory_xact_lock(hashtextextended('tables of the examples', 0))";
    let made = client.batch_execute(&format!("{turn}; {sql}"));
    Ok(made.map_err(|error| Error::database("making the tables of the example", error))?)
}

/// The one number that a query has.
pub fn count(client: &mut Client, sql: &str) -> Result<i64> {
    let row = client.query_one(sql, &[]);
    Ok(row.map_err(|error| Error::database("counting", error))?.get(0))
}

/// Waits until something holds, as a person would who looks again and again.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result {
    let start = Instant::now();
    while !holds()? {
        if start.elapsed() > PATIENCE {
            return Err(format!("still not so after {PATIENCE:?}: {what}").into());
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Appends events, so that there is something to project.
pub struct Writer {
    client: Client,
    store: Store,
}

impl Writer {
    /// A writer with a connection of its own.
    pub fn open(target: &Target) -> Result<Self> {
        let mut client = connect(target)?;
        let store = Store::open(&mut client, "public")?;
        Ok(Self { client, store })
    }

    /// Appends events of one type to an aggregate, at whatever version it is, and commits them.
    pub fn append(
        &mut self,
        stream: &StreamId<'_>,
        event_type: &str,
        payloads: &[Value],
    ) -> Result {
        let events: Vec<_> = self
            .ids(payloads.len())?
            .into_iter()
            .zip(payloads)
            .map(|(id, payload)| {
                NewEvent::new(stream.clone(), id, event_type)
                    .payload(payload.to_string().into_bytes())
            })
            .collect();
        let appended = self.store.append(&mut self.client, ExpectedVersion::Any, &events);
        appended.map_err(|error| place_of(stream, error.into()))?;
        Ok(())
    }

    /// Places so many orders in all, in turns of so many customers.
    pub fn place_orders(&mut self, orders: usize, customers: usize) -> Result {
        for customer in 0..customers {
            let id = format!("customer-{customer:03}");
            let of_this_one = orders / customers + usize::from(customer < orders % customers);
            let payloads = vec![serde_json::json!({"cents": 250}); of_this_one];
            if !payloads.is_empty() {
                self.append(&StreamId::new("Sales", "Order", id), "OrderPlaced", &payloads)?;
            }
        }
        Ok(())
    }

    /// Ids that no other event has. An application has a generator of its own.
    pub fn ids(&mut self, count: usize) -> Result<Vec<Uuid>> {
        let sql = "SELECT gen_random_uuid() FROM generate_series(1, $1::bigint)";
        let rows = self.client.query(sql, &[&i64::try_from(count)?]);
        let rows = rows.map_err(|error| Error::database("drawing ids", error))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

/// Says what to do where a store that is divided by context does not have the one of an example.
fn place_of(stream: &StreamId<'_>, error: Error) -> Error {
    let context = &stream.bounded_context;
    let divides = |line: &String| line.contains(&format!("(bounded_context) = ({context})"));
    if error.sqlstate() != Some("23514") || !error.detail_lines().iter().any(divides) {
        return error;
    }
    Error::refused(format!("the store is divided by context, and has no partition for {context}"))
        .hint(format!("pupctl contexts add {context}"))
        .because(error)
}

/// This program once more, as another process. Killed when it is dropped, as by `kill -9`.
pub struct Process(Child);

impl Process {
    /// Starts it with other arguments.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        Ok(Self(Command::new(std::env::current_exe()?).args(arguments).spawn()?))
    }

    /// Fails where it has ended by itself.
    pub fn check(&mut self) -> Result {
        match self.0.try_wait()? {
            Some(status) => Err(format!("a worker ended by itself with {status}").into()),
            None => Ok(()),
        }
    }

    /// Asks it to stop with SIGTERM, and waits for its end.
    pub fn stop(mut self) -> Result {
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.0),
            rustix::process::Signal::TERM,
        )?;
        let status = self.0.wait()?;
        if status.success() { Ok(()) } else { Err(format!("a worker ended with {status}").into()) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
