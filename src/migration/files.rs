//! Reads a directory of migrations: names, text, and how each is to run.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::Path;

use crate::error::{Error, Result};
use crate::plan::init::LAYOUT_MIGRATION;
use crate::plan::{MigrationFile, Transaction};
use crate::render::generate::{SECTION, SECTIONS, stored_layout};
use crate::render::statements::{self, Statement, Unended};
use crate::render::tables::layout_table;
use crate::render::{RenderedMigration, quote};

/// The first line of a file whose one statement cannot run in a transaction.
const NO_TRANSACTION: &str = "no-transaction";

/// The form of a name, for hints.
const FORM: &str = "name it V<number>__<words>.sql, with letters, digits and _ in the words";

/// Reads the migrations of a directory, in the order of their versions.
pub fn read(directory: &Path) -> Result<Vec<MigrationFile>> {
    let entries = std::fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect())
        .map_err(|error| unreadable(directory, &error));
    let mut names: Vec<OsString> = entries?;
    names.sort();
    let mut files: BTreeMap<i64, MigrationFile> = BTreeMap::new();
    let mut problems = Vec::new();
    for name in names.iter().filter(|name| is_candidate(name)) {
        match one(directory, name) {
            Err(error) => problems.push(error),
            Ok(file) => match files.get(&file.version) {
                Some(other) => problems.push(same_version(other, &file)),
                None => drop(files.insert(file.version, file)),
            },
        }
    }
    refuse(directory, problems)?;
    if files.is_empty() {
        return Err(Error::invalid(format!("there is no migration in {}", directory.display()))
            .hint(format!("pupctl schema generate writes some, or write your own: {FORM}")));
    }
    Ok(files.into_values().collect())
}

fn same_version(first: &MigrationFile, second: &MigrationFile) -> Error {
    Error::invalid(format!("{} and {} have the same version", first.path, second.path))
        .hint("give one of them another number")
}

/// All that is wrong with a directory, in one error.
fn refuse(directory: &Path, mut problems: Vec<Error>) -> Result<()> {
    if problems.len() < 2 {
        return problems.pop().map_or(Ok(()), Err);
    }
    let (count, shown) = (problems.len(), directory.display());
    let error = Error::invalid(format!("{count} files of {shown} cannot be migrations"))
        .details(problems.iter().map(ToString::to_string));
    Err(match problems.iter().find_map(Error::hint_text) {
        Some(hint) => error.hint(hint),
        None => error,
    })
}

fn unreadable(directory: &Path, error: &std::io::Error) -> Error {
    let shown = directory.display();
    match error.kind() {
        ErrorKind::NotFound => Error::invalid(format!("there is no folder {shown}")).hint(format!(
            "name the folder with --dir, or write migrations into it: pupctl schema generate \
             --dir {shown}"
        )),
        ErrorKind::NotADirectory => {
            Error::invalid(format!("{shown} is a file, not a folder of migrations"))
                .hint("name the folder with --dir")
        }
        _ => Error::invalid(format!("cannot read the folder {shown}: {error}")),
    }
}

/// Whether a file is meant to be a migration: notes and hidden files may lie beside them.
fn is_candidate(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let is_sql = Path::new(&*name).extension().is_some_and(|end| end.eq_ignore_ascii_case("sql"));
    is_sql && !name.starts_with('.')
}

fn one(directory: &Path, file_name: &OsStr) -> Result<MigrationFile> {
    let path = directory.join(file_name).display().to_string();
    let (version, name) = parse(&path, &file_name.to_string_lossy())?;
    let bytes = std::fs::read(directory.join(file_name))
        .map_err(|error| Error::invalid(format!("cannot read {path}: {error}")))?;
    let text = String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'))
        .ok_or_else(|| Error::invalid(format!("{path} is not UTF-8 text")))?;
    // A checkout on Windows changes the ends of lines, and must not change the checksum.
    let sql = text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n");
    let transaction = check(&path, &sql, transaction(&path, &sql)?)?;
    let checksum =
        |sql: &str| RenderedMigration::unapplied(version, &name, sql).checksum().to_string();
    let sections = sections(&sql).iter().map(|section| checksum(section)).collect();
    let layout = if (version, name.as_str()) == LAYOUT_MIGRATION {
        stored_layout(&sql).map_err(|error| error.context(&path))?
    } else {
        None
    };
    let checksum = checksum(&sql);
    Ok(MigrationFile { path, version, name, sql, transaction, checksum, sections, layout })
}

/// `V12__words.sql`. refinery itself cuts a name off at the first character that it does not know.
fn parse(path: &str, file_name: &str) -> Result<(i64, String)> {
    let refused = |why: &str| Err(Error::invalid(format!("{path}: {why}")).hint(FORM));
    let Some(stem) = file_name.strip_suffix(".sql") else {
        return refused("the name does not end with .sql in lower case");
    };
    if stem.starts_with('U') && stem.contains("__") {
        return refused("migrations without an order (U…) are not taken");
    }
    let Some((number, name)) = stem.strip_prefix('V').and_then(|rest| rest.split_once("__")) else {
        return refused("the name does not fit");
    };
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return refused("the version is not a whole number");
    }
    // One above the highest is told to whoever needs another.
    let Some(version) = number.parse().ok().filter(|&version| version < i64::MAX) else {
        return refused("the version is too large");
    };
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || !name.bytes().all(is_word) {
        return refused("the words of the name have other characters");
    }
    Ok((version, name.to_owned()))
}

/// What the first line says; elsewhere it says nothing, which nobody would notice.
fn transaction(path: &str, sql: &str) -> Result<Transaction> {
    let mut found = Transaction::Required;
    for (number, line) in (1..).zip(sql.lines()) {
        let Some(word) = line.strip_prefix(SECTION.trim_end()) else { continue };
        let word = word.trim();
        if word == NO_TRANSACTION && number == 1 {
            found = Transaction::Forbidden;
        } else if word == NO_TRANSACTION {
            return Err(Error::invalid(format!(
                "{path}:{number}: `{SECTION}{NO_TRANSACTION}` holds on the first line only"
            )));
        } else if number == 1 && !SECTIONS.contains(&word) {
            return Err(Error::invalid(format!("{path}:1: `{word}` is nothing that pupctl knows"))
                .hint(format!("write `{SECTION}{NO_TRANSACTION}`, or another comment")));
        }
    }
    Ok(found)
}

/// Refuses what cannot be run as a migration, or only once; says how the rest runs.
fn check(path: &str, sql: &str, transaction: Transaction) -> Result<Transaction> {
    refuse_unended(path, sql)?;
    let statements = statements::split(sql);
    let Some(first) = statements.first() else {
        return Err(Error::invalid(format!("{path} has no statement"))
            .hint("an applied file cannot be changed any more: write it first"));
    };
    let place = |one: &Statement<'_>| format!("{path}:{}", line(sql, one.start));
    if let Some(one) = statements.iter().find(|one| copies(one)) {
        let message = format!("{}: COPY from or to pupctl: it has no data to send", place(one));
        return Err(Error::invalid(message)
            .hint("write INSERT, or COPY with a file or a program of the server"));
    }
    match transaction {
        Transaction::Required => match statements.iter().find(|one| ends_transaction(one)) {
            None => Ok(transaction),
            Some(one) => Err(Error::invalid(format!(
                "{}: {} would end the transaction that records the migration",
                place(one),
                one.words[0]
            ))
            .hint("leave it out: every file is one transaction")),
        },
        Transaction::Forbidden | Transaction::Concurrent => {
            if let Some(second) = statements.get(1) {
                return Err(Error::invalid(format!(
                    "{}: a second statement, in a file without a transaction",
                    place(second)
                ))
                .hint("a failure between them could not be taken back: one file for each"));
            }
            super::alone::check(&place(first), first)?;
            Ok(super::alone::transaction(first))
        }
    }
}

fn line(sql: &str, place: usize) -> usize {
    1 + sql[..place].matches('\n').count()
}

/// What is never closed hides the rest of the file, which would be recorded and never run.
fn refuse_unended(path: &str, sql: &str) -> Result<()> {
    let Some(Unended { start, what }) = statements::unended(sql) else { return Ok(()) };
    let column = 1 + sql[..start].rsplit('\n').next().unwrap_or_default().chars().count();
    let message = format!("{path}:{}:{column}: the {what} does not end", line(sql, start));
    Err(Error::invalid(message).hint("close it: the rest of the file would be lost in there"))
}

/// `COPY … FROM STDIN` and `TO STDOUT`.
fn copies(statement: &Statement<'_>) -> bool {
    let words: Vec<_> = statement.words.iter().map(String::as_str).collect();
    let streams = |pair: &[&str]| matches!(pair, ["FROM", "STDIN"] | ["TO", "STDOUT"]);
    // Of a long list of columns only the end of the statement tells.
    let tail = statement.sql.to_ascii_uppercase();
    let in_tail = || {
        let tail: Vec<_> = tail.split_whitespace().collect();
        tail.windows(2).any(streams)
    };
    words.first() == Some(&"COPY") && (words.windows(2).any(streams) || in_tail())
}

fn ends_transaction(statement: &Statement<'_>) -> bool {
    let words: Vec<_> = statement.words.iter().map(String::as_str).collect();
    match words.as_slice() {
        // Back to a savepoint, in this or a longer form.
        ["ROLLBACK", rest @ ..] => !rest.contains(&"TO"),
        ["BEGIN" | "COMMIT" | "END" | "ABORT", ..] | ["START" | "PREPARE", "TRANSACTION", ..] => {
            true
        }
        _ => false,
    }
}

/// The sections of a text that has any: what stands between the lines that begin them.
fn sections(sql: &str) -> Vec<String> {
    let is_mark = |line: &str| {
        line.strip_prefix(SECTION).is_some_and(|word| SECTIONS.contains(&word.trim_end()))
    };
    if !sql.lines().any(is_mark) {
        return Vec::new();
    }
    let mut sections = vec![String::new()];
    for line in sql.lines() {
        match sections.last_mut() {
            Some(section) if !is_mark(line) => {
                section.push_str(line);
                section.push('\n');
            }
            _ => sections.push(String::new()),
        }
    }
    sections.iter().map(|section| format!("{}\n", section.trim_end_matches('\n'))).collect()
}

/// Refuses files that pupctl generated for another schema than the one whose history would
/// record them.
pub fn refuse_another_schema(files: &[MigrationFile], schema: &str) -> Result<()> {
    let table = layout_table(schema);
    let written = quote::table(&table);
    let ending = format!(".{}", quote::ident(&table.name));
    let other = files
        .iter()
        .find(|file| file.is_own() && file.sql.contains(&ending) && !file.sql.contains(&written));
    match other {
        None => Ok(()),
        Some(file) => Err(Error::invalid(format!(
            "{} was generated for another schema than {schema}",
            file.path
        ))
        .hint("name its schema with --schema")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str) -> String {
        parse(name, name).expect_err("must be refused").to_string()
    }

    #[test]
    fn names_are_checked_to_their_end() {
        assert_eq!(parse("", "V1__a.sql").expect("a name"), (1, "a".to_owned()));
        assert_eq!(parse("", "V007__create_B2.sql").expect("a name").0, 7);
        assert_eq!(parse("", "V20260101120000__x.sql").expect("a name").0, 20_260_101_120_000);
        for name in [
            "V1__create-events.sql",
            "V1_a.sql",
            "V1.1__a.sql",
            "v1__a.sql",
            "V__a.sql",
            "V1__.sql",
            "V1__a.SQL",
            "U1__a.sql",
            "V99999999999999999999__a.sql",
            "V9223372036854775807__a.sql",
            "V1__ä.sql",
            "a.sql",
        ] {
            assert!(refused(name).starts_with(name), "{name}");
        }
    }

    #[test]
    fn a_directive_stands_on_the_first_line() {
        let mode = |sql: &str| transaction("f", sql);
        assert_eq!(mode("SELECT 1").expect("a mode"), Transaction::Required);
        let first = "-- pupctl: no-transaction\nSELECT 1";
        assert_eq!(mode(first).expect("a mode"), Transaction::Forbidden);
        assert!(mode(&format!("\n{first}")).is_err());
        assert!(mode("-- pupctl: no transaction\nSELECT 1").is_err());
        assert!(mode("-- pupctl: schema\nSELECT 1\n-- pupctl: tables\n").is_ok());
    }

    #[test]
    fn what_ends_a_transaction_is_found() {
        let ends = |sql: &str| statements::split(sql).iter().any(ends_transaction);
        for sql in ["BEGIN", "commit;", "/* x */ END", "ROLLBACK", "start transaction", "ABORT"] {
            assert!(ends(sql), "{sql}");
        }
        for sql in ["ROLLBACK TO x", "SAVEPOINT x", "DO $$ BEGIN END $$", "SELECT 'COMMIT'"] {
            assert!(!ends(sql), "{sql}");
        }
    }

    #[test]
    fn what_does_not_end_is_refused_with_its_place() {
        let words = |sql: &str| check("f", sql, Transaction::Required).map_err(|e| e.to_string());
        let open = "SELECT 1;\n /* SELECT 2;\nSELECT 3;";
        assert_eq!(words(open), Err("f:2:2: the comment does not end".to_owned()));
        assert!(words("SELECT 'a").is_err() && words("SELECT $x$ $$").is_err());
    }

    #[test]
    fn copies_from_and_to_pupctl_are_refused() {
        let check = |sql: &str| check("f", sql, Transaction::Required);
        let long = "copy t (a, b, c, d, e, f, g, h) from stdin with (format csv)";
        for sql in ["COPY t FROM STDIN", "COPY (SELECT 1) TO STDOUT", long] {
            assert!(check(sql).is_err(), "{sql}");
        }
        assert!(check("COPY t FROM '/tmp/x'; SELECT 'COPY t FROM STDIN'").is_ok());
    }

    #[test]
    fn sections_stand_between_their_marks() {
        assert!(sections("a\nb\n").is_empty());
        let text = "a\n\nb\n\n-- pupctl: partitions\nc\n\n-- pupctl: triggers\nd\n";
        assert_eq!(sections(text), ["a\n\nb\n", "c\n", "d\n"]);
        assert_eq!(sections("-- pupctl: schema\na\n\n-- pupctl: tables\nb\n")[2], "b\n");
    }
}
