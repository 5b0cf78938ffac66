//! Starts and removes the server that the integration tests share: `test_server start`, which
//! writes its address, and `test_server remove`. For `scripts/test`; the tests need no help.

use std::io::Write;
use std::process::ExitCode;

use pupctl::server::{Embedded, Programs};

// The tests use the rest of it.
#[allow(dead_code, unreachable_pub)]
#[path = "../tests/support/server.rs"]
mod server;

fn main() -> ExitCode {
    let verb = std::env::args().nth(1).unwrap_or_default();
    match run(&verb) {
        Ok(line) => {
            let written = writeln!(std::io::stdout(), "{line}");
            written.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
        }
        Err(error) => {
            let mut stderr = std::io::stderr();
            let _ = writeln!(stderr, "error: {error}");
            for line in error.detail_lines() {
                let _ = writeln!(stderr, "  {line}");
            }
            if let Some(hint) = error.hint_text() {
                let _ = writeln!(stderr, "hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(verb: &str) -> pupctl::Result<String> {
    let programs = Programs::find()?;
    let embedded = Embedded::in_folder(server::folder(programs.major))
        .with_programs(programs)
        .with_settings(server::SETTINGS);
    match verb {
        "start" => Ok(embedded.start()?.server.url),
        "remove" => embedded.remove().map(|()| "removed".to_owned()),
        "url" => Ok(embedded.url()),
        _ => Err(pupctl::Error::invalid(format!("no such verb: {verb:?}"))
            .hint("test_server start | remove | url")),
    }
}
