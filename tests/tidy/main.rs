//! The house keeps its order: which module may use which, where SQL is, what files look like.
//!
//! Every list of exceptions is complete: an entry that nothing needs any more fails the test.

#[path = "../support/mod.rs"]
mod support;

mod lists;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use clap::CommandFactory;
use lists::{EDGES, IGNORED, LITERAL_SQL, LONG_FILES, MACHINE_PATHS, PURE, TERMINAL};
use pupctl::command::Cli;

/// A tracked file, or one that is about to be.
struct File {
    path: String,
    text: String,
}

impl File {
    fn is_code(&self) -> bool {
        has_extension(&self.path, "rs")
    }

    /// The module of the crate in which it is.
    fn module(&self) -> Option<&str> {
        let rest = self.path.strip_prefix("src/")?;
        let name = rest.split('/').next().unwrap_or_default();
        Some(name.strip_suffix(".rs").unwrap_or(name))
    }

    /// The code without comments and without the tests at its end.
    fn code(&self) -> String {
        let end = self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        self.text[..end].lines().filter(is_code).collect::<Vec<_>>().join("\n")
    }
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == extension)
}

fn git(arguments: &[&str]) -> Vec<String> {
    let mut command = Command::new("git");
    // A checkout may belong to somebody else than the user of the tests.
    command.args(["-c", "safe.directory=*"]).args(arguments);
    let output = support::Output::of(command.current_dir(env!("CARGO_MANIFEST_DIR"))).success();
    output.stdout.lines().map(str::to_owned).collect()
}

/// All text files of the repository.
fn files() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files: Vec<_> = git(&["ls-files", "--cached", "--others", "--exclude-standard"])
        .into_iter()
        // One that was deleted, but not committed, is gone; one that is no text has no lines.
        .filter_map(|path| {
            Some(File { text: std::fs::read_to_string(root.join(&path)).ok()?, path })
        })
        .collect();
    assert!(files.len() > 100, "only {} files", files.len());
    files
}

fn sources() -> Vec<File> {
    let is_source = |file: &File| {
        file.is_code() && file.path.starts_with("src/") && !file.path.ends_with("/tests.rs")
    };
    files().into_iter().filter(is_source).collect()
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The words that follow a prefix, as `layout` in `crate::layout::Role`; a list in braces gives
/// each of its own.
fn words_after(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (position, _) in code.match_indices(prefix) {
        let before = code[..position].chars().next_back();
        if before.is_some_and(|before| is_word(before) || before == ':') {
            continue;
        }
        let rest = &code[position + prefix.len()..];
        let list = rest.strip_prefix('{').and_then(|list| list.split('}').next());
        for item in
            list.unwrap_or(rest).split(',').take(if list.is_some() { usize::MAX } else { 1 })
        {
            let word: String = item.trim_start().chars().take_while(|&c| is_word(c)).collect();
            found.insert(word);
        }
    }
    found
}

/// The text literals of Rust code that has no comments.
fn literals(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.find('"') {
        let (before, after) = (&rest[..start], &rest[start + 1..]);
        if before.ends_with('\'') && after.starts_with('\'') {
            rest = &after[1..];
            continue;
        }
        let hashes = before.len() - before.trim_end_matches('#').len();
        let raw = before.trim_end_matches('#').ends_with('r');
        let end = if raw {
            after.find(&format!("\"{}", "#".repeat(hashes)))
        } else {
            let mut escaped = false;
            after.find(|character| {
                let ends = character == '"' && !escaped;
                escaped = character == '\\' && !escaped;
                ends
            })
        };
        let end = end.expect("a literal ends");
        found.push(after[..end].to_owned());
        rest = &after[end + 1..];
    }
    found
}

/// Fails unless there are no complaints.
#[track_caller]
fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n  {}\n", complaints.join("\n  "));
}

#[test]
fn modules_use_only_what_lies_below_them() {
    let mut complaints = Vec::new();
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in sources() {
        let module = file.module().expect("a module").to_owned();
        if ["main", "lib"].contains(&module.as_str()) {
            continue;
        }
        let code = file.code();
        if code.contains("super::super") {
            complaints.push(format!("{}: super::super hides where it leads", file.path));
        }
        for word in words_after(&code, "crate::").into_iter().chain(words_after(&code, "$crate::"))
        {
            let other = match word.as_str() {
                "Error" | "Result" => "error".to_owned(),
                _ => word,
            };
            if other != module {
                found.entry(module.clone()).or_default().insert(other);
            }
        }
        found.entry(module).or_default();
    }
    for (position, (module, allowed)) in EDGES.iter().enumerate() {
        let above: Vec<_> = EDGES[..position].iter().map(|(name, _)| *name).collect();
        for other in allowed.iter().filter(|other| !above.contains(other)) {
            complaints.push(format!("EDGES: {module} may not come before {other}"));
        }
        let actual = found.remove(*module).unwrap_or_default();
        let allowed: BTreeSet<_> = allowed.iter().map(|&other| other.to_owned()).collect();
        for other in actual.difference(&allowed) {
            complaints.push(format!("{module} uses {other}, which it may not"));
        }
        for other in allowed.difference(&actual) {
            complaints.push(format!("EDGES: {module} does not use {other} any more"));
        }
    }
    complaints.extend(found.keys().map(|module| format!("EDGES does not know {module}")));
    none(&complaints);
}

#[test]
fn pure_modules_have_no_database_no_clock_and_no_environment() {
    let mut complaints = Vec::new();
    for file in sources().iter().filter(|file| PURE.contains(&file.module().unwrap_or_default())) {
        let code = file.code();
        for forbidden in
            ["postgres::", "::now()", "std::env", "std::fs", "std::process", "std::net", "Instant"]
        {
            if code.contains(forbidden) {
                complaints.push(format!("{}: {forbidden}", file.path));
            }
        }
    }
    none(&complaints);
}

#[test]
fn only_commands_know_the_terminal() {
    let mut complaints = Vec::new();
    for file in sources() {
        if ["cli", "command", "main"].contains(&file.module().unwrap_or_default()) {
            continue;
        }
        let code = file.code();
        for name in TERMINAL {
            let at = code
                .match_indices(&format!("{name}::"))
                .any(|(position, _)| !code[..position].chars().next_back().is_some_and(is_word));
            if at {
                complaints.push(format!("{}: {name}", file.path));
            }
        }
    }
    none(&complaints);
}

#[test]
fn every_template_and_every_sql_file_is_used() {
    let files = files();
    let named = |prefix: &str, suffix: &str| -> BTreeSet<String> {
        let inner =
            |file: &File| Some(file.path.strip_prefix(prefix)?.strip_suffix(suffix)?.to_owned());
        files.iter().filter_map(inner).collect()
    };
    let environment = files.iter().find(|file| file.path == "src/render/environment.rs");
    let code = environment.expect("the template environment").code();
    let list = code.split("= templates![").nth(1).and_then(|rest| rest.split(']').next());
    let listed: Vec<_> = literals(list.expect("the list of templates"));
    assert!(listed.is_sorted(), "the list of templates is not sorted");
    assert_eq!(named("templates/", ".sql.j2"), listed.iter().cloned().collect());

    let all: Vec<String> = sources().iter().flat_map(|file| literals(&file.code())).collect();
    let templates: Vec<_> = files.iter().filter(|file| has_extension(&file.path, "j2")).collect();
    let mut complaints = Vec::new();
    for name in &listed {
        // Migrations are rendered by the name that their set and version make.
        let imported = templates.iter().any(|file| file.text.contains(&format!("{name}.sql.j2")))
            || templates.iter().any(|file| file.text.contains(&format!("\"{name}\"")));
        let rendered = all.iter().filter(|literal| *literal == name).count() > 1;
        if !name.contains("/V") && !rendered && !imported {
            complaints.push(format!("templates/{name}.sql.j2 is never rendered"));
        }
    }
    let included = |path: &str| all.iter().any(|literal| literal.ends_with(&format!("/{path}")));
    // Projections that users write are found by their folder.
    let is_users = |path: &str| path.starts_with("examples/") || path.starts_with("tests/");
    let ours =
        files.iter().filter(|file| has_extension(&file.path, "sql") && !is_users(&file.path));
    for file in ours {
        if !file.path.starts_with("sql/") || !included(&file.path) {
            complaints.push(format!("{} is never included", file.path));
        }
    }
    none(&complaints);
}

#[test]
fn every_page_is_listed_and_cannot_get_around_its_escape() {
    let files = files();
    let listed = files.iter().find(|file| file.path == "src/render/html.rs");
    let code = listed.expect("the environment of pages").code();
    let listed: BTreeSet<_> = literals(&code)
        .into_iter()
        .filter(|literal| literal.starts_with("report/") && !literal.contains(' '))
        .collect();
    let pages: Vec<_> =
        files.iter().filter(|file| file.path.starts_with("templates/report/")).collect();
    let names: BTreeSet<_> =
        pages.iter().map(|file| file.path.replacen("templates/", "", 1)).collect();
    assert_eq!(listed, names);
    let mut complaints = Vec::new();
    for file in pages {
        for value in file.text.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
            if value.contains('|') {
                complaints.push(format!("{}: {value} has a filter", file.path));
            }
        }
        // What is named in attributes is quoted there, or a space would end it.
        if file.text.contains("={{") {
            complaints.push(format!("{}: an attribute without quotes", file.path));
        }
        for word in ["autoescape", "{% macro", "{% set", "http://", "https://", " on", " src="] {
            let is_there = match word {
                " on" => file.text.split(" on").skip(1).any(|rest| {
                    let name: String = rest.chars().take_while(char::is_ascii_lowercase).collect();
                    !name.is_empty() && rest[name.len()..].starts_with('=')
                }),
                _ => file.text.contains(word),
            };
            if is_there {
                complaints.push(format!("{}: {word}", file.path));
            }
        }
    }
    none(&complaints);
}

#[test]
fn every_fail_point_has_its_name_in_the_list() {
    let mut reached = BTreeSet::new();
    for file in sources().iter().filter(|file| file.path != "src/failpoint.rs") {
        let code = file.code();
        for (position, call) in code.match_indices("reach(") {
            let name = literals(&code[position + call.len()..]).into_iter().next();
            reached.insert(name.expect("a literal name"));
        }
    }
    let names: BTreeSet<_> = pupctl::failpoint::NAMES.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(reached, names);
    assert_eq!(names.len(), pupctl::failpoint::NAMES.len(), "a name is there twice");
}

#[test]
fn sql_is_in_templates_and_files() {
    let verbs = ["CREATE ", "ALTER ", "DROP ", "INSERT ", "DELETE ", "UPDATE ", "GRANT "];
    let mut needed = BTreeSet::new();
    let mut complaints = Vec::new();
    for file in sources().iter().filter(|file| file.module() != Some("render")) {
        for literal in literals(&file.code()) {
            let is_verb = |verb: &str| {
                literal.match_indices(verb).any(|(position, _)| {
                    // `SHARE UPDATE EXCLUSIVE` is a lock.
                    let before = &literal[..position];
                    !before.ends_with("SHARE ") && !before.ends_with(is_word)
                })
            };
            if !verbs.iter().any(|verb| is_verb(verb)) {
                continue;
            }
            let allowed = LITERAL_SQL
                .iter()
                .position(|(path, text, _)| *path == file.path && literal.contains(text));
            match allowed {
                Some(entry) => drop(needed.insert(entry)),
                None => complaints.push(format!("{}: {literal:?}", file.path)),
            }
        }
    }
    let stale = (0..LITERAL_SQL.len()).filter(|entry| !needed.contains(entry));
    complaints.extend(stale.map(|entry| format!("nothing needs {:?}", LITERAL_SQL[entry])));
    none(&complaints);
}

#[test]
fn text_files_have_tidy_lines() {
    let mut complaints = Vec::new();
    for File { path, text } in &files() {
        if text.contains('\r') {
            complaints.push(format!("{path}: lines end in CR LF"));
        }
        if !text.is_empty() && (!text.ends_with('\n') || text.ends_with("\n\n")) {
            complaints.push(format!("{path}: does not end with exactly one newline"));
        }
        // Tests hold whole outputs, whose lines are as long as they are.
        let is_source = has_extension(path, "rs") && !path.starts_with("tests/");
        let limit = if is_source { 100 } else { usize::MAX };
        for (number, line) in (1..).zip(text.lines()) {
            if line.chars().count() > limit {
                complaints.push(format!("{path}:{number}: longer than {limit} characters"));
            }
            if line.ends_with([' ', '\t']) && path != "Cargo.lock" {
                complaints.push(format!("{path}:{number}: ends with a space"));
            }
        }
        let lines = text.lines().count();
        let counts = ["rs", "sql", "j2"].iter().any(|extension| has_extension(path, extension));
        let is_long = counts && lines > 500;
        if is_long != LONG_FILES.iter().any(|(long, _)| long == path) {
            complaints.push(format!("{path}: {lines} lines; LONG_FILES says otherwise"));
        }
    }
    none(&complaints);
}

#[test]
fn no_file_names_a_place_of_one_machine() {
    // In pieces, so that this file does not name them either.
    let places = ["work", "root", "home", "Users"].map(|place| format!("/{place}"));
    let is_path = |character: char| is_word(character) || "/.-:".contains(character);
    let mut complaints = Vec::new();
    let mut needed = BTreeSet::new();
    for File { path, text } in files().iter().filter(|file| file.path != "tests/tidy/main.rs") {
        for token in text.split(|character| !is_path(character)) {
            let named = places.iter().any(|place| {
                let rest = token.strip_prefix(place.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':']))
            });
            if !named {
                continue;
            }
            match MACHINE_PATHS.iter().position(|allowed| token.starts_with(allowed)) {
                Some(entry) => drop(needed.insert(entry)),
                None => complaints.push(format!("{path}: {token}")),
            }
        }
    }
    let stale = (0..MACHINE_PATHS.len()).filter(|entry| !needed.contains(entry));
    complaints.extend(stale.map(|entry| format!("nothing needs {:?}", MACHINE_PATHS[entry])));
    none(&complaints);
}

#[test]
fn nothing_is_left_unfinished() {
    let forbidden = ["ignore", "todo!", "unimplemented!", "dbg!"].map(|word| match word {
        "ignore" => format!("#[{word}"),
        macro_name => format!("{macro_name}("),
    });
    let mut complaints = Vec::new();
    for file in files().iter().filter(|file| file.is_code()) {
        for word in forbidden.iter().filter(|word| file.text.contains(word.as_str())) {
            let known = IGNORED.iter().any(|(path, why)| {
                *path == file.path
                    && file.text.matches(word.as_str()).count() == 1
                    && file.text.contains(&format!("{word} = \"{why}"))
            });
            if !known {
                complaints.push(format!("{}: {word}", file.path));
            }
        }
    }
    none(&complaints);
}

#[test]
fn the_lock_file_is_tracked() {
    assert_eq!(git(&["ls-files", "--cached", "Cargo.lock"]), ["Cargo.lock"]);
}

#[test]
fn every_command_has_its_file_and_its_page() {
    fn walk(command: &clap::Command, path: &str, found: &mut Vec<String>) {
        let subs: Vec<_> = command.get_subcommands().filter(|c| c.get_name() != "help").collect();
        if subs.is_empty() {
            found.push(path.trim().to_owned());
        }
        for sub in subs {
            walk(sub, &format!("{path} {}", sub.get_name()), found);
        }
    }
    let mut commands = Vec::new();
    walk(&Cli::command(), "", &mut commands);
    assert!(commands.contains(&"schema init".to_owned()), "{commands:?}");
    let reference = pupctl::cli::reference::cli(Cli::command());
    let sources: Vec<String> = sources().into_iter().map(|file| file.path).collect();
    let mut complaints = Vec::new();
    for command in &commands {
        let place = format!("src/command/{}", command.replace(' ', "/").replace('-', "_"));
        if !sources.contains(&format!("{place}.rs"))
            && !sources.contains(&format!("{place}/mod.rs"))
        {
            complaints.push(format!("{command}: there is no {place}.rs"));
        }
        let heading = format!("\n## pupctl {command}\n");
        if reference.matches(&heading).count() != 1 {
            complaints.push(format!("{command}: the reference has no page for it"));
        }
    }
    none(&complaints);
}
