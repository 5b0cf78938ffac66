//! The server of the measurements, its databases, and the binary.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use postgres::{Client, NoTls};
use pupctl::layout::month::Month;
use pupctl::server::{Embedded, Server};

/// Wide enough for 10,000 leaves with their indexes in one statement. `fsync` is off for both
/// sides: the figures are about statements, not about disks.
const SETTINGS: [(&str, &str); 4] = [
    ("fsync", "off"),
    ("max_locks_per_transaction", "1024"),
    ("log_line_prefix", "%a|"),
    ("lc_messages", "C"),
];

/// A server of its own in the target folder, removed at the end.
pub(crate) struct Machine {
    embedded: Embedded,
    server: Server,
}

impl Machine {
    pub(crate) fn start() -> Result<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-server");
        let embedded = Embedded::in_folder(folder).with_settings(SETTINGS);
        // One that was interrupted may have left its data.
        embedded.remove()?;
        let server = embedded.start()?.server;
        Ok(Self { embedded, server })
    }

    /// The version of the server.
    pub(crate) fn version(&self) -> &str {
        &self.server.version
    }

    /// A new, empty database.
    pub(crate) fn database(&self, name: &str) -> Result<Database> {
        let mut client = Client::connect(&self.server.url, NoTls)?;
        client.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0"))?;
        let url = self.server.url.replacen("/pupctl?", &format!("/{name}?"), 1);
        ensure!(url != self.server.url, "the address has no database to replace");
        let log = self.server.folder.join("server.log");
        Ok(Database { name: name.to_owned(), url, log })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Err(error) = self.embedded.remove() {
            crate::report::say(format!("error: {error}"));
        }
    }
}

/// A database of the server.
pub(crate) struct Database {
    name: String,
    url: String,
    log: PathBuf,
}

impl Database {
    /// A session.
    pub(crate) fn client(&self) -> Result<Client> {
        Ok(Client::connect(&self.url, NoTls)?)
    }

    /// The binary on this database.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pupctl"));
        command.args(arguments).env("PUPCTL_DATABASE_URL", &self.url).stdin(Stdio::null());
        // No configuration file is there.
        command.current_dir(env!("CARGO_TARGET_TMPDIR"));
        command
    }

    /// Runs the binary to its end, which must be a good one.
    pub(crate) fn pupctl(&self, arguments: &[&str]) -> Result<Output> {
        let output = self.command(arguments).output().context("pupctl does not run")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "pupctl {} failed: {said}", arguments.join(" "));
        Ok(output)
    }

    /// How long the binary takes.
    pub(crate) fn time(&self, arguments: &[&str]) -> Result<Duration> {
        let start = Instant::now();
        self.pupctl(arguments)?;
        Ok(start.elapsed())
    }

    /// How long statements take in a new session, rows fetched.
    pub(crate) fn time_sql(&self, sql: &str) -> Result<Duration> {
        let start = Instant::now();
        self.client()?.query(sql, &[])?;
        Ok(start.elapsed())
    }

    /// How many statements the binary sends, as the server's log counts them.
    pub(crate) fn queries(&self, arguments: &[&str]) -> Result<usize> {
        let name = &self.name;
        let alter = |setting: &str| -> Result<()> {
            Ok(self.client()?.batch_execute(&format!("ALTER DATABASE {name} {setting}"))?)
        };
        alter("SET log_statement = 'all'")?;
        let before = std::fs::metadata(&self.log)?.len();
        self.pupctl(arguments)?;
        alter("RESET log_statement")?;
        let log = std::fs::read(&self.log)?;
        let log = String::from_utf8_lossy(&log[usize::try_from(before)?..]).into_owned();
        let sent = |line: &&str| {
            line.strip_prefix("pupctl/").and_then(|line| line.split_once('|')).is_some_and(
                |(_, message)| {
                    let said = message.trim_start_matches("LOG:").trim_start();
                    said.starts_with("statement:") || said.starts_with("execute ")
                },
            )
        };
        let count = log.lines().filter(sent).count();
        ensure!(count > 0, "the log of the server shows no statement of pupctl");
        Ok(count)
    }

    /// The most memory that the binary holds, in bytes; `None` where the system does not tell.
    ///
    /// The binary writes its result in one piece when it has all of it, and the pipe takes only
    /// the beginning: there it waits while its memory is looked up.
    pub(crate) fn peak_memory(&self, arguments: &[&str]) -> Result<Option<u64>> {
        let mut child = self.command(arguments).stdout(Stdio::piped()).spawn()?;
        let mut stdout = child.stdout.take().context("no output")?;
        stdout.read_exact(&mut [0])?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
        std::io::copy(&mut stdout, &mut std::io::sink())?;
        ensure!(child.wait()?.success(), "pupctl {} failed", arguments.join(" "));
        let peak = status.ok().and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()
        });
        Ok(peak.map(|kilobytes| kilobytes * 1024))
    }

    /// The current month of the server.
    pub(crate) fn month(&self) -> Result<Month> {
        let now = self.client()?.query_one("SELECT clock_timestamp()", &[])?.get(0);
        Month::of(now).context("the clock of the server is far off")
    }
}

/// `C01,C02,…`
pub(crate) fn contexts(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("C{number:02}")).collect()
}

/// A month's bounds in SQL.
pub(crate) fn range(month: Month) -> String {
    format!("FOR VALUES FROM ('{month}-01 00:00+00') TO ('{}-01 00:00+00')", month.plus(1))
}

/// Plain SQL that makes months of a context the same way as pupctl does, beside the parent.
pub(crate) fn beside(context: &str, month: Month) -> String {
    let parent = format!("events_{}", context.to_lowercase());
    let leaf = format!("{parent}_{}", month.suffix());
    format!(
        "CREATE TABLE {leaf} \
         (LIKE {parent} INCLUDING ALL EXCLUDING IDENTITY EXCLUDING STATISTICS);\n\
         ALTER TABLE {leaf} {KEYS};\n\
         ALTER TABLE {parent} ATTACH PARTITION {leaf} {};\n",
        range(month)
    )
}

/// Plain SQL that makes months of a context as most people would.
pub(crate) fn partition_of(context: &str, month: Month) -> String {
    let parent = format!("events_{}", context.to_lowercase());
    let leaf = format!("{parent}_{}", month.suffix());
    let range = range(month);
    format!("CREATE TABLE {leaf} PARTITION OF {parent} {range};\nALTER TABLE {leaf} {KEYS};\n")
}

const KEYS: &str = "\
    ADD PRIMARY KEY (bounded_context, aggregate_type, aggregate_id, aggregate_version), \
    ADD UNIQUE (event_id), ADD UNIQUE (global_position)";

/// Runs the statements of many partitions, 50 partitions in a transaction.
pub(crate) fn run_in_transactions(client: &mut Client, partitions: &[String]) -> Result<()> {
    for batch in partitions.chunks(50) {
        client.batch_execute(&format!("BEGIN;\n{}COMMIT;", batch.concat()))?;
    }
    Ok(())
}
