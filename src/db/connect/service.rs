//! Reads the service file of libpq: `[name]` sections with one `parameter=value` a line.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::parameters::{Parameters, is_known};
use crate::error::{Error, Result};

/// Where Debian's libpq looks when `PGSYSCONFDIR` is not set.
const SYSTEM_FOLDER: &str = "/etc/postgresql-common";

/// The files to look in, the user's own first.
pub(super) fn files(
    user_file: Option<&str>,
    environment: &BTreeMap<String, String>,
    home: Option<&Path>,
) -> Vec<PathBuf> {
    let own =
        user_file.map(PathBuf::from).or_else(|| home.map(|home| home.join(".pg_service.conf")));
    let folder = environment.get("PGSYSCONFDIR").map_or(SYSTEM_FOLDER, String::as_str);
    own.into_iter().chain([Path::new(folder).join("pg_service.conf")]).collect()
}

/// The parameters of the service, from the first file that has it. `origin` asked for it.
pub(super) fn load(service: &str, origin: &str, files: &[PathBuf]) -> Result<Parameters> {
    let mut looked = Vec::new();
    for path in files {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                if let Some(parameters) = parse(&text, service, path)? {
                    return Ok(parameters);
                }
                looked.push(format!("{} has no section [{service}]", path.display()));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                looked.push(format!("{} does not exist", path.display()));
            }
            Err(error) => {
                let what = format!("the service file {} cannot be read", path.display());
                return Err(Error::system(what, error));
            }
        }
    }
    Err(Error::invalid(format!("the connection service \"{service}\" (from {origin}) is unknown"))
        .details(looked)
        .hint(format!("add a section [{service}] to ~/.pg_service.conf, or set PGSERVICEFILE")))
}

/// The parameters of one section; `None` when the file has no such section.
fn parse(text: &str, service: &str, path: &Path) -> Result<Option<Parameters>> {
    let mut found: Option<Parameters> = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with('[') {
            if found.is_some() {
                break;
            }
            if line.strip_prefix('[').and_then(|name| name.strip_suffix(']')) == Some(service) {
                found = Some(Parameters::default());
            }
            continue;
        }
        if let Some(parameters) = found.as_mut() {
            let place = format!("{}, line {}", path.display(), index + 1);
            read_line(parameters, line, &place)?;
        }
    }
    Ok(found)
}

fn read_line(parameters: &mut Parameters, line: &str, place: &str) -> Result<()> {
    if line.starts_with("ldap") {
        return Err(Error::invalid(format!(
            "{place} asks for LDAP, which pupctl does not support"
        ))
        .hint("write host, port, dbname and user into the section"));
    }
    let Some((name, value)) = line.split_once('=') else {
        return Err(Error::invalid(format!("{place} has no =")).hint("write parameter=value"));
    };
    let name = name.trim();
    if name == "service" || name == "servicefile" {
        return Err(Error::invalid(format!("{place} refers to another service"))
            .hint(format!("leave {name} out of the section")));
    }
    if !is_known(name) {
        return Err(super::parameters::unknown(Some(name), place));
    }
    // The first line of a section wins, as in libpq.
    if parameters.get(name).is_none() {
        parameters.set(name, value.trim().to_owned(), place)?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FILE: &str =
        "# ours\n[other]\nhost=x\n\n[events]\nhost = db\nport=5433\nport=1\n[last]\n";

    #[test]
    fn one_section_is_read() {
        let path = Path::new("pg_service.conf");
        let parsed = parse(FILE, "events", path).unwrap().unwrap();
        assert_eq!(parsed.value("host"), Some("db"));
        assert_eq!(parsed.value("port"), Some("5433"));
        assert_eq!(parsed.get("host").unwrap().origin, "pg_service.conf, line 6");
        assert!(parse(FILE, "nobody", path).unwrap().is_none());
    }

    #[test]
    fn errors_name_file_and_line() {
        let path = Path::new("/home/a/.pg_service.conf");
        for (text, expected) in [
            ("[s]\nhost", "/home/a/.pg_service.conf, line 2 has no ="),
            ("[s]\n\nservice=t", "/home/a/.pg_service.conf, line 3 refers to another service"),
            ("[s]\nldap://x", "/home/a/.pg_service.conf, line 2 asks for LDAP"),
            ("[s]\ncolor=x", "line 2 sets the connection parameter \"color\""),
        ] {
            let error = parse(text, "s", path).unwrap_err();
            assert!(error.message().contains(expected), "{error}");
        }
    }

    #[test]
    fn an_unknown_service_names_the_files() {
        let files = [PathBuf::from("/nowhere/pg_service.conf")];
        let error = load("events", "PGSERVICE", &files).unwrap_err();
        assert_eq!(
            error.message(),
            "the connection service \"events\" (from PGSERVICE) is unknown"
        );
        assert_eq!(error.detail_lines(), ["/nowhere/pg_service.conf does not exist"]);
    }
}
