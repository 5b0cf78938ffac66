//! Divides an export into windows of positions, so that no statement locks more leaves than the
//! server's lock table affords (pure).

/// The first and the last position of a leaf that has rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Which leaf.
    pub leaf: usize,
    /// Its first position.
    pub first: i64,
    /// Its last position.
    pub last: i64,
    /// The locks that reading it takes.
    pub locks: usize,
}

/// Positions that one statement reads, and the leaves that have rows there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    /// The positions lie above this one.
    pub after: Option<i64>,
    /// The positions go up to this one.
    pub up_to: Option<i64>,
    /// The leaves.
    pub leaves: Vec<usize>,
}

/// More leaves meet at one position than a statement can afford.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Crowd {
    /// The position.
    pub position: i64,
    /// How many leaves meet there.
    pub leaves: usize,
    /// The locks that reading them takes.
    pub locks: usize,
}

/// The windows from the first position of all to the last, each as wide as the locks allow: a
/// window grows until the next leaf would be one too many.
pub(super) fn divide(extents: &[Extent], budget: usize) -> Result<Vec<Window>, Crowd> {
    let mut coming: Vec<Extent> = extents.to_vec();
    coming.sort_by_key(|extent| (extent.first, extent.leaf));
    let mut coming = coming.into_iter().peekable();
    let mut open: Vec<Extent> = Vec::new();
    let mut windows = Vec::new();
    let mut after = None;
    while let Some(begin) = next_position(&open, coming.peek(), after) {
        open.retain(|extent| extent.last >= begin);
        // What has rows at the first position must be there, whatever it takes.
        while let Some(extent) = coming.next_if(|next| next.first <= begin) {
            open.push(extent);
        }
        let mut locks: usize = open.iter().map(|extent| extent.locks).sum();
        if locks > budget {
            return Err(Crowd { position: begin, leaves: open.len(), locks });
        }
        while let Some(extent) = coming.next_if(|next| locks + next.locks <= budget) {
            locks += extent.locks;
            open.push(extent);
        }
        let up_to = coming.peek().map(|next| next.first - 1);
        windows.push(window(after, up_to, &open));
        after = up_to;
        if up_to.is_none() {
            break;
        }
    }
    Ok(windows)
}

/// Where the next window begins to have rows: in a leaf that is open, else with the next leaf.
fn next_position(open: &[Extent], next: Option<&Extent>, after: Option<i64>) -> Option<i64> {
    let goes_on = after
        .and_then(|after| after.checked_add(1))
        .filter(|begin| open.iter().any(|extent| extent.last >= *begin));
    goes_on.or(next.map(|extent| extent.first))
}

fn window(after: Option<i64>, up_to: Option<i64>, open: &[Extent]) -> Window {
    let mut leaves: Vec<usize> = open.iter().map(|extent| extent.leaf).collect();
    leaves.sort_unstable();
    Window { after, up_to, leaves }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leaves of one lock each, unless told otherwise.
    fn extents(spans: &[(i64, i64)]) -> Vec<Extent> {
        let extent = |(leaf, &(first, last))| Extent { leaf, first, last, locks: 1 };
        spans.iter().enumerate().map(extent).collect()
    }

    fn told(spans: &[(i64, i64)], budget: usize) -> Vec<(Option<i64>, Option<i64>, Vec<usize>)> {
        let windows = divide(&extents(spans), budget).expect("windows");
        windows.into_iter().map(|one| (one.after, one.up_to, one.leaves)).collect()
    }

    #[test]
    fn what_is_affordable_is_one_window() {
        assert_eq!(told(&[(1, 10), (5, 20)], 2), [(None, None, vec![0, 1])]);
        assert!(told(&[], 1).is_empty());
    }

    #[test]
    fn months_follow_each_other() {
        assert_eq!(
            told(&[(21, 30), (1, 10), (11, 20)], 2),
            [(None, Some(20), vec![1, 2]), (Some(20), None, vec![0])]
        );
    }

    #[test]
    fn a_leaf_that_goes_on_is_in_every_window() {
        assert_eq!(
            told(&[(1, 100), (2, 10), (20, 30), (40, 50)], 2),
            [
                (None, Some(19), vec![0, 1]),
                (Some(19), Some(39), vec![0, 2]),
                (Some(39), None, vec![0, 3]),
            ]
        );
    }

    #[test]
    fn a_gap_belongs_to_the_window_before_it() {
        assert_eq!(
            told(&[(-5, 10), (1000, 1001)], 1),
            [(None, Some(999), vec![0]), (Some(999), None, vec![1])]
        );
    }

    #[test]
    fn too_many_at_one_position_are_told_with_it() {
        let crowd = divide(&extents(&[(1, 10), (2, 10), (5, 5)]), 2).expect_err("too many");
        assert_eq!(crowd, Crowd { position: 5, leaves: 3, locks: 3 });
        let alone = [Extent { leaf: 0, first: 7, last: 9, locks: 6 }];
        let crowd = divide(&alone, 5).expect_err("too many");
        assert_eq!(crowd, Crowd { position: 7, leaves: 1, locks: 6 });
    }

    /// Every window is affordable, they meet without a gap, and each has every leaf that reaches
    /// into it.
    #[test]
    fn windows_hold_what_they_promise() {
        let mut seed = 7_u64;
        let mut next = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            i64::try_from((seed >> 33) % below).expect("it is small")
        };
        for _ in 0..500 {
            let spans: Vec<_> = (0..12)
                .map(|_| {
                    let first = next(200);
                    (first, first + next(40))
                })
                .collect();
            let Ok(windows) = divide(&extents(&spans), 4) else { continue };
            let mut after = None;
            for one in &windows {
                assert_eq!(one.after, after);
                assert!(one.leaves.len() <= 4);
                let begins = |last: i64| one.after.is_none_or(|after| last > after);
                let ends = |first: i64| one.up_to.is_none_or(|up_to| first <= up_to);
                for (leaf, &(first, last)) in spans.iter().enumerate() {
                    assert!(!(begins(last) && ends(first)) || one.leaves.contains(&leaf));
                }
                after = one.up_to;
            }
            assert_eq!(after, None);
        }
    }
}
