//! Writers and readers that go on through a whole conversion, and everything that they saw.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use postgres::{Client, Statement};

use crate::support::{TestDatabase, event_id};

/// How many sessions write at once.
const WRITERS: u64 = 4;

/// How many aggregates of each context they write to: few, so that they meet.
const AGGREGATES: u64 = 8;

const READ_HEAD: &str = "SELECT aggregate_version FROM aggregate_heads
    WHERE bounded_context = $1 AND aggregate_type = 'Order' AND aggregate_id = $2";

const INSERT_EVENT: &str = "INSERT INTO events (
        bounded_context, aggregate_type, aggregate_id, aggregate_version, event_id, event_type,
        event_version, payload, trace_id, correlation_id, causation_id, metadata, created_at)
    VALUES ($1, 'Order', $2, $3, $4::text::uuid, 'OrderPlaced', 1, '{}', NULL, NULL, NULL, '{}',
        now() - $5::text::interval)
    RETURNING global_position";

const MOVE_HEAD: &str = "INSERT INTO aggregate_heads (
        bounded_context, aggregate_type, aggregate_id, aggregate_version, updated_at)
    VALUES ($1, 'Order', $2, $3, NOW())
    ON CONFLICT (bounded_context, aggregate_type, aggregate_id)
    DO UPDATE SET aggregate_version = $3, updated_at = NOW()";

/// What programs are told to expect: a conflict, and what any transaction may meet.
const EXPECTED: [&str; 3] = ["23505", "40001", "40P01"];

/// Position and id of an event.
pub(crate) type Key = (i64, String);

/// Numbers that look random, the same ones at every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// What went on.
#[derive(Debug, Default)]
pub(crate) struct Load {
    stop: AtomicBool,
    /// Every event whose commit was answered.
    committed: Mutex<BTreeSet<Key>>,
    /// Errors that were expected, by their code.
    conflicts: Mutex<BTreeMap<String, u64>>,
    /// What must not have happened.
    wrong: Mutex<Vec<String>>,
    /// How often each reader has read.
    reads: Mutex<BTreeMap<&'static str, u64>>,
    appends: AtomicU64,
}

fn guard<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the load, also when the test fails.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Makes the functions through which some readers read.
fn prepare(db: &TestDatabase) {
    db.execute(
        "CREATE VIEW read_view AS SELECT global_position || ' ' || event_id AS key FROM events;
         CREATE FUNCTION read_execute() RETURNS SETOF text LANGUAGE plpgsql AS $$
         BEGIN RETURN QUERY EXECUTE
            'SELECT global_position || '' '' || event_id FROM events'; END $$;
         CREATE FUNCTION read_stable() RETURNS text[] LANGUAGE sql STABLE AS $$
            SELECT array_agg(global_position || ' ' || event_id) FROM events $$;
         CREATE FUNCTION read_plpgsql() RETURNS text[] LANGUAGE plpgsql STABLE AS $$
         DECLARE found text[]; BEGIN
            SELECT array_agg(global_position || ' ' || event_id) INTO found FROM events;
            RETURN found; END $$",
    );
}

/// Writers and readers work while something is done. What went on.
pub(crate) fn beside(db: &TestDatabase, contexts: &[&str], work: impl FnOnce(&Load)) -> Load {
    prepare(db);
    let load = Load::default();
    let initial = db.texts("SELECT global_position || ' ' || event_id FROM public.events");
    guard(&load.committed).extend(initial.iter().map(|text| key(text)));
    std::thread::scope(|scope| {
        let raise = Raise(&load.stop);
        for seed in 0..WRITERS {
            let load = &load;
            scope.spawn(move || write(db, load, contexts, seed));
        }
        for (name, reader) in READERS {
            let load = &load;
            scope.spawn(move || load.read(db, name, reader));
        }
        work(&load);
        drop(raise);
    });
    load
}

impl Load {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn tell(&self, words: String) {
        let mut wrong = guard(&self.wrong);
        if wrong.len() < 10 {
            wrong.push(words);
        }
    }

    /// Nothing went wrong, everybody had something to do, and every event is there once, and no
    /// other.
    #[track_caller]
    pub(crate) fn assert_well(&self, db: &TestDatabase, place: &str) {
        let wrong = guard(&self.wrong);
        assert!(wrong.is_empty(), "{place}: {wrong:#?}");
        let reads = guard(&self.reads);
        assert!(reads.len() == READERS.len() && reads.values().all(|n| *n > 3), "{reads:?}");
        let (appends, conflicts) = (self.appends.load(Ordering::SeqCst), guard(&self.conflicts));
        assert!(appends > 30, "{place}: only {appends} appends, {conflicts:?}");
        let there = db.texts("SELECT global_position || ' ' || event_id FROM public.events");
        let there: Vec<_> = there.iter().map(|text| key(text)).collect();
        let set: BTreeSet<_> = there.iter().cloned().collect();
        assert_eq!(set.len(), there.len(), "{place}: doubled");
        let committed = guard(&self.committed);
        let lost: Vec<_> = committed.difference(&set).take(5).collect();
        assert!(lost.is_empty(), "{place}: lost {lost:?}");
        let strange: Vec<_> = set.difference(&committed).take(5).collect();
        assert!(strange.is_empty(), "{place}: from nowhere {strange:?}");
    }

    /// Reads all the time; whatever was committed before has to be there, once.
    fn read(&self, db: &TestDatabase, name: &'static str, reader: Reader) {
        let mut client = db.client();
        while !self.is_over() {
            let before = guard(&self.committed).clone();
            match reader(&mut client) {
                Ok(all) => {
                    for found in all {
                        self.check(name, &before, &found);
                    }
                }
                Err(error) => self.tell(format!("{name}: {error:?}")),
            }
            *guard(&self.reads).entry(name).or_default() += 1;
            std::thread::sleep(Duration::from_millis(15));
        }
    }

    fn check(&self, name: &str, before: &BTreeSet<Key>, found: &[Key]) {
        let set: BTreeSet<_> = found.iter().cloned().collect();
        if set.len() != found.len() {
            self.tell(format!("{name}: {} rows, {} events", found.len(), set.len()));
        }
        let hidden: Vec<_> = before.difference(&set).take(3).collect();
        if !hidden.is_empty() {
            let total = before.difference(&set).count();
            self.tell(format!("{name}: {total} are hidden, for example {hidden:?}"));
        }
        let mut ids: Vec<_> = set.iter().map(|(_, id)| id).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.len() != set.len() {
            self.tell(format!("{name}: an event has two positions"));
        }
    }
}

/// Reads all events, perhaps several times.
type Reader = fn(&mut Client) -> Result<Vec<Vec<Key>>, postgres::Error>;

const READERS: [(&str, Reader); 7] = [
    ("plain", plain),
    ("repeatable", repeatable),
    ("execute", |client| text_rows(client, "SELECT read_execute()")),
    ("stable", |client| array(client, "SELECT read_stable()")),
    ("plpgsql", |client| array(client, "SELECT read_plpgsql()")),
    ("prepared", prepared),
    ("view", |client| text_rows(client, "SELECT key FROM read_view")),
];

fn key(text: &str) -> Key {
    let (position, id) = text.split_once(' ').expect("a position and an id");
    (position.parse().expect("a number"), id.to_owned())
}

fn text_rows(client: &mut Client, sql: &str) -> Result<Vec<Vec<Key>>, postgres::Error> {
    let rows = client.query(sql, &[])?;
    Ok(vec![rows.iter().map(|row| key(row.get(0))).collect()])
}

fn array(client: &mut Client, sql: &str) -> Result<Vec<Vec<Key>>, postgres::Error> {
    let row = client.query_one(sql, &[])?;
    let texts: Vec<String> = row.get::<_, Option<_>>(0).unwrap_or_default();
    Ok(vec![texts.iter().map(|text| key(text)).collect()])
}

const ALL: &str = "SELECT global_position || ' ' || event_id FROM events";

fn plain(client: &mut Client) -> Result<Vec<Vec<Key>>, postgres::Error> {
    text_rows(client, ALL)
}

/// Both reads of one transaction see the same.
fn repeatable(client: &mut Client) -> Result<Vec<Vec<Key>>, postgres::Error> {
    let mut transaction = client
        .build_transaction()
        .isolation_level(postgres::IsolationLevel::RepeatableRead)
        .start()?;
    // The snapshot is older than the first look at the table.
    transaction.query("SELECT 1", &[])?;
    std::thread::sleep(Duration::from_millis(20));
    let mut both = Vec::new();
    for _ in 0..2 {
        let rows = transaction.query(ALL, &[])?;
        let mut keys: Vec<_> = rows.iter().map(|row| key(row.get(0))).collect();
        keys.sort_unstable();
        both.push(keys);
        std::thread::sleep(Duration::from_millis(60));
    }
    transaction.commit()?;
    if both[0] != both[1] {
        // Told as an event that is there twice.
        let doubled = both[1].iter().chain(&both[1]).cloned().collect();
        both.push(doubled);
    }
    Ok(both)
}

thread_local! {
    static PREPARED: RefCell<Option<Statement>> = const { RefCell::new(None) };
}

/// One statement, prepared once for the whole time.
fn prepared(client: &mut Client) -> Result<Vec<Vec<Key>>, postgres::Error> {
    let known = PREPARED.with_borrow(Clone::clone);
    let statement = match known {
        Some(statement) => statement,
        None => client.prepare(ALL)?,
    };
    let rows = client.query(&statement, &[])?;
    PREPARED.set(Some(statement));
    Ok(vec![rows.iter().map(|row| key(row.get(0))).collect()])
}

/// Whether a writer prepares its statements once, or each time.
struct Statements([Statement; 3]);

fn write(db: &TestDatabase, load: &Load, contexts: &[&str], seed: u64) {
    let mut client = db.client();
    let mut random = Random::new(seed);
    let prepare = |client: &mut Client| {
        Statements([READ_HEAD, INSERT_EVENT, MOVE_HEAD].map(|sql| client.prepare(sql).expect(sql)))
    };
    let mut statements = prepare(&mut client);
    while !load.is_over() {
        if seed % 2 == 1 {
            statements = prepare(&mut client);
        }
        match turn(&mut client, &statements, &mut random, contexts) {
            Ok(keys) => {
                guard(&load.committed).extend(keys);
                load.appends.fetch_add(1, Ordering::SeqCst);
            }
            Err(error) => {
                let code = error.code().map_or("none", postgres::error::SqlState::code);
                if EXPECTED.contains(&code) {
                    *guard(&load.conflicts).entry(code.to_owned()).or_default() += 1;
                } else {
                    load.tell(format!("writer {seed}: {error:?}"));
                }
            }
        }
        // Readers compare all events each time: more of them take the processors from pupctl.
        std::thread::sleep(Duration::from_millis(random.below(40)));
    }
}

/// One transaction, as pupsourcing has them. The events that it has committed.
fn turn(
    client: &mut Client,
    Statements([read, insert, upsert]): &Statements,
    random: &mut Random,
    contexts: &[&str],
) -> Result<Vec<Key>, postgres::Error> {
    let context = contexts[usize::try_from(random.below(contexts.len() as u64)).expect("small")];
    let id = format!("w-{}", random.below(AGGREGATES));
    let mut keys = Vec::new();
    let mut transaction = client.transaction()?;
    let head = transaction.query_opt(read, &[&context, &id])?;
    let mut version = head.map_or(0, |row| row.get::<_, i64>(0));
    for _ in 0..=random.below(3) {
        version += 1;
        let event = event_id();
        let ago = format!("{} days", random.below(60));
        let row = transaction.query_one(insert, &[&context, &id, &version, &event, &ago])?;
        let uuid: String = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)]
            .map(|(from, to)| &event[from..to])
            .join("-");
        keys.push((row.get(0), uuid));
    }
    transaction.execute(upsert, &[&context, &id, &version])?;
    let pause = match random.below(40) {
        0 => Duration::from_millis(250),
        1..10 => Duration::from_millis(random.below(30)),
        _ => Duration::ZERO,
    };
    std::thread::sleep(pause);
    if random.below(12) == 0 {
        transaction.rollback()?;
        return Ok(Vec::new());
    }
    transaction.commit()?;
    Ok(keys)
}
