//! Finds the programs of a PostgreSQL server on this machine: where the user says, where
//! distributions install them, and where `scripts/setup` puts fetched ones.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::account::Account;
use crate::{Error, Result};

/// The oldest major version of PostgreSQL that pupctl works with.
pub const OLDEST: u32 = 14;

/// The variable with which the user names the folder of the server programs.
const VARIABLE: &str = "PUPCTL_PG_BIN";

/// What a cluster is made and run with.
const NEEDED: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// The programs of one PostgreSQL server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// The folder with `initdb`, `pg_ctl` and `postgres`.
    pub bin: PathBuf,
    /// The major version, for example 17.
    pub major: u32,
    /// The version in full, for example `17.5`.
    pub version: String,
}

impl Programs {
    /// The programs to prefer: those of `PUPCTL_PG_BIN`, else the first that are found, in the
    /// order `pg_config`, distribution, `PATH`, fetched.
    pub fn find() -> Result<Self> {
        if let Some(named) = named()? {
            if named.major < OLDEST {
                return Err(Error::invalid(format!(
                    "{VARIABLE} names PostgreSQL {} in {}; pupctl needs {OLDEST} or later",
                    named.version,
                    named.bin.display(),
                ))
                .hint(hint()));
            }
            return Ok(named);
        }
        candidates()
            .iter()
            .find_map(|bin| usable(bin).filter(|found| found.major >= OLDEST))
            .ok_or_else(|| {
                Error::refused(format!(
                    "no programs of a PostgreSQL {OLDEST} or later server are on this machine",
                ))
                .hint(hint())
            })
    }

    /// The programs for a cluster that was made by the given major version.
    pub fn find_major(major: u32) -> Result<Self> {
        let named = named()?;
        if let Some(named) = named {
            if named.major == major {
                return Ok(named);
            }
            return Err(Error::refused(format!(
                "PostgreSQL {major} is needed, but {VARIABLE} names PostgreSQL {} in {}",
                named.version,
                named.bin.display(),
            ))
            .hint(format!("unset {VARIABLE}, or name a folder with PostgreSQL {major}")));
        }
        let found: Vec<Self> = candidates().iter().filter_map(|bin| usable(bin)).collect();
        if let Some(matching) = found.iter().find(|programs| programs.major == major) {
            return Ok(matching.clone());
        }
        let others: Vec<&str> = found.iter().map(|programs| programs.version.as_str()).collect();
        let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
        Err(Error::refused(format!(
            "PostgreSQL {major} is needed, but its server programs are not on this machine; \
             found: {others}",
        ))
        .hint(format!("run `scripts/setup --postgres {major}`, or install PostgreSQL {major}")))
    }

    /// The programs in one folder, whatever their version.
    pub fn in_folder(bin: impl AsRef<Path>) -> Result<Self> {
        let given = bin.as_ref();
        // The programs run in other folders than the caller's.
        let bin = std::path::absolute(given).unwrap_or_else(|_| given.to_owned());
        if let Some(missing) = NEEDED.iter().find(|name| !bin.join(name).is_file()) {
            return Err(Error::invalid(format!("{} has no program {missing}", bin.display())));
        }
        let postgres = bin.join("postgres");
        // Asked as the user that will run the server: root reads folders which that user cannot.
        let output =
            Account::choose().command(&postgres).arg("--version").output().map_err(|error| {
                Error::system(format!("cannot run {}", postgres.display()), error)
            })?;
        let text = String::from_utf8_lossy(&output.stdout);
        let Some((major, version)) = version(&text).filter(|_| output.status.success()) else {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Error::invalid(format!("{} does not run", postgres.display()))
                .details(said.lines().map(str::to_owned)));
        };
        Ok(Self { bin, major, version })
    }

    /// The path of one of the programs.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

fn hint() -> String {
    format!(
        "install a server (the package `postgresql` of Debian and Homebrew, `postgresql-server` \
         of Fedora), or run `scripts/setup`, or name the folder of the programs in {VARIABLE}",
    )
}

/// What `PUPCTL_PG_BIN` names. A wrong value is an error, never passed over.
fn named() -> Result<Option<Programs>> {
    let Some(bin) = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    Programs::in_folder(&bin).map(Some).map_err(|error| {
        Error::invalid(format!("{VARIABLE} is of no use: {error}"))
            .details(error.detail_lines().to_vec())
            .hint("set it to the folder with initdb, pg_ctl and postgres, or unset it")
    })
}

fn usable(bin: &Path) -> Option<Programs> {
    if !bin.join("postgres").is_file() {
        return None;
    }
    Programs::in_folder(bin)
        .inspect_err(|error| tracing::debug!("passed over server programs: {error}"))
        .ok()
}

/// Every folder that may hold server programs, the preferred first.
fn candidates() -> Vec<PathBuf> {
    let mut bins = Vec::new();
    bins.extend(told_by_pg_config());
    bins.extend(numbered(Path::new("/usr/lib/postgresql"), ""));
    bins.extend(numbered(Path::new("/usr"), "pgsql-"));
    for brew in ["/opt/homebrew/opt", "/usr/local/opt", "/home/linuxbrew/.linuxbrew/opt"] {
        bins.extend(numbered(Path::new(brew), "postgresql@"));
        bins.push(Path::new(brew).join("postgresql/bin"));
    }
    if let Some(path) = std::env::var_os("PATH") {
        bins.extend(std::env::split_paths(&path).filter(|bin| bin.is_absolute()));
    }
    bins.push(PathBuf::from("/usr/bin"));
    for cache in caches() {
        bins.extend(numbered(&cache.join("pupctl/postgresql"), ""));
    }
    bins
}

fn told_by_pg_config() -> Option<PathBuf> {
    let mut command = Command::new("pg_config");
    let output = command.arg("--bindir").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(text.trim())).filter(|bin| bin.is_absolute())
}

/// Where `scripts/setup` unpacks fetched programs: for root in the cache of the machine, because
/// the user of the server cannot look into root's own.
fn caches() -> Vec<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let own = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    own.into_iter().chain([PathBuf::from("/var/cache")]).collect()
}

/// `<parent>/<prefix><number>/bin`, the highest number first.
fn numbered(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let mut found: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((number, entry.path().join("bin")))
        })
        .collect();
    found.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    found.into_iter().map(|(_, bin)| bin).collect()
}

/// Reads `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`.
fn version(text: &str) -> Option<(u32, String)> {
    let version = text.split_once("(PostgreSQL)")?.1.split_whitespace().next()?;
    let digits = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    Some((version[..digits].parse().ok()?, version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions() {
        let debian = "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n";
        assert_eq!(version(debian), Some((15, "15.14".to_owned())));
        assert_eq!(version("postgres (PostgreSQL) 19beta1"), Some((19, "19beta1".to_owned())));
        assert_eq!(version("postgres (PostgreSQL)"), None);
        assert_eq!(version("bash 5"), None);
    }

    #[test]
    fn prefers_the_newest_of_a_place() {
        let place = tempfile::tempdir().expect("a folder");
        for name in ["pg-9", "pg-18", "pg-15", "pg-x", "other"] {
            std::fs::create_dir(place.path().join(name)).expect("a folder");
        }
        let found: Vec<PathBuf> = numbered(place.path(), "pg-");
        let expected: Vec<PathBuf> =
            ["pg-18", "pg-15", "pg-9"].map(|name| place.path().join(name).join("bin")).into();
        assert_eq!(found, expected);
    }

    #[test]
    fn names_the_program_that_a_folder_lacks() {
        let place = tempfile::tempdir().expect("a folder");
        let error = Programs::in_folder(place.path()).expect_err("an empty folder");
        assert!(error.message().ends_with("has no program initdb"), "{error}");
    }
}
