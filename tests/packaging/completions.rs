//! Completions are asked as a shell asks them.

use std::process::Command;

use crate::support::Output;
use crate::{program, pupctl};

/// What bash offers for a line whose last word is not complete yet.
fn offered(line: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let script = pupctl(folder.path(), &["completions", "bash"]).run().success().stdout;
    let file = folder.path().join("pupctl.bash");
    std::fs::write(&file, script).expect("a file");
    let asked = r#"
        . "$1"
        complete -p pupctl >&2
        read -ra COMP_WORDS <<<"$2"
        [[ $2 = *" " ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _pupctl pupctl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut bash = Command::new("bash");
    bash.args(["--noprofile", "--norc", "-c", asked, "bash"]).arg(&file).arg(line);
    let output = Output::of(&mut bash).success();
    assert!(output.stderr.contains("-F _pupctl"), "{output}");
    output.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_options() {
    assert_eq!(offered("pupctl part"), ["partitions"]);
    let verbs = offered("pupctl partitions de");
    assert_eq!(verbs, ["detach"]);
    assert!(offered("pupctl schema init --part").contains(&"--partition-by".to_owned()));
    assert_eq!(offered("pupctl --output js"), ["json"]);
    assert!(offered("pupctl projections dead-letters ").contains(&"replay".to_owned()));
}

#[test]
fn every_shell_has_completions_that_it_can_read() {
    let folder = tempfile::tempdir().expect("a folder");
    for (shell, check) in [
        ("bash", Some("bash")),
        ("zsh", Some("zsh")),
        ("fish", Some("fish")),
        ("elvish", None),
        ("powershell", None),
    ] {
        let output = pupctl(folder.path(), &["completions", shell]).run().success();
        assert!(output.stdout.contains("partitions"), "{shell}");
        assert_eq!(output.stderr, "", "{shell}");
        // `-n` reads a script and runs nothing of it.
        let Some(shell) = check.and_then(program) else { continue };
        let file = folder.path().join("script");
        std::fs::write(&file, output.stdout).expect("a file");
        let _ = Output::of(Command::new(shell).arg("-n").arg(&file)).success();
    }
}

#[test]
fn neither_a_database_nor_a_configuration_is_looked_at() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("pupctl.toml"), "not = [toml").expect("a file");
    let run = |arguments: &[&str]| {
        pupctl(folder.path(), arguments)
            .env("PUPCTL_DATABASE_URL", "postgresql://nobody@192.0.2.1:1/none")
            .run()
    };
    assert!(run(&["completions", "fish"]).success().stdout.contains("complete -c pupctl"));
    assert!(run(&["man"]).success().stdout.contains(".SH NAME"));
}

#[test]
fn what_it_cannot_do_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = pupctl(folder.path(), &["completions", "tcsh"]).run().failure(2);
    assert!(output.stderr.contains("[possible values: bash"), "{output}");
    let output = pupctl(folder.path(), &["completions", "bash", "--dry-run"]).run().failure(2);
    assert!(output.stderr.contains("hint: leave out --dry-run"), "{output}");
    let output = pupctl(folder.path(), &["completions", "bash", "-o", "json"]).run().success();
    assert_eq!(output.json()["shell"], "bash");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let folder = tempfile::tempdir().expect("a folder");
    for command in ["completions bash", "completions zsh", "man"] {
        let line = format!("set -o pipefail; {} {command} | head -1", env!("CARGO_BIN_EXE_pupctl"));
        let mut bash = Command::new("bash");
        let output = Output::of(bash.args(["-c", &line]).current_dir(folder.path())).success();
        assert_eq!(output.stderr, "", "{output}");
        assert_eq!(output.stdout.lines().count(), 1, "{output}");
    }
}
