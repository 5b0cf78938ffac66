//! What runs when: crontab's expressions, time zones, and which run is due. Knows no clock and
//! no process; `pupctl schedule` has those.

pub mod agenda;
pub mod expression;
pub mod field;
pub mod job;
pub mod print;
pub mod timetable;
pub mod words;
pub mod zone;

pub use agenda::{Agenda, Verdict};
pub use expression::Expression;
pub use job::Job;
pub use timetable::Timetable;

/// The word of a list that is most like one that is not in it, where any is.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let distances = known.into_iter().map(|other| (distance(&lower, &other.to_lowercase()), other));
    let (distance, other) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= word.chars().count() / 3 + 1).then_some(other)
}

/// How many letters are to be changed, added or taken away.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, letter) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, other) in right.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_word_is_one_that_was_meant() {
        let known = ["check", "ensure", "archive"];
        assert_eq!(nearest("ensre", known), Some("ensure"));
        assert_eq!(nearest("Check", known), Some("check"));
        assert_eq!(nearest("verify", known), None);
    }
}
