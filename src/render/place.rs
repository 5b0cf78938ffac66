//! A place in a text that others wrote, as messages show it.

use std::fmt::Write as _;

/// How much of a long line is shown, around the place.
const SHOWN: usize = 96;

/// The lines that point at a place of a text, given in bytes: `file:line:column`, the line, and a
/// caret below.
#[must_use]
pub fn pointed(file: &str, sql: &str, place: usize) -> Vec<String> {
    let before = &sql[..place.min(sql.len())];
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let number = 1 + before.matches('\n').count();
    let column = sql[start..place.min(sql.len())].chars().count();
    let line = sql[start..].lines().next().unwrap_or_default();
    let from = column.saturating_sub(SHOWN / 2);
    let shown: String = line.replace('\t', " ").chars().skip(from).take(SHOWN).collect();
    let margin = number.to_string();
    let empty = " ".repeat(margin.len());
    let mut caret = String::new();
    let _ = write!(caret, "{empty} | {}^", " ".repeat(column - from));
    vec![format!("{file}:{number}:{}", column + 1), format!("{margin} | {shown}"), caret]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_below_the_place() {
        let sql = "SELECT 1;\n\tSELECT 'ü', nope;\n";
        let place = sql.find("nope").expect("the place");
        assert_eq!(
            pointed("a.sql", sql, place),
            ["a.sql:2:14", "2 |  SELECT 'ü', nope;", "  |              ^"]
        );
        assert_eq!(pointed("a.sql", sql, sql.len()), ["a.sql:3:1", "3 | ", "  | ^"]);
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let sql = format!("{}x{}", "a".repeat(500), "b".repeat(500));
        let lines = pointed("a.sql", &sql, 500);
        assert_eq!(lines[1].chars().count(), "1 | ".len() + SHOWN);
        let caret = lines[2].chars().position(|c| c == '^').expect("a caret");
        assert_eq!(lines[1].chars().nth(caret), Some('x'));
    }
}
