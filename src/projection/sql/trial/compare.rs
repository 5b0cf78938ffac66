//! Rows compared with rows.

use serde::Serialize;
use serde_json::value::RawValue;

/// The rows of a table; each cell is JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) columns: Vec<String>,
    /// Which columns are the primary key.
    pub(super) keys: Vec<usize>,
    pub(super) rows: Vec<Vec<String>>,
}

/// A row of which some columns do not matter.
pub(super) type Wanted = Vec<Option<String>>;

/// A row that is otherwise than was expected. As JSON, with the columns that matter.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// What was expected; none where the row should not be there.
    pub expected: Option<Box<RawValue>>,
    /// What came out; none where the row is missing.
    pub actual: Option<Box<RawValue>>,
}

impl Difference {
    /// The lines of a diff, with the sign in front: `-` what was expected, `+` what came out.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let line = |sign: char, row: &Option<Box<RawValue>>| {
            row.as_ref().map(|row| format!("{sign} {}", row.get()))
        };
        [line('-', &self.expected), line('+', &self.actual)].into_iter().flatten()
    }
}

/// How rows differ from those that are wanted. They are matched by the primary key where every
/// wanted row has it, else whole, as often as they are there.
pub(super) fn differences(wanted: &[Wanted], found: &Rows) -> Vec<Difference> {
    let named: Vec<bool> = (0..found.columns.len())
        .map(|column| wanted.is_empty() || wanted.iter().any(|row| row[column].is_some()))
        .collect();
    let has_key =
        |row: &Wanted| !found.keys.is_empty() && found.keys.iter().all(|&key| row[key].is_some());
    let by_key = wanted.iter().all(has_key);
    let mut left: Vec<&Vec<String>> = found.rows.iter().collect();
    let mut unmatched: Vec<&Wanted> = Vec::new();
    // The fussiest first, so that no other takes the only row that would do for it.
    let mut order: Vec<&Wanted> = wanted.iter().collect();
    order.sort_by_key(|row| row.iter().filter(|cell| cell.is_none()).count());
    for row in order {
        match left.iter().position(|other| matches(row, other)) {
            Some(place) => drop(left.remove(place)),
            None => unmatched.push(row),
        }
    }
    unmatched.sort_by_key(|row| wanted.iter().position(|other| std::ptr::eq(other, *row)));
    let mut all = Vec::new();
    for row in unmatched {
        let same_key = |other: &&Vec<String>| {
            found.keys.iter().all(|&key| row[key].as_ref() == Some(&other[key]))
        };
        let pair = left.iter().position(same_key).filter(|_| by_key).map(|at| left.remove(at));
        let mine: Vec<bool> = row.iter().map(Option::is_some).collect();
        let cells: Vec<_> = row.iter().map(|cell| cell.clone().unwrap_or_default()).collect();
        all.push(Difference {
            expected: object(&found.columns, &cells, &mine),
            actual: pair.and_then(|pair| object(&found.columns, pair, &mine)),
        });
    }
    let unexpected = left
        .into_iter()
        .map(|row| Difference { expected: None, actual: object(&found.columns, row, &named) });
    all.extend(unexpected);
    all
}

fn matches(wanted: &Wanted, found: &[String]) -> bool {
    wanted.iter().zip(found).all(|(wanted, found)| wanted.as_ref().is_none_or(|it| it == found))
}

/// A row as an object of JSON, with some of its columns.
pub(super) fn object(columns: &[String], row: &[String], which: &[bool]) -> Option<Box<RawValue>> {
    let fields: Vec<_> = columns
        .iter()
        .zip(row)
        .zip(which)
        .filter(|(_, is_meant)| **is_meant)
        .map(|((name, cell), _)| format!("{}: {cell}", serde_json::Value::from(name.as_str())))
        .collect();
    RawValue::from_string(format!("{{{}}}", fields.join(", "))).ok()
}

impl Rows {
    /// The rows as something else is compared with, without some columns.
    pub(super) fn wanted(&self, ignored: &[usize]) -> Vec<Wanted> {
        let cell =
            |(number, cell): (usize, &String)| (!ignored.contains(&number)).then(|| cell.clone());
        self.rows.iter().map(|row| row.iter().enumerate().map(cell).collect()).collect()
    }

    /// The columns that hold something else in another run of the same: clocks, random values.
    pub(super) fn unsteady(&self, again: &Self) -> Vec<usize> {
        let sorted = |rows: &[Vec<String>], column: usize| {
            let mut cells: Vec<_> = rows.iter().map(|row| row[column].clone()).collect();
            cells.sort();
            cells
        };
        (0..self.columns.len())
            .filter(|&column| sorted(&self.rows, column) != sorted(&again.rows, column))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(keys: &[usize], rows: &[&[&str]]) -> Rows {
        let owned = |row: &&[&str]| row.iter().map(|&cell| cell.to_owned()).collect();
        Rows {
            columns: ["id", "n", "at"].map(str::to_owned).to_vec(),
            keys: keys.to_vec(),
            rows: rows.iter().map(owned).collect(),
        }
    }

    fn wanted(rows: &[&[&str]]) -> Vec<Wanted> {
        let cell = |cell: &&str| (!cell.is_empty()).then(|| (*cell).to_owned());
        rows.iter().map(|row| row.iter().map(cell).collect()).collect()
    }

    fn shown(wanted: &[Wanted], found: &Rows) -> Vec<String> {
        differences(wanted, found).iter().flat_map(Difference::lines).collect()
    }

    #[test]
    fn rows_are_matched_by_their_key() {
        let found = rows(&[0], &[&["1", "5", "0"], &["2", "6", "0"], &["4", "7", "0"]]);
        let expected = wanted(&[&["2", "6", ""], &["1", "4", ""], &["3", "1", ""]]);
        assert_eq!(
            shown(&expected, &found),
            [
                "- {\"id\": 1, \"n\": 4}",
                "+ {\"id\": 1, \"n\": 5}",
                "- {\"id\": 3, \"n\": 1}",
                "+ {\"id\": 4, \"n\": 7}"
            ]
        );
        assert!(shown(&found.wanted(&[]), &found).is_empty());
    }

    #[test]
    fn rows_without_a_key_are_counted() {
        let found = rows(&[], &[&["1", "5", "0"], &["1", "5", "0"], &["2", "5", "0"]]);
        // The loose row comes first, and must not take the only one that the strict row fits.
        let expected = wanted(&[&["", "5", ""], &["1", "5", ""], &["2", "5", "0"]]);
        assert!(shown(&expected, &found).is_empty());
        let expected = wanted(&[&["1", "5", ""], &["2", "5", ""], &["2", "5", ""]]);
        assert_eq!(
            shown(&expected, &found),
            ["- {\"id\": 2, \"n\": 5}", "+ {\"id\": 1, \"n\": 5}"]
        );
    }

    #[test]
    fn what_is_otherwise_each_time_is_found() {
        let one = rows(&[0], &[&["1", "5", "a"], &["2", "6", "b"]]);
        let two = rows(&[0], &[&["2", "6", "c"], &["1", "5", "d"]]);
        assert_eq!(one.unsteady(&two), [2]);
        assert!(differences(&one.wanted(&[2]), &two).is_empty());
    }
}
