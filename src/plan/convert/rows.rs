//! What is known of the rows of a table before they are copied, and what of it is in the way.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::layout::month::Month;
use crate::layout::{Layout, name};

use super::Strategy;
use super::belongings::{Belonging, Mend};

/// How many offenders are listed of each sort.
pub const LISTED_MAX: u32 = 20;

/// Rows that belong to one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Their context.
    pub context: String,
    /// Their month; none where the table has no times, or for a time outside every month.
    pub month: Option<Month>,
    /// How many.
    pub rows: u64,
    /// What they take in the table, without its TOAST pages being rounded.
    pub bytes: u64,
}

/// Rows with something in common.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Offenders {
    /// How many there are.
    pub total: u64,
    /// The first of them, in words.
    pub first: Vec<String>,
}

/// What was asked of the server about the rows of a table. By default nothing is in the way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Rows {
    /// How many there are, where.
    pub parts: Vec<Part>,
    /// Columns with NULL that a store refuses.
    pub nulls: Vec<(String, Offenders)>,
    /// What is there twice and must not be, where no key of the table says so: its columns.
    pub doubled: Vec<(Vec<String>, Offenders)>,
    /// Events whose time lies outside every month that can be a partition.
    pub timeless: Offenders,
    /// Aggregates whose versions have holes, or whose head is not their last version.
    pub deviating: Offenders,
    /// The size of the table and of its indexes, in bytes.
    pub size: u64,
}

impl Rows {
    /// How many rows there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.parts.iter().map(|part| part.rows).sum()
    }
}

/// By what rows are judged.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// How the store is converted.
    pub strategy: Strategy,
    /// The space that is free, where it is known: SQL cannot tell it.
    pub free: Option<u64>,
    /// Whether heads may go on that do not agree with their events.
    pub deviating: bool,
}

/// What is in the way, and what the user should know. Space is refused only where it is known that
/// there is less than a copy takes.
#[must_use]
pub fn judge(layout: &Layout, rows: &Rows, terms: Terms) -> Vec<Belonging> {
    let mut found = Vec::new();
    for (column, offenders) in &rows.nulls {
        let what = format!("NULL in {column}");
        found.extend(refused(what, offenders, "give these rows a value, or delete them"));
    }
    for (columns, offenders) in &rows.doubled {
        let what = format!("doubled {}", columns.join(", "));
        let words = "every partition is to have a unique key on it: give all but one of these rows \
                     other values, or delete them";
        found.extend(refused(what, offenders, words));
    }
    if layout.has_month_level() {
        let words = "give these events a time between 1970 and 2200, or choose a layout without \
                     months";
        found.extend(refused("events outside every month".to_owned(), &rows.timeless, words));
    }
    if layout.has_context_level() {
        let mut nameless: BTreeMap<&str, u64> = BTreeMap::new();
        for part in rows.parts.iter().filter(|part| name::validate_context(&part.context).is_err())
        {
            *nameless.entry(part.context.as_str()).or_default() += part.rows;
        }
        let words = |(context, rows): (&&str, &u64)| format!("{context:?}: {rows} rows");
        let offenders = Offenders {
            total: u64::try_from(nameless.len()).unwrap_or(u64::MAX),
            first: nameless.iter().take(LISTED_MAX as usize).map(words).collect(),
        };
        let mend = "rename these contexts in all tables, or choose a layout without contexts";
        found.extend(refused("contexts that cannot be named".to_owned(), &offenders, mend));
    }
    found.extend(deviating(&rows.deviating, terms.deviating));
    // The old table stays where it is when it becomes a partition.
    if terms.strategy == Strategy::Copy {
        found.push(space(rows, terms.free));
    }
    found
}

fn deviating(offenders: &Offenders, allowed: bool) -> Option<Belonging> {
    let aggregates = match offenders.total {
        0 => return None,
        1 => "1 aggregate whose versions or head deviate".to_owned(),
        total => format!("{total} aggregates whose versions or heads deviate"),
    };
    if allowed {
        let why = format!("they stay as they are: {}", listed(offenders));
        return Some(Belonging::left(aggregates, why));
    }
    let words = "a head must be the last version of its aggregate, and its events 1 to that \
                 version: mend them, or go on with --allow-deviating-heads";
    refused(aggregates, offenders, words)
}

fn refused(what: String, offenders: &Offenders, mend: &str) -> Option<Belonging> {
    let mend = Mend::Words { words: mend.to_owned() };
    (offenders.total > 0).then(|| Belonging::refused(what, listed(offenders), mend))
}

/// The first offenders, and how many more there are.
fn listed(offenders: &Offenders) -> String {
    let words = offenders.first.join("; ");
    let listed = u64::try_from(offenders.first.len()).unwrap_or(u64::MAX);
    match offenders.total.saturating_sub(listed) {
        0 => words,
        more => format!("{words}; and {more} more"),
    }
}

fn space(rows: &Rows, free: Option<u64>) -> Belonging {
    let needed = rows.size;
    let what = "the space of a second table";
    match free {
        Some(free) if free < needed => Belonging::refused(
            what,
            format!("it takes about {needed} bytes, and {free} are free"),
            Mend::Words { words: "make room, or convert with another strategy".to_owned() },
        ),
        _ => Belonging::left(
            what,
            format!(
                "about {needed} bytes until the old one is dropped, and as much in the log; the \
                 server cannot tell what is free"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::levels::Level;
    use crate::layout::name::Tables;

    const COPY: Terms = Terms { strategy: Strategy::Copy, free: None, deviating: false };

    fn layout() -> Layout {
        let levels = vec![Level::Context, Level::Month];
        Layout::new(Tables::default(), levels, Vec::new(), 3).expect("a layout")
    }

    #[test]
    fn more_than_are_listed_are_counted() {
        let timeless = Offenders { total: 30, first: vec!["position 1: infinity".to_owned()] };
        let found = judge(&layout(), &Rows { timeless, ..Rows::default() }, COPY);
        assert_eq!(
            found[0].to_string(),
            "events outside every month: position 1: infinity; and 29 more"
        );
        assert!(found[0].mend().is_some());
    }

    #[test]
    fn space_is_refused_only_where_it_is_known() {
        let rows = Rows { size: 100, ..Rows::default() };
        for (free, refused) in [(None, false), (Some(100), false), (Some(99), true)] {
            let found = judge(&layout(), &rows, Terms { free, ..COPY });
            assert_eq!(found[0].mend().is_some(), refused, "{free:?}");
            let attach = Terms { strategy: Strategy::Attach, free, deviating: false };
            assert_eq!(judge(&layout(), &rows, attach), [], "{free:?}");
        }
    }

    #[test]
    fn a_context_without_a_name_is_refused_where_contexts_divide() {
        let part =
            |context: &str| Part { context: context.to_owned(), month: None, rows: 2, bytes: 9 };
        let rows = Rows { parts: vec![part(" x"), part("A"), part(" x")], ..Rows::default() };
        let found = judge(&layout(), &rows, COPY);
        assert_eq!(found[0].to_string(), "contexts that cannot be named: \" x\": 4 rows");
        assert!(judge(&Layout::default(), &rows, COPY)[0].mend().is_none());
    }
}
