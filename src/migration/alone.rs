//! Statements that cannot run in a transaction. pupctl may be killed between one and the row that
//! records it, so each must be safe to repeat: what an earlier run left is looked up first.

use postgres::Client;
use postgres::types::Oid;

use crate::error::{Error, Result};
use crate::layout::name::{IDENTIFIER_BYTES_MAX, QualifiedName};
use crate::plan::Transaction;
use crate::render::environment::{render, values};
use crate::render::finalize_detach;
use crate::render::index::{probe_table, probe_written};
use crate::render::statements::{self, Statement};

/// What may stand in a file without a transaction, for hints.
const ACCEPTED: &str = "it takes what PostgreSQL refuses in a transaction: CREATE, DROP or REINDEX \
                        … CONCURRENTLY, REINDEX, ALTER TABLE … DETACH PARTITION … CONCURRENTLY, \
                        VACUUM, CLUSTER, ALTER TYPE … ADD VALUE, ALTER SYSTEM, CREATE, ALTER or \
                        DROP DATABASE, TABLESPACE or SUBSCRIPTION, CALL, DO with COMMIT; leave \
                        the first line out for anything else";

/// Refuses a statement that needs no file of its own, or that would do something else when it is
/// repeated. `place` is the file with the line.
pub(super) fn check(place: &str, statement: &Statement<'_>) -> Result<()> {
    if !is_accepted(statement) {
        let word = statement.words.first().map_or("the statement", String::as_str);
        let message = format!("{place}: {word} needs no file without a transaction");
        return Err(Error::invalid(message).hint(ACCEPTED));
    }
    let words = words(statement);
    match words.as_slice() {
        ["CREATE", "INDEX" | "UNIQUE", ..] if new_index(statement).is_none() => {
            Err(Error::invalid(format!("{place}: the index has no name"))
                .hint("name it, so that a second try finds what the first one left"))
        }
        ["DROP", "INDEX", "CONCURRENTLY", next, ..] | ["DROP", "DATABASE", next, ..]
            if *next != "IF" =>
        {
            Err(Error::invalid(format!("{place}: a second try would not find it any more"))
                .hint("write IF EXISTS before its name"))
        }
        ["ALTER", "TYPE", ..] if !has(&words, &["ADD", "VALUE", "IF"]) => {
            Err(Error::invalid(format!("{place}: a second try would find the value"))
                .hint("write IF NOT EXISTS before it"))
        }
        _ => Ok(()),
    }
}

/// What a file without a transaction is: a `lock_timeout` would leave half of what runs
/// concurrently.
pub(super) fn transaction(statement: &Statement<'_>) -> Transaction {
    let words = words(statement);
    let concurrently = words.contains(&"CONCURRENTLY");
    match words.first() {
        Some(&("CREATE" | "DROP" | "REINDEX" | "ALTER")) if concurrently => Transaction::Concurrent,
        _ => Transaction::Forbidden,
    }
}

fn words<'a>(statement: &'a Statement<'_>) -> Vec<&'a str> {
    statement.words.iter().map(String::as_str).collect()
}

fn has(words: &[&str], wanted: &[&str]) -> bool {
    words.windows(wanted.len()).any(|window| window == wanted)
}

fn is_accepted(statement: &Statement<'_>) -> bool {
    let words = words(statement);
    match words.as_slice() {
        ["CREATE" | "DROP", "INDEX", "CONCURRENTLY", ..]
        | ["CREATE", "UNIQUE", "INDEX", "CONCURRENTLY", ..]
        | ["REINDEX" | "VACUUM" | "CLUSTER" | "CALL", ..]
        | ["ALTER", "SYSTEM", ..]
        | ["CREATE" | "ALTER" | "DROP", "DATABASE" | "TABLESPACE" | "SUBSCRIPTION", ..] => true,
        ["ALTER", "TYPE", ..] => has(&words, &["ADD", "VALUE"]),
        ["ALTER", "TABLE", ..] => detached(statement).is_some(),
        ["DO", ..] => statement.sql.to_ascii_uppercase().contains("COMMIT"),
        _ => false,
    }
}

/// What `CREATE INDEX CONCURRENTLY` makes.
#[derive(Debug, PartialEq, Eq)]
struct NewIndex<'a> {
    name: String,
    /// The table as it is written.
    table: String,
    unique: bool,
    /// What stands behind the table.
    rest: &'a str,
}

/// The words of a statement, one after the other.
struct Words<'a, 'b> {
    statement: &'a Statement<'b>,
    position: usize,
}

impl<'a> Words<'a, '_> {
    fn next(&mut self) -> Option<&'a str> {
        let word = self.statement.words.get(self.position)?;
        self.position += 1;
        Some(word)
    }

    /// Goes past these words where they are next.
    fn skip(&mut self, wanted: &[&str]) -> bool {
        let rest = self.statement.words.get(self.position..).unwrap_or_default();
        let are_next = rest.len() >= wanted.len()
            && wanted.iter().zip(rest).all(|(wanted, word)| wanted == word);
        if are_next {
            self.position += wanted.len();
        }
        are_next
    }

    /// A table as it is written. Key words are kept in upper case, and a name without quotes means
    /// the same in any.
    fn table(&mut self) -> Option<String> {
        let mut table = self.next()?.to_owned();
        while self.skip(&["."]) {
            table = format!("{table}.{}", self.next()?);
        }
        Some(table)
    }
}

fn new_index<'a>(statement: &Statement<'a>) -> Option<NewIndex<'a>> {
    let mut words = Words { statement, position: 0 };
    words.skip(&["CREATE"]).then_some(())?;
    let unique = words.skip(&["UNIQUE"]);
    words.skip(&["INDEX", "CONCURRENTLY"]).then_some(())?;
    words.skip(&["IF", "NOT", "EXISTS"]);
    let mut name = statements::name(words.next().filter(|word| *word != "ON")?);
    while name.len() > IDENTIFIER_BYTES_MAX {
        // The server cuts it off, too.
        name.pop();
    }
    words.skip(&["ON"]).then_some(())?;
    words.skip(&["ONLY"]);
    let table = words.table()?;
    Some(NewIndex { name, table, unique, rest: statement.after(words.position) })
}

/// The table and the partition of `DETACH PARTITION … CONCURRENTLY`, as they are written.
fn detached(statement: &Statement<'_>) -> Option<(String, String)> {
    let mut words = Words { statement, position: 0 };
    words.skip(&["ALTER", "TABLE"]).then_some(())?;
    words.skip(&["IF", "EXISTS"]);
    words.skip(&["ONLY"]);
    let table = words.table()?;
    words.skip(&["DETACH", "PARTITION"]).then_some(())?;
    let partition = words.table()?;
    words.skip(&["CONCURRENTLY"]).then_some((table, partition))
}

/// Whether the statement has been done: then it is not run again. An index that an interrupted
/// build left is dropped, a detaching that was interrupted is finished.
pub(super) fn is_done(client: &mut Client, statement: &Statement<'_>) -> Result<bool> {
    if let Some(wanted) = new_index(statement) {
        return is_built(client, &wanted);
    }
    match detached(statement) {
        Some((table, partition)) => is_detached(client, &table, &partition),
        None => Ok(false),
    }
}

fn is_built(client: &mut Client, wanted: &NewIndex<'_>) -> Result<bool> {
    let failed = |error| Error::database("looking for the index of an earlier run", error);
    let row = client
        .query_opt(include_str!("../../sql/migration/index.sql"), &[&wanted.table, &wanted.name])
        .map_err(failed)?;
    let Some(row) = row else { return Ok(false) };
    let schema: String = row.get("schema");
    let table = QualifiedName::new(schema.clone(), row.get::<_, String>("table_name"));
    let index = QualifiedName::new(schema, row.get::<_, String>("name"));
    if !row.get::<_, bool>("own") {
        return Err(Error::refused(format!("{index} is there already, and no index of {table}"))
            .hint("give the index of the file another name"));
    }
    if row.get("valid") {
        refuse_another(client, row.get("oid"), &index, &table, wanted)?;
        return Ok(true);
    }
    tracing::warn!("dropping {index}, which an interrupted build left unusable");
    client
        .batch_execute(&render("migration/drop_index", &values! { index }))
        .map_err(|error| Error::database("dropping the index of an interrupted build", error))?;
    Ok(false)
}

/// Refuses an index that is not what the statement would build on an empty copy of the table.
fn refuse_another(
    client: &mut Client,
    oid: Oid,
    index: &QualifiedName,
    table: &QualifiedName,
    wanted: &NewIndex<'_>,
) -> Result<()> {
    let (there, asked) = definitions(client, oid, table, wanted).map_err(|error| {
        let doing = format!("comparing {index} with what the statement asks for");
        let error = Error::database(&doing, error);
        match error.sqlstate() {
            Some("42501") => {
                error.hint("the role needs the right to make temporary tables in the database")
            }
            _ => error,
        }
    })?;
    if there == asked {
        return Ok(());
    }
    Err(Error::refused(format!("{index} is there already, and is another index"))
        .detail(format!("there is: {there}"))
        .detail(format!("the file asks for: {asked}"))
        .hint("give the index of the file another name, or drop the one that is there"))
}

/// What the index is, and what the statement asks for, as the server prints them.
fn definitions(
    client: &mut Client,
    oid: Oid,
    table: &QualifiedName,
    wanted: &NewIndex<'_>,
) -> std::result::Result<(String, String), postgres::Error> {
    let definition = include_str!("../../sql/migration/index_definition.sql");
    let mut transaction = client.transaction()?;
    transaction.batch_execute(&probe_table(table))?;
    transaction.execute(&probe_written(wanted.unique, wanted.rest), &[])?;
    // The names in a definition must not depend on the session's settings.
    let pin = include_str!("../../sql/migration/set.sql");
    transaction.execute(pin, &[&"search_path", &"pg_catalog"])?;
    let probe: Oid =
        transaction.query_one(include_str!("../../sql/migration/probe_index.sql"), &[])?.get("oid");
    let there = transaction.query_one(definition, &[&oid])?.get("definition");
    let asked = transaction.query_one(definition, &[&probe])?.get("definition");
    transaction.rollback()?;
    Ok((there, asked))
}

fn is_detached(client: &mut Client, table: &str, partition: &str) -> Result<bool> {
    let row = client
        .query_opt(include_str!("../../sql/migration/detached.sql"), &[&table, &partition])
        .map_err(|error| Error::database("looking for the partition of an earlier run", error))?;
    // What is not there at all, the server complains of.
    let Some(row) = row else { return Ok(false) };
    let name =
        |schema, name| QualifiedName::new(row.get::<_, String>(schema), row.get::<_, String>(name));
    let (parent, partition) = (name("parent_schema", "parent"), name("schema", "name"));
    if row.get("gone") {
        tracing::warn!("{partition} is no partition any more: recording that it is detached");
        return Ok(true);
    }
    if row.get("pending") {
        tracing::warn!("finishing to detach {partition}, which was interrupted");
        client
            .batch_execute(&finalize_detach(&parent, &partition))
            .map_err(|error| Error::database(&format!("detaching {partition}"), error))?;
        return Ok(true);
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is(sql: &str, name: &str, table: &str, rest: &str) {
        let split = statements::split(sql);
        let found = new_index(&split[0]).expect("an index");
        assert_eq!((found.name.as_str(), found.table.as_str(), found.rest), (name, table, rest));
        assert_eq!(found.unique, sql.to_uppercase().contains("UNIQUE"), "{sql}");
    }

    #[test]
    fn the_index_of_a_statement_is_known() {
        is("CREATE INDEX CONCURRENTLY a ON t (x)", "a", "T", " (x)");
        is(
            "create unique index concurrently if not exists \"A\"\"b\" on only \"S\".\"T\"(x) \
             where y",
            "A\"b",
            "\"S\".\"T\"",
            "(x) where y",
        );
        is("CREATE INDEX CONCURRENTLY Big ON s.t USING gin (x)", "big", "S.T", " USING gin (x)");
        for sql in ["CREATE INDEX CONCURRENTLY ON t (x)", "CREATE INDEX a ON t (x)", "VACUUM t"] {
            assert_eq!(new_index(&statements::split(sql)[0]), None, "{sql}");
        }
    }

    #[test]
    fn what_is_detached_is_known() {
        let found = |sql| detached(&statements::split(sql)[0]);
        let names = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        let long = "alter table if exists only s.\"T\" detach partition s.p concurrently";
        assert_eq!(found(long), names("S.\"T\"", "S.P"));
        let short = "ALTER TABLE t DETACH PARTITION p CONCURRENTLY";
        assert_eq!(found(short), names("T", "P"));
        assert_eq!(found("ALTER TABLE t DETACH PARTITION p"), None);
    }

    #[test]
    fn what_cannot_be_repeated_or_needs_no_file_is_refused() {
        let check = |sql: &str| check("f", &statements::split(sql)[0]);
        for sql in [
            "CREATE INDEX CONCURRENTLY ON t (x)",
            "DROP INDEX CONCURRENTLY a",
            "DROP DATABASE a",
            "ALTER TYPE a ADD VALUE 'x'",
            "CREATE INDEX a ON t (x)",
            "INSERT INTO t VALUES (1)",
            "UPDATE t SET x = 1",
            "BEGIN",
            "ALTER TABLE t ADD x int",
            "ALTER TABLE t DETACH PARTITION p",
            "DO 'BEGIN END'",
        ] {
            assert!(check(sql).is_err(), "{sql}");
        }
        for sql in [
            "DROP INDEX CONCURRENTLY IF EXISTS a",
            "CREATE INDEX CONCURRENTLY a ON t (x)",
            "CREATE UNIQUE INDEX CONCURRENTLY a ON t (x)",
            "VACUUM t",
            "REINDEX TABLE CONCURRENTLY t",
            "ALTER TYPE s.a ADD VALUE IF NOT EXISTS 'x'",
            "ALTER TABLE t DETACH PARTITION p CONCURRENTLY",
            "ALTER SYSTEM SET work_mem = '8MB'",
            "CREATE DATABASE a",
            "CALL f()",
            "DO $$ BEGIN COMMIT; END $$",
        ] {
            assert!(check(sql).is_ok(), "{sql}");
        }
    }

    #[test]
    fn what_runs_concurrently_waits_as_long_as_it_takes() {
        let of = |sql: &str| transaction(&statements::split(sql)[0]);
        let concurrent = ["CREATE INDEX CONCURRENTLY a ON t (x)", "REINDEX TABLE CONCURRENTLY t"];
        for sql in concurrent {
            assert_eq!(of(sql), Transaction::Concurrent, "{sql}");
        }
        assert_eq!(of("VACUUM t"), Transaction::Forbidden);
    }
}
