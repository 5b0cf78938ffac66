//! One of crontab's five fields.

use std::collections::BTreeSet;

/// Which field it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// 1 to 31.
    Day,
    /// 1 to 12, or `jan` to `dec`.
    Month,
    /// 0 to 7, or `sun` to `sat`; 0 and 7 are Sunday.
    Weekday,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// From Sunday on, as crontab counts.
pub(super) const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Unit {
    /// All, in the order in which they are written.
    pub const ALL: [Self; 5] = [Self::Minute, Self::Hour, Self::Day, Self::Month, Self::Weekday];

    fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day of the month",
            Self::Month => "month",
            Self::Weekday => "day of the week",
        }
    }

    fn range(self) -> (u32, u32) {
        match self {
            Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::Day => (1, 31),
            Self::Month => (1, 12),
            Self::Weekday => (0, 7),
        }
    }

    /// The number of a name, where the field has names.
    fn of_name(self, text: &str) -> Option<u32> {
        let (names, first): (&[&str], u32) = match self {
            Self::Month => (&MONTHS, 1),
            Self::Weekday => (&WEEKDAYS, 0),
            _ => return None,
        };
        let found = names.iter().position(|name| name.eq_ignore_ascii_case(text))?;
        u32::try_from(found).ok().map(|found| found + first)
    }

    fn number(self, text: &str) -> Result<u32, String> {
        let (first, last) = self.range();
        if let Some(number) = self.of_name(text) {
            return Ok(number);
        }
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number {
            return Err(self.unknown(text));
        }
        match text.parse() {
            Ok(number) if (first..=last).contains(&number) => Ok(number),
            _ => Err(format!("the {} {text} does not lie between {first} and {last}", self.name())),
        }
    }

    fn unknown(self, text: &str) -> String {
        let name = self.name();
        if text.is_empty() {
            return format!("a number is missing in the {name}");
        }
        if text.contains(['?', 'L', 'W', '#', '~', 'H']) && self.of_name(text).is_none() {
            return format!("crontab has no `{text}` for the {name}: other programs do");
        }
        match self {
            Self::Month => format!("`{text}` is no {name}: write 1 to 12, or jan to dec"),
            Self::Weekday => format!("`{text}` is no {name}: write 0 to 7, or sun to sat"),
            _ => format!("`{text}` is no {name}"),
        }
    }
}

/// The numbers of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    unit: Unit,
    values: BTreeSet<u32>,
    starred: bool,
}

impl Field {
    /// Reads a list of numbers, ranges and steps. The error is a part of a sentence.
    pub fn parse(unit: Unit, text: &str) -> Result<Self, String> {
        let mut values = BTreeSet::new();
        for item in text.split(',') {
            values.extend(item_values(unit, item)?);
        }
        if unit == Unit::Weekday && values.remove(&7) {
            values.insert(0);
        }
        Ok(Self { unit, values, starred: text.starts_with('*') })
    }

    /// The numbers; Sunday is 0.
    #[must_use]
    pub fn values(&self) -> &BTreeSet<u32> {
        &self.values
    }

    /// Whether it begins with `*`, which cron takes for a field that restricts nothing.
    #[must_use]
    pub fn is_starred(&self) -> bool {
        self.starred
    }

    /// Whether it has every number.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let (first, last) = self.unit.range();
        let all = last - first + u32::from(self.unit != Unit::Weekday);
        u32::try_from(self.values.len()) == Ok(all)
    }

    /// Neighbours as pairs of the first and the last.
    #[must_use]
    pub fn runs(&self) -> Vec<(u32, u32)> {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for &value in &self.values {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == value => *last = value,
                _ => runs.push((value, value)),
            }
        }
        runs
    }

    /// The same numbers as a list of numbers and ranges, which every cron reads alike.
    #[must_use]
    pub fn listed(&self, between: &str) -> String {
        let item = |(first, last): (u32, u32)| match last - first {
            0 => first.to_string(),
            1 => format!("{first},{last}"),
            _ => format!("{first}{between}{last}"),
        };
        self.runs().into_iter().map(item).collect::<Vec<_>>().join(",")
    }
}

fn item_values(unit: Unit, item: &str) -> Result<Vec<u32>, String> {
    let (first, last) = unit.range();
    let (range, step) = match item.split_once('/') {
        Some((range, step)) => (range, Some(step)),
        None => (item, None),
    };
    let (from, to) = match range.split_once('-') {
        _ if range == "*" => (first, last),
        Some((from, to)) => (unit.number(from)?, unit.number(to)?),
        None => {
            let only = unit.number(range)?;
            if let Some(step) = step {
                // Some crons take it for a range up to the end, others for the number alone.
                return Err(format!(
                    "`{item}` does not mean the same to every cron: write {only}-{last}/{step}"
                ));
            }
            (only, only)
        }
    };
    if from > to {
        let name = unit.name();
        return Err(format!("the range `{range}` of the {name} ends before it begins"));
    }
    let Some(step) = step else { return Ok((from..=to).collect()) };
    let is_number = !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit());
    let step = is_number.then(|| step.parse::<usize>().ok()).flatten();
    match step {
        Some(0) | None => Err(format!("the step of `{item}` is no number above 0")),
        Some(step) if step > last as usize => {
            Err(format!("the step of `{item}` leaves the range of the {}", unit.name()))
        }
        Some(step) => Ok((from..=to).step_by(step).collect()),
    }
}
