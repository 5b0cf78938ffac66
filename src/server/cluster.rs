//! The data of an embedded server: made aside and renamed when complete, so that a kill leaves
//! either no cluster or a whole one.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use super::find::Programs;
use super::place::Place;
use super::process;
use crate::{Error, Result, failpoint};

/// The database that a new cluster has.
pub(super) const DATABASE: &str = "pupctl";

/// The only role of a new cluster, a superuser.
pub(super) const USER: &str = "postgres";

/// How the names of unfinished data folders begin.
const UNFINISHED: &str = "data.unfinished-";

/// The major version that made the cluster; `None` where there is no cluster.
pub(super) fn major(place: &Place) -> Result<Option<u32>> {
    let path = place.data().join("PG_VERSION");
    match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|_| {
            Error::invalid(format!("{} does not hold a version: {text:?}", path.display()))
                .hint("restore the file, or remove the folder with all its data")
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::system(format!("cannot read {}", path.display()), error)
            .hint("run pupctl as the owner of that folder")),
    }
}

/// Makes the cluster where there is none.
pub(super) fn make(place: &Place, programs: &Programs, sync: bool) -> Result<()> {
    remove_unfinished(place);
    if place.data().exists() {
        return Ok(());
    }
    tracing::info!("making a PostgreSQL {} cluster in {}", programs.version, place.home.display());
    // A name of its own: the initdb of a killed run may still be writing into its folder.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let name = format!("{UNFINISHED}{}-{now}", std::process::id());
    fill(place, programs, &name, sync)?;
    failpoint::reach("embedded::before_rename");
    let system = |error| Error::system(format!("cannot make {}", place.data().display()), error);
    std::fs::rename(place.home.join(&name), place.data()).map_err(system)?;
    if sync {
        File::open(&place.home).and_then(|home| home.sync_all()).map_err(system)?;
    }
    failpoint::reach("embedded::after_rename");
    Ok(())
}

fn fill(place: &Place, programs: &Programs, name: &str, sync: bool) -> Result<()> {
    // Trusting everybody is safe behind a socket in a folder that only the server's user enters.
    let user = format!("--username={USER}");
    let mut arguments = vec!["--pgdata", name, "--locale=C", "--encoding=UTF8", "--auth=trust"];
    arguments.push(&user);
    if !sync {
        arguments.push("--no-sync");
    }
    let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
    let output = process::run(place, programs, "initdb", &arguments, false)?;
    if !output.status.success() {
        let home = place.home.display();
        return Err(process::failed(&format!("initdb failed in {home}"), &output));
    }
    failpoint::reach("embedded::after_initdb");
    create_database(place, programs, name, sync)
}

/// In single-user mode, before anybody can connect: a cluster without its database never shows.
fn create_database(place: &Place, programs: &Programs, name: &str, sync: bool) -> Result<()> {
    let program = programs.program("postgres");
    let system = |error| Error::system(format!("cannot run {}", program.display()), error);
    let mut command = place.account.command(&program);
    command.current_dir(&place.home).args(["--single", "-D", name]);
    command.args(["-c", if sync { "fsync=on" } else { "fsync=off" }, USER]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut session = command.spawn().map_err(system)?;
    if let Some(mut input) = session.stdin.take() {
        // A session that ended early says why below.
        let _ = writeln!(input, "CREATE DATABASE {DATABASE};");
    }
    let output = session.wait_with_output().map_err(system)?;
    // A statement that failed does not show in the exit status of single-user mode.
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || said.contains("ERROR:") {
        return Err(process::failed(&format!("cannot create the database {DATABASE}"), &output));
    }
    Ok(())
}

/// What killed runs left. One that cannot be removed yet is left to the next start.
fn remove_unfinished(place: &Place) {
    let Ok(entries) = std::fs::read_dir(&place.home) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED)
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            tracing::debug!("cannot remove {}: {error}", entry.path().display());
        }
    }
}

/// Removes the cluster. The server must have stopped.
pub(super) fn remove(place: &Place) -> Result<()> {
    // By one rename first, so that a kill in the middle leaves no damaged cluster.
    let last = place.home.join(format!("{UNFINISHED}removed"));
    match std::fs::rename(place.data(), &last) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(Error::system(format!("cannot remove {}", place.data().display()), error));
        }
        _ => {}
    }
    if place.has_far_socket() {
        remove_folder(&place.socket)?;
    }
    remove_folder(&place.home)
}

fn remove_folder(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::system(format!("cannot remove {}", folder.display()), error))
        }
        _ => Ok(()),
    }
}
