//! The events of a trial: a file of events in which nearly everything may be left out.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::archive::checksum::hexadecimal;
use crate::error::{Error, Result};
use crate::projection::sql::SqlProjection;

/// The context and the type of aggregates where neither the event nor the projection says one.
const DEFAULT: &str = "Test";

/// The instant that the first event is a second after: 2026-01-01, in seconds since 1970.
const BEGIN: i64 = 1_767_225_600;

/// What every event has; more are columns that a team added to the table.
pub(super) const FIELDS: [&str; 15] = [
    "global_position",
    "bounded_context",
    "aggregate_type",
    "aggregate_id",
    "aggregate_version",
    "event_id",
    "event_type",
    "event_version",
    "payload",
    "payload_base64",
    "trace_id",
    "correlation_id",
    "causation_id",
    "metadata",
    "created_at",
];

/// Events that a projection is given, read from a file: one JSON object a line, as `events import`
/// reads it.
///
/// Only `event_type` and `aggregate_id` are required. Context and type of the aggregate are the
/// only ones that the projection reads, else `Test`; versions count up for each aggregate and
/// positions from line to line; ids come from the position; `created_at` is a second later for each
/// position, from 2026 on; the payload is `{}`.
#[derive(Debug, Clone)]
pub struct Given {
    pub(super) file: String,
    pub(super) events: Vec<GivenEvent>,
}

/// An event, and where it is from.
#[derive(Debug, Clone)]
pub(super) struct GivenEvent {
    pub(super) line: usize,
    pub(super) position: i64,
    /// What it is called in messages.
    pub(super) label: String,
    pub(super) row: Map<String, Value>,
}

impl Given {
    /// Reads a file.
    pub fn read(path: &Path, projection: &SqlProjection) -> Result<Self> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::system(format!("{shown} cannot be read"), error)
                .hint("write one event a line: {\"event_type\": \"…\", \"aggregate_id\": \"…\"}")
        })?;
        Self::parse(&shown, &text, projection)
    }

    /// Reads the text of a file. `file` is what errors call it.
    pub fn parse(file: &str, text: &str, projection: &SqlProjection) -> Result<Self> {
        let mut reader = Reader::new(projection);
        let mut events = Vec::new();
        let text = text.trim_start_matches('\u{feff}');
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() {
                continue;
            }
            let event = reader.event(line, number).map_err(|(what, hint)| {
                let error = Error::invalid(format!("{file}:{number}: {what}"));
                if hint.is_empty() { error } else { error.hint(hint) }
            })?;
            events.push(event);
        }
        Ok(Self { file: file.to_owned(), events })
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The file, as errors show it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Where an event is, and what it is.
    pub(super) fn place(&self, position: i64) -> Option<String> {
        let event = self.events.iter().find(|event| event.position == position)?;
        Some(format!("{}:{}: {}", self.file, event.line, event.label))
    }
}

/// What is wrong with a line, and what mends it.
type Wrong = (String, String);

fn wrong(what: impl Into<String>) -> Wrong {
    (what.into(), String::new())
}

/// What of the lines before counts for the next one.
struct Reader {
    context: String,
    aggregate_type: String,
    versions: HashMap<[String; 3], i64>,
    ids: HashMap<String, usize>,
    position: i64,
}

impl Reader {
    fn new(projection: &SqlProjection) -> Self {
        let only = |names: &[String]| match names {
            [only] => only.clone(),
            _ => DEFAULT.to_owned(),
        };
        Self {
            context: only(projection.contexts()),
            aggregate_type: only(projection.aggregates()),
            versions: HashMap::new(),
            ids: HashMap::new(),
            position: 0,
        }
    }

    fn event(&mut self, line: &str, number: usize) -> Result<GivenEvent, Wrong> {
        let fields = Fields::parse(line)?;
        let event_type = fields.required("event_type")?;
        let aggregate = [
            fields.text("bounded_context")?.unwrap_or_else(|| self.context.clone()),
            fields.text("aggregate_type")?.unwrap_or_else(|| self.aggregate_type.clone()),
            fields.required("aggregate_id")?,
        ];
        let position = self.position(fields.integer("global_position")?)?;
        let label = format!("{event_type} of {}", aggregate[2]);
        let event_id = self.id(fields.text("event_id")?, position, number)?;
        let mut row = Map::new();
        let mut set = |name: &str, value: Value| drop(row.insert(name.to_owned(), value));
        set("global_position", position.into());
        for (name, value) in
            ["bounded_context", "aggregate_type", "aggregate_id"].into_iter().zip(&aggregate)
        {
            set(name, value.as_str().into());
        }
        let version = fields.integer("aggregate_version")?;
        set("aggregate_version", self.version(aggregate, version).into());
        set("event_id", event_id.into());
        set("event_type", event_type.into());
        let form: Option<i32> = fields.read("event_version", "a small whole number")?;
        set("event_version", form.unwrap_or(1).into());
        set("payload", fields.payload()?.into());
        for name in ["trace_id", "correlation_id", "causation_id"] {
            set(name, fields.text(name)?.into());
        }
        set("created_at", fields.instant(position)?.into());
        set("metadata", fields.value("metadata")?);
        for name in fields.0.keys().filter(|name| !FIELDS.contains(&name.as_str())) {
            set(name, fields.value(name)?);
        }
        Ok(GivenEvent { line: number, position, label, row })
    }

    fn position(&mut self, given: Option<i64>) -> Result<i64, Wrong> {
        let position = given.unwrap_or(self.position + 1);
        if position <= self.position {
            return Err((
                format!("`global_position` is {position}, and the event before has {}", {
                    self.position
                }),
                "positions grow from line to line; leave them out to have them counted".to_owned(),
            ));
        }
        self.position = position;
        Ok(position)
    }

    fn version(&mut self, aggregate: [String; 3], given: Option<i64>) -> i64 {
        let version = self.versions.entry(aggregate).or_default();
        *version = given.unwrap_or(*version + 1);
        *version
    }

    fn id(&mut self, given: Option<String>, position: i64, number: usize) -> Result<String, Wrong> {
        let id = match given {
            Some(text) => uuid::Uuid::try_parse(&text)
                .map_err(|_| wrong(format!("`event_id` is {text:?}, not a UUID")))?
                .to_string(),
            None => format!("00000000-0000-4000-8000-{position:012}"),
        };
        match self.ids.insert(id.clone(), number) {
            Some(other) => Err(wrong(format!("`event_id` is that of line {other}"))),
            None => Ok(id),
        }
    }
}

/// The fields of a line as they are written.
struct Fields<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    fn parse(line: &'a str) -> Result<Self, Wrong> {
        serde_json::from_str(line).map(Self).map_err(|error| {
            let text = error.to_string();
            // A line is all that the parser saw, so its "line 1" says nothing.
            let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
            (
                format!("no event: {what} (column {})", error.column()),
                "each line is one JSON object".to_owned(),
            )
        })
    }

    fn find(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(|value| value.get()).filter(|value| *value != "null")
    }

    fn read<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
        what: &str,
    ) -> Result<Option<T>, Wrong> {
        let Some(value) = self.find(name) else { return Ok(None) };
        let read = serde_json::from_str(value);
        read.map(Some).map_err(|_| wrong(format!("`{name}` is {value}, not {what}")))
    }

    fn text(&self, name: &str) -> Result<Option<String>, Wrong> {
        let text: Option<String> = self.read(name, "a text")?;
        if text.as_deref().is_some_and(|text| text.contains('\0')) {
            let what = "a NUL character, which PostgreSQL cannot store";
            return Err(wrong(format!("`{name}` holds {what}")));
        }
        Ok(text)
    }

    fn required(&self, name: &str) -> Result<String, Wrong> {
        let text = self.text(name)?;
        text.ok_or_else(|| {
            let unknown = self.0.keys().find(|name| !FIELDS.contains(&name.as_str()));
            let hint = unknown.map(|found| format!("the field `{found}` is not known"));
            (format!("the field `{name}` is missing"), hint.unwrap_or_default())
        })
    }

    fn integer(&self, name: &str) -> Result<Option<i64>, Wrong> {
        self.read(name, "a whole number")
    }

    fn value(&self, name: &str) -> Result<Value, Wrong> {
        Ok(self.read(name, "JSON that can be read")?.unwrap_or_default())
    }

    /// The bytes as the text of a `bytea`.
    fn payload(&self) -> Result<String, Wrong> {
        let bytes = match (self.find("payload"), self.text("payload_base64")?) {
            (Some(_), Some(_)) => return Err(wrong("has both `payload` and `payload_base64`")),
            (None, Some(text)) => STANDARD
                .decode(text)
                .map_err(|error| wrong(format!("`payload_base64` is not Base64: {error}")))?,
            (json, None) => json.unwrap_or("{}").as_bytes().to_vec(),
        };
        Ok(format!("\\x{}", hexadecimal(&bytes)))
    }

    fn instant(&self, position: i64) -> Result<String, Wrong> {
        let Some(text) = self.text("created_at")? else {
            let counted =
                BEGIN.checked_add(position).and_then(|at| DateTime::from_timestamp(at, 0));
            return Ok(shown(counted.unwrap_or_default()));
        };
        let day = || text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0);
        let instant = DateTime::parse_from_rfc3339(&text).map(|at| at.to_utc());
        instant.ok().or_else(|| day().map(|day| day.and_utc())).map(shown).ok_or_else(|| {
            (
                format!("`created_at` is no time: {text:?}"),
                "write 2026-01-31 or 2026-01-31T12:00:00Z".to_owned(),
            )
        })
    }
}

fn shown(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn projection(header: &str) -> SqlProjection {
        let text = format!("-- name: p\n-- tables: t\n{header}-- handle\nSELECT 1;\n");
        SqlProjection::parse("p.sql", &text, &BTreeMap::new()).expect("a projection")
    }

    fn given(text: &str) -> Result<Given> {
        Given::parse("e.ndjson", text, &projection("-- contexts: Sales\n"))
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let text = "{\"event_type\": \"A\", \"aggregate_id\": \"o-1\"}\n\n\
            {\"event_type\": \"B\", \"aggregate_id\": \"o-1\", \"payload\": {\"a\": 1}}\n";
        let given = given(text).expect("events");
        assert_eq!(given.len(), 2);
        let row = &given.events[1].row;
        assert_eq!(row["bounded_context"], "Sales");
        assert_eq!(row["aggregate_type"], "Test");
        assert_eq!(row["aggregate_version"], 2);
        assert_eq!(row["global_position"], 2);
        assert_eq!(row["event_id"], "00000000-0000-4000-8000-000000000002");
        assert_eq!(row["created_at"], "2026-01-01T00:00:02.000000Z");
        assert_eq!(row["payload"], "\\x7b2261223a20317d");
        assert_eq!(given.place(2).as_deref(), Some("e.ndjson:3: B of o-1"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let refused = |line: &str| {
            let error = given(&format!("\n{line}\n")).expect_err("refused");
            format!("{error}; {}", error.hint_text().unwrap_or_default())
        };
        let with = |rest: &str| {
            refused(&format!("{{\"event_type\": \"A\", \"aggregate_id\": \"o\", {rest}}}"))
        };
        assert!(refused("{").starts_with("e.ndjson:2: no event: EOF"), "{}", refused("{"));
        assert_eq!(
            refused("{\"event_type\": \"A\", \"agregate_id\": \"o\"}"),
            "e.ndjson:2: the field `aggregate_id` is missing; the field `agregate_id` is not known"
        );
        assert!(with("\"event_id\": \"x\"").contains("not a UUID"));
        assert!(with("\"global_position\": 0").contains("the event before has 0"));
        assert!(with("\"aggregate_version\": \"1\"").contains("not a whole number"));
        assert!(with("\"created_at\": \"yesterday\"").contains("is no time"));
        assert!(with("\"trace_id\": \"\\u0000\"").contains("NUL"));
        assert!(with("\"payload\": 1, \"payload_base64\": \"AA==\"").contains("both"));
    }

    #[test]
    fn ids_and_positions_are_those_of_one_event() {
        let line = |rest: &str| format!("{{\"event_type\":\"A\",\"aggregate_id\":\"o\"{rest}}}\n");
        let id = ",\"event_id\":\"00000000-0000-4000-8000-000000000002\"";
        let error = given(&(line(id) + &line(""))).expect_err("the same id");
        assert_eq!(error.message(), "e.ndjson:2: `event_id` is that of line 1");
        let far = given(&(line(",\"global_position\":7") + &line(""))).expect("events");
        assert_eq!(far.events[1].position, 8);
    }
}
