//! Statements that cannot run in a transaction. pupctl may be killed between one and the row that
//! records it, so each must be safe to repeat: what an earlier run left is looked up first.

use postgres::Client;

use crate::error::{Error, Result};
use crate::layout::name::{IDENTIFIER_BYTES_MAX, QualifiedName};
use crate::render::environment::{render, values};
use crate::render::statements::{self, Statement};

/// Refuses a statement that would do something else when it is repeated.
pub(super) fn check(path: &str, statement: &Statement<'_>) -> Result<()> {
    let words: Vec<_> = statement.words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["CREATE", "INDEX", "CONCURRENTLY", ..]
        | ["CREATE", "UNIQUE", "INDEX", "CONCURRENTLY", ..]
            if new_index(statement).is_none() =>
        {
            Err(Error::invalid(format!("{path}: the index has no name"))
                .hint("name it, so that a second try finds what the first one left"))
        }
        ["DROP", "INDEX", "CONCURRENTLY", next, ..] if *next != "IF" => {
            Err(Error::invalid(format!("{path}: a second try would not find the index"))
                .hint("write IF EXISTS before its name"))
        }
        _ => Ok(()),
    }
}

/// What `CREATE INDEX CONCURRENTLY` makes: the name of the index, and the table as it is written.
#[derive(Debug, PartialEq, Eq)]
struct NewIndex {
    name: String,
    table: String,
}

fn new_index(statement: &Statement<'_>) -> Option<NewIndex> {
    let mut words = statement.words.iter().map(String::as_str).peekable();
    words.next_if_eq(&"CREATE")?;
    words.next_if_eq(&"UNIQUE");
    words.next_if_eq(&"INDEX")?;
    words.next_if_eq(&"CONCURRENTLY")?;
    if words.next_if_eq(&"IF").is_some() {
        words.next_if_eq(&"NOT")?;
        words.next_if_eq(&"EXISTS")?;
    }
    let mut name = statements::name(words.next().filter(|word| *word != "ON")?);
    while name.len() > IDENTIFIER_BYTES_MAX {
        // The server cuts it off, too.
        name.pop();
    }
    words.next_if_eq(&"ON")?;
    words.next_if_eq(&"ONLY");
    let mut table = words.next()?.to_owned();
    // Key words are kept in upper case, and a name without quotes means the same in any.
    if words.next_if_eq(&".").is_some() {
        table = format!("{table}.{}", words.next()?);
    }
    Some(NewIndex { name, table })
}

/// Whether the statement has been done: then it is not run again. An index that an interrupted
/// build left is dropped.
pub(super) fn is_done(client: &mut Client, statement: &Statement<'_>) -> Result<bool> {
    let Some(wanted) = new_index(statement) else { return Ok(false) };
    let failed = |error| Error::database("looking for the index of an earlier run", error);
    let row = client
        .query_opt(include_str!("../../sql/migration/index.sql"), &[&wanted.table, &wanted.name])
        .map_err(failed)?;
    let Some(row) = row else { return Ok(false) };
    if row.get("valid") {
        return Ok(true);
    }
    let index = QualifiedName::new(row.get::<_, String>("schema"), row.get::<_, String>("name"));
    tracing::warn!("dropping {index}, which an interrupted build left unusable");
    client
        .batch_execute(&render("migration/drop_index", &values! { index }))
        .map_err(|error| Error::database("dropping the index of an interrupted build", error))?;
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(sql: &str) -> Option<NewIndex> {
        new_index(&statements::split(sql)[0])
    }

    #[test]
    fn the_index_of_a_statement_is_known() {
        let is = |sql, name: &str, table: &str| {
            let wanted = NewIndex { name: name.to_owned(), table: table.to_owned() };
            assert_eq!(index(sql), Some(wanted), "{sql}");
        };
        is("CREATE INDEX CONCURRENTLY a ON t (x)", "a", "T");
        is(
            "create unique index concurrently if not exists \"A\"\"b\" on only \"S\".\"T\" (x)",
            "A\"b",
            "\"S\".\"T\"",
        );
        is("CREATE INDEX CONCURRENTLY Big ON s.t USING gin (x)", "big", "S.T");
        assert_eq!(index("CREATE INDEX CONCURRENTLY ON t (x)"), None);
        assert_eq!(index("CREATE INDEX a ON t (x)"), None);
        assert_eq!(index("VACUUM t"), None);
    }

    #[test]
    fn what_cannot_be_repeated_is_refused() {
        let check = |sql: &str| check("f", &statements::split(sql)[0]);
        assert!(check("CREATE INDEX CONCURRENTLY ON t (x)").is_err());
        assert!(check("DROP INDEX CONCURRENTLY a").is_err());
        assert!(check("DROP INDEX CONCURRENTLY IF EXISTS a").is_ok());
        assert!(check("CREATE INDEX CONCURRENTLY a ON t (x)").is_ok());
        assert!(check("VACUUM t").is_ok());
    }
}
