//! Recognises the CHECK that repeats the bounds of a partition: the server leaves one on a table
//! that it detaches concurrently, and prints it in its own way.

use crate::plan::lifecycle::BoundsCheck;

use super::lifecycle::condition;

/// Whether a constraint, as the server prints it, says the same as the bounds.
#[must_use]
pub fn is_bounds(definition: &str, check: &BoundsCheck) -> bool {
    let Some(rest) = definition.strip_prefix("CHECK ") else { return false };
    bare(rest.trim_end_matches(" NOT VALID")) == bare(&condition(check))
}

/// The words of a condition without what may be there or not: parentheses, casts, spaces, quotes
/// around names, the server's schema. What stands between single quotes is kept.
fn bare(text: &str) -> String {
    let mut bare = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if let Some((value, after)) = literal(rest) {
            bare.push('\'');
            bare.push_str(&value.replace('\'', "''"));
            bare.push('\'');
            rest = after;
        } else if let Some(cast) = rest.strip_prefix("::") {
            // A type, which may be of several words in small letters.
            let is_type = |c: char| c.is_ascii_lowercase() || " _.".contains(c);
            rest = cast.trim_start_matches(is_type);
        } else if let Some(after) = rest.strip_prefix("pg_catalog.") {
            rest = after;
        } else {
            if !character.is_whitespace() && !"()\"".contains(character) {
                bare.push(character);
            }
            rest = &rest[character.len_utf8()..];
        }
    }
    bare
}

/// The value of the literal with which a text begins, and what follows it.
fn literal(text: &str) -> Option<(String, &str)> {
    let escaped = text.starts_with("E'");
    let inner = text.strip_prefix('E').unwrap_or(text).strip_prefix('\'')?;
    let mut value = String::new();
    let mut characters = inner.char_indices().peekable();
    while let Some((position, character)) = characters.next() {
        match character {
            '\'' if characters.next_if(|(_, next)| *next == '\'').is_some() => value.push('\''),
            '\'' => return Some((value, &inner[position + 1..])),
            '\\' if escaped => value.extend(characters.next().map(|(_, next)| next)),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::bounds::Bound;
    use crate::plan::lifecycle::Condition;

    fn check(parts: &[(&str, Bound)]) -> BoundsCheck {
        let part = |(column, bound): &(&str, Bound)| Condition {
            columns: vec![(*column).to_owned()],
            bound: bound.clone(),
            parent: 16394,
        };
        BoundsCheck(parts.iter().map(part).collect())
    }

    #[test]
    fn the_servers_words_are_recognised() {
        let month = Bound::month("2026-01".parse().expect("a month"));
        let both = check(&[
            ("bounded_context", Bound::context("O'Neill \\ (x)")),
            ("created_at", month.clone()),
        ]);
        let printed = "CHECK (((bounded_context IS NOT NULL) AND (bounded_context = \
            'O''Neill \\ (x)'::text) AND (created_at IS NOT NULL) AND (created_at >= \
            '2026-01-01 00:00:00+00'::timestamp with time zone) AND (created_at < \
            '2026-02-01 00:00:00+00'::timestamp with time zone)))";
        assert!(is_bounds(printed, &both));
        assert!(is_bounds(&format!("{printed} NOT VALID"), &both));
        assert!(!is_bounds(&printed.replace("O''N", "O N"), &both));
        assert!(!is_bounds(printed, &check(&[("created_at", month)])));
    }

    #[test]
    fn shares_of_a_hash_are_recognised_by_their_parent() {
        let share = check(&[("aggregate_id", Bound::Hash { modulus: 16, remainder: 3 })]);
        let printed = "CHECK (satisfies_hash_partition('16394'::oid, 16, 3, aggregate_id))";
        assert!(is_bounds(printed, &share));
        assert!(!is_bounds(&printed.replace("16394", "16395"), &share));
    }
}
