//! The governor of detaches, and what there is to know before one.
//!
//! `DETACH … CONCURRENTLY` works in two transactions. After the first the rows are invisible to new
//! statements and inserts of that range fail; the second waits for every transaction that has used
//! the table. So it is begun only when nobody is to be expected to keep it waiting.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use postgres::{Client, Row};

use crate::catalog::relation::Relation;
use crate::error::{Error, Kind, Result};
use crate::layout::name::QualifiedName;
use crate::render::environment::{render, values};

use super::Interrupt;

/// How often it looks who uses the table.
const INTERVAL: Duration = Duration::from_millis(50);

/// A transaction that is no older is soon over, as most are.
const YOUNG: Duration = Duration::from_millis(200);

/// A transaction is told of when it is waited for as long as this.
const TELL_AFTER: Duration = Duration::from_millis(500);

/// A transaction that holds a lock on the table.
#[derive(Debug, Clone, PartialEq)]
struct Holder {
    id: String,
    pid: Option<i32>,
    words: Vec<String>,
    since: Option<DateTime<Utc>>,
    age: Duration,
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(pid) = self.pid else {
            return formatter.write_str("a prepared transaction (see pg_prepared_xacts)");
        };
        let mut words = self.words.clone();
        words.extend(
            self.since.map(|at| format!("its transaction began {}", at.format("%F %T UTC"))),
        );
        write!(formatter, "process {pid} ({})", words.join(", "))
    }
}

/// Waits until no transaction that uses `parent` is older than a moment, at most `patience`. Then
/// those that were there from the beginning are the reason to refuse; where only others come and
/// go, a detach will not wait longer than for one of them.
pub fn await_holders(
    client: &mut Client,
    parent: &Relation,
    patience: Duration,
    interrupt: &Interrupt,
    tell: &dyn Fn(&str),
) -> Result<()> {
    let start = Instant::now();
    let mut seen: HashMap<String, Instant> = HashMap::new();
    let mut first: Option<HashSet<String>> = None;
    let mut told = HashSet::new();
    loop {
        interrupt.check()?;
        let holders = holders(client, parent.oid)?;
        seen.retain(|id, _| holders.iter().any(|holder| holder.id == *id));
        for holder in &holders {
            seen.entry(holder.id.clone()).or_insert_with(Instant::now);
        }
        let first = first.get_or_insert_with(|| seen.keys().cloned().collect());
        // Of sessions of others a role may not see since when their transactions run.
        let age = |holder: &Holder| holder.age.max(seen[&holder.id].elapsed());
        let old: Vec<_> = holders.iter().filter(|holder| age(holder) > YOUNG).collect();
        // One that has begun a moment ago may be about to stay: that shows a moment later.
        let begun = first.iter().any(|id| seen.contains_key(id)) && start.elapsed() <= YOUNG;
        if old.is_empty() && !begun {
            return Ok(());
        }
        if start.elapsed() >= patience {
            let stays: Vec<_> = old.into_iter().filter(|one| first.contains(&one.id)).collect();
            return if stays.is_empty() { Ok(()) } else { Err(occupied(parent, patience, &stays)) };
        }
        for holder in old {
            if seen[&holder.id].elapsed() >= TELL_AFTER && told.insert(holder.id.clone()) {
                tell(&format!("Waiting for {holder}"));
            }
        }
        std::thread::sleep(INTERVAL.min(patience.saturating_sub(start.elapsed())));
    }
}

fn holders(client: &mut Client, parent: u32) -> Result<Vec<Holder>> {
    let sql = include_str!("../../sql/lock/holders.sql");
    let rows = client.query(sql, &[&parent]).map_err(failed)?;
    Ok(rows.iter().map(holder).collect())
}

fn holder(row: &Row) -> Holder {
    let words =
        ["user", "application_name", "state"].map(|column| row.get::<_, Option<String>>(column));
    let seconds = row.get::<_, Option<f64>>("seconds").unwrap_or(0.0);
    Holder {
        id: row.get("id"),
        pid: row.get("pid"),
        words: words.into_iter().flatten().filter(|word| !word.is_empty()).collect(),
        since: row.get("since"),
        age: Duration::try_from_secs_f64(seconds).unwrap_or_default(),
    }
}

fn occupied(parent: &Relation, patience: Duration, holders: &[&Holder]) -> Error {
    let message = format!(
        "transactions that have used {} are still open after {}: a detach would wait for them half \
         way, with the rows invisible",
        parent.name,
        humantime::format_duration(patience)
    );
    Error::new(Kind::LockTimeout, message).details(holders.iter().map(ToString::to_string)).hint(
        "nothing was changed: run the command again when these sessions are done, or wait longer \
         with --patience",
    )
}

/// A table whose rows reference those of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The foreign key.
    pub name: String,
    /// The table that has it.
    pub table: QualifiedName,
    /// Whether it refers to a row of the partition.
    pub used: bool,
}

/// The tables that reference rows of a partition.
pub fn references(client: &mut Client, partition: &Relation) -> Result<Vec<Reference>> {
    let sql = include_str!("../../sql/detach/references.sql");
    let rows = client.query(sql, &[&partition.oid]).map_err(failed)?;
    let mut found = Vec::new();
    for row in &rows {
        let referencing =
            QualifiedName::new(row.get::<_, String>("schema"), row.get::<_, String>("table"));
        let own: Vec<String> = row.get("referenced");
        let columns: Vec<(String, String)> =
            row.get::<_, Vec<String>>("columns").into_iter().zip(own).collect();
        let table = &partition.name;
        let sql = render("detach/referenced", &values! { referencing, table, columns });
        let used = client.query_one(&sql, &[]).map_err(failed)?.get("referenced");
        found.push(Reference { name: row.get("name"), table: referencing, used });
    }
    Ok(found)
}

/// The publications that would publish a partition as a table of its own.
pub fn publications(client: &mut Client, partition: &Relation) -> Result<Vec<String>> {
    let sql = include_str!("../../sql/detach/publications.sql");
    let rows = client.query(sql, &[&partition.oid]).map_err(failed)?;
    Ok(rows.iter().map(|row| row.get("name")).collect())
}

/// Whether the detach of a partition was begun and is not finished.
pub fn is_pending(client: &mut Client, partition: u32) -> Result<bool> {
    let sql = include_str!("../../sql/detach/pending.sql");
    Ok(client.query_one(sql, &[&partition]).map_err(failed)?.get("pending"))
}

fn failed(error: postgres::Error) -> Error {
    Error::database("looking at the partition that is to be detached", error)
}
