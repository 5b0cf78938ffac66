//! Quoting of identifiers and literals, independent of the server's settings.

use chrono::{DateTime, Utc};

use crate::layout::bounds::{Bound, Edge};
use crate::layout::name::QualifiedName;

/// One word of a shell, for commands in messages.
#[must_use]
pub fn shell_word(word: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "._/-".contains(character);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// An identifier, always in double quotes.
#[must_use]
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// An identifier as people write it: in quotes only where it needs them. For hints.
#[must_use]
pub fn shown(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.chars().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit()) {
        name.to_owned()
    } else {
        ident(name)
    }
}

/// A schema-qualified identifier.
#[must_use]
pub fn table(name: &QualifiedName) -> String {
    format!("{}.{}", ident(&name.schema), ident(&name.name))
}

/// A string literal. With a backslash it is written as `E'…'`, which means the same whatever
/// `standard_conforming_strings` says.
#[must_use]
pub fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// The text of a literal that [`literal`] wrote.
#[must_use]
pub fn unquoted(literal: &str) -> Option<String> {
    let escaped = literal.starts_with("E'");
    let inner = literal.strip_prefix('E').unwrap_or(literal);
    let inner = inner.strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'");
    Some(if escaped { inner.replace("\\\\", "\\") } else { inner })
}

/// A type as `format_type` prints it: words and names in quotes, with modifiers and brackets. None
/// where the text holds anything that a type does not.
#[must_use]
pub fn data_type(text: &str) -> Option<&str> {
    let mut depth = 0_usize;
    let mut quoted = false;
    let mut before = ' ';
    for character in text.chars() {
        match character {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            // Only between modifiers, where no expression can follow.
            ',' if depth > 0 => {}
            // `numeric(3,-2)`, but no comment.
            '-' if depth > 0 && before != '-' => {}
            ' ' | '.' | '_' | '[' | ']' => {}
            word if word.is_alphanumeric() => {}
            _ => return None,
        }
        before = character;
    }
    (!text.trim().is_empty() && depth == 0 && !quoted).then_some(text)
}

/// A body of code as a literal between dollar signs, with a tag that it does not have.
#[must_use]
pub fn dollar(body: &str) -> String {
    let mut tag = "$pupctl$".to_owned();
    while body.contains(&tag) {
        tag.insert(tag.len() - 1, '_');
    }
    format!("{tag}{body}{tag}")
}

/// An instant as a full `timestamptz` literal in UTC, so that the session's time zone and date
/// style do not matter.
#[must_use]
pub fn instant(instant: DateTime<Utc>) -> String {
    literal(&instant.format("%Y-%m-%d %H:%M:%S%.f+00").to_string())
}

/// The clause of `ATTACH PARTITION` for a bound.
#[must_use]
pub fn bound(bound: &Bound) -> String {
    match bound {
        Bound::List(values) => {
            let literals: Vec<_> = values
                .iter()
                .map(|value| value.as_deref().map_or_else(|| "NULL".to_owned(), literal))
                .collect();
            format!("FOR VALUES IN ({})", literals.join(", "))
        }
        Bound::Range { from, to } => format!("FOR VALUES FROM ({}) TO ({})", edge(from), edge(to)),
        Bound::Hash { modulus, remainder } => {
            format!("FOR VALUES WITH (MODULUS {modulus}, REMAINDER {remainder})")
        }
        Bound::Default => "DEFAULT".to_owned(),
        // Never planned: the planner leaves alone what it does not know.
        Bound::Other(text) => text.clone(),
    }
}

fn edge(edge: &Edge) -> String {
    match edge {
        Edge::Min => "MINVALUE".to_owned(),
        Edge::At(at) => instant(*at),
        Edge::Max => "MAXVALUE".to_owned(),
    }
}

/// Text that may stand in a `--` comment: on one line, whatever a name holds.
#[must_use]
pub fn comment(text: &str) -> String {
    text.split(char::is_control).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_stay_inside() {
        assert_eq!(ident("a\"; DROP TABLE events; --"), "\"a\"\"; DROP TABLE events; --\"");
        assert_eq!(shown("app_owner"), "app_owner");
        assert_eq!(shown("App"), "\"App\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("back\\slash'"), "E'back\\\\slash'''");
        for text in ["it's", "back\\slash'", "\\\\n", ""] {
            assert_eq!(unquoted(&literal(text)).as_deref(), Some(text));
        }
        assert_eq!(comment("a\n; DROP TABLE events"), "a ; DROP TABLE events");
    }

    #[test]
    fn only_types_are_types() {
        for data_type in [
            "bigint",
            "character varying(20)[]",
            "numeric(3,-2)",
            "public.\"Mood; \"\"x\"\"\"",
            "public.geometry(Point,4326)",
            "interval day to second(3)",
            "\"char\"",
        ] {
            assert_eq!(super::data_type(data_type), Some(data_type));
        }
        for other in
            ["", " ", "int; x", "int, x", "int) x", "int(--)", "'x'", "\"x", "int/**/", "int\n(("]
        {
            assert_eq!(super::data_type(other), None, "{other}");
        }
    }

    #[test]
    fn bounds_are_full_utc_literals() {
        let month = Bound::month("2026-12".parse().expect("a month"));
        assert_eq!(
            bound(&month),
            "FOR VALUES FROM ('2026-12-01 00:00:00+00') TO ('2027-01-01 00:00:00+00')"
        );
        assert_eq!(bound(&Bound::context("O'Neill")), "FOR VALUES IN ('O''Neill')");
    }
}
