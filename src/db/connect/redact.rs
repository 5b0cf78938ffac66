//! Takes passwords out of connection strings before they are shown. It must work on strings that
//! are wrong, because those are the ones that errors quote: so it hides too much rather than too
//! little.

use super::parameters::is_known;

const HIDDEN: &str = "***";

/// The text with every password of a connection string in it replaced by `***`.
///
/// Malformed strings are covered too: a password with an unescaped `@` or `/` is hidden up to the
/// last `@`, and one that is not quoted up to the next parameter that PostgreSQL knows.
///
/// ```
/// use pupctl::db::connect::redact;
/// assert_eq!(redact("postgres://app:p@ss/w@db/events"), "postgres://app:***@db/events");
/// assert_eq!(redact("password=a b host=db"), "password=*** host=db");
/// ```
#[must_use]
pub fn redact(text: &str) -> String {
    hide_user_part(&hide_keyword_values(text))
}

/// Hides what follows `password=`, in a query string or between key words.
fn hide_keyword_values(text: &str) -> String {
    // ASCII case folding keeps every byte offset.
    let folded = text.to_ascii_lowercase();
    let mut shown = String::with_capacity(text.len());
    let mut position = 0;
    while let Some(found) = folded[position..].find("password") {
        let after_word = position + found + "password".len();
        let rest = &text[after_word..];
        let assigned = rest.trim_start();
        let Some(value) = assigned.strip_prefix('=') else {
            shown.push_str(&text[position..after_word]);
            position = after_word;
            continue;
        };
        let value = value.trim_start();
        let start = text.len() - value.len();
        shown.push_str(&text[position..start]);
        let end = start + value_end(value);
        if end > start {
            shown.push_str(HIDDEN);
        }
        position = end;
    }
    shown.push_str(&text[position..]);
    shown
}

/// Where the value ends: before the next parameter that PostgreSQL knows, else at the end.
fn value_end(value: &str) -> usize {
    let quoted = quoted_length(value);
    value[quoted..]
        .char_indices()
        .filter(|(_, character)| *character == '&' || character.is_whitespace())
        .map(|(index, character)| (quoted + index, quoted + index + character.len_utf8()))
        .find(|(_, next)| starts_with_assignment(&value[*next..]))
        .map_or(value.len(), |(end, _)| end)
}

/// The length of a quoted value; all of the text when the closing quote is missing.
fn quoted_length(value: &str) -> usize {
    if !value.starts_with('\'') {
        return 0;
    }
    let mut escaped = false;
    for (index, character) in value.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\'' => return index + 1,
            _ => {}
        }
    }
    value.len()
}

/// Whether the text begins with `name =` for a parameter that PostgreSQL knows.
fn starts_with_assignment(text: &str) -> bool {
    text.split_once('=').is_some_and(|(name, _)| is_known(name.trim()))
}

/// Hides the password in `scheme://user:password@host`.
fn hide_user_part(text: &str) -> String {
    let start = match text.find("://") {
        Some(scheme) => scheme + "://".len(),
        None if starts_with_assignment(text) => return text.to_owned(),
        // A scheme with a slash too few, or none at all.
        None => text.find(":/").map_or(0, |scheme| scheme + ":/".len()),
    };
    let rest = &text[start..];
    let Some(colon) = rest.find(':').map(|colon| colon + 1) else { return text.to_owned() };
    let end = match rest.rfind('@') {
        Some(at) if at >= colon => at,
        // No `@` after the first colon: these are hosts and ports, unless a port is no number.
        _ if ports_are_numbers(rest) => return text.to_owned(),
        _ => rest.len(),
    };
    format!("{}{HIDDEN}{}", &text[..start + colon], &rest[end..])
}

fn ports_are_numbers(rest: &str) -> bool {
    let hosts = rest.split(['/', '?']).next().unwrap_or_default();
    let hosts = hosts.rsplit_once('@').map_or(hosts, |(_, hosts)| hosts);
    hosts.split(',').all(|host| {
        let after_address = host.rsplit_once(']').map_or(host, |(_, port)| port);
        after_address
            .split_once(':')
            .is_none_or(|(_, port)| port.chars().all(|digit| digit.is_ascii_digit()))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::redact;

    #[track_caller]
    fn check(text: &str, shown: &str) {
        assert_eq!(redact(text), shown);
        assert!(!redact(text).contains("secret"), "{text}");
    }

    #[test]
    fn urls() {
        check("postgres://app:secret@db:5432/events", "postgres://app:***@db:5432/events");
        check("postgres://app@db:5432/events", "postgres://app@db:5432/events");
        check("postgres://[::1]:5432/events", "postgres://[::1]:5432/events");
        check("postgres://a:5432,b:5433/events", "postgres://a:5432,b:5433/events");
        check("postgres://app:s%40secret@db/e", "postgres://app:***@db/e");
        check(
            "postgres://db/e?password=secret%26x&sslmode=require",
            "postgres://db/e?password=***&sslmode=require",
        );
        check("postgres://db:5432/e?password=secret@x", "postgres://db:5432/e?password=***");
        check("postgres:///e?user=a&sslpassword=secret", "postgres:///e?user=a&sslpassword=***");
    }

    #[test]
    fn malformed_urls() {
        check("postgres://app:p@secret/x@db/e", "postgres://app:***@db/e");
        check("postgres://app:1/secret@db/e", "postgres://app:***@db/e");
        check("postgres://app:my secret@db/e", "postgres://app:***@db/e");
        check("postgres://app:secret/e", "postgres://app:***");
        check("postgres:/app:secret@db/e", "postgres:/app:***@db/e");
        check("app:secret@db/e", "app:***@db/e");
        check("postgres://db/e?password=a&secret", "postgres://db/e?password=***");
    }

    #[test]
    fn key_words() {
        check("host=db password=secret user=app", "host=db password=*** user=app");
        check("host=db password = 'a secret\\' host=x' user=a", "host=db password = *** user=a");
        check("password='not closed secret host=db", "password=***");
        check("password=two secret words dbname = e", "password=*** dbname = e");
        check("PGPASSWORD=secret", "PGPASSWORD=***");
        check("host=::1 user=me@corp", "host=::1 user=me@corp");
        // libpq skips the space, so the value is what follows.
        check("password= host=db", "password= ***");
    }
}
