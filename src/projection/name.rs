//! How projections are called, and the rows of their slots.

use crate::error::{Error, Result};

/// The longest name of a projection in bytes.
pub const NAME_BYTES_MAX: usize = 200;

/// The most slots that a projection may have.
pub const SLOTS_MAX: u32 = 1024;

/// What stands behind the name of a projection while it is rebuilt.
pub const REBUILD: &str = ":rebuild";

/// The `projection_name` of a slot's row: the name alone where there is one slot, so that what
/// watches checkpoints by name finds it; else `name:slot/slots`.
#[must_use]
pub fn row_name(projection: &str, slot: u32, slots: u32) -> String {
    if slots == 1 { projection.to_owned() } else { format!("{projection}:{slot}/{slots}") }
}

/// Refuses what cannot be the name of a projection.
pub fn validate(name: &str) -> Result<()> {
    let refuse = |why: &str| {
        Err(Error::invalid(format!("the projection name {name:?} {why}"))
            .hint("choose a short name like order_totals"))
    };
    if name.trim().is_empty() {
        return refuse("is empty");
    }
    if name.trim() != name {
        return refuse("starts or ends with a space");
    }
    if name.len() > NAME_BYTES_MAX {
        return refuse(&format!("has {} bytes; the limit is {NAME_BYTES_MAX}", name.len()));
    }
    if name.chars().any(char::is_control) {
        return refuse("holds a control character");
    }
    if name.ends_with(REBUILD) {
        return refuse("ends like that of a rebuild");
    }
    if is_row_of_a_slot(name) {
        return refuse("ends like the row of a slot");
    }
    Ok(())
}

/// Refuses to take a rebuild for a projection of its own.
pub fn refuse_rebuild(name: &str) -> Result<()> {
    if !name.ends_with(REBUILD) {
        return Ok(());
    }
    Err(Error::refused(format!("{name} is a rebuild, and has tables that belong to it")).hint(
        format!("call it off: pupctl operations abort {}", crate::render::quote::shell_word(name)),
    ))
}

/// Refuses numbers of slots that are none.
pub fn validate_slots(slots: u32) -> Result<()> {
    if (1..=SLOTS_MAX).contains(&slots) {
        return Ok(());
    }
    Err(Error::invalid(format!("a projection cannot have {slots} slots"))
        .hint(format!("choose a number from 1 to {SLOTS_MAX}, best a power of two")))
}

fn is_row_of_a_slot(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    name.rsplit_once(':')
        .and_then(|(_, slot)| slot.split_once('/'))
        .is_some_and(|(slot, slots)| is_number(slot) && is_number(slots))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slot_has_the_name_of_the_projection() {
        assert_eq!(row_name("orders", 0, 1), "orders");
        assert_eq!(row_name("orders", 3, 4), "orders:3/4");
    }

    #[test]
    fn a_name_is_not_taken_for_the_row_of_a_slot() {
        for good in ["orders", "Orders \"now\"", "a:b", "a:1", "a/4", "a:1/b"] {
            assert!(validate(good).is_ok(), "{good}");
        }
        for bad in ["", " ", " a", "a\n", "a:1/4", "a:rebuild", &"a".repeat(201)] {
            assert!(validate(bad).is_err(), "{bad:?}");
        }
    }
}
