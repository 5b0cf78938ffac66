//! The server of the measurements, its databases, and the binary.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use postgres::{Client, NoTls};
use pupctl::layout::month::Month;
use pupctl::server::{Embedded, Programs, Server};

/// Wide enough for 10,000 leaves with their indexes in one statement. `fsync` is off for both
/// sides: the figures are about statements, not about disks. No import fills the log so far that
/// a checkpoint begins in the middle of it.
const SETTINGS: [(&str, &str); 5] = [
    ("fsync", "off"),
    ("max_wal_size", "8GB"),
    ("max_locks_per_transaction", "1024"),
    ("log_line_prefix", "%a|"),
    ("lc_messages", "C"),
];

/// As a server of its own is set up for a store of some size.
const DURABLE: [(&str, &str); 5] = [
    ("fsync", "on"),
    ("shared_buffers", "1GB"),
    ("max_wal_size", "8GB"),
    ("log_line_prefix", "%a|"),
    ("lc_messages", "C"),
];

/// How often the memory of a process is looked up, which cannot be done when it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A server of its own in the target folder, removed at the end.
pub(crate) struct Machine {
    embedded: Embedded,
    server: Server,
    psql: PathBuf,
    pgbench: Option<PathBuf>,
}

impl Machine {
    pub(crate) fn start() -> Result<Self> {
        Self::start_with("bench-server", &SETTINGS)
    }

    /// One whose commits reach the disk, as writers meet them.
    pub(crate) fn durable() -> Result<Self> {
        Self::start_with("bench-server-durable", &DURABLE)
    }

    fn start_with(folder: &str, settings: &[(&str, &str)]) -> Result<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
        let programs = Programs::find()?;
        // Fetched programs have none, and then that of the PATH must do.
        let psql = Some(programs.bin.join("psql")).filter(|program| program.is_file());
        let psql = psql.unwrap_or_else(|| PathBuf::from("psql"));
        let pgbench = pgbench(&programs.bin);
        let embedded = Embedded::in_folder(folder).with_settings(settings.iter().copied());
        let embedded = embedded.with_programs(programs);
        // One that was interrupted may have left its data.
        embedded.remove()?;
        let server = embedded.start()?.server;
        Ok(Self { embedded, server, psql, pgbench })
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
        Ok(Database { name: name.to_owned(), url, log, psql: self.psql.clone() })
    }

    /// Gives the room of a database back.
    pub(crate) fn remove(&self, database: &Database) -> Result<()> {
        let mut client = Client::connect(&self.server.url, NoTls)?;
        Ok(client.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", database.name))?)
    }

    /// A program that lies beside psql.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.psql.with_file_name(name)
    }

    /// The program pgbench, where there is one.
    pub(crate) fn pgbench(&self) -> Option<&Path> {
        self.pgbench.as_deref()
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
    psql: PathBuf,
}

impl Database {
    /// A session.
    pub(crate) fn client(&self) -> Result<Client> {
        Ok(Client::connect(&self.url, NoTls)?)
    }

    /// Where clients connect to.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The program psql.
    pub(crate) fn psql_program(&self) -> &Path {
        &self.psql
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

    /// Runs commands of psql, as one transaction.
    pub(crate) fn psql(&self, commands: &[String]) -> Result<()> {
        let mut command = Command::new(&self.psql);
        command.args(["-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", &self.url]);
        command.args(commands.iter().flat_map(|one| ["-c", one])).stdin(Stdio::null());
        let output = command.output().context("psql does not run")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "psql failed: {said}");
        Ok(())
    }

    /// How long psql takes.
    pub(crate) fn time_psql(&self, commands: &[String]) -> Result<Duration> {
        let start = Instant::now();
        self.psql(commands)?;
        Ok(start.elapsed())
    }

    /// Writes what a COPY of psql gives through the program zstd at its usual level, or compresses
    /// here where there is none.
    pub(crate) fn pipe(&self, copy: &str, to: &Path) -> Result<()> {
        let mut psql = Command::new(&self.psql);
        psql.args(["-X", "-q", "-d", &self.url, "-c", copy]).stdin(Stdio::null());
        let mut psql = psql.stdout(Stdio::piped()).spawn().context("psql does not run")?;
        let mut rows = psql.stdout.take().context("psql has no output")?;
        let file = std::fs::File::create(to)?;
        let zstd = Command::new("zstd").arg("--version").stdout(Stdio::null()).status();
        let is_there = zstd.is_ok();
        if is_there {
            let status =
                Command::new("zstd").args(["-q", "-3", "-c"]).stdin(rows).stdout(file).status()?;
            ensure!(status.success(), "zstd failed");
        } else {
            zstd::stream::copy_encode(&mut rows, file, 3)?;
        }
        ensure!(psql.wait()?.success(), "psql failed");
        Ok(())
    }

    /// Dumps a table as pg_dump does by itself.
    pub(crate) fn dump(&self, table: &str, to: &Path) -> Result<()> {
        let mut command = Command::new(self.psql.with_file_name("pg_dump"));
        command.args(["-Fc", "-d", &self.url, "-t", table, "-f"]).arg(to).stdin(Stdio::null());
        ensure!(command.status().context("pg_dump does not run")?.success(), "pg_dump failed");
        Ok(())
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
    pub(crate) fn peak_memory(&self, arguments: &[&str]) -> Result<Option<u64>> {
        let mut command = self.command(arguments);
        // What it says is short enough for the pipe.
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut peak = None;
        while child.try_wait()?.is_none() {
            peak = peak.max(high_water(&child));
            thread::sleep(LOOK_EVERY);
        }
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "pupctl {} failed: {said}", arguments.join(" "));
        Ok(peak)
    }

    /// The current month of the server.
    pub(crate) fn month(&self) -> Result<Month> {
        let now = self.client()?.query_one("SELECT clock_timestamp()", &[])?.get(0);
        Month::of(now).context("the clock of the server is far off")
    }
}

/// pgbench beside the server's programs, else the first one of the PATH.
fn pgbench(bin: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(bin.to_owned()).chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join("pgbench")).find(|program| program.is_file())
}

/// The most memory that a process has held so far, in bytes.
pub(crate) fn high_water(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024)
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
