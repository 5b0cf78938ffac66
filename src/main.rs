//! The binary: parse, start tracing, run, print the error, exit code.

use std::process::ExitCode;

use clap::Parser;
use pupctl::cli::exit::Exit;
use pupctl::cli::output::Output;
use pupctl::command::{self, Cli};
use pupctl::db::Interrupt;

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    pupctl::failpoint::setup();
    let cli = Cli::parse();
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
            output.error(&error);
            Exit::from(error.kind()).into()
        }
    }
}

/// Logs go to standard error: warnings, with `-v` what happens, with `-vv` details.
fn start_tracing(cli: &Cli, colours: bool) {
    let level = match (cli.global.quiet, cli.global.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, _) => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::new(format!("warn,pupctl={level}"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .without_time()
        .with_target(false)
        .init();
}
