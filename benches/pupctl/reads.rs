//! Streams of 100 events in every layout, beside the same in a store that is not divided.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use postgres::Client;
use pupctl::layout::Layout;
use pupctl::layout::protection::{Guard, Protections};
use pupctl::store::{Store, StreamId};
use serde_json::Value;

use crate::machine::{Database, Machine};
use crate::report::{median, milliseconds, percentile, ratio, say, table};
use crate::store::{Filling, ROUNDS, store};

const EVENTS_EACH: usize = 100;

/// After so many reads for each month it is likely that all plans are made.
const PLANNED_AFTER: usize = 12;

/// A layout, and how many months its events lie in.
const LAYOUTS: [(&str, &[&str], i32); 5] = [
    ("hash 16", &["--partition-by", "hash", "--hash-partitions", "16"], 60),
    ("month × 12", &["--partition-by", "month"], 12),
    ("month × 60", &["--partition-by", "month"], 60),
    ("month × 120", &["--partition-by", "month"], 120),
    ("context,month × 60", &["--partition-by", "context,month"], 60),
];

type Rows = Vec<Vec<String>>;

/// Which aggregates are read.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Life {
    /// All events lie within ten days, of this month or the one before.
    Hot,
    /// They lie within ten days, wherever before.
    Past,
    /// They are spread over all months.
    Long,
}

impl Life {
    fn name(self) -> &'static str {
        match self {
            Self::Hot => "10 days, now",
            Self::Past => "10 days, past",
            Self::Long => "all months",
        }
    }
}

pub(crate) fn run(machine: &Machine, quick: bool) -> Result<()> {
    let sizes: &[usize] = if quick { &[100_000] } else { &[100_000, 1_000_000, 5_000_000] };
    for &events in sizes {
        let mut rows = Vec::new();
        // In small, without the widest.
        let small = |months: &i32| !quick || *months <= 60;
        for (layout, arguments, months) in LAYOUTS.into_iter().filter(|(.., m)| small(m)) {
            let filling =
                Filling { aggregates: events / EVENTS_EACH, events_each: EVENTS_EACH, months };
            let undivided = ["--partition-by", "none"];
            let limit = filled(machine, "reads_limit", &undivided, filling)?;
            let divided = filled(machine, "reads_divided", arguments, filling)?;
            let mut readers = readers(&limit, &divided, layout.contains("month"))?;
            for life in [Life::Hot, Life::Past, Life::Long] {
                let reads = if quick { 100 } else { 400 };
                for (place, figures) in
                    compare(&mut readers, filling, life, reads)?.into_iter().enumerate()
                {
                    let name = if place == 0 { "none" } else { layout };
                    rows.push([vec![name.to_owned()], figures].concat());
                }
            }
            drop(readers);
            machine.remove(&limit)?;
            machine.remove(&divided)?;
        }
        table(
            &format!(
                "Streams of {EVENTS_EACH} among {events} events, PostgreSQL {}",
                machine.version()
            ),
            &["layout", "life", "read", "ratio", "p50", "p99", "locks", "planning"],
            &rows,
        );
    }
    say("\nratio: p50 beside that of the undivided store, of the same life, in the same minute.");
    Ok(())
}

fn filled(machine: &Machine, name: &str, arguments: &[&str], filling: Filling) -> Result<Database> {
    let database = store(machine, name, arguments, false)?;
    if arguments.iter().any(|word| word.contains("month")) {
        let first = database.month()?.plus(1 - filling.months).to_string();
        database.pupctl(&["partitions", "ensure", "--from", &first])?;
    }
    filling.fill(&mut database.client()?)?;
    Ok(database)
}

/// A session that reads in one way.
struct Reader {
    client: Client,
    store: Store,
    name: &'static str,
}

impl Reader {
    /// `guard` says what the store may rely on; that the heads are right, the filling saw to.
    fn open(database: &Database, guard: Guard, name: &'static str) -> Result<Self> {
        let mut client = database.client()?;
        let row = client.query_one("SELECT layout FROM pupctl_layout", &[])?;
        let layout = Layout::from_json(row.get(0))?;
        let layout = layout.protected(Protections { guard, ..Protections::default() });
        let store = Store::with_layout(&mut client, "public", &layout)?;
        Ok(Self { client, store, name })
    }

    fn read(&mut self, aggregate: usize) -> Result<Duration> {
        let id = format!("order-{aggregate}");
        let stream = StreamId::new("Sales", "Order", id.as_str());
        let start = Instant::now();
        let events = self.store.read_stream(&mut self.client, &stream, ..)?;
        let time = start.elapsed();
        ensure!(events.len() == EVENTS_EACH, "{id} has {} events", events.len());
        Ok(time)
    }

    /// How long the server plans a read of all partitions.
    fn planning(&mut self) -> Result<Duration> {
        let explain = "EXPLAIN (SUMMARY, FORMAT JSON) SELECT * FROM events \
            WHERE bounded_context = 'Sales' AND aggregate_type = 'Order' \
                AND aggregate_id = 'order-0' ORDER BY aggregate_version";
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let plan: Value = self.client.query_one(explain, &[])?.get(0);
            let time = plan[0]["Planning Time"].as_f64().context("no time")?;
            times.push(Duration::from_secs_f64(time / 1000.0));
        }
        Ok(median(&mut times))
    }

    /// How many relations a read locks.
    fn locks(&mut self, aggregate: usize) -> Result<i64> {
        let id = format!("order-{aggregate}");
        let stream = StreamId::new("Sales", "Order", id.as_str());
        let mut transaction = self.client.transaction()?;
        self.store.read_stream(&mut transaction, &stream, ..)?;
        let count = "SELECT count(*) FROM pg_locks JOIN pg_class ON pg_class.oid = relation \
            WHERE pid = pg_backend_pid() AND locktype = 'relation' \
                AND relnamespace = 'public'::regnamespace";
        Ok(transaction.query_one(count, &[])?.get(0))
    }
}

/// The ways to read: the limit first, then those of the divided store.
fn readers(limit: &Database, divided: &Database, by_month: bool) -> Result<Vec<Reader>> {
    let mut readers =
        vec![Reader::open(limit, Guard::None, "all")?, Reader::open(divided, Guard::None, "all")?];
    if by_month {
        readers.push(Reader::open(divided, Guard::Events, "recent first")?);
    }
    Ok(readers)
}

/// A row of figures for each way, those of the limit first.
fn compare(readers: &mut [Reader], filling: Filling, life: Life, reads: usize) -> Result<Rows> {
    let mut medians = vec![Vec::new(); readers.len()];
    let mut times = vec![Vec::new(); readers.len()];
    let months = usize::try_from(filling.months)?;
    for round in 0..=ROUNDS {
        for (place, reader) in readers.iter_mut().enumerate() {
            // The first round is for the plans of the session, and for the cache: each span of
            // months has its own, made in five reads.
            let reads = if round == 0 { reads.max(PLANNED_AFTER * months) } else { reads };
            let aggregates = (0..reads).map(|number| aggregate(filling, life, number + round));
            let mut these = aggregates.map(|one| reader.read(one)).collect::<Result<Vec<_>>>()?;
            if round > 0 {
                medians[place].push(median(&mut these));
                times[place].append(&mut these);
            }
        }
    }
    let limit = median(&mut medians[0]);
    let mut rows = Vec::new();
    for (place, reader) in readers.iter_mut().enumerate() {
        let middle = median(&mut medians[place]);
        rows.push(vec![
            life.name().to_owned(),
            reader.name.to_owned(),
            ratio(middle, limit),
            milliseconds(middle),
            milliseconds(percentile(&mut times[place], 99)),
            reader.locks(aggregate(filling, life, 0))?.to_string(),
            milliseconds(reader.planning()?),
        ]);
    }
    Ok(rows)
}

/// Which aggregate is read: even ones live shortly, in the order of their numbers, odd ones long.
fn aggregate(filling: Filling, life: Life, number: usize) -> usize {
    let months = usize::try_from(filling.months).unwrap_or(1);
    let halves = filling.aggregates / 2;
    // Those whose last event is less than about half a month old, and older than two months.
    let (hot, past) = ((halves / months / 2).max(1), halves - halves * 2 / months);
    let scattered = number * 7919;
    match life {
        Life::Hot => (halves - 1 - scattered % hot) * 2,
        Life::Past => scattered % past * 2,
        Life::Long => scattered % halves * 2 + 1,
    }
}
