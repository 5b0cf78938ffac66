//! Migrations as the files of several tools.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use crate::error::{Error, Result};

use super::environment::render;
use super::generate::Source;
use super::statements;

/// For which tool files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `V1__name.sql`: refinery, and `pupctl schema migrate`.
    #[default]
    Refinery,
    /// `V001__name.sql`.
    Flyway,
    /// `0001_name.sql`.
    Sqlx,
    /// `00001_name.sql` with the ways up and down.
    Goose,
    /// `00000000000001_name.sql` with the ways up and down.
    Dbmate,
    /// One script for psql.
    Plain,
}

/// All formats by their names.
pub const FORMATS: [(&str, Format); 6] = [
    ("refinery", Format::Refinery),
    ("flyway", Format::Flyway),
    ("sqlx", Format::Sqlx),
    ("goose", Format::Goose),
    ("dbmate", Format::Dbmate),
    ("plain", Format::Plain),
];

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = FORMATS.iter().find(|(_, format)| format == self);
        formatter.write_str(named.map_or("", |(name, _)| name))
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = FORMATS.iter().find(|(name, _)| *name == text);
        found.map(|(_, format)| *format).ok_or_else(|| {
            Error::invalid(format!("`{text}` is no format"))
                .hint(format!("choose from {}", FORMATS.map(|(name, _)| name).join(", ")))
        })
    }
}

/// A file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// The file of the format `plain`.
const PLAIN: &str = "event_store.sql";

/// The files of a format.
#[must_use]
pub fn files(format: Format, sources: &[Source]) -> Vec<File> {
    let each = |name: fn(i64, &str) -> String, text: fn(&str) -> String| {
        let file = |source: &Source| File {
            name: name(source.version, source.name),
            text: text(&source.text),
        };
        sources.iter().map(file).collect::<Vec<_>>()
    };
    match format {
        Format::Refinery => each(|v, name| format!("V{v}__{name}.sql"), str::to_owned),
        Format::Flyway => flyway(each(|v, name| format!("V{v:03}__{name}.sql"), str::to_owned)),
        Format::Sqlx => each(|v, name| format!("{v:04}_{name}.sql"), str::to_owned),
        Format::Goose => each(|v, name| format!("{v:05}_{name}.sql"), goose),
        Format::Dbmate => each(|v, name| format!("{v:014}_{name}.sql"), dbmate),
        Format::Plain => vec![File { name: PLAIN.to_owned(), text: plain(sources) }],
    }
}

/// Flyway puts values in place of `${…}`, also in the literals of names, unless it is told.
fn flyway(mut files: Vec<File>) -> Vec<File> {
    let mut settings: Vec<_> = files
        .iter()
        .filter(|file| file.text.contains("${"))
        .map(|file| File {
            name: format!("{}.conf", file.name),
            text: "placeholderReplacement=false\n".to_owned(),
        })
        .collect();
    files.append(&mut settings);
    files
}

/// goose divides a file at the semicolons that end lines; whatever has one inside stands between
/// two marks.
fn goose(text: &str) -> String {
    let mut up = String::from("-- +goose Up\n");
    let mut written = 0;
    for statement in statements::split(text) {
        let end = statement.start + statement.sql.len();
        // The semicolon and what is left of its line.
        let end = end + text[end..].find('\n').map_or(text.len() - end, |newline| newline + 1);
        // Nor does it see a semicolon behind two hyphens, be they in a name.
        let is_block = statement.sql.contains(';') || statement.sql.contains("--");
        up.push_str(&text[written..statement.start]);
        let body = &text[statement.start..end];
        if is_block {
            let _ = write!(up, "-- +goose StatementBegin\n{body}-- +goose StatementEnd\n");
        } else {
            up.push_str(body);
        }
        written = end;
    }
    up.push_str(&text[written..]);
    let down = no_way_back();
    format!("{up}\n-- +goose Down\n-- +goose StatementBegin\n{down}-- +goose StatementEnd\n")
}

fn dbmate(text: &str) -> String {
    format!("-- migrate:up\n{text}\n-- migrate:down\n{}", no_way_back())
}

/// A way down that fails: nothing that pupctl writes drops events.
fn no_way_back() -> String {
    format!("{};\n", render("migration/no_way_back", &minijinja::Value::default()))
}

/// One transaction, so that a script which is stopped half way has done nothing.
fn plain(sources: &[Source]) -> String {
    let mut text = String::from("-- psql -v ON_ERROR_STOP=1 -f this file\nBEGIN;\n");
    for source in sources {
        let name = source.name.replace('_', " ");
        let _ = write!(text, "\n-- Migration {}, {name}\n{}", source.version, source.text);
    }
    text.push_str("\nCOMMIT;\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_tools_expect() {
        let sources = [Source { version: 2, name: "events", text: "SELECT 1;\n".to_owned() }];
        let name = |format| files(format, &sources)[0].name.clone();
        let names: Vec<_> = FORMATS.iter().map(|(_, format)| name(*format)).collect();
        assert_eq!(
            names,
            [
                "V2__events.sql",
                "V002__events.sql",
                "0002_events.sql",
                "00002_events.sql",
                "00000000000002_events.sql",
                "event_store.sql"
            ]
        );
        assert!("liquibase".parse::<Format>().is_err());
    }

    #[test]
    fn goose_gets_marks_around_what_has_semicolons_inside() {
        let text = "-- A\nSELECT 1;\n\nDO $x$ BEGIN; END $x$;\n\nSELECT 2;\nSELECT '--';\n";
        let written = goose(text);
        let (up, down) = written.split_once("\n-- +goose Down\n").expect("a way down");
        assert_eq!(
            up,
            "-- +goose Up\n-- A\nSELECT 1;\n\n-- +goose StatementBegin\nDO $x$ BEGIN; END $x$;\n\
             -- +goose StatementEnd\n\nSELECT 2;\n-- +goose StatementBegin\nSELECT '--';\n\
             -- +goose StatementEnd\n"
        );
        assert!(down.contains("RAISE EXCEPTION"), "{down}");
    }

    #[test]
    fn flyway_is_told_to_leave_names_alone() {
        let text = "SELECT '${x}';\n".to_owned();
        let files = files(Format::Flyway, &[Source { version: 2, name: "events", text }]);
        assert_eq!(files[1].name, "V002__events.sql.conf");
    }
}
