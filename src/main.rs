//! The binary: parse, start tracing, run, print the error, exit code.

use std::process::ExitCode;

use clap::Parser;
use pupctl::cli::exit::Exit;
use pupctl::cli::global::{Format, GlobalArgs, LogFormat};
use pupctl::cli::output::{Output, SAYS};
use pupctl::command::{self, Cli};
use pupctl::db::Interrupt;

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    pupctl::failpoint::setup();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let command = cli.command.name();
    let output = Output::new(&cli.global);
    start_tracing(&cli, output.colours_messages());
    let interrupt = Interrupt::default();
    let raised = interrupt.clone();
    if let Err(error) = ctrlc::set_handler(move || raised.raise()) {
        output.warn(format!("signals will end pupctl without a word: {error}"));
    }
    match command::run(cli, &output, &interrupt) {
        Ok(exit) => exit.into(),
        Err(error) => {
            let error = interrupt.explain(command::failure(error));
            output.error(command, &error);
            Exit::from(error.kind()).into()
        }
    }
}

/// What clap has to say: help and version, or what is wrong with the arguments. Whoever asked for
/// JSON gets that too, although the options were not understood.
fn usage(error: &clap::Error) -> ExitCode {
    // A terminal that is gone is no reason to fail in another way.
    let _ = error.print();
    if !error.use_stderr() {
        return Exit::Done.into();
    }
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    let words: Vec<_> = words.collect();
    if asks_for_json(&words) {
        let text = error.render().to_string();
        let message = text.trim().trim_start_matches("error: ");
        let output = Output::new(&GlobalArgs { output: Format::Json, ..GlobalArgs::default() });
        output.failure("pupctl", &pupctl::Error::invalid(message));
    }
    Exit::Usage.into()
}

/// Whether the words have the option for JSON in one of its forms; `-o` may be the last of several
/// short ones.
fn asks_for_json(words: &[String]) -> bool {
    let short = |word: &str, ending: &str| {
        let letters = word.strip_prefix('-').and_then(|letters| letters.strip_suffix(ending));
        letters.is_some_and(|letters| letters.chars().all(|letter| letter.is_ascii_alphabetic()))
    };
    let is_whole =
        |word: &str| word == "--output=json" || short(word, "ojson") || short(word, "o=json");
    let is_name = |word: &str| word == "--output" || short(word, "o");
    words.iter().any(|word| is_whole(word))
        || words.windows(2).any(|two| is_name(&two[0]) && two[1] == "json")
}

/// Logs go to standard error: warnings, with `-v` what happens, with `-vv` details.
fn start_tracing(cli: &Cli, colours: bool) {
    let level = match (cli.global.quiet, cli.global.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, _) => "debug",
    };
    // What is told to people is chosen already where it is told.
    let filter = format!("warn,pupctl={level},{SAYS}=info");
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_target(false);
    match cli.global.log_format {
        LogFormat::Text => subscriber.with_ansi(colours).without_time().init(),
        LogFormat::Json => subscriber.json().flatten_event(true).with_current_span(false).init(),
    }
}
