//! What goes where: results to standard output, talk to standard error.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tabled::builder::Builder;
use tabled::settings::object::{Columns, Rows};
use tabled::settings::{Alignment, Modify};

use crate::error::{Error, Result};

use super::address::Address;
use super::exit::Exit;
use super::global::{Color, Format, GlobalArgs, LogFormat};

/// The form of the JSON that pupctl prints; it changes when a field changes its meaning.
pub const JSON_VERSION: u32 = 1;

/// The target of messages that are told as lines of a log.
pub const SAYS: &str = "pupctl_says";

/// The fields of JSON that are messages in which commands are named.
const ADVISING: [&str; 4] = ["hint", "hints", "notes", "remedy"];

const BOLD: Style = Style::new().bold();
const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
const CYAN: Style = AnsiColor::Cyan.on_default();
const GREEN: Style = AnsiColor::Green.on_default().bold();

/// The two streams.
#[derive(Debug, Clone)]
pub struct Output {
    format: Format,
    quiet: bool,
    silent: bool,
    logs: LogFormat,
    choice: anstream::ColorChoice,
    address: Address,
}

impl Output {
    /// As the options say.
    #[must_use]
    pub fn new(global: &GlobalArgs) -> Self {
        let choice = match global.color {
            Color::Auto => anstream::ColorChoice::Auto,
            Color::Always => anstream::ColorChoice::Always,
            Color::Never => anstream::ColorChoice::Never,
        };
        Self {
            format: global.output,
            quiet: global.quiet,
            silent: false,
            logs: global.log_format,
            choice,
            address: Address::of(global),
        }
    }

    /// The same streams for a command whose words nobody wants: only failures are told.
    #[must_use]
    pub fn silenced(&self) -> Self {
        Self { format: Format::Table, quiet: true, silent: true, ..self.clone() }
    }

    /// Whether results are printed as JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether a progress bar may be drawn.
    #[must_use]
    pub fn shows_progress(&self) -> bool {
        !self.quiet && !self.logs_json() && io::stderr().is_terminal()
    }

    /// Whether messages are objects, one a line.
    #[must_use]
    pub fn logs_json(&self) -> bool {
        self.logs == LogFormat::Json
    }

    /// Whether what is told on standard error may have colours.
    #[must_use]
    pub fn colours_messages(&self) -> bool {
        let stream = anstream::AutoStream::new(io::stderr(), self.choice);
        stream.current_choice() != anstream::ColorChoice::Never
    }

    /// Prints a result: the text for people, or the object for machines.
    pub fn result(&self, command: &str, value: &impl Serialize, text: &str) -> Result<()> {
        if self.is_json() {
            return self.json(command, value);
        }
        if self.quiet || text.is_empty() {
            return Ok(());
        }
        self.data(&self.commands(text))
    }

    /// A message whose commands find the store that this one has found.
    #[must_use]
    pub fn commands(&self, text: &str) -> String {
        self.address.add_to(text)
    }

    /// The same in all that JSON has for people.
    fn commands_within(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    if ADVISING.contains(&name.as_str()) {
                        self.commands_of(field);
                    } else {
                        self.commands_within(field);
                    }
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|one| self.commands_within(one)),
            _ => {}
        }
    }

    fn commands_of(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.commands(text),
            Value::Array(values) => values.iter_mut().for_each(|one| self.commands_of(one)),
            _ => {}
        }
    }

    /// Prints one JSON object: the version, the command, then the fields of `value`.
    pub fn json(&self, command: &str, value: &impl Serialize) -> Result<()> {
        let mut object = Map::new();
        object.insert("version".to_owned(), json!(JSON_VERSION));
        object.insert("command".to_owned(), json!(command));
        let fields = serde_json::to_value(value)
            .map_err(|error| Error::refused(format!("the result has no JSON form: {error}")))?;
        if let Value::Object(fields) = fields {
            let taken = fields.keys().find(|name| object.contains_key(*name));
            debug_assert_eq!(taken, None, "a field of {command} hides one of every object");
            object.extend(fields);
        }
        let mut object = Value::Object(object);
        if !self.address.is_empty() {
            self.commands_within(&mut object);
        }
        let mut text = serde_json::to_string_pretty(&object).unwrap_or_default();
        text.push('\n');
        self.data(&text)
    }

    /// Writes text to standard output as it is.
    pub fn data(&self, text: &str) -> Result<()> {
        if self.silent {
            return Ok(());
        }
        let mut stream = anstream::AutoStream::new(io::stdout().lock(), self.choice);
        let written = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
        match written {
            // Whoever reads has seen enough (`pupctl … | head`).
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(Error::system("cannot write to standard output", error)),
            Ok(()) => Ok(()),
        }
    }

    /// Tells something on standard error, unless `--quiet`.
    pub fn say(&self, message: impl AsRef<str>) {
        if self.quiet {
            return;
        }
        let message = self.commands(message.as_ref());
        if self.logs_json() {
            tracing::info!(target: SAYS, "{}", plain(&message));
        } else {
            self.stderr(&message);
        }
    }

    /// Tells what was found, and ends so. That is no success, so `--quiet` leaves only standard
    /// output empty: cron mails what is told, not exit codes. JSON has told it already.
    #[must_use]
    pub fn found(&self, text: &str) -> Exit {
        let text = text.trim_end();
        let is_told = !self.quiet || self.silent || self.is_json() || text.is_empty();
        if is_told {
            return Exit::Found;
        }
        let text = self.commands(text);
        if self.logs_json() {
            tracing::warn!(target: SAYS, "{}", plain(&text));
        } else {
            self.stderr(&text);
        }
        Exit::Found
    }

    /// Passes on a line that another pupctl has told, which has its form already.
    pub fn relay(&self, line: &str) {
        self.stderr(&printable(line));
    }

    /// Tells something that needs attention.
    pub fn warn(&self, message: impl AsRef<str>) {
        let message = self.commands(message.as_ref());
        if self.logs_json() {
            tracing::warn!(target: SAYS, "{}", plain(&message));
            return;
        }
        self.stderr(&format!("{YELLOW}warning:{YELLOW:#} {}", printable(&message)));
    }

    /// Tells the failure of a command: the message, its details, the hint.
    pub fn error(&self, command: &str, error: &Error) {
        self.tell_failure(error);
        self.failure(command, error);
    }

    /// Tells a failure to people only.
    pub fn tell_failure(&self, error: &Error) {
        if self.logs_json() {
            let details = error.detail_lines().join("\n");
            let hint = self.commands(error.hint_text().unwrap_or_default());
            tracing::error!(target: SAYS, details, hint, "{}", plain(error.message()));
            return;
        }
        let mut text = format!("{RED}error:{RED:#} {}", printable(error.message()));
        for line in error.detail_lines() {
            let _ = write!(text, "\n  {}", printable(line));
        }
        if let Some(hint) = error.hint_text() {
            let hint = self.commands(hint);
            let _ = write!(text, "\n{CYAN}hint:{CYAN:#} {}", printable(&hint));
        }
        self.stderr(&text);
    }

    /// Prints a failure for machines, where JSON was asked for.
    pub fn failure(&self, command: &str, error: &Error) {
        if !self.is_json() {
            return;
        }
        let kind = format!("{:?}", error.kind());
        let object = json!({"error": {
            "kind": kind, "message": error.message(), "details": error.detail_lines(),
            "hint": error.hint_text(), "sqlstate": error.sqlstate(),
        }});
        // The failure itself decides the exit code, not that it could not be printed.
        let _ = self.json(command, &object);
    }

    fn stderr(&self, text: &str) {
        let mut stream = anstream::AutoStream::new(io::stderr().lock(), self.choice);
        let _ = writeln!(stream, "{text}");
    }
}

/// Text without colours.
fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

/// A heading.
#[must_use]
pub fn bold(text: &str) -> String {
    format!("{BOLD}{text}{BOLD:#}")
}

/// A word that says that something is wrong.
#[must_use]
pub fn red(text: &str) -> String {
    format!("{RED}{text}{RED:#}")
}

/// A word that asks for attention.
#[must_use]
pub fn yellow(text: &str) -> String {
    format!("{YELLOW}{text}{YELLOW:#}")
}

/// A word that says that all is well.
#[must_use]
pub fn green(text: &str) -> String {
    format!("{GREEN}{text}{GREEN:#}")
}

/// A command that the user may type.
#[must_use]
pub fn cyan(text: &str) -> String {
    format!("{CYAN}{text}{CYAN:#}")
}

/// Text from the database as a terminal may get it: control characters in the names of tables and
/// sessions would be obeyed.
#[must_use]
pub fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().map(shown).collect()
}

/// How many lines a list of candidates, or of what would be done, has.
const LISTED_MAX: usize = 10;

/// The first lines, and how many more there are.
#[must_use]
pub fn at_most(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(LISTED_MAX);
    if more > 0 {
        lines.truncate(LISTED_MAX);
        lines.push(format!("and {more} more"));
    }
    lines
}

/// A table with a head; the columns from `numbers` on are aligned to the right.
#[must_use]
pub fn table(head: &[&str], rows: Vec<Vec<String>>, numbers: usize) -> String {
    let mut builder = Builder::default();
    builder.push_record(head.iter().copied());
    for row in rows {
        builder.push_record(row.iter().map(|cell| printable(cell)));
    }
    let mut table = builder.build();
    table.with(tabled::settings::Style::psql());
    table.with(Modify::new(Columns::new(numbers..)).with(Alignment::right()));
    table.with(Modify::new(Rows::first()).with(Alignment::left()));
    format!("{table}\n")
}

/// A number of bytes in the units that psql uses.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count < 10 * 1024 {
        return format!("{count} B");
    }
    let mut value = count / 1024;
    let mut unit = 0;
    while value >= 10 * 1024 && unit + 1 < UNITS.len() {
        value /= 1024;
        unit += 1;
    }
    format!("{value} {}", UNITS[unit])
}

/// `1 partition`, `2 partitions`.
#[must_use]
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_as_psql_does() {
        assert_eq!(bytes(8192), "8192 B");
        assert_eq!(bytes(16_384), "16 kB");
        assert_eq!(bytes(20 * 1024 * 1024), "20 MB");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\tc\nd"), "a\u{fffd}[2Jb\u{fffd}c\nd");
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(count(1, "partition"), "1 partition");
        assert_eq!(count(0, "partition"), "0 partitions");
    }
}
