//! Expressions mean what they mean in a crontab: compared minute by minute with a second reading
//! of them, which follows the source of Vixie's cron.

use chrono::{Datelike, NaiveDate, NaiveDateTime, TimeDelta, Timelike};
use pupctl::schedule::Expression;

/// A time of a cron expression, as cron finds it: for each minute anew.
pub(crate) struct Reference {
    minutes: Vec<bool>,
    hours: Vec<bool>,
    days: Vec<bool>,
    months: Vec<bool>,
    weekdays: Vec<bool>,
    either: bool,
}

impl Reference {
    pub(crate) fn of(text: &str) -> Self {
        let fields: Vec<&str> = text.split(' ').collect();
        let table = |field: &str, low: u32, high: u32| -> Vec<bool> {
            (0..=high).map(|value| matches(field, value, low, high)).collect()
        };
        let mut weekdays = table(fields[4], 0, 7);
        weekdays[0] |= weekdays[7];
        Self {
            minutes: table(fields[0], 0, 59),
            hours: table(fields[1], 0, 23),
            days: table(fields[2], 1, 31),
            months: table(fields[3], 1, 12),
            weekdays,
            either: !fields[2].starts_with('*') && !fields[4].starts_with('*'),
        }
    }

    pub(crate) fn fires(&self, at: NaiveDateTime) -> bool {
        let day = self.days[at.day() as usize];
        let weekday = self.weekdays[at.weekday().num_days_from_sunday() as usize];
        self.minutes[at.minute() as usize]
            && self.hours[at.hour() as usize]
            && self.months[at.month() as usize]
            && if self.either { day || weekday } else { day && weekday }
    }
}

/// Whether a value is one of those that a field lists.
fn matches(field: &str, value: u32, low: u32, high: u32) -> bool {
    let number = |text: &str| -> u32 {
        const NAMES: &str = "sunmontuewedthufrisat janfebmaraprmayjunjulaugsepoctnovdec";
        match text.parse() {
            Ok(number) => number,
            Err(_) => {
                let place = u32::try_from(NAMES.find(text).expect("a name")).expect("small");
                if high == 12 { (place - 22) / 3 + 1 } else { place / 3 }
            }
        }
    };
    field.split(',').any(|item| {
        let (range, step) = item.split_once('/').unwrap_or((item, "1"));
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (low, high),
            Some((from, to)) => (number(from), number(to)),
            None => (number(range), number(range)),
        };
        let step: u32 = step.parse().expect("a step");
        (from..=to).contains(&value) && (value - from).is_multiple_of(step)
    })
}

fn day(year: i32, month: u32, day: u32) -> NaiveDateTime {
    let date = NaiveDate::from_ymd_opt(year, month, day).expect("a day");
    date.and_hms_opt(0, 0, 0).expect("midnight")
}

/// Goes through the minutes and compares.
#[track_caller]
fn compare(text: &str, from: NaiveDateTime, to: NaiveDateTime) {
    let expression: Expression = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    let reference = Reference::of(text);
    let mut wanted = expression.next_local(from);
    let mut minute = from + TimeDelta::minutes(1);
    while minute < to {
        if wanted == Some(minute) {
            assert!(reference.fires(minute), "`{text}` fires at {minute}, and should not");
            wanted = expression.next_local(minute);
        } else {
            assert!(!reference.fires(minute), "`{text}` does not fire at {minute}");
        }
        minute += TimeDelta::minutes(1);
    }
}

#[test]
fn what_people_write() {
    let known = [
        "* * * * *",
        "*/5 * * * *",
        "0-59/20 */6 * * *",
        "17 3 * * *",
        "5 4 * * sun",
        "0 22 * * 1-5",
        "0 22 * * mon-fri",
        "23 0-23/2 * * *",
        "15 14 1 * *",
        "0 0 1,15 * sun",
        "0 4 8-14 * *",
        "30 4 1,15 * 5",
        "0 0 13 * 5",
        "0 0 */2 * 1",
        "0 0 * * */2",
        "0 0 1 * */3",
        "0 12 1-7 * *",
        "0 0 29 2 *",
        "0 0 31 * *",
        "0 0 31 1-12/2 0",
        "0 0 * jan,jul 7",
        "0 0 * * 0,7",
        "0 0 * * 5-7",
        "0 0 * * 1-7/2",
        "0 0 1-31 * mon",
        "0 0 1 1 *",
        "59 23 31 12 *",
        "0,1,2,58-59 0 * feb-mar sat",
    ];
    for text in known {
        compare(text, day(2027, 12, 20), day(2028, 4, 10));
    }
    compare("0 0 29 2 1", day(2023, 1, 1), day(2027, 1, 1));
    compare("0 12 31 1-12/2 0", day(2026, 1, 1), day(2027, 6, 1));
}

#[test]
fn what_nobody_writes() {
    let mut random = Random(0x5eed_2026);
    for _ in 0..120 {
        let text = random.expression();
        if text.parse::<Expression>().is_err() {
            // 30 February, and its like.
            let reference = Reference::of(&text);
            let mut hour = day(2024, 1, 1);
            while hour < day(2029, 1, 1) {
                let first = reference.minutes.iter().position(|is| *is).expect("a minute");
                let minute = i64::try_from(first).expect("small");
                assert!(!reference.fires(hour + TimeDelta::minutes(minute)), "{text} at {hour}");
                hour += TimeDelta::hours(1);
            }
            continue;
        }
        compare(&text, day(2028, 1, 25), day(2028, 3, 5));
        compare(&text, day(2026, 10, 28), day(2026, 11, 20));
    }
}

/// Numbers that are the same on each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 % u64::from(limit)).expect("below a small number")
    }

    fn item(&mut self, low: u32, high: u32) -> String {
        let from = low + self.below(high - low + 1);
        let to = from + self.below(high - from + 1);
        match self.below(6) {
            0 => format!("*/{}", 1 + self.below(high)),
            1 => format!("{from}-{to}"),
            2 => format!("{from}-{to}/{}", 1 + self.below(high.min(9))),
            _ => from.to_string(),
        }
    }

    fn field(&mut self, low: u32, high: u32) -> String {
        if self.below(3) == 0 {
            return "*".to_owned();
        }
        let items = 1 + self.below(3);
        (0..items).map(|_| self.item(low, high)).collect::<Vec<_>>().join(",")
    }

    fn expression(&mut self) -> String {
        let ranges = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)];
        ranges.map(|(low, high)| self.field(low, high)).join(" ")
    }
}
