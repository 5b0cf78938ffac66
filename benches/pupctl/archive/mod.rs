//! Files of archives beside psql's COPY through zstd and pg_dump, and the memory of it.

mod whole;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use postgres::Client;
use pupctl::archive::column::Column;
use pupctl::archive::contents::Contents;
use pupctl::archive::select::{Loading, SETTINGS, Selection};
use pupctl::archive::{Format, Reader, Settings, Stream, prove, write};
use pupctl::layout::name::QualifiedName;
use tempfile::TempDir;

use crate::machine::{Database, Machine};
use crate::report::{median, ratio, say, seconds, table};

/// What pupctl may hold at most, in MiB.
const LIMIT: u64 = 200;

/// A month of a store, detached. Payloads are of 300 bytes, ids at random, times in order; every
/// aggregate has ten events, among those of a few thousand others.
const FILL: &str = "\
    CREATE TABLE detached AS
    SELECT n AS global_position, 'Billing' AS bounded_context, 'Order' AS aggregate_type,
        md5('aggregate' || (n % 5000) || '/' || n / 50000)::uuid::text AS aggregate_id,
        1 + n / 5000 % 10 AS aggregate_version, md5('event' || n)::uuid AS event_id,
        CASE n % 3 WHEN 0 THEN 'OrderPlaced' ELSE 'OrderLinesChanged' END AS event_type,
        1 AS event_version,
        convert_to(format('{\"customer\":\"%s\",\"currency\":\"EUR\",\"lines\":[%s]}',
            md5('customer' || n)::uuid,
            (SELECT string_agg(format('{\"sku\":\"P-%s\",\"count\":1,\"cents\":%s}',
                    lpad((hashint8extended(n, line) & 1048575)::text, 7, '0'),
                    hashint8extended(n, line + 10) & 8191), ',')
             FROM generate_series(1, 5) AS line)), 'UTF8') AS payload,
        md5('trace' || n) AS trace_id, NULL::text AS correlation_id, NULL::text AS causation_id,
        jsonb_build_object('user', 'user-' || n % 9973, 'host', 'web-' || n % 97) AS metadata,
        '2026-01-01 00:00+00'::timestamptz + n * interval '5.123457 seconds' AS created_at
    FROM generate_series(1::bigint, $COUNT) AS n;
    VACUUM ANALYZE detached";

/// A way to write or to read the rows.
#[derive(Clone, Copy)]
enum Way {
    /// `COPY … TO STDOUT (FORMAT binary)` through the program zstd.
    Piped,
    Write(Format),
    Prove(Format),
    /// The program zstd through `COPY … FROM STDIN (FORMAT binary)` of psql.
    PipedBack,
    Load(Format),
    /// The digest of the server.
    Digest,
    /// `pg_dump -Fc`.
    Dump,
}

/// So many times everything is measured.
const ROUNDS: usize = 5;

/// What loading is compared with.
const LOADING: &str = "zstd -dc, psql COPY binary";

const WAYS: [(&str, Way); 10] = [
    ("psql COPY binary, zstd -3", Way::Piped),
    ("write copy", Way::Write(Format::Copy)),
    ("write parquet", Way::Write(Format::Parquet)),
    ("prove copy", Way::Prove(Format::Copy)),
    ("prove parquet", Way::Prove(Format::Parquet)),
    ("digest of the server", Way::Digest),
    (LOADING, Way::PipedBack),
    ("load copy", Way::Load(Format::Copy)),
    ("load parquet", Way::Load(Format::Parquet)),
    ("pg_dump -Fc", Way::Dump),
];

pub(crate) fn run(machine: &Machine, quick: bool) -> Result<()> {
    let count: u32 = if quick { 100_000 } else { 500_000 };
    let database = machine.database("archive")?;
    let fill = FILL.replace("$COUNT", &count.to_string());
    for statement in fill.split(";\n") {
        database.client()?.batch_execute(statement)?;
    }
    let bench = Bench::new(database)?;
    let mut times = WAYS.map(|_| Vec::new());
    for round in 0..=ROUNDS {
        for ((_, way), times) in WAYS.iter().zip(&mut times) {
            // It takes ten times as long as all others, and is there for its size.
            if matches!(way, Way::Dump) && round > 1 {
                continue;
            }
            if matches!(way, Way::PipedBack | Way::Load(_)) {
                bench.database.client()?.batch_execute("TRUNCATE loaded; CHECKPOINT")?;
            }
            let start = Instant::now();
            bench.go(*way)?;
            // The first round fills the cache.
            if round > 0 {
                times.push(start.elapsed());
            }
        }
    }
    let medians: Vec<Duration> = times.iter_mut().map(|times| median(times)).collect();
    bench.report(machine, count, &medians)?;
    bench.memory(count)?;
    drop(bench);
    whole::run(machine, &fill, count)
}

struct Bench {
    database: Database,
    selection: Selection,
    contents: Contents,
    folder: TempDir,
}

impl Bench {
    fn new(database: Database) -> Result<Self> {
        let mut client = database.client()?;
        client.batch_execute("CREATE TABLE loaded (LIKE detached)")?;
        let selection = selection(&mut client, "detached")?;
        let contents = contents(&mut client, &selection)?;
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        Ok(Self { database, selection, contents, folder })
    }

    fn path(&self, way: Way) -> PathBuf {
        self.folder.path().join(match way {
            Way::Piped => "piped.zst",
            Way::Write(format) | Way::Prove(format) | Way::Load(format) => format.file_name(),
            Way::PipedBack => Format::Copy.file_name(),
            Way::Dump | Way::Digest => "dump",
        })
    }

    fn go(&self, way: Way) -> Result<()> {
        let path = self.path(way);
        match way {
            Way::Piped => self.database.pipe(&self.selection.read_sql(), &path),
            Way::Write(format) => {
                write_file(&mut self.database.client()?, &self.selection, format, &path)
            }
            Way::Prove(format) => {
                let found = prove(&path, format, &self.selection.columns, &mut |_| Ok(()))?;
                ensure!(found == self.contents, "{:?}", found.differences(&self.contents));
                Ok(())
            }
            Way::PipedBack => {
                // psql doubles no quotes: there are none in the paths of a target folder.
                let program = format!("zstd -dcq {}", path.display());
                let copy = format!("\\copy loaded from program '{program}' (format binary)");
                self.database.psql(&[copy])
            }
            Way::Load(format) => self.load(format, &path),
            Way::Digest => {
                let found = contents(&mut self.database.client()?, &self.selection)?;
                ensure!(found == self.contents, "the table has changed");
                Ok(())
            }
            Way::Dump => self.database.dump("detached", &path),
        }
    }

    fn load(&self, format: Format, path: &Path) -> Result<()> {
        let columns = &self.selection.columns;
        let table = QualifiedName::new("public", "loaded");
        let mut stream = Stream::new(Reader::open(path, format, columns)?, columns);
        let mut client = self.database.client()?;
        let mut writer = client.copy_in(&Loading::of(&table, columns)?.copy)?;
        stream.piece(&mut writer, u64::MAX)?;
        writer.finish()?;
        ensure!(stream.sent() == self.contents, "other rows were sent");
        Ok(())
    }

    fn report(&self, machine: &Machine, count: u32, medians: &[Duration]) -> Result<()> {
        let of = |wanted: &str| {
            WAYS.iter().zip(medians).find(|((name, _), _)| *name == wanted).map(|(_, time)| *time)
        };
        let (write, load) = (medians[0], of(LOADING).unwrap_or_default());
        let rows = WAYS.iter().zip(medians).map(|((name, way), time)| {
            let is_load = matches!(way, Way::PipedBack | Way::Load(_));
            let limit = if is_load { load } else { write };
            let rate = f64::from(count) / time.as_secs_f64();
            vec![(*name).to_owned(), ratio(limit, *time), format!("{rate:.0}"), seconds(*time)]
        });
        let rows: Vec<_> = rows.collect();
        let version = machine.version();
        table(
            &format!("{count} events of a detached table, PostgreSQL {version}"),
            &["way", "limit / way", "rows/s", "time"],
            &rows,
        );
        let size =
            |way| -> Result<f64> { Ok(u32::try_from(fs::metadata(self.path(way))?.len())?.into()) };
        let dump = size(Way::Dump)?;
        let mut rows = Vec::new();
        for way in [Way::Dump, Way::Piped, Way::Write(Format::Copy), Way::Write(Format::Parquet)] {
            let name =
                self.path(way).file_name().unwrap_or_default().to_string_lossy().into_owned();
            let size = size(way)?;
            rows.push(vec![name, format!("{:.2}", size / dump), format!("{:.1} MB", size / 1e6)]);
        }
        table("Sizes", &["file", "size / pg_dump -Fc", "size"], &rows);
        Ok(())
    }

    /// Payloads of all sizes, whose sum is what the month above has, several times.
    fn memory(&self, count: u32) -> Result<()> {
        let mut client = self.database.client()?;
        let mut rows = Vec::new();
        for (bytes, rate) in [(30, 1), (3_000, 4), (300_000, 400), (3_000_000, 4_000)] {
            let events = count / rate;
            client.batch_execute(&format!(
                "DROP TABLE IF EXISTS sized; CREATE TABLE sized AS
                 SELECT n AS global_position, 'Billing' AS bounded_context,
                    md5(n::text) AS trace_id,
                    decode(repeat(md5(n::text) || md5('x' || n), {bytes} / 32), 'hex') AS payload,
                    '{{\"a\": 1}}'::jsonb AS metadata, now() AS created_at
                 FROM generate_series(1::bigint, {events}) AS n"
            ))?;
            let selection = selection(&mut client, "sized")?;
            let mut row = vec![bytes.to_string(), events.to_string()];
            for format in [Format::Copy, Format::Parquet] {
                let path = self.folder.path().join("sized");
                let written = peak(|| write_file(&mut client, &selection, format, &path))?;
                let proven = peak(|| {
                    prove(&path, format, &selection.columns, &mut |_| Ok(()))?;
                    Ok(())
                })?;
                for peak in [written, proven] {
                    ensure!(peak < Some(LIMIT), "{format} held {peak:?} MiB, the limit is {LIMIT}");
                    let told = |peak| format!("{peak} MiB");
                    row.push(peak.map_or_else(|| "the system does not tell".to_owned(), told));
                }
            }
            rows.push(row);
        }
        let head =
            ["payload", "events", "write copy", "prove copy", "write parquet", "prove parquet"];
        table("Peak memory of the whole process", &head, &rows);
        say("\nThe bench itself holds a few MiB of that.");
        Ok(())
    }
}

fn selection(client: &mut Client, name: &str) -> Result<Selection> {
    let rows = client.query(
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute
         WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        &[&name],
    )?;
    let column = |row: &postgres::Row| {
        Column::new(row.get::<_, String>(0), row.get::<_, String>(1), row.get(2))
    };
    let columns = rows.iter().map(column).collect();
    Ok(Selection::all(QualifiedName::new("public", name), columns))
}

fn contents(client: &mut Client, selection: &Selection) -> Result<Contents> {
    let mut transaction = client.transaction()?;
    transaction.query_one(SETTINGS, &[])?;
    Ok(Contents::answered(&transaction.query_one(&selection.digest_sql(), &[])?)?)
}

fn write_file(
    client: &mut Client,
    selection: &Selection,
    format: Format,
    path: &Path,
) -> Result<()> {
    let mut transaction = client.transaction()?;
    transaction.query_one(SETTINGS, &[])?;
    let rows = transaction.copy_out(&selection.read_sql())?;
    let settings = Settings { format, level: None };
    let nobody = &mut |_, _| Ok(());
    write(rows, File::create(path)?, path, &selection.columns, settings, nobody)?;
    Ok(())
}

/// The most memory that this process holds while it works, in MiB.
fn peak(work: impl FnOnce() -> Result<()>) -> Result<Option<u64>> {
    // Begins the high-water mark anew.
    let reset = fs::write("/proc/self/clear_refs", "5");
    work()?;
    let status = fs::read_to_string("/proc/self/status").ok().filter(|_| reset.is_ok());
    let line = status
        .as_deref()
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("VmHWM:")));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok());
    Ok(kibibytes.map(|kibibytes: u64| kibibytes.div_ceil(1024)))
}
