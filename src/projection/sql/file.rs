//! The files of SQL projections: a header of comments, then `-- init` and `-- handle`.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::layout::name::validate_identifier;
use crate::projection::name::{validate, validate_slots};
use crate::render::place::pointed;
use crate::render::statements::{self, Statement};

/// What a header may say.
const KEYS: [&str; 6] = ["name", "contexts", "aggregates", "slots", "schema", "tables"];

/// The name of the table of events: no read model can have it.
pub(super) const BATCH: &str = "batch";

/// What statements of `-- init` may begin with.
const INIT: [&str; 8] =
    ["CREATE", "ALTER", "COMMENT", "GRANT", "REVOKE", "INSERT", "UPDATE", "SELECT"];

/// What statements of `-- handle` may begin with.
const HANDLE: [&str; 6] = ["WITH", "INSERT", "UPDATE", "DELETE", "MERGE", "SELECT"];

/// A file, read and checked as far as that goes without a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SqlFile {
    pub(super) name: String,
    pub(super) contexts: Vec<String>,
    pub(super) aggregates: Vec<String>,
    pub(super) slots: Option<u32>,
    pub(super) schema: Option<String>,
    pub(super) tables: Vec<String>,
    pub(super) init: Vec<Part>,
    pub(super) handle: Vec<Part>,
}

/// A statement of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) sql: String,
    /// Where it begins in the file, in bytes.
    pub(super) start: usize,
}

/// The text of a file, for errors that point into it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// An error at a place.
    pub(super) fn error(&self, place: usize, message: impl Into<String>) -> Error {
        Error::invalid(message).details(pointed(self.file, self.text, place))
    }
}

/// A line of the header, by its place.
#[derive(Debug)]
struct Entry<'a> {
    key: &'a str,
    value: &'a str,
    place: usize,
}

/// Where the parts of a file are.
#[derive(Debug, Default)]
struct Sections<'a> {
    header: Vec<Entry<'a>>,
    init: Option<Range<usize>>,
    handle: Option<Range<usize>>,
}

/// Reads a file.
pub(super) fn parse(source: Source<'_>) -> Result<SqlFile> {
    let sections = sections(source)?;
    let header = Header { source, entries: &sections.header };
    let name = header.required("name", "-- name: order_totals")?;
    validate(name.value).map_err(|error| located(source, name, error))?;
    let slots = header.slots()?;
    let schema = match header.find("schema") {
        Some(entry) => Some(header.identifier(entry, entry.value)?),
        None => None,
    };
    let tables = header.tables()?;
    let Some(handle) = sections.handle else {
        return Err(Error::invalid(format!("{} has no line `-- handle`", source.file))
            .hint("write it, and below it the statements that handle a batch of events"));
    };
    let handle = parts(source, handle, "handle", &HANDLE, &tables)?;
    if handle.is_empty() {
        return Err(Error::invalid(format!("{} has no statement below -- handle", source.file)));
    }
    let init = match sections.init {
        Some(init) => parts(source, init, "init", &INIT, &tables)?,
        None => Vec::new(),
    };
    Ok(SqlFile {
        name: name.value.to_owned(),
        contexts: header.list("contexts")?,
        aggregates: header.list("aggregates")?,
        slots,
        schema,
        tables,
        init,
        handle,
    })
}

fn sections(source: Source<'_>) -> Result<Sections<'_>> {
    let mut sections = Sections::default();
    let mut place = 0;
    let mut open: Option<(&str, usize, usize)> = None;
    for line in source.text.split_inclusive('\n') {
        let start = place;
        place += line.len();
        match section(line) {
            Some(name) => {
                close(source, &mut sections, open, start)?;
                open = Some((name, start, place));
            }
            None if open.is_none() => sections.header.extend(entry(source, line, start)?),
            None => {}
        }
    }
    close(source, &mut sections, open, place)?;
    Ok(sections)
}

/// `init` or `handle`, where a line begins such a part.
fn section(line: &str) -> Option<&'static str> {
    let name = line.strip_prefix("--")?.trim();
    ["init", "handle"].into_iter().find(|known| *known == name)
}

fn close<'a>(
    source: Source<'_>,
    sections: &mut Sections<'a>,
    open: Option<(&'a str, usize, usize)>,
    end: usize,
) -> Result<()> {
    let Some((name, line, start)) = open else { return Ok(()) };
    let part = if name == "init" { &mut sections.init } else { &mut sections.handle };
    if part.replace(start..end).is_some() {
        return Err(source.error(line, format!("{} has two parts -- {name}", source.file)));
    }
    Ok(())
}

/// What a line of the header says. A comment that is none of its keys begins with a capital letter,
/// or has no colon.
fn entry<'a>(source: Source<'a>, line: &'a str, start: usize) -> Result<Option<Entry<'a>>> {
    let end = start + line.trim_end().len();
    // A byte order mark.
    let line = line.trim_end().trim_start_matches('\u{feff}');
    if line.trim().is_empty() {
        return Ok(None);
    }
    let Some(comment) = line.strip_prefix("--") else {
        return Err(source
            .error(start, "statements stand below `-- init` or `-- handle`")
            .hint("write a line `-- handle` above the statements that handle a batch"));
    };
    let is_key = |key: &&str| {
        !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '-'))
    };
    let found = comment.split_once(':').map(|(key, value)| (key.trim(), value.trim()));
    let Some((key, value)) = found.filter(|(key, _)| is_key(key)) else { return Ok(None) };
    if !KEYS.contains(&key) {
        let meant = closest(key).map(|known| format!("did you mean `-- {known}: {value}`? "));
        return Err(source
            .error(end - comment.trim_start().len(), format!("the header has no key {key}"))
            .hint(format!(
                "{}it may say {}; other comments begin with a capital letter",
                meant.unwrap_or_default(),
                KEYS.join(", ")
            )));
    }
    // The value ends where the line does.
    let place = if value.is_empty() { start } else { end - value.len() };
    Ok(Some(Entry { key, value, place }))
}

/// The key that somebody who wrote this one meant.
fn closest(key: &str) -> Option<&'static str> {
    let near = |known: &str| {
        let mut letters: Vec<_> = known.chars().collect();
        let shared = key.chars().filter(|c| {
            let place = letters.iter().position(|letter| letter == c);
            place.map(|place| letters.swap_remove(place)).is_some()
        });
        let shared = shared.count();
        known.len().max(key.len()) - shared
    };
    KEYS.into_iter()
        .map(|known| (near(known), known))
        .min()
        .filter(|(far, _)| *far <= 2)
        .map(|(_, known)| known)
}

fn located(source: Source<'_>, entry: &Entry<'_>, error: Error) -> Error {
    error.details(pointed(source.file, source.text, entry.place))
}

struct Header<'a> {
    source: Source<'a>,
    entries: &'a [Entry<'a>],
}

impl<'a> Header<'a> {
    fn find(&self, key: &str) -> Option<&'a Entry<'a>> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    fn required(&self, key: &str, example: &str) -> Result<&'a Entry<'a>> {
        self.refuse_twice()?;
        match self.find(key) {
            Some(entry) if !entry.value.is_empty() => Ok(entry),
            _ => Err(Error::invalid(format!("{} does not say its {key}", self.source.file))
                .hint(format!("write it at its top: {example}"))),
        }
    }

    fn refuse_twice(&self) -> Result<()> {
        for (number, entry) in self.entries.iter().enumerate() {
            if self.entries[..number].iter().any(|before| before.key == entry.key) {
                let message = format!("the header says {} twice", entry.key);
                return Err(self.source.error(entry.place, message));
            }
        }
        Ok(())
    }

    fn slots(&self) -> Result<Option<u32>> {
        let Some(entry) = self.find("slots") else { return Ok(None) };
        let Ok(slots) = entry.value.parse() else {
            let message = format!("{:?} is no number of slots", entry.value);
            return Err(self.source.error(entry.place, message).hint("write -- slots: 4"));
        };
        validate_slots(slots).map_err(|error| located(self.source, entry, error))?;
        Ok(Some(slots))
    }

    /// The names of a list with commas; one with a comma stands in double quotes.
    fn list(&self, key: &str) -> Result<Vec<String>> {
        let Some(entry) = self.find(key) else { return Ok(Vec::new()) };
        let mut names: Vec<String> =
            items(entry.value).into_iter().map(|item| unquoted(item, str::to_owned)).collect();
        if names.iter().any(String::is_empty) {
            return Err(self.empty(entry));
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn empty(&self, entry: &Entry<'_>) -> Error {
        let key = entry.key;
        self.source
            .error(entry.place, format!("an entry of {key} is empty"))
            .hint(format!("leave the line out to mean all, or write -- {key}: One, Two"))
    }

    fn tables(&self) -> Result<Vec<String>> {
        let entry = self.required("tables", "-- tables: order_totals")?;
        let names = items(entry.value).into_iter().map(|item| self.identifier(entry, item));
        let mut names = names.collect::<Result<Vec<_>>>()?;
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// The name that a word means in SQL.
    fn identifier(&self, entry: &Entry<'_>, written: &str) -> Result<String> {
        let is_quoted = written.starts_with('"');
        if written.contains('.') && !is_quoted {
            return Err(self.source.error(entry.place, format!("{written} names a schema")).hint(
                "its tables are all in one schema, which a line of its own says: \
                       -- schema: reporting",
            ));
        }
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
        if !is_quoted && (written.is_empty() || !written.chars().all(is_word)) {
            let message = format!("{written:?} is no name of a table or schema");
            return Err(self.source.error(entry.place, message));
        }
        // As a server with UTF-8 folds it.
        let name = unquoted(written, str::to_ascii_lowercase);
        validate_identifier(entry.key, &name)
            .map_err(|error| located(self.source, entry, error))?;
        if name == BATCH && entry.key == "tables" {
            return Err(self
                .source
                .error(entry.place, "batch is where the events are")
                .hint("call the table otherwise"));
        }
        Ok(name)
    }
}

/// The parts of a list between its commas.
fn items(list: &str) -> Vec<&str> {
    let mut within = false;
    let separates = |c: char| {
        within ^= c == '"';
        c == ',' && !within
    };
    list.split(separates).map(str::trim).collect()
}

fn unquoted(written: &str, otherwise: impl Fn(&str) -> String) -> String {
    match written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => otherwise(written),
    }
}

/// The statements of a part.
fn parts(
    source: Source<'_>,
    range: Range<usize>,
    part: &str,
    allowed: &[&str],
    tables: &[String],
) -> Result<Vec<Part>> {
    let text = &source.text[range.clone()];
    if let Some(unended) = statements::unended(text) {
        let place = range.start + unended.start;
        return Err(source.error(place, format!("this {} does not end", unended.what)));
    }
    statements::split(text)
        .iter()
        .map(|statement| {
            let start = range.start + statement.start;
            check(statement, part, allowed)
                .and_then(|()| check_rights(statement, tables))
                .map_err(|error| error.details(pointed(source.file, source.text, start)))?;
            Ok(Part { sql: statement.sql.to_owned(), start })
        })
        .collect()
}

/// Refuses what cannot be in a part, whatever it would do.
fn check(statement: &Statement<'_>, part: &str, allowed: &[&str]) -> Result<()> {
    let words: Vec<_> = statement.words.iter().map(String::as_str).collect();
    let first = words.first().copied().unwrap_or_default();
    // A query in parentheses.
    if !allowed.contains(&first) && first != "(" {
        let error = Error::invalid(format!("{first} has no place below -- {part}"));
        return Err(match part {
            "handle" => error.hint(format!(
                "a batch is handled with {}; what makes tables stands below -- init",
                HANDLE.join(", ")
            )),
            _ => error.hint(format!(
                "what makes the read model begins with {}; it runs again whenever a worker starts",
                INIT.join(", ")
            )),
        });
    }
    if words.iter().take(8).any(|word| word.to_ascii_lowercase().starts_with("pupctl_"))
        && first == "CREATE"
    {
        return Err(Error::invalid("names that begin with pupctl_ are pupctl's own")
            .hint("call it otherwise"));
    }
    if first == "ALTER" && words.get(1) != Some(&"TABLE") {
        return Err(Error::invalid("only tables of the read model can be altered below -- init"));
    }
    if words.contains(&"CONCURRENTLY") {
        return Err(Error::invalid("CONCURRENTLY does not work in a transaction")
            .hint("leave the word out: the table is new and empty when this runs first"));
    }
    Ok(())
}

/// Rights are given on the tables of the read model, and on nothing else: no lock would show it.
fn check_rights(statement: &Statement<'_>, tables: &[String]) -> Result<()> {
    let words: Vec<_> = statement.words.iter().map(String::as_str).collect();
    if !matches!(words.first(), Some(&("GRANT" | "REVOKE"))) {
        return Ok(());
    }
    let refused = || {
        Err(Error::invalid("rights below -- init are those on the tables of the read model").hint(
            "name one table of the read model in each of them; other rights are given by hand",
        ))
    };
    let Some(on) = words.iter().position(|word| *word == "ON") else { return refused() };
    let mut rest = words[on + 1..].iter().skip_while(|word| **word == "TABLE");
    let name = rest.next().map(|word| statements::name(word));
    let ends = rest.next().is_some_and(|word| matches!(*word, "TO" | "FROM"));
    if ends && name.is_some_and(|name| tables.contains(&name)) { Ok(()) } else { refused() }
}
