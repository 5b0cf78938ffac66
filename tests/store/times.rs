//! Months and the times of events: every event lies in the month of its created_at in UTC,
//! whatever the session believes to be the time.

use pupctl::store::{ExpectedVersion, Store};

use crate::{at, order, placed, store, versions};

const ZONES: [&str; 3] = ["UTC", "Europe/Warsaw", "Pacific/Kiritimati"];

const LAYOUTS: [&str; 3] = ["month", "context,month", "hash,month"];

/// Events whose partition is not the one that the month of their created_at in UTC names.
const MISPLACED: &str = "SELECT count(*) FROM events
    WHERE right(tableoid::regclass::text, 7) <> to_char(created_at AT TIME ZONE 'UTC', 'YYYY_MM')";

#[test]
fn events_lie_in_the_month_of_their_time_in_utc() {
    for layout in LAYOUTS {
        let db = store(layout);
        let (this, next) = (db.month(0), db.month(1));
        let times = [
            format!("{next}-01T00:00:00Z"),
            format!("{this}-01T00:00:00Z"),
            format!("{next}-01T00:00:00.000001Z"),
            format!("{this}-28T23:59:59.999999Z"),
            format!("{next}-01T13:59:00+14:00"),
            format!("{next}-01T00:30:00+01:00"),
        ];
        for zone in ZONES {
            let mut client = db.client();
            client.batch_execute(&format!("SET TimeZone = '{zone}'")).expect("a zone");
            let store = Store::open(&mut client, "public").expect(layout);
            let events: Vec<_> =
                times.iter().map(|time| placed(zone).created_at(at(time))).collect();
            let (one, rest) = events.split_at(1);
            store.append(&mut client, ExpectedVersion::NoStream, one).expect(layout);
            store.append(&mut client, ExpectedVersion::Exact(1), rest).expect(layout);
            store.append(&mut client, ExpectedVersion::Any, &[placed(zone)]).expect(layout);
            let stored = store.read_stream(&mut client, &order(zone), ..).expect(layout);
            assert_eq!(versions(&stored), [1, 2, 3, 4, 5, 6, 7], "{layout} {zone}");
            for (event, time) in stored.iter().zip(&times) {
                assert_eq!(event.created_at, at(time), "{layout} {zone}");
            }
        }
        assert_eq!(db.one::<i64>(MISPLACED), 0, "{layout}");
    }
}

#[test]
fn history_can_be_appended_where_its_months_are() {
    for layout in LAYOUTS {
        let db = store(layout);
        let past = db.month(-14);
        db.pupctl(["partitions", "ensure", "--from", &past]).success();
        let mut client = db.client();
        let store = Store::open(&mut client, "public").expect(layout);
        let times = [format!("{past}-01T00:00:00Z"), format!("{}-01T00:00:00Z", db.month(-3))];
        let events: Vec<_> = times.iter().map(|time| placed("a").created_at(at(time))).collect();
        store.append(&mut client, ExpectedVersion::NoStream, &events).expect(layout);
        store.append(&mut client, ExpectedVersion::Exact(2), &[placed("a")]).expect(layout);
        let stored = store.read_stream(&mut client, &order("a"), ..).expect(layout);
        assert_eq!(versions(&stored), [1, 2, 3], "{layout}");
        assert_eq!(db.one::<i64>(MISPLACED), 0, "{layout}");
    }
}
