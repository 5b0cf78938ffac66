//! Questions before something is destroyed. Never a prompt without a terminal.

use std::io::{self, BufRead, IsTerminal};

use crate::error::{Error, Kind, Result};

use super::output::Output;

/// Asks, unless `yes` was said already.
pub fn confirm(output: &Output, yes: bool, question: &str) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Error::invalid(format!("{question} There is no terminal to answer on"))
            .hint("add --yes if you are sure"));
    }
    output.say(format!("{question} [y/N] "));
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| Error::system("cannot read the answer", error))?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::new(Kind::Refused, "not done, since the answer was not yes")),
    }
}
