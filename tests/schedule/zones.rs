//! Where clocks are set forth and back, jobs run as cron runs them: compared minute by minute.

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use pupctl::schedule::{Timetable, zone};

use crate::at;
use crate::meaning::Reference;

/// When cron runs a job within some days, found minute by minute.
fn reference(text: &str, zone: Tz, from: DateTime<Utc>, days: i64) -> Vec<DateTime<Utc>> {
    let reference = Reference::of(text);
    let fields: Vec<&str> = text.split(' ').collect();
    let wild = fields[0].starts_with('*') || fields[1].starts_with('*');
    let local = |at: DateTime<Utc>| at.with_timezone(&zone).naive_local();
    let mut found = Vec::new();
    for minute in 1..days * 24 * 60 {
        let this = from + TimeDelta::minutes(minute);
        let (shown, before) = (local(this), local(this - TimeDelta::minutes(1)));
        let is_first =
            zone.from_local_datetime(&shown).earliest() == Some(this.with_timezone(&zone));
        let mut fires = reference.fires(shown) && (wild || is_first);
        // What the clock has just left out is made up.
        let mut skipped = before + TimeDelta::minutes(1);
        while !wild && skipped < shown {
            fires |= reference.fires(skipped);
            skipped += TimeDelta::minutes(1);
        }
        if fires {
            found.push(this);
        }
    }
    found
}

#[track_caller]
fn compare(text: &str, name: &str, from: &str, days: i64) {
    let zone = zone::parse(name).expect("a time zone");
    let timetable = Timetable { expression: text.parse().expect("an expression"), zone };
    let from = at(from);
    let mut found = Vec::new();
    let mut last = from;
    while let Some(next) = timetable.next_after(last) {
        if next >= from + TimeDelta::days(days) {
            break;
        }
        assert!(next > last, "{text} in {name}: {next} after {last}");
        found.push(next);
        last = next;
    }
    assert_eq!(found, reference(text, zone, from, days), "{text} in {name}");
}

const CHANGES: [(&str, &str); 9] = [
    ("Europe/Berlin", "2026-03-28T00:00:00Z"),
    ("Europe/Berlin", "2026-10-24T00:00:00Z"),
    ("America/New_York", "2026-03-07T05:00:00Z"),
    ("America/New_York", "2026-10-31T05:00:00Z"),
    // By half an hour.
    ("Australia/Lord_Howe", "2026-04-03T12:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-02T12:00:00Z"),
    // At midnight.
    ("America/Sao_Paulo", "2018-11-03T00:00:00Z"),
    ("America/Sao_Paulo", "2018-02-17T00:00:00Z"),
    // A whole day was left out.
    ("Pacific/Apia", "2011-12-29T00:00:00Z"),
];

#[test]
fn each_change_of_the_clock_is_that_of_cron() {
    let expressions = [
        "30 2 * * *",
        "15,45 1-3 * * *",
        "0 2 * * sun",
        "0 0 * * *",
        "30 0,23 * * *",
        "*/20 * * * *",
        "* 2 * * *",
        "10 * * * *",
        "*/15 0-3 * * *",
        "0 */2 * * *",
    ];
    for (zone, from) in CHANGES {
        for text in expressions {
            compare(text, zone, from, 4);
        }
    }
}

#[test]
fn cases_that_people_ask_about() {
    let next = |text: &str, from: &str| {
        let zone = chrono_tz::Europe::Berlin;
        let timetable = Timetable { expression: text.parse().expect("an expression"), zone };
        timetable.next_after(at(from)).expect("a time").to_rfc3339()
    };
    // 02:30 is left out on 29 March 2026: the job runs when it would be 02:00, which is 03:00.
    assert_eq!(next("30 2 * * *", "2026-03-28T12:00:00Z"), "2026-03-29T01:00:00+00:00");
    assert_eq!(next("30 2 * * *", "2026-03-29T01:00:00Z"), "2026-03-30T00:30:00+00:00");
    // 02:30 comes twice on 25 October 2026, and the job runs the first time.
    assert_eq!(next("30 2 * * *", "2026-10-24T12:00:00Z"), "2026-10-25T00:30:00+00:00");
    assert_eq!(next("30 2 * * *", "2026-10-25T00:30:00Z"), "2026-10-26T01:30:00+00:00");
    // A job of every hour runs in each of both.
    assert_eq!(next("30 * * * *", "2026-10-25T00:30:00Z"), "2026-10-25T01:30:00+00:00");
    // Between two minutes, and once a year.
    assert_eq!(next("0 0 1 1 *", "2026-01-01T00:00:59.5Z"), "2026-12-31T23:00:00+00:00");
}

#[test]
fn unknown_zones_have_a_neighbour() {
    let error = zone::parse("Europe/Belrin").expect_err("no such place");
    assert_eq!(error.message(), "there is no time zone `Europe/Belrin`");
    assert_eq!(error.hint_text(), Some("did you mean Europe/Berlin?"));
    assert!(zone::parse("").is_err() && zone::parse("local time").is_err());
    assert!(zone::parse("UTC").is_ok() && zone::parse("America/Argentina/Ushuaia").is_ok());
}
