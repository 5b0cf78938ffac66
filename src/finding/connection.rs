//! A server with which pupctl does not work at all.

use crate::error::Error;

use super::Finding;
use super::settings::SERVER;

/// Why pupctl refuses to work through this connection.
#[must_use]
pub fn refused(error: &Error) -> Finding {
    let details = error.detail_lines().iter().map(|line| format!("; {line}"));
    let message = format!("{}{}", error.message(), details.collect::<String>());
    let finding = Finding::error("connection", &SERVER, message);
    match error.hint_text() {
        Some(hint) => finding.remedy(hint),
        None => finding,
    }
}
