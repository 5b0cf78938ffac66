//! How figures are printed.

use std::io::Write;
use std::time::Duration;

/// Prints a line.
pub(crate) fn say(line: impl AsRef<str>) {
    // Whoever closed the pipe has read enough.
    let _ = writeln!(std::io::stdout(), "{}", line.as_ref());
}

/// A table in Markdown, so that it can be kept as it is.
pub(crate) fn table(title: &str, head: &[&str], rows: &[Vec<String>]) {
    say(format!("\n{title}\n"));
    say(format!("| {} |", head.join(" | ")));
    say(format!("|{}", "---|".repeat(head.len())));
    for row in rows {
        say(format!("| {} |", row.join(" | ")));
    }
}

/// `1.25`: how many times as long.
pub(crate) fn ratio(ours: Duration, limit: Duration) -> String {
    format!("{:.2}", ours.as_secs_f64() / limit.as_secs_f64())
}

/// The number in the middle.
pub(crate) fn middle(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

/// Seconds with two digits.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// Milliseconds with two digits.
pub(crate) fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

/// The value below which `percent` of the times lie.
pub(crate) fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    times.get(last * percent / 100).copied().unwrap_or_default()
}

/// The time in the middle.
pub(crate) fn median(times: &mut [Duration]) -> Duration {
    percentile(times, 50)
}
