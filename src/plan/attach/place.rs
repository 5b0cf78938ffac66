//! Where a table is to be attached: what the user wrote, what its name says, what a CHECK of it
//! says; and whether there is room.

use crate::catalog::Catalog;
use crate::catalog::relation::Relation;
use crate::error::{Error, Result};
use crate::layout::bounds::Bound;
use crate::layout::levels::Level;
use crate::layout::month::Month;
use crate::layout::name::{fold_context, joined};
use crate::layout::place::Place;
use crate::layout::{Layout, Role};
use crate::plan::target::partitions;

/// Reads a place as `partitions list` shows it and people write it: `2026-01`, `Billing`,
/// `Billing/2026-01`, `hash 3 of 16`, `Billing/hash 3 of 16`.
pub fn read(layout: &Layout, word: &str) -> Result<Place> {
    if layout.levels.is_empty() {
        return Err(not_partitioned(layout));
    }
    if !layout.has_context_level() {
        return below(Place::default(), &layout.levels, word);
    }
    // A context may have a slash in its name: the longest that is known comes first.
    let mut contexts: Vec<_> = layout.contexts.iter().collect();
    contexts.sort_by_key(|context| std::cmp::Reverse(context.name.len()));
    let exact = |name: &str| rest_of(word, name).map(str::to_owned);
    let folded = |name: &str| {
        let head: String = word.chars().take(name.chars().count()).collect();
        (fold_context(&head) == fold_context(name)).then(|| rest_of(word, &head)).flatten()
    };
    let found = contexts
        .iter()
        .find_map(|context| Some((context, exact(&context.name)?)))
        .or_else(|| contexts.iter().find_map(|c| Some((c, folded(&c.name)?.to_owned()))));
    let Some((context, rest)) = found else {
        let known: Vec<_> = layout.contexts.iter().map(|context| context.name.as_str()).collect();
        return Err(Error::invalid(format!("the store knows no context as in {word}"))
            .hint(format!("it knows {}", known.join(", "))));
    };
    let levels = layout.levels_below(Role::Events, context);
    let place = Place::default().below(Bound::context(&context.name));
    below(place, &levels, &rest)
}

/// What follows a context: nothing, or what stands behind a slash.
fn rest_of<'a>(word: &'a str, context: &str) -> Option<&'a str> {
    let rest = word.strip_prefix(context)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

fn below(place: Place, levels: &[Level], text: &str) -> Result<Place> {
    let Some((level, deeper)) = levels.split_first() else {
        return if text.is_empty() {
            Ok(place)
        } else {
            Err(Error::invalid(format!("{place} is not divided, so there is no {place}/{text}"))
                .hint(format!("leave out what follows: {place}")))
        };
    };
    let (first, rest) = match text.split_once('/') {
        Some((first, rest)) => (first, rest),
        None => (text, ""),
    };
    if first.is_empty() {
        return Err(Error::invalid(format!("{place} is divided by {level}"))
            .hint(format!("name one of its parts: {}", example(&place, level))));
    }
    let bound = match level {
        Level::Month => match first.strip_prefix("before ") {
            Some(month) => month.trim().parse().ok().map(Bound::history),
            None => first.parse().ok().map(Bound::month),
        },
        Level::Hash(hash) => share(first)
            .filter(|(remainder, modulus)| *modulus == hash.partitions && remainder < modulus)
            .map(|(remainder, modulus)| Bound::Hash { modulus, remainder }),
        Level::Context => None,
    };
    match bound {
        Some(bound) => below(place.below(bound), deeper, rest),
        None => Err(Error::invalid(format!("`{first}` is no part of a table divided by {level}"))
            .hint(format!("write {}", example(&place, level)))),
    }
}

/// `hash 3 of 16`.
fn share(text: &str) -> Option<(u32, u32)> {
    let (remainder, modulus) = text.trim().strip_prefix("hash ")?.split_once(" of ")?;
    Some((remainder.trim().parse().ok()?, modulus.trim().parse().ok()?))
}

fn example(place: &Place, level: &Level) -> String {
    let part = match level {
        Level::Month => "2026-01".to_owned(),
        Level::Hash(hash) => format!("\"hash 0 of {}\"", hash.partitions),
        Level::Context => "a context".to_owned(),
    };
    if place.bounds().is_empty() { part } else { format!("{place}/{part}") }
}

fn not_partitioned(layout: &Layout) -> Error {
    Error::refused(format!(
        "the table {} is not partitioned: nothing can be attached to it",
        layout.tables.events
    ))
    .hint("copy the rows into it, or export and import them: pupctl events import")
}

/// The table of which a partition at this place would be one, if the place is on the layout's grid
/// and free.
pub fn parent<'a>(layout: &Layout, catalog: &'a Catalog, place: &Place) -> Result<&'a Relation> {
    refuse_off_grid(layout, place)?;
    let events = catalog.events.as_ref().ok_or_else(|| {
        Error::refused("the table of events is missing").hint("make it: pupctl schema init")
    })?;
    let Some((last, above)) = place.bounds().split_last() else {
        return Err(not_partitioned(layout));
    };
    let mut parent = &events.root;
    for bound in above {
        let found = parent.partitions.iter().find(|p| p.bound.as_ref() == Some(bound));
        parent = found.ok_or_else(|| {
            Error::refused(format!("there is no partition for {bound} yet, in which {place} lies"))
                .hint("make it first: pupctl partitions ensure")
        })?;
    }
    let taken = parent.partitions.iter().find(|partition| {
        *last != Bound::Default && partition.bound.as_ref().is_some_and(|b| b.overlaps(last))
    });
    match taken {
        None => Ok(parent),
        Some(other) => Err(Error::refused(format!("{place} is taken: {} holds it", other.name))
            .hint(format!("detach that one first: pupctl partitions detach {}", other.name))),
    }
}

/// Refuses places that the layout does not have.
fn refuse_off_grid(layout: &Layout, place: &Place) -> Result<()> {
    let off = |reason: String| {
        Error::refused(format!(
            "{place} is no place of the layout {}: {reason}",
            layout.partition_by()
        ))
    };
    let mut levels = layout.levels_of(Role::Events);
    for bound in place.bounds() {
        let Some(level) = levels.first().cloned() else {
            return Err(off(format!("nothing lies below {bound}")));
        };
        let mut deeper = levels[1..].to_vec();
        match (&level, bound) {
            (Level::Context, _) => {
                let context = bound.as_context().and_then(|name| layout.context(name));
                let context = context.ok_or_else(|| {
                    off(format!("the store knows no context {bound}"))
                        .hint(format!("add it first: pupctl contexts add {bound}"))
                })?;
                deeper = layout.levels_below(Role::Events, context);
            }
            (Level::Month, _) if bound.as_month().is_some() || bound.as_history().is_some() => {}
            (Level::Hash(hash), Bound::Hash { modulus, .. }) if *modulus == hash.partitions => {}
            _ => return Err(off(format!("{bound} is not one of its parts by {level}"))),
        }
        levels = deeper;
    }
    match levels.first() {
        None => Ok(()),
        Some(level) => Err(off(format!("it is divided further, by {level}"))),
    }
}

/// The place for which the layout would give a table this name.
#[must_use]
pub fn guess_from_name(layout: &Layout, catalog: &Catalog, name: &str) -> Option<Place> {
    let events = catalog.events.as_ref()?;
    let branches = partitions(catalog).into_iter().filter(|one| !one.relation.is_leaf());
    let mut parents = vec![(&events.root, Place::default())];
    parents.extend(branches.map(|branch| (branch.relation, branch.place)));
    let mut found = Vec::new();
    for (parent, place) in parents {
        let bounds = match level_at(layout, &place) {
            Some(Level::Context) => layout
                .contexts
                .iter()
                .map(|context| (fold_context(&context.name), Bound::context(&context.name)))
                .collect(),
            Some(Level::Hash(hash)) => (0..hash.partitions)
                .map(|remainder| {
                    let bound = Bound::Hash { modulus: hash.partitions, remainder };
                    (format!("hash_{remainder:02}"), bound)
                })
                .collect(),
            Some(Level::Month) => {
                let month = named_month(name);
                month.map(|month| (month.suffix(), Bound::month(month))).into_iter().collect()
            }
            None => Vec::new(),
        };
        let is_it = |(suffix, _): &(String, Bound)| joined(&parent.name.name, suffix) == name;
        found.extend(bounds.into_iter().filter(is_it).map(|(_, bound)| place.below(bound)));
    }
    // A branch can have the name that the layout would give it, too: it is no place for rows.
    found.retain(|place| refuse_off_grid(layout, place).is_ok());
    if found.len() == 1 { found.pop() } else { None }
}

fn level_at(layout: &Layout, place: &Place) -> Option<Level> {
    let mut levels = layout.levels_of(Role::Events);
    for bound in place.bounds() {
        let context = bound.as_context().and_then(|name| layout.context(name));
        levels = match context {
            Some(context) => layout.levels_below(Role::Events, context),
            None => levels.get(1..)?.to_vec(),
        };
    }
    levels.first().cloned()
}

/// The month with which a name ends, as `2026_01`.
fn named_month(name: &str) -> Option<Month> {
    let ending = name.get(name.len().checked_sub(7)?..)?;
    ending.replace('_', "-").parse().ok()
}

/// The place of which a CHECK constraint speaks, as the server prints it. What is read here is a
/// guess: whether the constraint says so is for the caller to see.
#[must_use]
pub fn guess_from_check(layout: &Layout, definition: &str) -> Option<Place> {
    let mut place = Place::default();
    while let Some(level) = level_at(layout, &place) {
        let bound = match level {
            Level::Context => {
                let (_, rest) = definition.split_once("bounded_context = ")?;
                Bound::context(literal(rest)?)
            }
            Level::Month => {
                let (_, rest) = definition.split_once("created_at >= ")?;
                Bound::month(literal(rest)?.get(..7)?.parse().ok()?)
            }
            Level::Hash(_) => {
                let (_, rest) = definition.split_once("satisfies_hash_partition(")?;
                let mut parts = rest.split(", ").skip(1);
                let modulus = parts.next()?.parse().ok()?;
                Bound::Hash { modulus, remainder: parts.next()?.parse().ok()? }
            }
        };
        place = place.below(bound);
    }
    (!place.bounds().is_empty()).then_some(place)
}

/// The text of the literal with which something begins.
fn literal(text: &str) -> Option<String> {
    let inner = text.strip_prefix('\'')?;
    let mut value = String::new();
    let mut characters = inner.chars().peekable();
    while let Some(character) = characters.next() {
        if character != '\'' {
            value.push(character);
        } else if characters.next_if_eq(&'\'').is_some() {
            value.push('\'');
        } else {
            return Some(value);
        }
    }
    None
}
