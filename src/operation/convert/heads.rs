//! The heads, which a trigger writes to both tables while they are copied.

use std::time::{Duration, Instant};

use postgres::{Client, Row, Transaction};

use crate::error::{Error, Kind, Result};
use crate::failpoint::reach;
use crate::finding::holder::Holder;
use crate::layout::Role;
use crate::layout::name::QualifiedName;
use crate::render::convert::{self as statements, CopyHeads};
use crate::render::environment::{render, values};

use super::{Converter, session};

/// How many heads a message names.
const LISTED_MAX: i64 = 20;

/// The pause between two looks for heads that were held; each further one doubles it.
const PAUSE_FIRST: Duration = Duration::from_millis(20);

/// The longest pause.
const PAUSE_LONGEST: Duration = Duration::from_millis(500);

impl Converter<'_> {
    /// Copies the heads that the trigger has not written. Where it was interrupted it begins anew:
    /// what is there stays.
    ///
    /// Heads that a writer holds are left out: nobody waits for a lock while holding others. The
    /// trigger writes them, or, where that writer fails, a later pass does.
    pub(super) fn copy_heads(&mut self) -> Result<()> {
        let Some(heads) = self.table(Role::Heads) else { return Ok(()) };
        let columns = session::columns(self.locked.client(), &heads.current)?;
        let copy = CopyHeads::new(&self.record.target(), &heads, &columns);
        let (mut lacking, _) = lacking(self.locked.client(), &copy.lacking)?;
        self.progress.phase("Copying heads", u64::try_from(lacking).ok());
        let (mut after, mut rows) = ([String::new(), String::new(), String::new()], 0);
        while let Some((last, copied)) = copy_batch(self.locked.client(), &copy.next, &after)? {
            self.interrupt.check()?;
            reach("convert::copied_heads");
            after = last;
            rows += copied;
            self.progress.passed(rows);
        }
        let (mut begun, mut pause, mut told) = (Instant::now(), PAUSE_FIRST, false);
        loop {
            self.interrupt.check()?;
            let (left, keys) = self::lacking(self.locked.client(), &copy.lacking)?;
            if left == 0 {
                return Ok(());
            }
            if left < lacking {
                (lacking, begun) = (left, Instant::now());
            }
            if copy_keys(self.locked.client(), &copy.named, &keys)? > 0 {
                (begun, pause) = (Instant::now(), PAUSE_FIRST);
                continue;
            }
            if begun.elapsed() + pause >= self.options.limits.budget {
                return Err(self.held(&heads.current, left));
            }
            if !told {
                told = true;
                self.progress.tell(&format!("Waiting for the writers of {left} heads"));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_LONGEST);
        }
    }

    /// Heads that somebody holds all the time, and who that may be.
    fn held(&mut self, heads: &QualifiedName, left: i64) -> Error {
        let budget = humantime::format_duration(self.options.limits.budget);
        let rows = self.locked.client().query(
            include_str!("../../../sql/convert/heads_holders.sql"),
            &[&heads.schema, &heads.name],
        );
        let holders = match rows {
            Ok(rows) => rows.iter().map(holder).map(|holder| holder.to_string()).collect(),
            Err(error) => vec![Error::database("asking who holds them", error).to_string()],
        };
        let message = format!("{left} heads were not free within {budget}");
        Error::new(Kind::LockTimeout, message).details(holders).hint(
            "go on when they are done: pupctl convert resume; or give it more time with \
             --lock-budget",
        )
    }

    /// Lets the trigger write heads of further contexts, waits until every writer knows it, and
    /// copies those that were there before.
    pub(super) fn mirror_more(&mut self) -> Result<()> {
        let Some(heads) = self.table(Role::Heads) else { return Ok(()) };
        let columns = session::columns(self.locked.client(), &heads.current)?;
        let mirror = statements::mirror(&self.record.target(), &heads, &columns);
        self.run("making the function that writes heads", &[mirror])?;
        let tables = std::slice::from_ref(&heads.current);
        let barrier = statements::swap::lock_writers(tables);
        self.execute(&[statements::barrier(barrier)])?;
        self.copy_heads()
    }

    /// Whether the trigger leaves out heads of contexts that the new tables are to take: somebody
    /// was interrupted before it knew them.
    pub(super) fn mirrors_less(&mut self) -> Result<bool> {
        let Some(heads) = self.table(Role::Heads) else { return Ok(false) };
        let columns = session::columns(self.locked.client(), &heads.current)?;
        let mirror = statements::mirror(&self.record.target(), &heads, &columns);
        let function = statements::mirror_function(&heads.current);
        let failed = |error| Error::database("reading the function that writes heads", error);
        let body = |client: &mut Transaction<'_>| -> Result<Option<String>> {
            let found = client.query_opt(
                include_str!("../../../sql/convert/function_body.sql"),
                &[&function.schema, &function.name],
            );
            Ok(found.map_err(failed)?.map(|row| row.get("body")))
        };
        // The server says how it would be stored; nothing of it stays.
        let mut transaction = self.locked.client().transaction().map_err(failed)?;
        let before = body(&mut transaction)?;
        transaction.batch_execute(&mirror.sql).map_err(failed)?;
        let after = body(&mut transaction)?;
        transaction.rollback().map_err(failed)?;
        Ok(before != after)
    }

    /// Refuses heads that are not the same in both tables. Where they are there and not here, a
    /// context has come that nobody knew: when its events are copied, they are too. Or somebody was
    /// interrupted before he had copied them.
    pub(super) fn prove_heads(&mut self) -> Result<()> {
        let Err(error) = self.compare_heads() else { return Ok(()) };
        if error.kind() != Kind::Refused {
            return Err(error);
        }
        self.catch_up()?;
        self.mirror_more()?;
        self.compare_heads()
    }

    /// The same of one moment.
    fn compare_heads(&mut self) -> Result<()> {
        let Some(heads) = self.table(Role::Heads) else { return Ok(()) };
        let (current, next) = (&heads.current, &heads.next);
        let sql =
            render("convert/differing_heads", &values! { current, next, limit => LISTED_MAX });
        let rows = self
            .locked
            .client()
            .query(&sql, &[])
            .map_err(|error| Error::database("comparing the heads", error))?;
        let Some(first) = rows.first() else { return Ok(()) };
        let total: i64 = first.get("total");
        Err(Error::refused(format!("{total} heads are not the same in {current} and {next}"))
            .details(rows.iter().map(differing))
            .hint(
                "somebody has changed one of the tables: call it off with pupctl convert rollback",
            ))
    }

    /// Refuses the way back where heads have been changed since the swap whose aggregates have got
    /// no event: only heads that came with events go back.
    pub(super) fn refuse_changed_heads(&mut self) -> Result<()> {
        let (Some(heads), events) = (self.table(Role::Heads), self.events()?) else {
            return Ok(());
        };
        let after = self.record.swapped_at_position.unwrap_or(i64::MIN);
        let columns = session::columns(self.locked.client(), &heads.current)?;
        let (retired, current, events) = (&heads.retired, &heads.current, &events.current);
        let limit = LISTED_MAX;
        let values = values! { retired, current, events, columns, limit };
        let rows = self
            .locked
            .client()
            .query(&render("convert/changed_heads", &values), &[&after])
            .map_err(|error| Error::database("comparing the heads", error))?;
        let Some(first) = rows.first() else { return Ok(()) };
        let total: i64 = first.get("total");
        let message = format!("{total} heads have been changed since the swap, without an event");
        Err(Error::refused(message).details(rows.iter().map(differing)).hint(
            "the way back would drop these changes: take them back yourself, or keep the new \
             layout (pupctl convert finish)",
        ))
    }
}

/// A head that is not the same in both tables, in words.
fn differing(row: &Row) -> String {
    let text = |column: &str| row.get::<_, String>(column);
    let version = |column: &str| row.get::<_, Option<i64>>(column);
    let name = [text("bounded_context"), text("aggregate_type"), text("aggregate_id")].join(" ");
    let word = |head: Option<i64>| head.map_or("none".to_owned(), |head| head.to_string());
    match (version("old"), version("new")) {
        (old, new) if old == new => {
            format!("{name}: {} in both, another column differs", word(old))
        }
        (old, new) => {
            format!("{name}: {} in the old table, {} in the new one", word(old), word(new))
        }
    }
}

type Key = [String; 3];

/// The last key of the next batch, and how many heads it has.
fn copy_batch(client: &mut Client, sql: &str, after: &Key) -> Result<Option<(Key, u64)>> {
    let [context, kind, id] = after;
    let row = client.query_opt(sql, &[context, kind, id]).map_err(copying)?;
    Ok(row.map(|row| (key(&row), u64::try_from(row.get::<_, i64>("rows")).unwrap_or(0))))
}

/// How many heads the new table lacks, and the keys of some of them.
fn lacking(client: &mut Client, sql: &str) -> Result<(i64, Vec<Key>)> {
    let rows = client.query(sql, &[]).map_err(copying)?;
    let total = rows.first().map_or(0, |row| row.get("total"));
    Ok((total, rows.iter().map(key).collect()))
}

/// Copies those of these heads that nobody holds. How many.
fn copy_keys(client: &mut Client, sql: &str, keys: &[Key]) -> Result<u64> {
    let part = |number: usize| keys.iter().map(|key| key[number].as_str()).collect::<Vec<_>>();
    client.execute(sql, &[&part(0), &part(1), &part(2)]).map_err(copying)
}

fn key(row: &Row) -> Key {
    [row.get("bounded_context"), row.get("aggregate_type"), row.get("aggregate_id")]
}

fn holder(row: &Row) -> Holder {
    let text = |column: &str| row.get::<_, Option<String>>(column).unwrap_or_default();
    Holder {
        pid: row.get("pid"),
        prepared: row.get("prepared"),
        user: text("user"),
        application_name: text("application_name"),
        state: text("state"),
        since: row.get("since"),
    }
}

fn copying(error: postgres::Error) -> Error {
    Error::database("copying heads", error)
}
