//! Manual pages: one for each command, which formatters take without a word.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use clap::CommandFactory;
use pupctl::command::Cli;

use crate::support::Output;
use crate::{program, pupctl};

/// The pages that there should be.
fn wanted() -> BTreeSet<String> {
    fn walk(command: &clap::Command, name: &str, found: &mut BTreeSet<String>) {
        found.insert(format!("{name}.1"));
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            walk(sub, &format!("{name}-{}", sub.get_name()), found);
        }
    }
    let mut found = BTreeSet::new();
    walk(&Cli::command(), "pupctl", &mut found);
    found
}

#[test]
fn every_command_has_a_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = || pupctl(folder.path(), &["man", "--dir", "share/man1"]).run().success();
    let output = run();
    assert!(output.stderr.contains("pages written to share/man1"), "{output}");
    let found: BTreeSet<_> = fs::read_dir(folder.path().join("share/man1"))
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(found, wanted());
    // Once more is the same.
    run();
    let page = fs::read_to_string(folder.path().join("share/man1/pupctl-partitions-ensure.1"));
    let page = page.expect("a page");
    assert!(page.contains(".TH PUPCTL-PARTITIONS-ENSURE 1"), "{page}");
    assert!(page.contains("\\fB\\-\\-months\\fR"), "{page}");
    let printed = pupctl(folder.path(), &["man", "partitions", "ensure"]).run().success();
    assert_eq!(printed.stdout, page);
}

/// Formatters of this machine, and how they are asked to complain.
fn formatters() -> Vec<Command> {
    let mut found = Vec::new();
    if let Some(mandoc) = program("mandoc") {
        let mut command = Command::new(mandoc);
        // Pages that are made anew have no date.
        command.args(["-Tlint", "-Werror"]);
        found.push(command);
    }
    if let Some(groff) = program("groff") {
        let mut command = Command::new(groff);
        command.args(["-ww", "-man", "-Tutf8", "-z", "-rLL=100n"]);
        found.push(command);
    }
    found
}

#[test]
fn formatters_have_nothing_to_complain_about() {
    let folder = tempfile::tempdir().expect("a folder");
    let _ = pupctl(folder.path(), &["man", "--dir", "."]).run().success();
    for mut formatter in formatters() {
        let pages = wanted().into_iter().map(|page| folder.path().join(page));
        let output = Output::of(formatter.args(pages)).success();
        assert_eq!(output.stderr, "", "{output}");
    }
}

#[test]
fn what_it_cannot_do_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = pupctl(folder.path(), &["man", "partitions", "ensrue"]).run().failure(2);
    assert!(output.stderr.contains("there is no command partitions ensrue"), "{output}");
    let output = pupctl(folder.path(), &["man", "--dry-run"]).run().failure(2);
    assert!(output.stderr.contains("hint: leave out --dry-run"), "{output}");
    fs::write(folder.path().join("file"), "").expect("a file");
    let output = pupctl(folder.path(), &["man", "--dir", "file/man1"]).run().failure(1);
    assert!(output.stderr.contains("cannot make file/man1"), "{output}");
}
