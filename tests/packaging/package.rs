//! What goes into the packages, and the unit that is one of its files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory;
use pupctl::command::Cli;

use crate::support::Output;
use crate::{program, root};

fn lines_of(command: &mut Command) -> BTreeSet<String> {
    let output = Output::of(command.current_dir(root())).success();
    output.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn the_crate_has_what_its_build_needs() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let listed = lines_of(Command::new(cargo).args([
        "package",
        "--list",
        "--allow-dirty",
        "--offline",
        "--quiet",
    ]));
    let tracked = lines_of(Command::new("git").args([
        "-c",
        "safe.directory=*",
        "ls-files",
        "src",
        "sql",
        "templates",
    ]));
    assert!(tracked.len() > 100, "{tracked:?}");
    let missing: Vec<_> = tracked.difference(&listed).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // What the code includes from elsewhere.
    for path in tracked.iter().filter(|path| path.starts_with("src/")) {
        let source = fs::read_to_string(root().join(path)).expect("a source");
        for included in source.split("include_str!(\"").skip(1) {
            let included = included.split('"').next().unwrap_or_default();
            let place = root().join(path).with_file_name(included);
            let Ok(place) = place.canonicalize() else { continue };
            let place = place.strip_prefix(root().canonicalize().expect("the root"));
            let place = place.expect("a file of the repository").display().to_string();
            assert!(listed.contains(&place), "{path} includes {place}, which is not packaged");
        }
    }
    let unwanted = |path: &&String| {
        path.starts_with("tests/") && !path.starts_with("tests/data/") || path.starts_with("docs/")
    };
    assert_eq!(listed.iter().find(unwanted), None);
}

/// What goes into the Debian package, and where to.
fn assets() -> Vec<(String, String)> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
    let assets = manifest.split("assets = [").nth(1).and_then(|rest| rest.split("\n]").next());
    let asset = |line: &str| {
        let mut words = line.split('"').skip(1).step_by(2).map(str::to_owned);
        Some((words.next()?, words.next()?))
    };
    assets.expect("assets").lines().filter_map(asset).collect()
}

/// The files of the repository that the Debian package has, by where they lie in it.
fn installed() -> BTreeMap<PathBuf, String> {
    let listed = lines_of(Command::new("git").args(["-c", "safe.directory=*", "ls-files"]));
    let mut installed = BTreeMap::new();
    for (source, target) in assets() {
        // As cargo-deb does it: folders below the first star stay folders.
        let folder = source.split('*').next().unwrap_or_default();
        let ending = source.rsplit('*').next().unwrap_or_default();
        for path in listed.iter().filter(|path| path.starts_with(folder) && path.ends_with(ending))
        {
            let rest = if source.contains('*') { &path[folder.len()..] } else { "" };
            let rest = if rest.is_empty() { path.rsplit('/').next().unwrap_or(path) } else { rest };
            let name =
                if target.ends_with('/') { format!("{target}{rest}") } else { target.clone() };
            installed.insert(PathBuf::from(name), path.clone());
        }
    }
    installed
}

#[test]
fn examples_that_the_documents_point_to_are_in_the_debian_package() {
    let installed = installed();
    let mut count = 0;
    let pages = installed.iter().filter(|(place, _)| place.extension().is_some_and(|e| e == "md"));
    for (place, source) in pages {
        let text = fs::read_to_string(root().join(source)).expect("a page");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !link.split('/').any(|part| ["examples", "scripts"].contains(&part)) {
                continue;
            }
            let mut target = place.parent().expect("a folder").to_owned();
            for part in link.split('/') {
                if part == ".." {
                    assert!(target.pop(), "{source}: {link}");
                } else {
                    target.push(part);
                }
            }
            let is_there = installed.keys().any(|file| file.starts_with(&target));
            assert!(is_there, "{source}: {link} is not installed as {}", target.display());
            count += 1;
        }
    }
    assert!(count > 20, "only {count} links found: the search is broken");
    for file in [
        "ensure-partitions.sh",
        "prometheus/alerts.yml",
        "prometheus/alerts_test.yml",
        "projections/user_count.sql",
        "support/mod.rs",
        "pupctl.example.toml",
    ] {
        let place = Path::new("usr/share/doc/pupctl/examples").join(file);
        assert!(installed.contains_key(&place), "{file}");
    }
}

#[test]
fn the_files_of_the_debian_package_are_there() {
    let mut count = 0;
    for (source, _) in assets() {
        // scripts/package makes these.
        if source.starts_with("target/") {
            continue;
        }
        let folder = source.split('*').next().unwrap_or_default();
        assert!(root().join(folder).exists(), "{source}");
        count += 1;
    }
    assert!(count >= 4, "only {count} assets: the search is broken");
}

/// The command of the unit, as systemd starts it.
fn exec_start() -> Vec<String> {
    let unit = fs::read_to_string(root().join("packaging/debian/pupctl-schedule.service"));
    let unit = unit.expect("the unit").replace("\\\n", "");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn the_unit_starts_a_command_that_exists() {
    let words = exec_start();
    assert_eq!(words[0], "/usr/bin/pupctl");
    let mut program = Cli::command();
    program.build();
    // Packages of branches that have no daemon yet have no use for the unit either.
    if program.find_subcommand("schedule").is_some() {
        program.try_get_matches_from(words).expect("arguments that are accepted");
    }
}

#[test]
fn systemd_takes_the_unit() {
    let Some(analyze) = program("systemd-analyze") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let unit = fs::read_to_string(root().join("packaging/debian/pupctl-schedule.service"));
    // It looks for the program, which is not installed here.
    let here = env!("CARGO_BIN_EXE_pupctl");
    let unit = unit.expect("the unit").replace("/usr/bin/pupctl", here);
    let file = folder.path().join("pupctl-schedule.service");
    fs::write(&file, unit).expect("a file");
    let mut command = Command::new(analyze);
    // Manual pages are not installed here either.
    let output = Output::of(command.args(["verify", "--man=no"]).arg(&file)).success();
    let ours: Vec<_> =
        output.stderr.lines().filter(|line| line.contains("pupctl-schedule")).collect();
    assert!(ours.is_empty(), "{output}");
}

#[test]
fn scripts_have_nothing_that_a_linter_finds() {
    let Some(shellcheck) = program("shellcheck") else { return };
    let mut command = Command::new(shellcheck);
    let scripts = ["scripts/package", "tests/docs_run/around.sh", "tests/docs_run/cargo.sh"];
    let _ = Output::of(command.args(scripts).current_dir(root())).success();
}
