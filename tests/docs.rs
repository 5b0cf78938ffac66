//! The documents say what is true: generated pages are current, commands in them exist, links
//! lead somewhere.

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use pupctl::cli::reference;
use pupctl::command::Cli;
use pupctl::finding::area::AREAS;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compares a page with what the program says; `scripts/generate-docs` writes it instead.
fn compare(page: &str, wanted: &str) {
    let path = root().join(page);
    if std::env::var_os("PUPCTL_GENERATE_DOCS").is_some() {
        fs::write(&path, wanted).expect("the page can be written");
        return;
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "{page} is old: run scripts/generate-docs");
}

#[test]
fn reference_of_the_commands_is_current() {
    compare("docs/reference/cli.md", &reference::cli(Cli::command()));
}

#[test]
fn reference_of_the_configuration_is_current() {
    compare("docs/reference/config.md", &reference::config());
}

#[test]
fn every_kind_of_finding_is_explained() {
    let page = fs::read_to_string(root().join("docs/reference/findings.md")).expect("the page");
    let folder = root().join("src/finding");
    for entry in fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        let is_other = path.file_name().is_some_and(|name| name == "tests.rs" || name == "mod.rs");
        if is_other || path.is_dir() {
            continue;
        }
        let source = fs::read_to_string(&path).expect("a file");
        for check in checks(&source) {
            // Which `pupctl doctor` names as an anchor of the page.
            let headings = page.matches(&format!("\n### `{check}`\n")).count();
            assert_eq!(headings, 1, "{check} has no section of its own in findings.md");
            let areas = AREAS.iter().filter(|area| area.checks.contains(&check.as_str())).count();
            let is_of_none = ["not_seen", "not_checked"].contains(&check.as_str());
            assert_eq!(areas, usize::from(!is_of_none), "{check} has no area in finding::area");
        }
    }
}

/// The first argument of `Finding::error("…"`, `Finding::warning("…"` and `Finding::notice("…"`.
fn checks(source: &str) -> Vec<String> {
    ["Finding::error(", "Finding::warning(", "Finding::notice("]
        .iter()
        .flat_map(|call| source.split(call).skip(1))
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
        .map(str::to_owned)
        .collect()
}

fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

#[test]
fn commands_in_the_documents_are_accepted_by_the_program() {
    let mut count = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        let mut fence = String::new();
        for line in text.lines() {
            if let Some(kind) = line.strip_prefix("```") {
                kind.clone_into(&mut fence);
            }
            // A console shows what people type; in the help, examples are indented by two.
            let command = match fence.as_str() {
                "console" => line.trim_start_matches("$ ").strip_prefix("pupctl "),
                "text" => line.strip_prefix("  pupctl "),
                _ => None,
            };
            let Some(arguments) = command else { continue };
            let words =
                arguments.split(['#', '>', '|']).next().unwrap_or_default().split_whitespace();
            let parsed =
                Cli::command().try_get_matches_from(std::iter::once("pupctl").chain(words));
            if let Err(error) = parsed {
                panic!("{}: `{line}`: {error}", page.display());
            }
            count += 1;
        }
    }
    assert!(count > 20, "only {count} commands found: the search is broken");
}

#[test]
fn no_page_waits_for_its_figures() {
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        let found = text.lines().find(|line| line.contains("@@"));
        assert_eq!(found, None, "{} has a placeholder", page.display());
    }
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") || link.starts_with('#') {
                continue;
            }
            let file = link.split('#').next().unwrap_or_default();
            let target = page.parent().expect("a folder").join(file);
            assert!(target.exists(), "{}: {link} leads nowhere", page.display());
        }
    }
}

#[test]
fn every_page_is_in_the_index() {
    let index = fs::read_to_string(root().join("docs/README.md")).expect("the page");
    for page in pages() {
        let Ok(path) = page.strip_prefix(root().join("docs")) else { continue };
        let path = path.display().to_string();
        assert!(path == "README.md" || index.contains(&format!("({path}")), "{path}");
    }
}

#[test]
fn the_projection_in_the_readme_is_the_one_that_is_compiled() {
    let source = fs::read_to_string(root().join("src/projection/mod.rs")).expect("the module");
    let mut example = String::new();
    // What the documentation shows of its example: lines that begin with `# ` are hidden there.
    let lines = source.lines().map(|line| line.trim_start_matches("//!"));
    for line in lines.skip_while(|line| *line != " ```no_run").skip(1) {
        let line = line.strip_prefix(' ').unwrap_or(line);
        if line == "```" {
            break;
        }
        if !line.starts_with("# ") {
            example.push_str(line);
            example.push('\n');
        }
    }
    assert!(example.lines().count() >= 15, "{example}");
    let readme = fs::read_to_string(root().join("README.md")).expect("the page");
    assert!(readme.contains(&example), "the README has another example than:\n{example}");
}
