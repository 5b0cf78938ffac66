//! Which positions are still to be copied.

/// Positions after one and up to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The position before the first.
    pub after: i64,
    /// The last.
    pub up_to: i64,
}

/// What lies between two positions and in none of the ranges that are done, in order.
#[must_use]
pub fn gaps(done: &[Range], whole: Range) -> Vec<Range> {
    let mut done = done.to_vec();
    done.sort_by_key(|range| range.after);
    let mut gaps = Vec::new();
    let mut reached = whole.after;
    for range in done {
        let up_to = range.after.min(whole.up_to);
        if up_to > reached {
            gaps.push(Range { after: reached, up_to });
        }
        reached = reached.max(range.up_to);
    }
    if whole.up_to > reached {
        gaps.push(Range { after: reached, up_to: whole.up_to });
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(after: i64, up_to: i64) -> Range {
        Range { after, up_to }
    }

    #[test]
    fn what_is_not_done_is_left() {
        let whole = range(i64::MIN, 100);
        assert_eq!(gaps(&[], whole), [whole]);
        let done = [range(40, 60), range(i64::MIN, 20), range(20, 30)];
        assert_eq!(gaps(&done, whole), [range(30, 40), range(60, 100)]);
        assert_eq!(gaps(&[range(i64::MIN, 100)], whole), []);
        // What was copied beyond the goal of now is done as well.
        assert_eq!(gaps(&[range(90, 120)], range(80, 100)), [range(80, 90)]);
    }
}
