//! Writers that race for the versions of a few aggregates, and the proof of what they left.

use std::sync::atomic::{AtomicUsize, Ordering};

use postgres::error::SqlState;
use postgres::{Client, IsolationLevel, Transaction};
use pupctl::store::{AppendError, ExpectedVersion, NewEvent, Store, StreamId};
use uuid::Uuid;

use crate::support::{TestDatabase, event_id};

/// How many sessions write at once.
const WRITERS: u64 = 8;

/// How many aggregates they write to: few, so that they meet.
const AGGREGATES: usize = 20;

/// How many events one append has.
const BATCHES: [i64; 3] = [1, 2, 5];

const INSERT: &str = "(bounded_context, aggregate_type, aggregate_id, aggregate_version,
        event_id, event_type, payload, created_at)
    SELECT $1, 'Order', $2, $3 + event.number, event.id::uuid, 'OrderPlaced', '{}', $4::text::timestamptz
    FROM unnest($5::text[]) WITH ORDINALITY AS event (id, number)";

const READ_HEAD: &str = "SELECT aggregate_version FROM aggregate_heads
    WHERE bounded_context = $1 AND aggregate_type = 'Order' AND aggregate_id = $2";

const MOVE_HEAD: &str = "INSERT INTO aggregate_heads
        (bounded_context, aggregate_type, aggregate_id, aggregate_version)
    VALUES ($1, 'Order', $2, $3)
    ON CONFLICT (bounded_context, aggregate_type, aggregate_id)
    DO UPDATE SET aggregate_version = $3, updated_at = now()";

/// How a writer sends the events of one append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// One statement for each event, as pupsourcing does.
    Single,
    /// One statement for all.
    Multi,
    /// Twice in one transaction.
    Twice,
    /// Into the leaf itself, past its parents.
    Leaf,
}

/// A race on one store.
pub(crate) struct Race<'a> {
    /// The store.
    pub(crate) db: &'a TestDatabase,
    /// The context of all aggregates.
    pub(crate) context: &'a str,
    /// The instants at which events are said to have happened.
    pub(crate) times: Vec<String>,
    /// The leaf of each of these instants, where only time decides.
    pub(crate) leaves: Vec<Option<String>>,
    /// How transactions are isolated.
    pub(crate) isolation: IsolationLevel,
    /// How many appends are tried.
    pub(crate) appends: usize,
}

/// How the appends of a race ended.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// How many were committed.
    pub(crate) won: usize,
    /// The SQLSTATE of every other.
    pub(crate) lost: Vec<String>,
}

impl Race<'_> {
    /// Lets all writers run until every append was tried once.
    pub(crate) fn run(&self) -> Outcome {
        let next = AtomicUsize::new(0);
        let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
            let writers: Vec<_> = (1..=WRITERS)
                .map(|seed| (seed_of(seed), &next))
                .map(|(random, next)| scope.spawn(move || self.write(random, next)))
                .collect();
            writers.into_iter().map(|writer| writer.join().expect("a writer")).collect()
        });
        outcomes.into_iter().fold(Outcome::default(), |mut all, one| {
            all.won += one.won;
            all.lost.extend(one.lost);
            all
        })
    }

    /// Half of the appends are those of other libraries, half those of pupctl's own.
    fn write(&self, mut random: Random, next: &AtomicUsize) -> Outcome {
        let mut client = self.db.client();
        let store = Store::open(&mut client, "public").expect("a store");
        let mut outcome = Outcome::default();
        while next.fetch_add(1, Ordering::Relaxed) < self.appends {
            let appended = if random.below(2) == 0 {
                self.append(&mut client, &mut random).map_err(|error| {
                    let code = error.code().unwrap_or_else(|| panic!("{error:?}"));
                    code.code().to_owned()
                })
            } else {
                self.append_by_library(&mut client, &store, &mut random).map_err(code_of)
            };
            match appended {
                Ok(()) => outcome.won += 1,
                Err(code) => outcome.lost.push(code),
            }
        }
        outcome
    }

    fn append_by_library(
        &self,
        client: &mut Client,
        store: &Store,
        random: &mut Random,
    ) -> Result<(), AppendError> {
        let id = aggregate(random);
        let mut transaction = client
            .build_transaction()
            .isolation_level(self.isolation)
            .start()
            .expect("a transaction");
        for _ in 0..=random.below(2) {
            let at = self.times[random.below(self.times.len())].parse().expect("an instant");
            let stream = StreamId::new(self.context, "Order", id.as_str());
            let event = |_| {
                let event_id = Uuid::parse_str(&event_id()).expect("an id");
                NewEvent::new(stream.clone(), event_id, "OrderPlaced").created_at(at)
            };
            let events: Vec<_> = (0..BATCHES[random.below(BATCHES.len())]).map(event).collect();
            let expected = if random.below(2) == 0 {
                ExpectedVersion::Any
            } else {
                let head = transaction
                    .query_opt(READ_HEAD, &[&self.context, &id])
                    .map_err(|error| failed("reading the head", error))?;
                ExpectedVersion::Exact(head.map_or(0, |row| row.get(0)))
            };
            store.append(&mut transaction, expected, &events)?;
        }
        transaction.commit().map_err(|error| failed("committing", error))
    }

    fn append(&self, client: &mut Client, random: &mut Random) -> Result<(), postgres::Error> {
        let styles = [Style::Single, Style::Multi, Style::Twice, Style::Leaf];
        let style = styles[random.below(4)];
        let id = aggregate(random);
        let mut transaction = client.build_transaction().isolation_level(self.isolation).start()?;
        for _ in 0..if style == Style::Twice { 2 } else { 1 } {
            let events = BATCHES[random.below(BATCHES.len())];
            self.events(&mut transaction, style, &id, events, random)?;
        }
        transaction.commit()
    }

    fn events(
        &self,
        transaction: &mut Transaction<'_>,
        style: Style,
        id: &str,
        events: i64,
        random: &mut Random,
    ) -> Result<(), postgres::Error> {
        let head = transaction.query_opt(READ_HEAD, &[&self.context, &id])?;
        let head: i64 = head.map_or(0, |row| row.get(0));
        let when = random.below(self.times.len());
        let time = &self.times[when];
        let leaf = self.leaves[when].as_deref().filter(|_| style == Style::Leaf);
        let sql = format!("INSERT INTO {} {INSERT}", leaf.unwrap_or("events"));
        let each = if style == Style::Single { 1 } else { events };
        for done in (0..events).step_by(usize::try_from(each).expect("small")) {
            let ids: Vec<String> = (0..each).map(|_| event_id()).collect();
            transaction.execute(&sql, &[&self.context, &id, &(head + done), time, &ids])?;
        }
        transaction.execute(MOVE_HEAD, &[&self.context, &id, &(head + events)])?;
        Ok(())
    }
}

fn aggregate(random: &mut Random) -> String {
    format!("order-{}", random.below(AGGREGATES))
}

fn failed(doing: &str, error: postgres::Error) -> AppendError {
    AppendError::Database(pupctl::Error::database(doing, error))
}

/// A conflict is what a unique key says; that it was seen before the insert makes it no other.
fn code_of(error: AppendError) -> String {
    match error {
        AppendError::ConcurrencyConflict { .. } => SqlState::UNIQUE_VIOLATION.code().to_owned(),
        AppendError::Database(error) => {
            error.sqlstate().unwrap_or_else(|| panic!("{error:?}")).to_owned()
        }
        other => panic!("{other:?}"),
    }
}

/// What is wrong with the versions and heads of a store; nothing on a sound one.
pub(crate) fn violations(db: &TestDatabase) -> Vec<String> {
    db.texts(
        "WITH streams AS (
            SELECT bounded_context, aggregate_type, aggregate_id, count(*) AS events,
                count(DISTINCT aggregate_version) AS versions, min(aggregate_version) AS first,
                max(aggregate_version) AS last
            FROM public.events GROUP BY 1, 2, 3
        )
        SELECT format('%s: %s events, %s versions from %s to %s, head %s', aggregate_id, events,
            versions, first, last, head.aggregate_version)
        FROM streams FULL JOIN public.aggregate_heads AS head
            USING (bounded_context, aggregate_type, aggregate_id)
        WHERE (events, versions, first, head.aggregate_version)
            IS DISTINCT FROM (last, last, 1::bigint, last)
        ORDER BY 1",
    )
}

/// Proves that a race left nothing but sound aggregates, and that all losers were told why.
#[track_caller]
pub(crate) fn prove(db: &TestDatabase, outcome: &Outcome, isolation: IsolationLevel) {
    assert_eq!(violations(db), Vec::<String>::new());
    assert!(outcome.won > 100, "{outcome:?}");
    assert!(!outcome.lost.is_empty(), "nobody met anybody");
    let unique = SqlState::UNIQUE_VIOLATION.code();
    // Above READ COMMITTED the server itself ends the second to change a head with 40001.
    let serialization = SqlState::T_R_SERIALIZATION_FAILURE.code();
    let is_told = |code: &&String| {
        *code == unique
            || (*code == serialization && !matches!(isolation, IsolationLevel::ReadCommitted))
    };
    let others: Vec<_> = outcome.lost.iter().filter(|code| !is_told(code)).collect();
    assert!(others.is_empty(), "{others:?}");
}

/// Numbers that are different in every writer and the same in every run.
pub(crate) struct Random(u64);

fn seed_of(writer: u64) -> Random {
    Random(writer.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
}

impl Random {
    /// A number below `limit` (xorshift).
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let limit = u64::try_from(limit).expect("small");
        usize::try_from((self.0 >> 11) % limit).expect("small")
    }
}
