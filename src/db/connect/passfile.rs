//! Looks a password up in the password file of libpq: `host:port:database:user:password` lines
//! with `*` for any and backslash escapes.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// What a line has to match.
pub(super) struct Login<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) dbname: &'a str,
    pub(super) user: &'a str,
}

/// The password of the first line that matches, and the number of that line.
///
/// A file that others can read is ignored with a warning, as libpq does: a password in it is no
/// secret any more.
pub(super) fn find(path: &Path, login: &Login<'_>) -> Option<(String, usize)> {
    let metadata = std::fs::metadata(path).ok()?;
    if !metadata.is_file() {
        tracing::warn!("the password file {} is not a file and is ignored", path.display());
        return None;
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(
            "the password file {path} is ignored, because others may read it; \
             run: chmod 600 {path}",
            path = path.display()
        );
        return None;
    }
    match std::fs::read_to_string(path) {
        Ok(text) => search(&text, login),
        Err(error) => {
            tracing::warn!("the password file {} cannot be read: {error}", path.display());
            None
        }
    }
}

fn search(text: &str, login: &Login<'_>) -> Option<(String, usize)> {
    let port = login.port.to_string();
    let wanted = [login.host, &port, login.dbname, login.user];
    text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')).find_map(|(index, line)| {
        let mut rest = line;
        for value in wanted {
            rest = match_field(rest, value)?;
        }
        Some((unescape(rest), index + 1))
    })
}

/// What follows the field and its colon, when the field matches.
fn match_field<'a>(line: &'a str, wanted: &str) -> Option<&'a str> {
    let mut escaped = false;
    let end = line.char_indices().find_map(|(index, character)| {
        let ends = character == ':' && !escaped;
        escaped = character == '\\' && !escaped;
        ends.then_some(index)
    })?;
    let field = &line[..end];
    (field == "*" || unescape(field) == wanted).then(|| &line[end + 1..])
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next()),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FILE: &str = "\
# host:port:database:user:password
db:5432:events:app:first
db:*:events:app:second
\\:\\:1:5432:*:app:with\\:colon\\\\
localhost:5432:a\\:b:app:socket
*:*:*:other:any:thing
";

    fn login<'a>(host: &'a str, port: u16, dbname: &'a str, user: &'a str) -> Login<'a> {
        Login { host, port, dbname, user }
    }

    #[test]
    fn the_first_line_that_matches_wins() {
        let look = |login| search(FILE, &login);
        assert_eq!(look(login("db", 5432, "events", "app")), Some(("first".into(), 2)));
        assert_eq!(look(login("db", 5433, "events", "app")), Some(("second".into(), 3)));
        assert_eq!(look(login("::1", 5432, "x", "app")), Some(("with:colon\\".into(), 4)));
        assert_eq!(look(login("localhost", 5432, "a:b", "app")), Some(("socket".into(), 5)));
        assert_eq!(look(login("x", 1, "y", "other")), Some(("any:thing".into(), 6)));
        assert_eq!(look(login("db", 5432, "events", "nobody")), None);
    }

    #[test]
    fn a_file_that_others_may_read_is_ignored() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), FILE).unwrap();
        let wanted = login("db", 5432, "events", "app");
        assert!(find(file.path(), &wanted).is_some());
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(find(file.path(), &wanted).is_none());
    }
}
