//! A service and a timer of systemd for each job.

use serde::Serialize;

use crate::error::Result;
use crate::schedule::field::{Unit, WEEKDAYS};
use crate::schedule::{Expression, Timetable};

use super::{Sheet, line, plain, render};

const SERVICE: &str = include_str!("../../../templates/schedule/systemd.service.j2");
const TIMER: &str = include_str!("../../../templates/schedule/systemd.timer.j2");

/// A file of its own.
#[derive(Debug, Clone, Serialize)]
pub struct File {
    /// Its name, without the folder.
    pub name: String,
    /// What is in it.
    pub text: String,
}

#[derive(Serialize)]
struct Values {
    name: String,
    line: String,
    user: Option<String>,
    folder: String,
    words: Vec<String>,
    calendars: Vec<String>,
    jitter: u64,
}

/// Renders the jobs.
pub fn print(sheet: &Sheet) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for job in &sheet.jobs {
        let values = Values {
            name: job.name.clone(),
            line: job.line(),
            user: sheet.user.clone(),
            folder: sheet.folder.to_string_lossy().into_owned(),
            words: sheet.words(job),
            calendars: calendars(&job.timetable),
            jitter: sheet.jitter_seconds,
        };
        let filters: &[(&'static str, super::Filter)] =
            &[("plain", plain), ("unit", unit), ("word", word)];
        for (kind, template) in [("service", SERVICE), ("timer", TIMER)] {
            let text = render("systemd's units", template, filters, &values)?;
            files.push(File { name: format!("{}-{}.{kind}", sheet.prefix, job.name), text });
        }
    }
    Ok(files)
}

/// What stands for the rest of a line: systemd replaces what begins with `%`.
fn unit(text: &str) -> Result<String, String> {
    line(text).map(|text| text.replace('%', "%%"))
}

/// A word of a command: also a dollar would be replaced.
fn word(text: &str) -> Result<String, String> {
    let text = unit(text)?.replace('$', "$$");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-+/,.:=@%$".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return Ok(text);
    }
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// The calendar expressions that are the same together: in one of them a day has to fit all.
#[must_use]
pub fn calendars(timetable: &Timetable) -> Vec<String> {
    let expression = &timetable.expression;
    let listed = |unit| {
        let field = expression.field(unit);
        if field.is_full() { "*".to_owned() } else { field.listed("..") }
    };
    let days = listed(Unit::Day);
    let one = |weekdays: &str, days: &str| {
        format!(
            "{weekdays}*-{}-{days} {}:{}:00 {}",
            listed(Unit::Month),
            listed(Unit::Hour),
            listed(Unit::Minute),
            timetable.zone.name()
        )
    };
    let weekdays = weekdays(expression);
    if expression.joins_days_with_or() {
        return vec![one("", &days), one(&weekdays, "*")];
    }
    vec![one(&weekdays, &days)]
}

/// As systemd calls them, each by its name: its week begins on another day.
fn weekdays(expression: &Expression) -> String {
    let field = expression.field(Unit::Weekday);
    if field.is_full() {
        return String::new();
    }
    let name = |day: &u32| {
        let name = WEEKDAYS[*day as usize % WEEKDAYS.len()];
        name[..1].to_uppercase() + &name[1..]
    };
    field.values().iter().map(name).collect::<Vec<_>>().join(",") + " "
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_that_are_joined_with_or_are_two_calendars() {
        let calendar = |text: &str| {
            let expression = text.parse().expect("an expression");
            calendars(&Timetable { expression, zone: chrono_tz::Europe::Berlin })
        };
        assert_eq!(calendar("17 3 * * *"), ["*-*-* 3:17:00 Europe/Berlin"]);
        assert_eq!(
            calendar("0 0 1-7 * mon"),
            ["*-*-1..7 0:0:00 Europe/Berlin", "Mon *-*-* 0:0:00 Europe/Berlin",]
        );
        assert_eq!(
            calendar("*/20 6-8 */10 1,2 0,5-6"),
            ["Sun,Fri,Sat *-1,2-1,11,21,31 6..8:0,20,40:00 Europe/Berlin"]
        );
    }

    #[test]
    fn words_are_not_replaced() {
        assert_eq!(word("100%"), Ok("100%%".to_owned()));
        assert_eq!(word("a \"$b\"\\"), Ok(r#""a \"$$b\"\\""#.to_owned()));
        assert!(word("a\nb").is_err());
    }
}
