//! Single cases: short names, and what is refused.

use pupctl::schedule::Expression;
use pupctl::schedule::field::Unit;

#[test]
fn short_names_are_those_of_cron() {
    let next = |text: &str| {
        let expression: Expression = text.parse().expect("an expression");
        let from = chrono::NaiveDate::from_ymd_opt(2026, 11, 22).expect("a day");
        let from = from.and_hms_opt(2, 46, 0).expect("a time");
        expression.next_local(from).expect("a time").format("%F %R").to_string()
    };
    assert_eq!(next("@hourly"), "2026-11-22 03:00");
    assert_eq!(next("@daily"), "2026-11-23 00:00");
    assert_eq!(next("@midnight"), "2026-11-23 00:00");
    // A Sunday.
    assert_eq!(next("@weekly"), "2026-11-29 00:00");
    assert_eq!(next("@monthly"), "2026-12-01 00:00");
    assert_eq!(next("@yearly"), "2027-01-01 00:00");
    assert_eq!(next("@annually"), "2027-01-01 00:00");
}

#[test]
fn what_is_no_crontab_is_refused_in_words() {
    let cases = [
        ("", "it has 0 fields, not five"),
        ("17 3 * *", "it has 4 fields, not five"),
        ("0 17 3 * * *", "it has 6 fields, not five, without seconds and years"),
        ("60 3 * * *", "the minute 60 does not lie between 0 and 59"),
        ("0 24 * * *", "the hour 24 does not lie between 0 and 23"),
        ("0 0 0 * *", "the day of the month 0 does not lie between 1 and 31"),
        ("0 0 * 13 *", "the month 13 does not lie between 1 and 12"),
        ("0 0 * * 8", "the day of the week 8 does not lie between 0 and 7"),
        ("0 0 * * ?", "crontab has no `?` for the day of the week: other programs do"),
        ("0 0 L * *", "crontab has no `L` for the day of the month: other programs do"),
        ("0 0 * * 5#3", "crontab has no `5#3` for the day of the week: other programs do"),
        ("0~30 0 * * *", "crontab has no `0~30` for the minute: other programs do"),
        ("0 0 * * fri-mon", "the range `fri-mon` of the day of the week ends before it begins"),
        ("0 0 * * montag", "`montag` is no day of the week: write 0 to 7, or sun to sat"),
        ("0 0 * may-13 *", "the month 13 does not lie between 1 and 12"),
        ("*/0 * * * *", "the step of `*/0` is no number above 0"),
        ("*/-5 * * * *", "the step of `*/-5` is no number above 0"),
        ("*/90 * * * *", "the step of `*/90` leaves the range of the minute"),
        ("5/15 * * * *", "`5/15` does not mean the same to every cron: write 5-59/15"),
        ("1,,2 * * * *", "a number is missing in the minute"),
        ("1- * * * *", "a number is missing in the minute"),
        ("99999999999999999999 * * * *", "the minute 99999999999999999999 does not lie"),
        ("@reboot", "@reboot is no time"),
        ("@fortnightly", "the short names are @yearly"),
        ("\u{661} * * * *", "`\u{661}` is no minute"),
    ];
    for (text, why) in cases {
        let error = text.parse::<Expression>().expect_err(text);
        assert!(error.message().contains(why), "{text}: {error}");
        assert!(error.hint_text().is_some());
    }
}

#[test]
fn what_never_fires_is_refused() {
    for text in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 30-31 feb *"] {
        let error = text.parse::<Expression>().expect_err(text);
        assert_eq!(error.message(), format!("the cron expression `{text}` never fires"));
    }
    // These fire: on the days of the week, or in leap years.
    for text in ["0 0 30 2 mon", "0 0 29 2 *", "0 0 */31 * *"] {
        assert!(text.parse::<Expression>().is_ok(), "{text}");
    }
    // A field that begins with a star does not add its days.
    assert!("0 0 30 2 */2".parse::<Expression>().is_err());
}

#[test]
fn names_and_letters_may_be_large_or_small() {
    let read = |text: &str| text.parse::<Expression>().expect("an expression");
    let (one, other) = (read("0 0 * JAN Mon"), read("0  0\t* 1 1 "));
    for unit in Unit::ALL {
        assert_eq!(one.field(unit).values(), other.field(unit).values());
    }
    assert_eq!(other.to_string(), "0 0 * 1 1");
}
