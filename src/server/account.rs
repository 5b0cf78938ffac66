//! Who runs the server. PostgreSQL refuses to run as root, so root hands the work to an
//! unprivileged user; everybody else runs it as themselves.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Error, Result};

/// A user other than the caller, in whose name programs run.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unprivileged {
    uid: u32,
    gid: u32,
}

/// The user of the server: the caller, or for root an unprivileged one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account(Option<Unprivileged>);

impl Account {
    /// The caller; for root the user `postgres` of this machine, else `nobody`.
    pub(super) fn choose() -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self(None);
        }
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let named = ["postgres", "nobody"].iter().find_map(|name| entry(&passwd, name));
        // 65534 is `nobody` wherever there is no list of users, as in the smallest containers.
        Self(Some(named.unwrap_or(Unprivileged { uid: 65534, gid: 65534 })))
    }

    /// The user to whom an existing cluster belongs, so that root can run what an ordinary user
    /// made; `None` when it belongs to root, as which no server runs.
    pub(super) fn owner_of(data: &Metadata) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return Some(Self(None));
        }
        let owner = Unprivileged { uid: data.uid(), gid: data.gid() };
        (owner.uid != 0).then_some(Self(Some(owner)))
    }

    /// The number of the user.
    pub(super) fn uid(&self) -> u32 {
        self.0.as_ref().map_or_else(|| rustix::process::geteuid().as_raw(), |user| user.uid)
    }

    /// Whether programs run in another name than the caller's.
    pub(super) fn is_other(&self) -> bool {
        self.0.is_some()
    }

    /// A command that runs as this user, without the caller's `PG*` variables, in `/`.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        // PGDATA, PGOPTIONS, PGPORT and the like would bend what the programs do.
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        // English messages, which are read below, and the locale that the cluster has anyway.
        command.env("LC_ALL", "C").stdin(Stdio::null());
        // The caller's folder may be closed to the other user.
        command.current_dir("/");
        if let Some(user) = &self.0 {
            command.gid(user.gid).uid(user.uid);
        }
        command
    }

    /// Whether this user can enter the folder. Asked by trying: access lists count too.
    pub(super) fn reaches(&self, folder: &Path) -> bool {
        let mut shell = self.command("/bin/sh");
        shell.args(["-c", "cd -- \"$1\"", "sh"]).arg(folder);
        shell.stdout(Stdio::null()).stderr(Stdio::null());
        shell.status().is_ok_and(|status| status.success())
    }

    /// Makes a path that the caller just created the user's own.
    pub(super) fn give(&self, path: &Path) -> Result<()> {
        let Some(user) = &self.0 else { return Ok(()) };
        chown(path, Some(user.uid), Some(user.gid)).map_err(|error| {
            let uid = user.uid;
            Error::system(format!("cannot give {} to user {uid}", path.display()), error)
        })
    }
}

fn entry(passwd: &str, name: &str) -> Option<Unprivileged> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        (uid != 0).then_some(Unprivileged { uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_list_of_users() {
        let passwd = "root:x:0:0::/root:/bin/sh\npostgres:x:101:104::/:/bin/sh\nbad:x:q:1\n";
        assert_eq!(entry(passwd, "postgres"), Some(Unprivileged { uid: 101, gid: 104 }));
        assert_eq!(entry(passwd, "bad"), None);
        assert_eq!(entry(passwd, "root"), None, "never root");
        assert_eq!(entry(passwd, "nobody"), None);
    }

    #[test]
    fn reaches_the_root_but_nothing_that_is_absent() {
        assert!(Account::choose().reaches(Path::new("/")));
        assert!(!Account::choose().reaches(Path::new("/absent/folder")));
    }
}
