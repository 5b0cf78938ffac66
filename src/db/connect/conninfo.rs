//! Reads the other form of a connection string, `host=db dbname=events password='a b'`, with the
//! quoting rules of libpq.

use super::parameters::{Parameters, is_known, unknown};
use super::redact::redact;
use crate::error::{Error, Result};

/// Parses key words and values. `origin` is the place that the string came from.
pub(super) fn parse(text: &str, origin: &str) -> Result<Parameters> {
    let shown = redact(text);
    let mut parameters = Parameters::default();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let name_end = rest.find(|next: char| next == '=' || next.is_whitespace());
        let (name, after) = rest.split_at(name_end.unwrap_or(rest.len()));
        let Some(value) = after.trim_start().strip_prefix('=') else {
            return Err(malformed(&shown, origin, "a word is not followed by ="));
        };
        if !is_known(name) {
            // A name that the redacted text does not show is a piece of an unquoted password.
            return Err(unknown(Some(name).filter(|name| shown.contains(name)), origin));
        }
        let (value, left) = read_value(value.trim_start())
            .ok_or_else(|| malformed(&shown, origin, "a quoted value is not closed"))?;
        parameters.set(name, value, origin)?;
        rest = left.trim_start();
    }
    Ok(parameters)
}

/// The first value and what follows it; `None` when its closing quote is missing.
fn read_value(text: &str) -> Option<(String, &str)> {
    let (quoted, text) = match text.strip_prefix('\'') {
        Some(inner) => (true, inner),
        None => (false, text),
    };
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Some((value, &text[index + 1..])),
            space if !quoted && space.is_whitespace() => return Some((value, &text[index..])),
            other => value.push(other),
        }
    }
    (!quoted).then_some((value, ""))
}

fn malformed(shown: &str, origin: &str, what: &str) -> Error {
    Error::invalid(format!("the connection string from {origin} cannot be read: {what}"))
        .detail(shown)
        .hint(
            "write a URL such as postgres://user@host:5432/database, or host=… dbname=… with \
             single quotes around a value that has spaces",
        )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::parse;

    #[test]
    fn quoting_is_that_of_libpq() {
        let parsed = parse(
            r"  host = db.example.com port=5433 password='it\'s a \\ secret' dbname=a\ b user=''",
            "test",
        )
        .unwrap();
        assert_eq!(parsed.value("host"), Some("db.example.com"));
        assert_eq!(parsed.value("port"), Some("5433"));
        assert_eq!(parsed.value("password"), Some(r"it's a \ secret"));
        assert_eq!(parsed.value("dbname"), Some("a b"));
        assert_eq!(parsed.value("user"), None);
    }

    #[test]
    fn errors_say_what_and_show_no_password() {
        let error = parse("host=db events", "PUPCTL_DATABASE_URL").unwrap_err();
        assert_eq!(
            error.message(),
            "the connection string from PUPCTL_DATABASE_URL cannot be read: \
             a word is not followed by ="
        );
        for text in ["password=my secret host=db", "password='secret", "password=a secret=b"] {
            let error = parse(text, "DATABASE_URL").unwrap_err();
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
        assert!(parse("color=blue", "x").unwrap_err().message().contains("\"color\""));
    }
}
