//! Reads the text that `pg_get_expr(relpartbound)` prints. The session that asked has
//! `TimeZone = UTC` and `DateStyle = ISO`, so instants come in one form.

use chrono::{DateTime, Utc};

use crate::layout::bounds::{Bound, Edge};

/// The bound that `text` describes. What the layouts of pupctl do not know (several columns,
/// other types, instants before Christ) stays text.
#[must_use]
pub fn parse(text: &str) -> Bound {
    parse_known(text).unwrap_or_else(|| Bound::Other(text.to_owned()))
}

fn parse_known(text: &str) -> Option<Bound> {
    if text == "DEFAULT" {
        return Some(Bound::Default);
    }
    let values = text.strip_prefix("FOR VALUES ")?;
    if let Some(list) = values.strip_prefix("IN (") {
        let (items, rest) = items(list)?;
        return rest.is_empty().then(|| Bound::List(items.into_iter().map(Item::value).collect()));
    }
    if let Some(range) = values.strip_prefix("FROM (") {
        let (from, rest) = items(range)?;
        let (to, rest) = items(rest.strip_prefix(" TO (")?)?;
        let ([from], [to], "") = (from.as_slice(), to.as_slice(), rest) else { return None };
        return Some(Bound::Range { from: from.edge()?, to: to.edge()? });
    }
    let shares = values.strip_prefix("WITH (modulus ")?.strip_suffix(')')?;
    let (modulus, remainder) = shares.split_once(", remainder ")?;
    Some(Bound::Hash { modulus: modulus.parse().ok()?, remainder: remainder.parse().ok()? })
}

/// One value between parentheses.
enum Item {
    Quoted(String),
    Bare(String),
}

impl Item {
    fn value(self) -> Option<String> {
        match self {
            Self::Bare(word) if word == "NULL" => None,
            Self::Quoted(text) | Self::Bare(text) => Some(text),
        }
    }

    fn edge(&self) -> Option<Edge> {
        match self {
            Self::Bare(word) if word == "MINVALUE" => Some(Edge::Min),
            Self::Bare(word) if word == "MAXVALUE" => Some(Edge::Max),
            Self::Bare(_) => None,
            // No instant that has a month lies between these and the ends of the scale.
            Self::Quoted(text) if text == "-infinity" => Some(Edge::Min),
            Self::Quoted(text) if text == "infinity" => Some(Edge::Max),
            Self::Quoted(text) => instant(text).map(Edge::At),
        }
    }
}

/// `2026-11-01 00:00:00+00`, with or without a fraction.
fn instant(text: &str) -> Option<DateTime<Utc>> {
    let parsed = DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z").ok()?;
    Some(parsed.with_timezone(&Utc))
}

/// The values up to the closing parenthesis, and what follows it.
fn items(text: &str) -> Option<(Vec<Item>, &str)> {
    let mut items = Vec::new();
    let mut rest = text;
    loop {
        let item;
        (item, rest) = match rest.strip_prefix('\'') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = rest.find([',', ')'])?;
                (Item::Bare(rest[..end].to_owned()), &rest[end..])
            }
        };
        items.push(item);
        match rest.strip_prefix(", ") {
            Some(next) => rest = next,
            None => return Some((items, rest.strip_prefix(')')?)),
        }
    }
}

/// The text after an opening quote up to its closing one; a doubled quote is one.
fn unquote(text: &str) -> Option<(Item, &str)> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('\'')?;
        value.push_str(before);
        let Some(next) = after.strip_prefix('\'') else {
            return Some((Item::Quoted(value), after));
        };
        value.push('\'');
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_with_quotes_commas_and_parentheses() {
        assert_eq!(parse("FOR VALUES IN ('Identity')"), Bound::context("Identity"));
        assert_eq!(parse("FOR VALUES IN ('it''s (a), b''')"), Bound::context("it's (a), b'"));
        assert_eq!(
            parse("FOR VALUES IN ('A', NULL, 'B')"),
            Bound::List(vec![Some("A".to_owned()), None, Some("B".to_owned())])
        );
        // The word in quotes is a context of that name.
        assert_eq!(parse("FOR VALUES IN ('NULL')"), Bound::context("NULL"));
    }

    #[test]
    fn months_and_open_ranges() {
        let month = "2026-11".parse().expect("a month");
        assert_eq!(
            parse("FOR VALUES FROM ('2026-11-01 00:00:00+00') TO ('2026-12-01 00:00:00+00')"),
            Bound::month(month)
        );
        let Bound::Range { from, to } =
            parse("FOR VALUES FROM (MINVALUE) TO ('2026-11-01 00:00:00.5+00')")
        else {
            panic!("a range");
        };
        assert_eq!(from, Edge::Min);
        assert_eq!(to, Edge::At(month.start() + chrono::TimeDelta::milliseconds(500)));
    }

    #[test]
    fn an_infinite_end_stands_for_all_months_on_its_side() {
        let Bound::Range { from, to } = parse("FOR VALUES FROM ('-infinity') TO ('infinity')")
        else {
            panic!("a range");
        };
        assert_eq!((from, to), (Edge::Min, Edge::Max));
    }

    #[test]
    fn hash_and_default() {
        let share = Bound::Hash { modulus: 16, remainder: 3 };
        assert_eq!(parse("FOR VALUES WITH (modulus 16, remainder 3)"), share);
        assert_eq!(parse("DEFAULT"), Bound::Default);
    }

    #[test]
    fn what_no_layout_knows_stays_text() {
        for text in [
            "FOR VALUES FROM ('a', 1) TO ('b', 2)",
            "FOR VALUES FROM (1) TO (2)",
            "FOR VALUES FROM ('44-01-01 00:00:00+00 BC') TO (MAXVALUE)",
            "FOR VALUES IN ('open",
            "",
        ] {
            assert_eq!(parse(text), Bound::Other(text.to_owned()), "{text}");
        }
    }
}
