//! Findings as people read them.

use std::fmt::Write as _;

use crate::cli::output::{cyan, printable, red, yellow};
use crate::finding::{Finding, Severity};

/// What was found, each with the command that mends it; with `statements` those too.
pub(super) fn text(findings: &[Finding], statements: bool) -> String {
    let mut text = String::new();
    for finding in findings {
        let severity = match finding.severity {
            Severity::Error => red("error"),
            Severity::Warning => yellow("warning"),
            Severity::Notice => cyan("notice"),
        };
        let _ = writeln!(text, "{severity} [{}] {}", finding.check, printable(&finding.object));
        let _ = writeln!(text, "  {}", printable(&finding.message));
        let mends = finding.mend.iter().filter(|_| statements);
        for mend in finding.remedy.iter().chain(mends) {
            let _ = writeln!(text, "  mend it: {}", cyan(&printable(mend)));
        }
    }
    text
}
