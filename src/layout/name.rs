//! Names: what PostgreSQL accepts as an identifier, and how partitions are called.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The longest identifier in bytes (`NAMEDATALEN - 1`). PostgreSQL cuts longer ones with a mere
/// NOTICE, which makes two names one.
pub const IDENTIFIER_BYTES_MAX: usize = 63;

/// The longest name of a bounded context in bytes. It is data, not an identifier; the limit
/// keeps messages and keys readable.
pub const CONTEXT_BYTES_MAX: usize = 200;

/// The table of the events that projections could not handle, beside `projection_checkpoints`.
pub const DEAD_LETTERS: &str = "projection_dead_letters";

/// The table of what projections are, beside their checkpoints.
pub const DEFINITIONS: &str = "projection_definitions";

/// The table of what projections were given.
pub const AUDIT: &str = "projection_audit";

/// A schema-qualified name, unquoted. Statements get it through the quoting of [`crate::render`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QualifiedName {
    /// The schema.
    pub schema: String,
    /// The relation.
    pub name: String,
}

impl QualifiedName {
    /// A name in a schema.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }

    /// Another relation in the same schema.
    #[must_use]
    pub fn sibling(&self, name: impl Into<String>) -> Self {
        Self::new(self.schema.clone(), name)
    }
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.schema, self.name)
    }
}

/// The names of the store's three tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tables {
    /// The events.
    pub events: String,
    /// The current version of every aggregate.
    pub aggregate_heads: String,
    /// How far every projection has read.
    pub projection_checkpoints: String,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            events: "events".to_owned(),
            aggregate_heads: "aggregate_heads".to_owned(),
            projection_checkpoints: "projection_checkpoints".to_owned(),
        }
    }
}

impl Tables {
    /// Refuses names that PostgreSQL would cut, that collide, or that leave no room for the
    /// endings of partitions.
    pub fn validate(&self) -> Result<()> {
        let names = [&self.events, &self.aggregate_heads, &self.projection_checkpoints];
        for name in names {
            validate_identifier("table", name)?;
            if name.starts_with("pupctl_") || name == DEAD_LETTERS {
                return Err(Error::invalid(format!("the table name `{name}` is pupctl's own"))
                    .hint("choose a name that is not that, nor starts with `pupctl_`"));
            }
        }
        if names[0] == names[1] || names[0] == names[2] || names[1] == names[2] {
            return Err(Error::invalid("two of the store's tables have one name")
                .hint("give events, aggregate_heads and projection_checkpoints different names"));
        }
        Ok(())
    }
}

/// Refuses what cannot be an identifier: empty, longer than 63 bytes, control characters.
pub fn validate_identifier(what: &str, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid(format!("the {what} name is empty")));
    }
    if name.len() > IDENTIFIER_BYTES_MAX {
        return Err(Error::invalid(format!(
            "the {what} name `{name}` has {} bytes; PostgreSQL keeps {IDENTIFIER_BYTES_MAX}",
            name.len()
        )));
    }
    refuse_control_characters(what, name)
}

/// Refuses what cannot be a bounded context: empty, blank, too long, control characters.
pub fn validate_context(name: &str) -> Result<()> {
    if name.trim().is_empty() {
        return Err(Error::invalid("the name of a bounded context is empty")
            .hint("separate the names with single commas: --contexts Identity,Billing"));
    }
    if name.trim() != name {
        return Err(Error::invalid(format!(
            "the bounded context `{name}` starts or ends with a space"
        )));
    }
    if name.len() > CONTEXT_BYTES_MAX {
        return Err(Error::invalid(format!(
            "the bounded context `{name}` has {} bytes; the limit is {CONTEXT_BYTES_MAX}",
            name.len()
        )));
    }
    refuse_control_characters("bounded context", name)
}

fn refuse_control_characters(what: &str, name: &str) -> Result<()> {
    if name.chars().any(char::is_control) {
        return Err(Error::invalid(format!("the {what} name {name:?} holds a control character")));
    }
    Ok(())
}

/// What a context's name becomes in the name of its partition: lower case, `_` for every
/// character that would need quotes.
#[must_use]
pub fn fold_context(context: &str) -> String {
    let safe = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '_' };
    context.to_lowercase().chars().map(safe).collect()
}

/// The name `base_suffix`, cut to 63 bytes with a stable hash where it is longer.
#[must_use]
pub fn joined(base: &str, suffix: &str) -> String {
    let full = format!("{base}_{suffix}");
    if full.len() <= IDENTIFIER_BYTES_MAX { full } else { hashed(&full, &full) }
}

/// How every name begins that [`joined`] makes of a base.
#[must_use]
pub fn beginning(base: &str) -> String {
    let mut beginning = format!("{base}_");
    // What is longer is cut for a hash: an underscore and eight digits.
    let mut end = beginning.len().min(IDENTIFIER_BYTES_MAX - 9);
    while !beginning.is_char_boundary(end) {
        end -= 1;
    }
    beginning.truncate(end);
    beginning
}

/// Whether PostgreSQL may give this name to an index or a sequence (`events_pkey`,
/// `events_created_at_idx1`), which share one name space with tables. A context can be called
/// `pkey`.
#[must_use]
pub fn is_like_an_index(name: &str) -> bool {
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit());
    ["_pkey", "_key", "_idx", "_seq"].iter().any(|ending| name.ends_with(ending))
}

/// `name` followed by a short hash of `identity`, within 63 bytes: for names that would be too
/// long, or that two partitions would share.
#[must_use]
pub fn hashed(name: &str, identity: &str) -> String {
    let ending = format!("_{:08x}", fnv1a(identity));
    let mut end = name.len().min(IDENTIFIER_BYTES_MAX - ending.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ending}", &name[..end])
}

/// 32-bit FNV-1a: stable across versions of Rust and of pupctl, which the standard library's
/// hasher does not promise. <http://www.isthe.com/chongo/tech/comp/fnv/>
#[must_use]
pub fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv_matches_the_published_vectors() {
        assert_eq!(fnv1a(""), 0x811c_9dc5);
        assert_eq!(fnv1a("a"), 0xe40c_292c);
        assert_eq!(fnv1a("foobar"), 0xbf9c_f968);
    }

    #[test]
    fn folding_leaves_nothing_to_quote() {
        assert_eq!(fold_context("Identity"), "identity");
        assert_eq!(fold_context("a\"; DROP TABLE events; --"), "a___drop_table_events____");
        assert_eq!(fold_context("Zahlung €"), "zahlung__");
    }

    #[test]
    fn names_begin_as_their_base_says() {
        for base in ["events".to_owned(), "x".repeat(53), "é".repeat(27), "x".repeat(63)] {
            for suffix in ["2026_01", "before_convert"] {
                let name = joined(&base, suffix);
                assert!(name.starts_with(&beginning(&base)), "{base} {name}");
            }
        }
    }

    #[test]
    fn long_names_are_cut_with_a_hash_that_tells_them_apart() {
        let base = "x".repeat(80);
        let january = joined(&base, "2026_01");
        let february = joined(&base, "2026_02");
        assert_eq!(january.len(), IDENTIFIER_BYTES_MAX);
        assert_ne!(january, february);
        assert_eq!(january, joined(&base, "2026_01"));
        // Cut between characters, never inside one.
        assert!(joined(&"é".repeat(40), "2026_01").len() <= IDENTIFIER_BYTES_MAX);
    }

    #[test]
    fn names_that_the_server_gives_to_indexes_are_known() {
        for name in ["events_pkey", "events_event_id_key1", "events_created_at_idx", "events_x_seq"]
        {
            assert!(is_like_an_index(name), "{name}");
        }
        for name in ["events_identity", "events_2026_11", "events_hash_03", "events_monkey"] {
            assert!(!is_like_an_index(name), "{name}");
        }
    }

    #[test]
    fn contexts_that_cannot_be_are_refused() {
        for wrong in ["", " ", " Identity", "a\nb", "\u{0}"] {
            assert!(validate_context(wrong).is_err(), "{wrong:?} must be refused");
        }
        assert!(validate_context(&"x".repeat(CONTEXT_BYTES_MAX + 1)).is_err());
        assert!(validate_context("a\"; DROP TABLE events; --").is_ok());
    }

    #[test]
    fn tables_need_three_names() {
        assert!(Tables::default().validate().is_ok());
        let doubled = Tables { aggregate_heads: "events".to_owned(), ..Tables::default() };
        assert!(doubled.validate().is_err());
    }
}
