//! Which lines of a file are left out.

/// The lines of a file that are not loaded, one bit each.
#[derive(Debug, Default)]
pub(super) struct Skipped {
    bits: Vec<u64>,
    count: u64,
}

impl Skipped {
    /// Skips a line.
    pub(super) fn add(&mut self, line: u64) {
        let (word, bit) = Self::place(line);
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        self.count += u64::from(self.bits[word] & bit == 0);
        self.bits[word] |= bit;
    }

    /// Whether a line is skipped.
    #[must_use]
    pub(super) fn contains(&self, line: u64) -> bool {
        let (word, bit) = Self::place(line);
        self.bits.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// How many are.
    #[must_use]
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The line of the row with this number, counted from 1 behind line `after`.
    #[must_use]
    pub(super) fn line_of_row(&self, after: u64, row: u64) -> u64 {
        let mut line = after;
        let mut left = row;
        while left > 0 {
            line += 1;
            left -= u64::from(!self.contains(line));
        }
        line
    }

    fn place(line: u64) -> (usize, u64) {
        (usize::try_from(line / 64).unwrap_or(usize::MAX), 1 << (line % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_find_their_lines() {
        let mut skipped = Skipped::default();
        for line in [1, 3, 64, 65, 65] {
            skipped.add(line);
        }
        assert_eq!(skipped.count(), 4);
        assert!(skipped.contains(64) && !skipped.contains(63) && !skipped.contains(6400));
        assert_eq!(skipped.line_of_row(0, 1), 2);
        assert_eq!(skipped.line_of_row(0, 2), 4);
        assert_eq!(skipped.line_of_row(62, 1), 63);
        assert_eq!(skipped.line_of_row(62, 2), 66);
        assert_eq!(Skipped::default().line_of_row(100, 7), 107);
    }
}
