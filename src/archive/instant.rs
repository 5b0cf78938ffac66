//! Times as PostgreSQL keeps them: microseconds since 2000-01-01, up to the year 294276.

/// What PostgreSQL sends for `infinity`; `-infinity` is the smallest number.
pub(super) const INFINITY: i64 = i64::MAX;

const DAY: i64 = 86_400_000_000;

/// From 0000-03-01 to 2000-01-01.
const DAYS_TO_2000: i64 = 730_425;

/// Days of four hundred years, after which the calendar comes again.
const DAYS_OF_ERA: i64 = 146_097;

/// A `timestamptz` as PostgreSQL prints it in UTC with the date style ISO.
pub(super) fn text(micros: i64) -> String {
    match micros {
        INFINITY => return "infinity".to_owned(),
        i64::MIN => return "-infinity".to_owned(),
        _ => {}
    }
    let (year, month, day) = date(micros.div_euclid(DAY));
    let time = micros.rem_euclid(DAY);
    let (seconds, fraction) = (time / 1_000_000, time % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let (shown, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    let mut text = format!("{shown:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
    if fraction > 0 {
        text.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
    text + "+00" + era
}

/// Year, month and day so many days after 2000-01-01, in the Gregorian calendar that PostgreSQL
/// uses for all times. The years begin in March, so that the leap day is the last.
/// <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_TO_2000;
    let (era, of_era) = (days.div_euclid(DAYS_OF_ERA), days.rem_euclid(DAYS_OF_ERA));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `SELECT …::timestamptz`; the server tests compare more of them.
    #[test]
    fn times_read_as_the_server_prints_them() {
        for (micros, expected) in [
            (0, "2000-01-01 00:00:00+00"),
            (-1, "1999-12-31 23:59:59.999999+00"),
            (100_000, "2000-01-01 00:00:00.1+00"),
            (59 * DAY, "2000-02-29 00:00:00+00"),
            (i64::MAX, "infinity"),
            (i64::MIN, "-infinity"),
            (9_223_371_331_199_999_999, "294276-12-31 23:59:59.999999+00"),
            (-211_813_488_000_000_000, "4714-11-24 00:00:00+00 BC"),
            (-63_082_368_000_000_000, "0001-12-31 00:00:00+00 BC"),
            (-63_082_281_600_000_000, "0001-01-01 00:00:00+00"),
        ] {
            assert_eq!(text(micros), expected);
        }
    }
}
