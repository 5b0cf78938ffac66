//! Every command of the documents is run, page by page and in order, in a folder of its own and
//! against a database of its own; it has to end as the page says. CONTRIBUTING.md tells how pages
//! say it.

#[path = "../support/mod.rs"]
mod support;

mod page;
mod shell;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use page::Step;
use shell::{Call, Shell, root};

/// A test for each page, and their list.
macro_rules! pages {
    ($($name:ident: $page:literal,)*) => {
        const PAGES: &[&str] = &[$($page),*];

        mod pages {
            $(
                #[test]
                fn $name() {
                    super::run($page);
                }
            )*
        }
    };
}

pages! {
    readme: "README.md",
    ci: "docs/ci.md",
    runbook: "docs/runbook.md",
    tutorial: "docs/tutorial.md",
    layouts: "docs/concepts/layouts.md",
    operations: "docs/concepts/operations.md",
    append_and_read: "docs/how-to/append-and-read.md",
    archive: "docs/how-to/archive.md",
    attach_and_detach: "docs/how-to/attach-and-detach.md",
    choose_a_layout: "docs/how-to/choose-a-layout.md",
    close_months: "docs/how-to/close-months.md",
    contexts: "docs/how-to/contexts.md",
    convert: "docs/how-to/convert.md",
    copy_a_store: "docs/how-to/copy-a-store.md",
    cron: "docs/how-to/cron.md",
    dead_letters: "docs/how-to/dead-letters.md",
    doctor: "docs/how-to/doctor.md",
    embedded: "docs/how-to/embedded.md",
    import_events: "docs/how-to/import-events.md",
    indexes: "docs/how-to/indexes.md",
    install: "docs/how-to/install.md",
    migrations: "docs/how-to/migrations.md",
    projections: "docs/how-to/projections.md",
    rebuild_projections: "docs/how-to/rebuild-projections.md",
    rescale_projections: "docs/how-to/rescale-projections.md",
    run_projections: "docs/how-to/run-projections.md",
    scale_projections: "docs/how-to/scale-projections.md",
    sql_projections: "docs/how-to/sql-projections.md",
    verify_projections: "docs/how-to/verify-projections.md",
    write_projections: "docs/how-to/write-projections.md",
    output: "docs/reference/output.md",
}

/// How many blocks are not run, each for the reason that its page gives.
const SKIPPED_MAX: usize = 4;

/// Runs a page.
fn run(name: &str) {
    let text = fs::read_to_string(root().join(name)).expect("a page");
    let steps = page::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut shell = Shell::new();
    let mut told = String::new();
    for step in steps {
        let (line, failure) = match step {
            Step::Fresh => {
                shell = Shell::new();
                continue;
            }
            Step::Skipped { .. } => continue,
            Step::Prepare { line, script } => {
                let call = Call { text: &script, is_script: true, ..Call::default() };
                let ended = shell.run(&call);
                let _ = writeln!(told, "(prepared: exit code {:?})\n{}", ended.code, ended.output);
                let failed = ended.code != Some(0);
                (line, failed.then(|| "its preparation failed".to_owned()))
            }
            Step::Command(command) => {
                let (runs_for, yes) = (command.runs_for, command.yes);
                let call = Call { text: &command.text, runs_for, yes, is_script: false };
                let ended = shell.run(&call);
                let _ = writeln!(told, "$ {}\n{}", command.text, ended.output);
                (command.line, failure(&command, &ended))
            }
        };
        if let Some(failure) = failure {
            panic!("{name}:{line}: {failure}\n\n{told}");
        }
    }
}

/// What is wrong with the end of a command.
fn failure(command: &page::Command, ended: &shell::Ended) -> Option<String> {
    if ended.code != Some(command.exit) {
        return Some(format!("exit code {:?} instead of {}", ended.code, command.exit));
    }
    let wanted = command.output.as_ref()?;
    let found: Vec<_> = ended.output.lines().collect();
    let differs = !page::shows(wanted, &found);
    differs.then(|| format!("it prints something else than\n{}", wanted.join("\n")))
}

fn all_pages() -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("README.md"), PathBuf::from("CONTRIBUTING.md")];
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("a folder") {
            let entry = entry.expect("an entry");
            let path = folder.join(entry.file_name());
            let kind = entry.file_type().expect("a kind");
            if kind.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.retain(|file| file.extension().is_some_and(|ending| ending == "md"));
    files
}

fn pages_with_consoles() -> BTreeSet<String> {
    let has_console = |file: &&PathBuf| {
        let text = fs::read_to_string(root().join(file)).expect("a page");
        text.lines().any(|line| line.trim_start() == "```console")
    };
    all_pages().iter().filter(has_console).map(|file| file.display().to_string()).collect()
}

#[test]
fn every_page_with_commands_is_run() {
    let listed: BTreeSet<_> = PAGES.iter().map(|&page| page.to_owned()).collect();
    assert_eq!(listed, pages_with_consoles(), "tests/docs_run/main.rs lists the pages");
}

/// What stands in other blocks of a shell is for other programs, and not run.
#[test]
fn commands_of_pupctl_stand_in_consoles() {
    for page in all_pages() {
        let text = fs::read_to_string(root().join(&page)).expect("a page");
        let mut fence = String::new();
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(kind) = line.trim_start().strip_prefix("```") {
                kind.clone_into(&mut fence);
            }
            let is_ours = line.trim_start_matches("$ ").starts_with("pupctl ");
            let is_shell = ["sh", "bash", "shell"].contains(&fence.as_str());
            assert!(!(is_ours && is_shell), "{}:{number}: `{line}` is not run", page.display());
        }
    }
}

#[test]
fn few_commands_are_not_run() {
    let mut skipped = Vec::new();
    for page in PAGES {
        let text = fs::read_to_string(root().join(page)).expect("a page");
        for step in page::parse(&text).unwrap_or_else(|error| panic!("{page}: {error}")) {
            if let Step::Skipped { line, reason } = step {
                skipped.push(format!("{page}:{line}: {reason}"));
            }
        }
    }
    assert!(skipped.len() <= SKIPPED_MAX, "too many are skipped:\n{}", skipped.join("\n"));
}
