//! Reads a connection URL, `postgres://user:password@host:5432,other/database?sslmode=require`,
//! with the rules of libpq. An error never quotes a piece of the URL, since in a malformed URL any
//! piece may be part of the password.

use super::parameters::{Parameters, is_known, unknown};
use super::redact::redact;
use crate::error::{Error, Result};

const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// Whether the text is a URL rather than key words and values.
pub(super) fn is_uri(text: &str) -> bool {
    SCHEMES.iter().any(|scheme| text.starts_with(scheme))
}

/// Parses a URL. `origin` is the place that it came from.
pub(super) fn parse(text: &str, origin: &str) -> Result<Parameters> {
    let mut reader =
        Reader { parameters: Parameters::default(), shown: redact(text), text, origin };
    let rest = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(text);
    reader.read(rest)?;
    Ok(reader.parameters)
}

struct Reader<'a> {
    parameters: Parameters,
    shown: String,
    text: &'a str,
    origin: &'a str,
}

impl Reader<'_> {
    fn read(&mut self, rest: &str) -> Result<()> {
        let rest = match rest.find(['@', '/']) {
            Some(end) if rest.as_bytes()[end] == b'@' => {
                self.read_user(&rest[..end])?;
                &rest[end + 1..]
            }
            _ => rest,
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        if place.contains('@') {
            return Err(self.malformed("it has an @ too many"));
        }
        let (hosts, dbname) = place.split_once('/').unwrap_or((place, ""));
        self.read_hosts(hosts)?;
        self.set("dbname", dbname)?;
        query.split('&').filter(|pair| !pair.is_empty()).try_for_each(|pair| self.read_pair(pair))
    }

    fn read_user(&mut self, text: &str) -> Result<()> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        self.set("user", user)?;
        self.set("password", password)
    }

    fn read_hosts(&mut self, text: &str) -> Result<()> {
        let (mut hosts, mut ports) = (Vec::new(), Vec::new());
        for place in text.split(',') {
            let (host, port) = match place.strip_prefix('[') {
                Some(address) => {
                    let Some((address, port)) = address.split_once(']') else {
                        return Err(self.malformed("an IPv6 address is not closed with ]"));
                    };
                    (address, port.strip_prefix(':').unwrap_or(port))
                }
                None => place.split_once(':').unwrap_or((place, "")),
            };
            let port = self.decode(port)?;
            if !port.chars().all(|digit| digit.is_ascii_digit()) {
                return Err(self.malformed("a port is not a number"));
            }
            hosts.push(self.decode(host)?);
            ports.push(port);
        }
        for (name, entries) in [("host", hosts), ("port", ports)] {
            // When every entry is empty, the other sources may fill it.
            if entries.iter().any(|entry| !entry.is_empty()) {
                self.parameters.set(name, entries.join(","), self.origin)?;
            }
        }
        Ok(())
    }

    fn read_pair(&mut self, pair: &str) -> Result<()> {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(self.malformed("a parameter after the ? has no ="));
        };
        let (name, value) = (self.decode(name)?, self.decode(value)?);
        // libpq takes this spelling over from JDBC.
        if name == "ssl" && value == "true" {
            return self.parameters.set("sslmode", "require".to_owned(), self.origin);
        }
        if !is_known(&name) {
            let named = Some(name.as_str()).filter(|name| self.shown.contains(name));
            return Err(unknown(named, self.origin));
        }
        self.parameters.set(&name, value, self.origin)
    }

    /// Sets a parameter unless the URL leaves it out.
    fn set(&mut self, name: &str, text: &str) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let value = self.decode(text)?;
        self.parameters.set(name, value, self.origin)
    }

    /// Undoes the percent-encoding.
    fn decode(&self, text: &str) -> Result<String> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            if byte != b'%' {
                bytes.push(byte);
                continue;
            }
            let digit = |byte: Option<u8>| char::from(byte.unwrap_or(b'-')).to_digit(16);
            let decoded = match (digit(rest.next()), digit(rest.next())) {
                (Some(high), Some(low)) => u8::try_from(high * 16 + low).unwrap_or(0),
                _ => return Err(self.malformed("a % is not followed by two hexadecimal digits")),
            };
            // Zero ends a string in the protocol.
            if decoded == 0 {
                return Err(self.malformed("it has %00"));
            }
            bytes.push(decoded);
        }
        String::from_utf8(bytes).map_err(|_| self.malformed("it decodes to text that is not UTF-8"))
    }

    fn malformed(&self, what: &str) -> Error {
        debug_assert!(is_uri(self.text));
        Error::invalid(format!("the database URL from {} cannot be read: {what}", self.origin))
            .detail(self.shown.as_str())
            .hint(
                "percent-encode special characters of a user name or password: \
                 @ is %40, : is %3A, / is %2F, ? is %3F, # is %23, % is %25",
            )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::parse;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let parsed = parse(text, "test").unwrap();
        for name in ["user", "password", "host", "port", "dbname", "sslmode"] {
            let value = expected.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
            assert_eq!(parsed.value(name), value, "{name} of {text}");
        }
    }

    #[test]
    fn the_forms_of_libpq() {
        check("postgres://", &[]);
        check("postgresql://db", &[("host", "db")]);
        check("postgres://db:5433/", &[("host", "db"), ("port", "5433")]);
        check(
            "postgres://app:p%40s:s@db/my%20events",
            &[("user", "app"), ("password", "p@s:s"), ("host", "db"), ("dbname", "my events")],
        );
        check(
            "postgres://a:1,[::1]:2,c/e?sslmode=require",
            &[("host", "a,::1,c"), ("port", "1,2,"), ("dbname", "e"), ("sslmode", "require")],
        );
        check("postgres:///e?host=/run/pg", &[("dbname", "e"), ("host", "/run/pg")]);
        check("postgres://%2Frun%2Fpg/e", &[("dbname", "e"), ("host", "/run/pg")]);
        check("postgres://app@/e", &[("user", "app"), ("dbname", "e")]);
        check("postgres://a/e?ssl=true", &[("host", "a"), ("dbname", "e"), ("sslmode", "require")]);
        check("postgres://a/e?dbname=f&user=u", &[("host", "a"), ("dbname", "f"), ("user", "u")]);
    }

    #[test]
    fn malformed_urls_are_told_and_no_password_is_shown() {
        for (url, what) in [
            ("postgres://u:a@secret@db/e", "an @ too many"),
            ("postgres://u:1/secret@db/e", "an @ too many"),
            ("postgres://u:secret/x@db/e", "an @ too many"),
            ("postgres://u:secret/e", "a port is not a number"),
            ("postgres://u:100%secret@db/e", "two hexadecimal digits"),
            ("postgres://u:1/a?secret@db/e", "has no ="),
            ("postgres://u:1/a?secret=b@db/e", "PostgreSQL does not know"),
            ("postgres://db/e?password=a&secret=b", "PostgreSQL does not know"),
            ("postgres://[::1/e", "not closed with ]"),
            ("postgres://a%00b/e", "it has %00"),
        ] {
            let error = parse(url, "DATABASE_URL").unwrap_err();
            assert!(error.message().contains(what), "{url}: {error}");
            assert!(!format!("{error:?}").contains("secret"), "{url}: {error:?}");
        }
    }
}
