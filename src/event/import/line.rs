//! Reads one line of a file as an event.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Datelike, SubsecRound, Utc};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::event::model::Event;

/// A key of an index holds at most 2704 bytes, in which version and headers need some.
const KEY_BYTES_MAX: usize = 2600;

/// How deep metadata may be nested; the server gives up somewhere above.
const DEPTH_MAX: usize = 1000;

/// A table has at most so many columns, so that more fields have no place.
const EXTRA_MAX: usize = 1600;

/// What the parser calls by the name of a type.
const WHOLE: &str = "expected a whole number";

/// The event of a line; else what is wrong with it, to be told with file and line in front.
pub(super) fn parse(line: &[u8]) -> Result<Event<'_>, String> {
    let fields: Fields<'_> = serde_json::from_slice(line).map_err(|error| explain(&error))?;
    let event = fields.event()?;
    check(&event)?;
    Ok(event)
}

fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    // A line is all that the parser saw, so its "line 1" says nothing.
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    match error.classify() {
        Category::Data => what.to_owned(),
        Category::Eof => "is not JSON: the line ends in the middle of the object".to_owned(),
        _ => format!("is not JSON: {what} (column {})", error.column()),
    }
}

/// What PostgreSQL would refuse later, with a message that knows no line.
fn check(event: &Event<'_>) -> Result<(), String> {
    let texts = [
        ("bounded_context", Some(&event.bounded_context)),
        ("aggregate_type", Some(&event.aggregate_type)),
        ("aggregate_id", Some(&event.aggregate_id)),
        ("event_type", Some(&event.event_type)),
        ("trace_id", event.trace_id.as_ref()),
        ("correlation_id", event.correlation_id.as_ref()),
        ("causation_id", event.causation_id.as_ref()),
    ];
    for (name, text) in texts {
        if text.is_some_and(|text| text.contains('\0')) {
            return Err(format!("`{name}` holds a NUL character, which PostgreSQL cannot store"));
        }
    }
    if event.bounded_context.is_empty() {
        return Err("`bounded_context` is empty".to_owned());
    }
    if event.aggregate_version < 1 {
        let version = event.aggregate_version;
        return Err(format!("`aggregate_version` is {version}, the first version is 1"));
    }
    let key = [&event.bounded_context, &event.aggregate_type, &event.aggregate_id];
    let length: usize = key.iter().map(|part| part.len()).sum();
    if length > KEY_BYTES_MAX {
        return Err(format!(
            "context, type and id of the aggregate have {length} bytes, an index holds \
             {KEY_BYTES_MAX}"
        ));
    }
    event.metadata.as_deref().map_or(Ok(()), check_metadata)
}

/// `jsonb` stores characters, so it takes neither NUL nor half a surrogate pair, which JSON text
/// can only hold as escapes; and its depth is limited by the server's stack.
fn check_metadata(json: &str) -> Result<(), String> {
    if json.len() < 2 * DEPTH_MAX && !json.contains("\\u") {
        return Ok(());
    }
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut rest = json.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            b'\\' => rest = check_escape(after)?,
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(format!("`metadata` is nested deeper than {DEPTH_MAX} levels"));
        }
    }
    Ok(())
}

/// What follows an escape that begins here, behind its backslash.
fn check_escape(text: &[u8]) -> Result<&[u8], String> {
    let unit = |text: &[u8]| {
        let digits = text.strip_prefix(b"u")?.get(..4)?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let half =
        || Err("`metadata` holds half of a surrogate pair, which is no character".to_owned());
    match unit(text) {
        Some(0) => Err("`metadata` holds \\u0000, which PostgreSQL cannot store".to_owned()),
        Some(0xd800..=0xdbff) => match text[5..].strip_prefix(b"\\").map(|next| (unit(next), next))
        {
            Some((Some(0xdc00..=0xdfff), next)) => Ok(&next[5..]),
            _ => half(),
        },
        Some(0xdc00..=0xdfff) => half(),
        Some(_) => Ok(&text[5..]),
        // The character behind the backslash stands for one.
        None => Ok(text.get(1..).unwrap_or_default()),
    }
}

/// The fields as they were found.
#[derive(Default)]
#[expect(clippy::option_option, reason = "a field may be missing, null or there")]
struct Fields<'a> {
    global_position: Option<i64>,
    bounded_context: Option<Text<'a>>,
    aggregate_type: Option<Text<'a>>,
    aggregate_id: Option<Text<'a>>,
    aggregate_version: Option<i64>,
    event_id: Option<Text<'a>>,
    event_type: Option<Text<'a>>,
    event_version: Option<i32>,
    payload: Option<&'a RawValue>,
    payload_base64: Option<Text<'a>>,
    trace_id: Option<Option<Text<'a>>>,
    correlation_id: Option<Option<Text<'a>>>,
    causation_id: Option<Option<Text<'a>>>,
    metadata: Option<&'a RawValue>,
    created_at: Option<Text<'a>>,
    extra: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Fields<'a> {
    fn event(self) -> Result<Event<'a>, String> {
        let missing = |name: &str| format!("the field `{name}` is missing");
        let text = |field: Option<Text<'a>>, name: &str| {
            field.map(|text| text.0).ok_or_else(|| missing(name))
        };
        let event_id = text(self.event_id, "event_id")?;
        let created_at = text(self.created_at, "created_at")?;
        Ok(Event {
            global_position: self.global_position,
            bounded_context: text(self.bounded_context, "bounded_context")?,
            aggregate_type: text(self.aggregate_type, "aggregate_type")?,
            aggregate_id: text(self.aggregate_id, "aggregate_id")?,
            aggregate_version: self
                .aggregate_version
                .ok_or_else(|| missing("aggregate_version"))?,
            event_id: Uuid::try_parse(&event_id)
                .map_err(|_| format!("`event_id` is `{}`, not a UUID", shortened(&event_id)))?,
            event_type: text(self.event_type, "event_type")?,
            event_version: self.event_version.unwrap_or(1),
            payload: payload(self.payload, self.payload_base64)?,
            trace_id: self.trace_id.flatten().map(|text| text.0),
            correlation_id: self.correlation_id.flatten().map(|text| text.0),
            causation_id: self.causation_id.flatten().map(|text| text.0),
            metadata: self
                .metadata
                .map(RawValue::get)
                .filter(|json| *json != "null")
                .map(Cow::Borrowed),
            created_at: instant(&created_at)?,
            extra: self.extra,
        })
    }
}

fn payload<'a>(
    json: Option<&'a RawValue>,
    base64: Option<Text<'a>>,
) -> Result<Cow<'a, [u8]>, String> {
    match (json, base64) {
        (Some(json), None) => Ok(Cow::Borrowed(json.get().as_bytes())),
        (None, Some(text)) => STANDARD
            .decode(text.0.as_bytes())
            .map(Cow::Owned)
            .map_err(|error| format!("`payload_base64` is not Base64: {error}")),
        (None, None) => Err("the field `payload` is missing".to_owned()),
        (Some(_), Some(_)) => Err("has both `payload` and `payload_base64`".to_owned()),
    }
}

/// An instant as RFC 3339 writes it, rounded to the microseconds that PostgreSQL keeps.
fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    let is_late = text.bytes().take_while(u8::is_ascii_digit).count() > 4;
    match DateTime::parse_from_rfc3339(text) {
        Ok(parsed) => {
            let rounded = parsed.with_timezone(&Utc).round_subsecs(6);
            // A leap second is the first of the next minute, as the server has it.
            let instant = DateTime::from_timestamp_micros(rounded.timestamp_micros());
            instant.filter(|instant| (1..=9999).contains(&instant.year()))
        }
        Err(_) if is_late => None,
        Err(error) => {
            return Err(format!("`created_at` is no time: `{}` ({error})", shortened(text)));
        }
    }
    .ok_or_else(|| {
        let text = shortened(text);
        format!("`created_at` is not in the years 1 to 9999: `{text}`")
    })
}

fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(60) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// A string that borrows from the line unless it has escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Strings;

        impl<'de> Visitor<'de> for Strings {
            type Value = Text<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Strings)
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Objects;

        impl<'de> Visitor<'de> for Objects {
            type Value = Fields<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an event, which is a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Fields::default();
                while let Some(Text(name)) = map.next_key()? {
                    read(&mut fields, name, &mut map)?;
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Objects)
    }
}

fn read<'de, A: MapAccess<'de>>(
    fields: &mut Fields<'de>,
    name: Cow<'de, str>,
    map: &mut A,
) -> Result<(), A::Error> {
    match name.as_ref() {
        "global_position" => fill(&mut fields.global_position, &name, map),
        "bounded_context" => fill(&mut fields.bounded_context, &name, map),
        "aggregate_type" => fill(&mut fields.aggregate_type, &name, map),
        "aggregate_id" => fill(&mut fields.aggregate_id, &name, map),
        "aggregate_version" => fill(&mut fields.aggregate_version, &name, map),
        "event_id" => fill(&mut fields.event_id, &name, map),
        "event_type" => fill(&mut fields.event_type, &name, map),
        "event_version" => fill(&mut fields.event_version, &name, map),
        "payload" => fill(&mut fields.payload, &name, map),
        "payload_base64" => fill(&mut fields.payload_base64, &name, map),
        "trace_id" => fill(&mut fields.trace_id, &name, map),
        "correlation_id" => fill(&mut fields.correlation_id, &name, map),
        "causation_id" => fill(&mut fields.causation_id, &name, map),
        "metadata" => fill(&mut fields.metadata, &name, map),
        "created_at" => fill(&mut fields.created_at, &name, map),
        _ if fields.extra.len() >= EXTRA_MAX => {
            Err(A::Error::custom(format!("has more than {EXTRA_MAX} fields that no event has")))
        }
        _ if fields.extra.iter().any(|(known, _)| *known == name) => Err(twice(&name)),
        _ => {
            let value = map.next_value()?;
            fields.extra.push((name, value));
            Ok(())
        }
    }
}

fn fill<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
    place: &mut Option<T>,
    name: &str,
    map: &mut A,
) -> Result<(), A::Error> {
    if place.is_some() {
        return Err(twice(name));
    }
    match map.next_value() {
        Ok(value) => {
            *place = Some(value);
            Ok(())
        }
        // Only what the field itself is about gets its name in front.
        Err(error) if error.to_string().starts_with("invalid ") => {
            let what = without_place(&error.to_string()).replace("expected i64", WHOLE);
            Err(A::Error::custom(format!("`{name}`: {}", what.replace("expected i32", WHOLE))))
        }
        Err(error) => Err(error),
    }
}

fn without_place(text: &str) -> &str {
    text.rsplit_once(" at line ").map_or(text, |(what, _)| what)
}

fn twice<E: serde::de::Error>(name: &str) -> E {
    E::custom(format!("the field `{name}` is there twice"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = concat!(
        r#"{"bounded_context":"Core","aggregate_type":"File","aggregate_id":"a\"b""#,
        r#","aggregate_version":1,"event_id":"f8204f92-2aad-5c7b-acb6-a71c3c634c9d""#,
        r#","event_type":"FileAdded","payload": {"a" : 1} ,"metadata":{"source":"git"}"#,
        r#","trace_id":null,"created_at":"2005-04-07T22:13:13.1234567+02:00"}"#,
    );

    fn problem(from: &str, to: &str) -> String {
        let line = LINE.replacen(from, to, 1);
        assert_ne!(line, LINE, "{from} is in the line");
        parse(line.as_bytes()).expect_err(&line)
    }

    #[test]
    fn a_line_is_an_event() {
        let event = parse(LINE.as_bytes()).expect("an event");
        assert_eq!(event.aggregate_id, "a\"b");
        assert_eq!(event.payload.as_ref(), br#"{"a" : 1}"#);
        assert_eq!(event.event_version, 1);
        assert_eq!(event.trace_id, None);
        assert_eq!(event.metadata.as_deref(), Some(r#"{"source":"git"}"#));
        assert_eq!(event.created_at.to_rfc3339(), "2005-04-07T20:13:13.123457+00:00");
    }

    #[test]
    fn a_payload_is_any_value_or_bytes() {
        for (written, stored) in [
            ("\"text\"", b"\"text\"".as_slice()),
            ("null", b"null"),
            ("[1, 2]", b"[1, 2]"),
            ("\"\\u0000\"", b"\"\\u0000\""),
        ] {
            let line = LINE.replace(r#"{"a" : 1}"#, written);
            assert_eq!(parse(line.as_bytes()).expect(&line).payload.as_ref(), stored);
        }
        let line = LINE.replace(r#""payload": {"a" : 1}"#, r#""payload_base64":"AAEC/w==""#);
        assert_eq!(parse(line.as_bytes()).expect(&line).payload.as_ref(), [0, 1, 2, 255]);
    }

    #[test]
    fn what_is_no_event_is_told() {
        let all = [
            problem("{\"bounded", "[\"bounded"),
            problem("\"git\"}", "\"git\""),
            problem(r#""event_type":"FileAdded","#, ""),
            problem("\"File\"", "7"),
            problem("\"aggregate_version\":1", "\"aggregate_version\":0"),
            problem("\"aggregate_version\":1", "\"aggregate_version\":1.5"),
            problem("f8204f92", "g8204f92"),
            problem("2005-04-07T", "2005-04-31T"),
            problem("2005-", "10000-"),
            problem("+02:00", ""),
            problem("a\\\"b", "a\\u0000b"),
            problem("\"git\"", "\"\\u0000\""),
            problem("\"git\"", "\"\\ud800\""),
            problem("\"File\"", "\"File\",\"aggregate_type\":\"File\""),
            problem("\"payload\": {\"a\" : 1} ,", ""),
            problem("\"Core\"", "\"\""),
            problem("Core", &"x".repeat(3000)),
        ];
        insta::assert_snapshot!(all.join("\n"), @r"
        invalid type: sequence, expected an event, which is a JSON object
        is not JSON: the line ends in the middle of the object
        the field `event_type` is missing
        `aggregate_type`: invalid type: integer `7`, expected a string
        `aggregate_version` is 0, the first version is 1
        `aggregate_version`: invalid type: floating point `1.5`, expected a whole number
        `event_id` is `g8204f92-2aad-5c7b-acb6-a71c3c634c9d`, not a UUID
        `created_at` is no time: `2005-04-31T22:13:13.1234567+02:00` (input is out of range)
        `created_at` is not in the years 1 to 9999: `10000-04-07T22:13:13.1234567+02:00`
        `created_at` is no time: `2005-04-07T22:13:13.1234567` (premature end of input)
        `aggregate_id` holds a NUL character, which PostgreSQL cannot store
        `metadata` holds \u0000, which PostgreSQL cannot store
        `metadata` holds half of a surrogate pair, which is no character
        the field `aggregate_type` is there twice
        the field `payload` is missing
        `bounded_context` is empty
        context, type and id of the aggregate have 3007 bytes, an index holds 2600
        ");
    }

    #[test]
    fn metadata_that_jsonb_takes_is_taken() {
        let told = |metadata: &str| {
            let line = LINE.replacen(r#"{"source":"git"}"#, metadata, 1);
            parse(line.as_bytes()).map(|event| event.metadata.unwrap_or_default().into_owned())
        };
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        for taken in [
            r#"{"a":"\u0041\ud83d\ude00","n":1e400}"#,
            r#"{"a":"\\u0000","b":"\"\\"}"#,
            &deep(DEPTH_MAX),
            &format!("\"{}\"", "[".repeat(2 * DEPTH_MAX)),
        ] {
            assert_eq!(told(taken).as_deref(), Ok(taken));
        }
        for refused in [r#""\ud83d\u0041""#, r#""\ude00""#, r#""\\\u0000""#, &deep(1001)] {
            let problem = told(refused).expect_err(refused);
            assert!(problem.starts_with("`metadata` "), "{problem}");
        }
    }

    #[test]
    fn a_leap_second_is_the_next_minute() {
        let line = LINE.replace("2005-04-07T22:13:13.1234567+02:00", "2016-12-31T23:59:60Z");
        let event = parse(line.as_bytes()).expect("an event");
        assert_eq!(event.created_at.to_rfc3339(), "2017-01-01T00:00:00+00:00");
    }

    #[test]
    fn fields_of_others_are_kept_for_the_caller() {
        let line = LINE.replacen('{', r#"{"tenant":"a","flags":[1],"#, 1);
        let event = parse(line.as_bytes()).expect("an event");
        let names: Vec<_> = event.extra.iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(names, ["tenant", "flags"]);
        let twice = line.replacen("\"flags\"", "\"tenant\"", 1);
        let error = parse(twice.as_bytes()).expect_err("twice");
        assert_eq!(error, "the field `tenant` is there twice");
    }
}
