//! The settled position, asked once: wait until everything up to here is settled.
//!
//! Positions are drawn in one order and committed in another, so a reader that has seen position 9
//! may still meet 8. A position is *settled* when every event at and below it is committed and
//! visible, or can never appear.
//!
//! # How it is found
//!
//! 1. Read R, the last value of the sequence of `events.global_position`.
//! 2. *In a later statement* note the transactions that hold ROW EXCLUSIVE or a stronger mode
//!    against writers on `events` or one of its partitions.
//! 3. Look again until none of them holds such a lock any more. Then everything at or below R is
//!    settled. What is read has to be read in a statement after that.
//!
//! # Why that is enough
//!
//! An INSERT locks its table before it evaluates the default that draws the position, and the
//! transaction keeps the lock to its end. Whoever drew a position at or below R did so before R was
//! read: so it is seen in step 2, or has ended by then. A transaction gives its locks back only
//! after its rows are visible, prepared ones too, whose locks and number survive PREPARE. A
//! partition that is attached meanwhile does not matter: ATTACH itself waits for its writers. Nor
//! does another table that takes the place of this one: whoever exchanges them has waited for the
//! writers of the old one, and those of the new one are found by its name. A
//! savepoint that is rolled back gives back the locks that it took, and its rows are gone with it.
//!
//! # What it cannot see
//!
//! Positions that are drawn without the lock on the table: `nextval` called by a client or in a
//! SELECT, an INSTEAD OF trigger of a view, a table that is not attached yet. Whoever draws them so
//! first runs `LOCK TABLE events IN ROW EXCLUSIVE MODE` in the same transaction. Positions that are
//! written explicitly, and a sequence that is set back, are nobody's order. The modes stronger than
//! ROW EXCLUSIVE are looked for because a transaction that holds one may draw without a further
//! lock. UPDATE and DELETE of events hold it up though they draw nothing.
//!
//! Refused, because the reasoning does not hold: sequences with CACHE above 1 (sessions draw values
//! ahead), with another INCREMENT than 1 or with CYCLE, several sequences, a standby, and a logical
//! subscriber, whose rows come without their writers' locks.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use postgres::types::Oid;
use postgres::{Client, Row};

use crate::error::{Error, Result};
use crate::finding::holder::Holder;
use crate::layout::name::QualifiedName;

use super::Interrupt;

/// The last position that was drawn.
pub(super) const LAST: &str = include_str!("../../sql/settled/last.sql");

/// The transactions that may hold positions.
pub(super) const HOLDERS: &str = include_str!("../../sql/settled/holders.sql");

/// How a sequence counts.
pub(super) const COUNTING: &str = include_str!("../../sql/settled/counting.sql");

/// The first pause between two looks; each further one doubles it, for a look at `pg_locks` is not
/// free (11 ms with 24,000 locks).
const PAUSE_FIRST: Duration = Duration::from_millis(2);

/// The longest pause.
const PAUSE_LONGEST: Duration = Duration::from_millis(250);

/// Whoever waits is told when it takes as long as this, and again each time as long.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// How a wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The last position that was drawn when the wait began: 0 where none was.
    pub position: i64,
    /// The transactions that may still add events at or below it. When there are none, everything
    /// at and below the position is settled.
    pub held_by: Vec<Holder>,
}

impl Settled {
    /// Why the position is not settled, if it is not.
    #[must_use]
    pub fn refusal(&self) -> Option<Error> {
        if self.held_by.is_empty() {
            return None;
        }
        Some(
            Error::refused(format!(
                "events up to position {} may still appear: transactions that write to the store \
                 are open",
                self.position
            ))
            .details(self.held_by.iter().map(ToString::to_string))
            .hint("run the command again when they have ended, or end them"),
        )
    }
}

/// Waits until every event whose position was drawn by now is settled, at most as long as
/// `patience`, and refuses after that, naming the sessions. `on_wait` is told about them now and
/// then while it waits.
///
/// The client must not be in a transaction. Rows have to be read in a statement after this.
pub fn wait(
    client: &mut Client,
    events: &QualifiedName,
    patience: Duration,
    interrupt: &Interrupt,
    on_wait: &mut dyn FnMut(&[Holder]),
) -> Result<i64> {
    let settled = watch(client, events, patience, interrupt, on_wait)?;
    settled.refusal().map_or(Ok(settled.position), Err)
}

/// The same for a caller that wants to know who holds the position up, and go on.
pub fn watch(
    client: &mut Client,
    events: &QualifiedName,
    patience: Duration,
    interrupt: &Interrupt,
    on_wait: &mut dyn FnMut(&[Holder]),
) -> Result<Settled> {
    look(client, events, patience, interrupt, on_wait).map_err(|error| interrupt.explain(error))
}

fn look(
    client: &mut Client,
    events: &QualifiedName,
    patience: Duration,
    interrupt: &Interrupt,
    on_wait: &mut dyn FnMut(&[Holder]),
) -> Result<Settled> {
    let start = Instant::now();
    let Source { table, sequence } = source(client, events)?;
    let position = last(client, sequence)?;
    // From here on in other statements: what holds the lock now may have drawn before.
    let mut open = holders(client, events, table)?;
    let (mut pause, mut told) = (PAUSE_FIRST, start);
    while !open.is_empty() {
        interrupt.check()?;
        let left = patience.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(Settled { position, held_by: sessions(client, &open)? });
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            on_wait(&sessions(client, &open)?);
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(PAUSE_LONGEST);
        // Who came later draws later positions.
        let now = holders(client, events, table)?;
        open.retain(|holder| now.contains(holder));
    }
    Ok(Settled { position, held_by: Vec::new() })
}

pub(super) fn failed(error: postgres::Error) -> Error {
    Error::database("looking for the settled position", error)
}

/// What a settled position is found by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    /// The table of events.
    pub(super) table: Oid,
    /// The one sequence of its positions.
    pub(super) sequence: Oid,
}

/// Looks them up, and refuses where a settled position cannot be found.
pub(super) fn source(client: &mut Client, events: &QualifiedName) -> Result<Source> {
    let table = table(client, events)?;
    Ok(Source { table, sequence: sequence(client, events, table)? })
}

/// The table's number, where a settled position can be found at all.
fn table(client: &mut Client, events: &QualifiedName) -> Result<Oid> {
    let row = client
        .query_opt(include_str!("../../sql/settled/table.sql"), &[&events.schema, &events.name])
        .map_err(failed)?
        .ok_or_else(|| Error::refused(format!("the table {events} is missing")))?;
    if row.get("standby") {
        return Err(Error::refused(
            "the server is a standby: who writes to the store is known on the primary server alone",
        )
        .hint("connect to the primary server"));
    }
    if row.get("subscribed") {
        return Err(Error::refused(format!(
            "{events} is filled by a subscription, so the locks of its writers are elsewhere"
        ))
        .hint("connect to the server that publishes the events"));
    }
    if row.get("secured") {
        return Err(Error::refused(format!(
            "row-level security hides events of {events} from the role"
        ))
        .detail("what is hidden would be passed over as if it were not there")
        .hint("work as the owner of the table, or as a role with BYPASSRLS"));
    }
    Ok(row.get("oid"))
}

/// The one sequence of the positions, which has to count every number once and in order.
fn sequence(client: &mut Client, events: &QualifiedName, table: Oid) -> Result<Oid> {
    let rows =
        client.query(include_str!("../../sql/settled/sequences.sql"), &[&table]).map_err(failed)?;
    let name = |row: &Row| {
        QualifiedName::new(row.get::<_, String>("schema"), row.get::<_, String>("name"))
    };
    let [row] = rows.as_slice() else {
        let error = Error::refused(format!(
            "the positions of {events} come from {} sequences, and one is needed to tell which \
             are settled",
            if rows.is_empty() { "no".to_owned() } else { rows.len().to_string() }
        ));
        return Err(error
            .details(rows.iter().map(|row| name(row).to_string()))
            .hint("compare the defaults of global_position: pupctl schema verify"));
    };
    let name = name(row);
    refuse_counting(row)?;
    if !row.get::<_, bool>("readable") {
        return Err(Error::refused(format!("the role may not read the sequence {name}"))
            .hint("work as the owner of the tables (--role), or ask the owner for the right"));
    }
    Ok(row.get("oid"))
}

/// Refuses a sequence that does not count every number once and in order.
pub(super) fn refuse_counting(row: &Row) -> Result<()> {
    let name = QualifiedName::new(row.get::<_, String>("schema"), row.get::<_, String>("name"));
    let (cache, increment): (i64, i64) = (row.get("cache"), row.get("increment"));
    let wrong = if cache != 1 {
        format!("has CACHE {cache}, so sessions draw positions ahead of their use")
    } else if increment != 1 {
        format!("has INCREMENT {increment}")
    } else if row.get("cycle") {
        "has CYCLE, so positions come again".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::refused(format!("the sequence {name} {wrong}"))
        .detail("positions are settled in order only where they are drawn one by one")
        .hint(
            "set CACHE 1, INCREMENT 1 and NO CYCLE on it, and let the writers connect anew: \
             their sessions keep what they have drawn ahead",
        ))
}

fn last(client: &mut Client, sequence: Oid) -> Result<i64> {
    let row = client.query_one(LAST, &[&sequence]).map_err(failed)?;
    Ok(row.get::<_, Option<i64>>("last").unwrap_or(0))
}

fn holders(client: &mut Client, events: &QualifiedName, table: Oid) -> Result<BTreeSet<String>> {
    let rows = client.query(HOLDERS, &[&table, &events.schema, &events.name]).map_err(failed)?;
    Ok(rows.iter().map(|row| row.get("holder")).collect())
}

pub(super) fn sessions(client: &mut Client, open: &BTreeSet<String>) -> Result<Vec<Holder>> {
    let open: Vec<&str> = open.iter().map(String::as_str).collect();
    let rows =
        client.query(include_str!("../../sql/settled/sessions.sql"), &[&open]).map_err(failed)?;
    let text = |row: &Row, column: &str| row.get::<_, Option<String>>(column).unwrap_or_default();
    Ok(rows
        .iter()
        .map(|row| Holder {
            pid: row.get("pid"),
            prepared: row.get("prepared"),
            user: text(row, "user"),
            application_name: text(row, "application_name"),
            state: text(row, "state"),
            since: row.get("since"),
        })
        .collect())
}
