//! A page as a list of steps: the commands that it shows, and what its comments say of them.

use std::time::Duration;

/// How long a command runs that does not end by itself.
const RUNS_FOR: Duration = Duration::from_millis(2500);

/// What is done with a page, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A new database and an empty folder.
    Fresh,
    /// What the page takes for granted: a script that has to end well.
    Prepare { line: usize, script: String },
    /// A command that the page shows.
    Command(Command),
    /// A block that is not run, and why.
    Skipped { line: usize, reason: String },
}

/// A command of a page, and how it is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) line: usize,
    pub(crate) text: String,
    pub(crate) exit: i32,
    /// It is ended by SIGTERM after this time, and must not have ended before.
    pub(crate) runs_for: Option<Duration>,
    /// Questions are answered with yes.
    pub(crate) yes: bool,
    /// What it prints; nothing if the page does not show it, or only an example.
    pub(crate) output: Option<Vec<String>>,
}

/// What comments say of the next block.
#[derive(Debug, Default)]
struct Notes {
    exits: Vec<(i32, String)>,
    stops: Vec<String>,
    yes: bool,
    example: bool,
    skip: Option<String>,
}

/// The steps of a page, or what is wrong with its comments.
pub(crate) fn parse(text: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut notes = Notes::default();
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        if let Some(fence) = line.trim_start().strip_prefix("```") {
            let block: Vec<(usize, &str)> =
                lines.by_ref().take_while(|(_, line)| line.trim() != "```").collect();
            if fence == "console" {
                steps.extend(commands(number, &block, &std::mem::take(&mut notes))?);
            }
        } else if let Some(comment) = line.trim_start().strip_prefix("<!-- ") {
            let mut comment = comment.to_owned();
            while !comment.ends_with("-->") {
                let (_, next) =
                    lines.next().ok_or(format!("line {number}: no end of a comment"))?;
                comment = format!("{comment}\n{next}");
            }
            let comment = comment.trim_end_matches("-->").trim();
            note(number, comment, &mut notes, &mut steps)
                .map_err(|error| format!("line {number}: {error}"))?;
        }
    }
    if !notes.is_empty() {
        return Err("a comment stands in front of no block".to_owned());
    }
    Ok(steps)
}

impl Notes {
    fn is_empty(&self) -> bool {
        let Self { exits, stops, yes, example, skip } = self;
        exits.is_empty() && stops.is_empty() && !yes && !example && skip.is_none()
    }
}

fn note(
    line: usize,
    comment: &str,
    notes: &mut Notes,
    steps: &mut Vec<Step>,
) -> Result<(), String> {
    if let Some(script) = comment.strip_prefix("run\n") {
        steps.push(Step::Prepare { line, script: script.to_owned() });
        return Ok(());
    }
    let (word, rest) = comment.split_once(' ').unwrap_or((comment, ""));
    match (word, rest) {
        ("fresh", "") => steps.push(Step::Fresh),
        ("answer", "yes") => notes.yes = true,
        ("output:", "an example") => notes.example = true,
        ("stop:", words) if !words.is_empty() => notes.stops.push(words.to_owned()),
        ("skip:", reason) if reason.len() > 10 => notes.skip = Some(reason.to_owned()),
        ("exit", rest) => {
            let (code, words) = rest.split_once(": ").ok_or("`exit CODE: WORDS` is meant")?;
            let code = code.parse().map_err(|_| format!("{code} is no exit code"))?;
            notes.exits.push((code, words.to_owned()));
        }
        _ => return Err(format!("`{comment}` is no note; CONTRIBUTING.md lists them")),
    }
    Ok(())
}

fn commands(fence: usize, block: &[(usize, &str)], notes: &Notes) -> Result<Vec<Step>, String> {
    if let Some(reason) = &notes.skip {
        return Ok(vec![Step::Skipped { line: fence, reason: reason.clone() }]);
    }
    let mut found: Vec<Command> = Vec::new();
    for (line, text) in block {
        if let Some(command) = text.strip_prefix("$ ") {
            found.push(Command {
                line: *line,
                text: command.to_owned(),
                exit: 0,
                runs_for: None,
                yes: notes.yes,
                output: None,
            });
            continue;
        }
        let wrong = format!("line {line}: a console shows `$ ` and a command first");
        let command = found.last_mut().ok_or(wrong)?;
        match text.strip_prefix("> ") {
            Some(more) => command.text = format!("{}\n{more}", command.text),
            None => command.output.get_or_insert_default().push((*text).to_owned()),
        }
    }
    if found.is_empty() {
        return Err(format!("line {fence}: a console without a command"));
    }
    for (code, words) in &notes.exits {
        for command in concerned(&mut found, words)? {
            command.exit = *code;
        }
    }
    for words in &notes.stops {
        for command in concerned(&mut found, words)? {
            command.runs_for = Some(RUNS_FOR);
        }
    }
    if notes.example {
        for command in &mut found {
            command.output = None;
        }
    }
    Ok(found.into_iter().map(Step::Command).collect())
}

/// The commands of a block that are these words, else those that have them.
fn concerned<'a>(found: &'a mut [Command], words: &str) -> Result<Vec<&'a mut Command>, String> {
    let exact = found.iter().any(|command| command.text == words);
    let is_meant = |text: &str| if exact { text == words } else { text.contains(words) };
    let concerned: Vec<_> = found.iter_mut().filter(|command| is_meant(&command.text)).collect();
    if concerned.is_empty() {
        return Err(format!("no command of the block has `{words}`"));
    }
    Ok(concerned)
}

/// Whether an output is what a page shows of it: `…` stands for anything within a line, and alone
/// in a line for any number of lines.
pub(crate) fn shows(wanted: &[String], found: &[&str]) -> bool {
    let Some((first, rest)) = wanted.split_first() else { return found.is_empty() };
    if first.trim() == "…" {
        return (0..=found.len()).any(|skipped| shows(rest, &found[skipped..]));
    }
    let Some((line, others)) = found.split_first() else { return false };
    line_shows(first.trim_end(), line.trim_end()) && shows(rest, others)
}

fn line_shows(wanted: &str, found: &str) -> bool {
    let Some((before, after)) = wanted.split_once('…') else { return wanted == found };
    let Some(rest) = found.strip_prefix(before) else { return false };
    let mut starts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    starts.any(|at| line_shows(after, &rest[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_page_is_a_list_of_steps() {
        let page = "Words.\n\n<!-- run\npupctl a\npupctl b\n-->\n<!-- exit 3: plan -->\n\
            <!-- stop: run -->\n```console\n$ pupctl plan\n$ pupctl run \\\n> --all\nDone …\n```\n\
            <!-- fresh -->\n<!-- skip: needs another machine -->\n```console\n$ scp x y:\n```\n\
            ```sql\n$ no command\n```\n";
        let command = |line, text: &str| Command {
            line,
            text: text.to_owned(),
            exit: 0,
            runs_for: None,
            yes: false,
            output: None,
        };
        let expected = vec![
            Step::Prepare { line: 3, script: "pupctl a\npupctl b".to_owned() },
            Step::Command(Command { exit: 3, ..command(10, "pupctl plan") }),
            Step::Command(Command {
                runs_for: Some(RUNS_FOR),
                output: Some(lines("Done …")),
                ..command(11, "pupctl run \\\n--all")
            }),
            Step::Fresh,
            Step::Skipped { line: 17, reason: "needs another machine".to_owned() },
        ];
        assert_eq!(parse(page).expect("a page"), expected);
    }

    #[test]
    fn what_is_misspelt_is_told() {
        for (page, expected) in [
            ("<!-- stpo: x -->\n", "no note"),
            ("<!-- exit 3 -->\n", "`exit CODE: WORDS`"),
            ("<!-- exit 3: other -->\n```console\n$ pupctl\n```\n", "no command of the block"),
            ("<!-- skip: no -->\n", "no note"),
            ("<!-- answer yes -->\nand no block\n", "in front of no block"),
            ("<!-- run\nnever ends\n", "no end"),
            ("```console\npupctl\n```\n", "`$ ` and a command first"),
        ] {
            let error = parse(page).expect_err(page);
            assert!(error.contains(expected), "{page}: {error}");
        }
    }

    #[test]
    fn outputs_are_compared_with_what_is_shown() {
        let cases = [
            ("a\nb", "a\nb", true),
            ("a", "a\nb", false),
            ("a\n…", "a\nb\nc", true),
            ("…\nc", "a\nb\nc", true),
            ("…\nd", "a\nb\nc", false),
            ("took … ms", "took 17 ms", true),
            ("took … ms", "took 17 s", false),
            ("… of …: x", "1 of 2: x", true),
        ];
        for (wanted, found, expected) in cases {
            let found: Vec<_> = found.lines().collect();
            assert_eq!(shows(&lines(wanted), &found), expected, "{wanted:?} {found:?}");
        }
    }
}
