//! Pipelines in the documents: they parse, and so does every pupctl line in them.

use std::fs;

use clap::CommandFactory;
use pupctl::command::Cli;
use yaml_rust2::{Yaml, YamlLoader};

use crate::root;

/// All YAML of the documents, with the page that it stands in.
fn blocks() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                let text = fs::read_to_string(&path).expect("a page");
                for block in text.split("```yaml\n").skip(1) {
                    let block = block.split("\n```").next().unwrap_or_default();
                    found.push((path.display().to_string(), block.to_owned()));
                }
            }
        }
    }
    found
}

/// Every text in a document that a shell runs.
fn scripts(yaml: &Yaml, key: &str, found: &mut Vec<String>) {
    match yaml {
        Yaml::Hash(hash) => {
            for (key, value) in hash {
                scripts(value, key.as_str().unwrap_or_default(), found);
            }
        }
        Yaml::Array(items) => {
            for item in items {
                scripts(item, key, found);
            }
        }
        Yaml::String(text) if ["run", "script", "before_script"].contains(&key) => {
            found.extend(text.lines().map(str::to_owned));
        }
        _ => {}
    }
}

#[test]
fn pipelines_parse_and_their_commands_are_accepted() {
    let mut count = 0;
    for (page, block) in blocks() {
        let documents = YamlLoader::load_from_str(&block)
            .unwrap_or_else(|error| panic!("{page}: {error} in\n{block}"));
        let mut lines = Vec::new();
        for document in &documents {
            scripts(document, "", &mut lines);
        }
        for line in lines {
            let Some(arguments) = line.trim().strip_prefix("pupctl ") else { continue };
            let command = arguments.split(['>', '|', '&']).next().unwrap_or_default();
            let words = std::iter::once("pupctl").chain(command.split_whitespace());
            if let Err(error) = Cli::command().try_get_matches_from(words) {
                panic!("{page}: `{line}`: {error}");
            }
            count += 1;
        }
    }
    assert!(count > 20, "only {count} commands found: the search is broken");
}

/// Whether it is the image of packaging/Containerfile in which a shell can be run.
fn is_pupctl(image: &Yaml) -> bool {
    image.as_str().is_some_and(|image| image.ends_with("/pupctl:shell"))
}

/// GitHub's runners want these keys, and GitLab's those: a name that is misspelt would be a job.
#[test]
fn pipelines_have_the_shape_that_their_runners_want() {
    let page = fs::read_to_string(root().join("docs/ci.md")).expect("the page");
    let blocks: Vec<_> = page
        .split("```yaml\n")
        .skip(1)
        .map(|block| block.split("\n```").next().unwrap_or_default())
        .map(|block| YamlLoader::load_from_str(block).expect("YAML").remove(0))
        .collect();
    let [github, gitlab] = &blocks[..] else { panic!("{} pipelines", blocks.len()) };
    for (name, job) in github["jobs"].as_hash().expect("jobs") {
        assert!(job["runs-on"].as_str().is_some(), "{name:?}");
        for step in job["steps"].as_vec().expect("steps") {
            let kinds =
                [&step["uses"], &step["run"]].iter().filter(|step| !step.is_badvalue()).count();
            assert_eq!(kinds, 1, "{name:?}: {step:?}");
        }
        // The runner has no pupctl: a step before the first command brings it, or the job's image.
        let runs = job["steps"].as_vec().expect("steps").iter();
        let runs: Vec<_> = runs.filter_map(|step| step["run"].as_str()).collect();
        let is_command = |run: &&str| run.lines().any(|line| line.trim().starts_with("pupctl "));
        let first = runs.iter().position(is_command).expect("a command");
        let is_brought = runs[..first].iter().any(|run| run.contains("/usr/local/bin/pupctl"));
        assert!(is_brought || is_pupctl(&job["container"]), "{name:?} has no pupctl");
    }
    let stages: Vec<_> = gitlab["stages"].as_vec().expect("stages").iter().collect();
    for (name, job) in gitlab.as_hash().expect("jobs") {
        if name.as_str() != Some("stages") {
            assert!(stages.contains(&&job["stage"]), "{name:?}");
            assert!(is_pupctl(&job["image"]), "{name:?} has no pupctl");
            assert!(job["script"].as_vec().is_some_and(|lines| !lines.is_empty()), "{name:?}");
        }
    }
}
